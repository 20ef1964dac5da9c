// The weaknesses in tests/mutants/patches: what the header of a patch says, and how one is put into a copy of the tree.
//
//   Rule: GH-1, T-14                     which rules it breaks, by their names in the protocol and in the list of weaknesses
//   Weakness: one sentence               what somebody might have written instead
//   Catch: vitest FILE [-t PATTERN]      who must catch it, the quickest first; also `explore NAME` and `sim --seeds N`
//   Redundant: reason                    instead of a catcher's success: nothing can need it, and here is why
//
// and then the difference as git shows it.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const TOOLS = new Set(["vitest", "explore", "sim"]);

/** All of a folder by name. Throws an Error that names the file and says what is wrong with it. */
export function readMutants(folder) {
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".patch")) : [];
  return files.sort().map((file) => parse(file.slice(0, -".patch".length), join(folder, file)));
}

function parse(name, path) {
  const text = readFileSync(path, "utf8");
  const at = text.startsWith("diff --git ") ? 0 : text.indexOf("\ndiff --git ") + 1;
  const header = at > 0 ? text.slice(0, at) : "";
  const field = (key) =>
    header.split("\n").flatMap((line) => (line.startsWith(`${key}: `) ? [line.slice(key.length + 2).trim()] : []));
  const wrong = (reason) => new Error(`${path}: ${reason}`);

  const rules = field("Rule").flatMap((line) => line.split(/,\s*/));
  const [weakness] = field("Weakness");
  const [redundant] = field("Redundant");
  const catchers = field("Catch").map((line) => ({ line, tool: line.split(" ")[0], args: line.split(/\s+/).slice(1) }));
  if (at <= 0) throw wrong("it has no header, or no difference");
  if (rules.length === 0 || weakness === undefined) throw wrong("its header needs `Rule: ...` and `Weakness: ...`");
  if (catchers.length === 0) throw wrong("its header needs at least one `Catch: ...`");
  for (const { line, tool } of catchers) {
    if (!TOOLS.has(tool)) throw wrong(`"Catch: ${line}" begins with none of ${[...TOOLS].join(", ")}`);
  }
  return { name, path, rules, weakness, redundant, catchers, header };
}

/** Puts it into a clean tree. Returns undefined, or why it does not fit any more; the tree is clean again then. */
export function applyMutant({ path }, tree) {
  // With what git knows of the file as it was; else with one line around each change, wherever that has moved to.
  const ways = [["--3way"], ["-C1"]];
  let output = "";
  for (const way of ways) {
    const result = git(tree, ["apply", "--whitespace=nowarn", ...way, path]);
    if (result.status === 0) return undefined;
    output = result.output;
    cleanTree(tree);
  }
  return output.trim().split("\n").slice(0, 3).join("; ");
}

export function cleanTree(tree) {
  git(tree, ["reset", "-q", "--hard"]);
  git(tree, ["clean", "-fdq"]);
}

/** Writes a mutant anew from what is changed in a tree, with the header that it has. */
export function writePatch({ path, header }, tree) {
  git(tree, ["add", "-A"]);
  const { output } = git(tree, [
    "diff",
    "--cached",
    "--no-color",
    "--no-ext-diff",
    "--full-index",
    "--unified=3",
    "HEAD",
  ]);
  if (!output.startsWith("diff --git ")) throw new Error(`nothing is changed in ${tree}`);
  writeFileSync(path, `${header.trimEnd()}\n\n${output}`);
}

export function git(directory, args, { env = {} } = {}) {
  const own = ["-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "advice.detachedHead=false"];
  const result = spawnSync("git", [...own, ...args], {
    cwd: directory,
    encoding: "utf8",
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, ...env },
  });
  const output = result.status === 0 ? result.stdout : `${result.stderr ?? ""}${result.error?.message ?? ""}`;
  return { status: result.status, output: output ?? "" };
}
