// Who looks for a weakness: a test file, the explorer, the simulator; all of them run from the sources.

import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Longer than any of them takes on a busy machine. One that takes longer has found nothing. */
const LIMIT_MS = 240_000;

const fromSources = "--conditions=@godwit/source";

/**
 * What a catcher says of a tree: `caught` by what, `passed`, or `broken` when it could not look: then it neither caught
 * the weakness nor missed it.
 */
export async function look(catcher, tree, copies) {
  switch (catcher.tool) {
    case "vitest":
      return (await vitest(catcher.args, tree, copies)).verdict;
    case "sim":
      return ofProgram("simulation/src/main.ts", ["--workers", "1", ...catcher.args], { tree, copies, say: sayOfSim });
    case "explore":
      return ofProgram("migration/src/explore/main.ts", catcher.args, { tree, copies, say: sayOfExplore });
  }
}

/** Looks at a tree without a weakness with all of them; returns those that do not pass there, by their lines. */
export async function lookWithout(catchers, tree, copies) {
  const failing = new Map();
  const files = new Set();
  const others = new Map();
  for (const catcher of catchers) {
    if (catcher.tool === "vitest") files.add(catcher.args[0]);
    else others.set(catcher.line, catcher);
  }
  if (files.size > 0) {
    const { broken } = await vitest([...files], tree, copies, []);
    for (const catcher of catchers) {
      const reason = catcher.tool === "vitest" ? broken.get(catcher.args[0]) : undefined;
      if (reason !== undefined) failing.set(catcher.line, reason);
    }
  }
  for (const [line, catcher] of others) {
    const verdict = await look(catcher, tree, copies);
    if (verdict.kind !== "passed") failing.set(line, verdict.by ?? verdict.reason);
  }
  return failing;
}

async function vitest(args, tree, copies, more = ["--bail=1"]) {
  const report = join(copies.temporary(tree), "report.json");
  rmSync(report, { force: true });
  const program = join(tree, "node_modules", "vitest", "vitest.mjs");
  const all = [program, "run", ...args, ...more, "--reporter=json", `--outputFile=${report}`];
  const { status, output } = await copies.run("node", all, { tree, limitMs: LIMIT_MS });

  const broken = new Map();
  if (status === null) return { broken, verdict: { kind: "broken", reason: "it took too long" } };
  if (!existsSync(report)) return { broken, verdict: { kind: "broken", reason: tail(output) } };
  const { testResults } = JSON.parse(readFileSync(report, "utf8"));
  let failed;
  let ran = 0;
  let unloaded;
  for (const { name, status: state, message, assertionResults } of testResults) {
    const file = name.slice(tree.length + 1);
    const bad = assertionResults.find((one) => one.status === "failed");
    ran += assertionResults.filter((one) => one.status === "passed" || one.status === "failed").length;
    if (bad !== undefined) failed ??= bad.fullName;
    else if (state === "failed") unloaded ??= firstLine(message);
    if (bad !== undefined || state === "failed") broken.set(file, bad?.fullName ?? firstLine(message));
  }
  for (const arg of args) {
    if (arg.endsWith(".ts") && !testResults.some(({ name }) => name.endsWith(arg)))
      broken.set(arg, "there is no such test");
  }
  if (failed !== undefined) return { broken, verdict: { kind: "caught", by: failed } };
  if (status === 0 && ran > 0) return { broken, verdict: { kind: "passed" } };
  return { broken, verdict: { kind: "broken", reason: unloaded ?? (ran === 0 ? "no test was run" : tail(output)) } };
}

async function ofProgram(path, args, { tree, copies, say }) {
  const program = join(tree, "packages", path);
  const { status, output } = await copies.run("node", [fromSources, program, ...args], { tree, limitMs: LIMIT_MS });
  if (status === 0) return { kind: "passed" };
  if (status === null) return { kind: "broken", reason: "it took too long" };
  const by = say(output);
  return by === undefined ? { kind: "broken", reason: tail(output) } : { kind: "caught", by };
}

function sayOfSim(output) {
  return /^.*\b(?:violat|seed \d+ fail|✗).*$/im.exec(output)?.[0].trim();
}

function sayOfExplore(output) {
  return /^.*(?:counterexample|violat|✗).*$/im.exec(output)?.[0].trim();
}

function firstLine(text) {
  return (text ?? "it does not load").trim().split("\n")[0];
}

function tail(output) {
  return output.trim().split("\n").slice(-3).join("; ");
}
