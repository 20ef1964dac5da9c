// npm test: the checks, then every test, then one line: N passed, N failed.
//
//   npm test                         everything
//   npm test -- packages/common     what vitest finds for these arguments, and no checks
//
// A check (generated code, format, lint, imports, types) counts as one test.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, environment, fail, prepare, root, run } from "./bootstrap.mjs";
import { buildAgents } from "./build-agents.mjs";
import { bringPackages } from "./distribution.mjs";

const args = process.argv.slice(2).filter((arg) => arg !== "--");
const began = performance.now();

const node = prepare();
const bin = (name) => join(root, "node_modules", ".bin", name);

const CHECKS = [
  { name: "generated code and wire compatibility", command: [node, join(root, "tools", "check-generated.mjs")] },
  { name: "format", command: [bin("biome"), "format", "."] },
  { name: "lint", command: [bin("biome"), "lint", "--error-on-warnings", "."] },
  { name: "lint with types", command: [bin("oxlint"), "--type-aware", "--deny-warnings"] },
  { name: "imports", command: [node, join(root, "tools", "check-imports.mjs")] },
  { name: "types", command: [bin("tsc"), "-p", "tsconfig.tests.json"] },
];

/** No seed is begun later; the last ones take a while more. */
const SIMULATE_FOR = "30s";
/** Weaknesses that are put back. */
const MUTANTS = 20;

const redis = bringRedis();
let passed = 0;
let failed = 0;

count(check("build", build));
count(check("agents of other compilers", () => buildAgents({ bring: true })));
if (args.length === 0) {
  for (const { name, command } of CHECKS) count(check(name, () => capture(command)));
}
await runTests();
if (args.length === 0) {
  count(await simulate());
  count(await mutate());
}

console.log(
  `\n${Math.round((performance.now() - began) / 1000)} s in all, on Node ${versionOf(node)} and Redis ${redis}`,
);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

function count(ok) {
  if (ok) passed++;
  else failed++;
}

function check(name, work) {
  const start = performance.now();
  const { status, output } = work();
  console.log(`${status === 0 ? "✓" : "✗"} ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  if (status !== 0) console.log(output.trimEnd().replace(/^/gm, "    "));
  return status === 0;
}

function capture([command, ...rest]) {
  const options = { cwd: root, env: environment(), encoding: "utf8", maxBuffer: 64 * 1024 * 1024 };
  const { status, stdout, stderr, error } = spawnSync(command, rest, options);
  return { status, output: `${stdout ?? ""}${stderr ?? ""}${error ? error.message : ""}` };
}

async function runTests() {
  const directory = mkdtempSync(join(tmpdir(), "godwit-test-"));
  const summary = join(directory, "summary.json");
  // The tests have a temporary directory of their own, so that what they leave behind is seen, and gone.
  const temporary = join(directory, "tmp");
  mkdirSync(temporary);
  try {
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const reporter = `--reporter=${join(root, "tools", "vitest-reporter.mjs")}`;
    const code = await run(node, [vitest, "run", reporter, ...args], {
      env: { GODWIT_TEST_SUMMARY: summary, GODWIT_TEST_REDIS: redis, TMPDIR: temporary },
    });
    const counts = existsSync(summary) ? JSON.parse(readFileSync(summary, "utf8")) : { passed: 0, failed: 0 };
    passed += counts.passed;
    failed += counts.failed;
    if (code !== 0 && counts.failed === 0) {
      console.log(`✗ vitest ended with exit code ${code}`);
      failed++;
    }
    warnOfLeftOvers(temporary);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * New seeds each time, for a bounded time; they are printed, and what fails can be had again with its number. Counts as
 * one test.
 */
async function simulate() {
  const first = Number(process.env.GITHUB_RUN_ID ?? Math.floor(Date.now() / 1000));
  console.log(`\nsimulating new seeds from ${first} on, for ${SIMULATE_FOR}`);
  const main = join(root, "packages", "simulation", "dist", "main.js");
  const code = await run(node, [main, "--seeds", "10000", "--from", String(first), "--for", SIMULATE_FOR]);
  console.log(`${code === 0 ? "✓" : "✗"} simulation`);
  return code === 0;
}

/** Puts some weaknesses back, other ones each day; they are printed. Counts as one test. */
async function mutate() {
  console.log(`\nputting ${MUTANTS} weaknesses back, each of which a unit test has to notice`);
  const code = await run(node, [join(root, "tools", "mutants.mjs"), "--unit", "--share", String(MUTANTS)]);
  console.log(`${code === 0 ? "✓" : "✗"} mutants`);
  return code === 0;
}

/** A test removes what it has made, also when it fails. */
function warnOfLeftOvers(temporary) {
  const left = readdirSync(temporary).filter((name) => name.startsWith("godwit-"));
  if (left.length === 0) return;
  const some = left.slice(0, 10).join(", ");
  const more = left.length > 10 ? ", ..." : "";
  console.log(`warning: tests left ${left.length} temporary directories behind, which were removed: ${some}${more}`);
}

/** Returns the version of the redis-server on this machine, installing it when there is none and we may. */
function bringRedis() {
  const present = redisVersion();
  if (present !== undefined) return present;

  bringPackages(["redis-server"], { what: "redis-server is", elsewhere: "for example: brew install redis" });
  const brought = redisVersion();
  if (brought === undefined) fail("redis-server was installed and is not found on the PATH");
  return brought;
}

function redisVersion() {
  const { status, stdout } = spawnSync("redis-server", ["--version"], { encoding: "utf8" });
  return status === 0 ? (/v=(\S+)/.exec(stdout)?.[1] ?? "of unknown version") : undefined;
}

function versionOf(program) {
  return spawnSync(program, ["--version"], { encoding: "utf8" }).stdout?.trim().replace(/^v/, "");
}
