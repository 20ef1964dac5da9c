// Part of `pnpm check`, run in packages/proto: the committed generated code is what `buf generate` makes of proto/,
// proto/ passes buf's lint, and it breaks nobody who speaks the last released version.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const packageDir = join(root, "packages", "proto");
const env = {
  ...process.env,
  // The root's first: its `node` is the workspace's Node 24.
  PATH: [join(root, "node_modules", ".bin"), join(packageDir, "node_modules", ".bin"), process.env.PATH].join(":"),
};

const temporary = mkdtempSync(join(tmpdir(), "godwit-generated-"));
let problems = 0;
try {
  checkGenerated();
  runBuf("lint", ["lint"], { cwd: root });
  checkBreaking();
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
process.exitCode = problems === 0 ? 0 : 1;

function checkGenerated() {
  const fresh = join(temporary, "fresh");
  if (!runBuf("generate", ["generate", "-o", fresh], { cwd: packageDir })) return;
  const committed = join(packageDir, "src", "gen");
  const made = join(fresh, "src", "gen");
  const files = new Set([...filesBelow(committed), ...filesBelow(made)]);
  const different = [...files].filter((file) => readText(join(committed, file)) !== readText(join(made, file))).sort();
  for (const file of different) console.error(`generated code differs: packages/proto/src/gen/${file}`);
  if (different.length > 0) {
    problems++;
    console.error("run `pnpm generate` and commit what it changes");
  }
}

function checkBreaking() {
  const tag = git("describe", "--tags", "--abbrev=0");
  const reference = tag ?? (git("rev-parse", "--verify", "--quiet", "main") && "main");
  if (reference === undefined) {
    console.log("buf breaking: skipped, there is no git tag and no branch main to compare with");
    return;
  }
  // From a copy: buf itself would clone, which a worktree or a shallow clone does not always allow.
  const before = join(temporary, "before");
  const archive = spawnSync("git", ["archive", "--format=tar", "--prefix=before/", reference, "proto", "buf.yaml"], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
  });
  const unpacked =
    archive.status === 0 && spawnSync("tar", ["-x", "-C", temporary], { input: archive.stdout }).status === 0;
  if (!unpacked || !existsSync(before)) {
    console.log(`buf breaking: skipped, ${reference} has no proto/`);
    return;
  }
  runBuf("breaking", ["breaking", "--against", before], { cwd: root });
}

function runBuf(what, args, { cwd }) {
  const { status, error } = spawnSync(join(packageDir, "node_modules", ".bin", "buf"), args, {
    cwd,
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status === 0) return true;
  console.error(`buf ${what} failed${error ? `: ${error.message}` : ""}`);
  problems++;
  return false;
}

function git(...args) {
  const { status, stdout } = spawnSync("git", args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return status === 0 ? stdout.trim() : undefined;
}

function filesBelow(directory, base = directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    return statSync(path).isDirectory() ? filesBelow(path, base) : [relative(base, path)];
  });
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
