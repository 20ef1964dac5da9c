// npm run mutants -- [NAME or GLOB ...]: puts weaknesses back, one at a time, and requires that somebody notices.
// --help tells the rest; tests/mutants/README.md tells what a weakness looks like and how one is added.

import { existsSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { fail, prepare, root, say } from "./bootstrap.mjs";
import { look, lookWithout } from "./mutants/catchers.mjs";
import { Copies } from "./mutants/copies.mjs";
import { applyMutant, cleanTree, readMutants, writePatch } from "./mutants/patches.mjs";
import { shard, share } from "./mutants/selection.mjs";
import { listLines, tableLines } from "./mutants/table.mjs";

const folder = join(root, "tests", "mutants", "patches");

const GOOD = new Set(["caught", "redundant"]);

const EXPLAINED = {
  survived: "nobody noticed it: write the test that does, or say in its header why it is `Redundant:`",
  "not-redundant": "it is said to be redundant and was noticed: take `Redundant:` out of its header",
  "does-not-apply": "the code around it has changed: npm run mutants -- --renew NAME",
  broken: "who should notice it could not look",
};

const HELP = `npm run mutants -- [options] [NAME or GLOB ...]

Puts weaknesses back into copies of the tree, one at a time, and requires the explorer, the simulator or a test to
notice each. Ends with a table; the exit code is 1 when one is not noticed, or when a patch no longer fits.

  --list            only list the weaknesses
  --workers N       so many copies at the same time (default: the number of processors)
  --shard I/N       only the I-th of N parts
  --unit            only those that a unit test has to notice: a few seconds each
  --share N         N of them, other ones each day; GODWIT_MUTANTS_SHARE chooses them otherwise
  --committed       copies of the last commit, instead of the tree with what was changed since
  --json FILE       the results, for programs
  --renew           write the patches anew, where they still fit with help; says what to do where they do not
  --from DIRECTORY  with --renew and one name: take the weakness from what is changed in that git tree
  --help            this text
`;

const { values, positionals: names } = readArguments();
if (values.help) {
  console.log(HELP);
  process.exit();
}
const mutants = select();
if (values.list) {
  for (const line of listLines(mutants)) console.log(line);
  process.exit();
}
if (values.from !== undefined) renewFrom(mutants);

prepare();
const began = performance.now();
const copies = begin();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(name, () => {
    console.error("interrupted: the copies are removed");
    copies.close();
    process.exit(130);
  });
}
let code = 1;
try {
  code = values.renew ? await renew() : await main();
} catch (error) {
  console.error(`error: ${error.message}`);
} finally {
  copies.close();
}
process.exit(code);

async function main() {
  const count = Math.min(Number(values.workers), mutants.length);
  say(`${mutants.length} weaknesses, ${count} at a time`);
  const trees = await bringTrees(count);

  const all = mutants.flatMap(({ catchers }) => catchers);
  const failing = await lookWithout(all, trees[0], copies);
  for (const [line, reason] of failing) {
    console.log(`✗ ${line} does not pass without any weakness: ${reason}`);
  }

  const results = [];
  const queue = [...mutants];
  const lane = async (tree) => {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const result = await judge(mutant, tree, failing);
      results.push(result);
      console.log(progress(result, results.length));
    }
  };
  await Promise.all(trees.map(lane));

  results.sort((a, b) => (a.name < b.name ? -1 : 1));
  console.log("");
  for (const line of tableLines(results)) console.log(line);
  const seconds = Math.round((performance.now() - began) / 1000);
  const bad = results.filter(({ verdict }) => !GOOD.has(verdict));
  console.log(
    `\n${results.length} weaknesses in ${seconds} s: ${results.length - bad.length} noticed, ${bad.length} not`,
  );
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ seconds, results }, undefined, 2)}\n`);
  for (const { name, verdict, reason } of bad) {
    console.log(`✗ ${name}: ${EXPLAINED[verdict]}${reason === undefined ? "" : ` (${reason})`}`);
  }
  return bad.length === 0 && failing.size === 0 ? 0 : 1;
}

/** Tries who should notice it, one after the other. */
async function judge(mutant, tree, failing) {
  const { name, rules, weakness, redundant } = mutant;
  const start = performance.now();
  const result = (verdict, more) => {
    return { name, rules, weakness, verdict, seconds: (performance.now() - start) / 1000, ...more };
  };
  cleanTree(tree);
  const why = applyMutant(mutant, tree);
  if (why !== undefined) return result("does-not-apply", { reason: why });
  try {
    let broken;
    for (const catcher of mutant.catchers) {
      if (failing.has(catcher.line)) {
        broken ??= `${catcher.line} does not pass without it either`;
        continue;
      }
      const verdict = await look(catcher, tree, copies);
      if (verdict.kind === "caught") {
        const by = { catcher: catcher.line, by: verdict.by };
        return redundant === undefined ? result("caught", by) : result("not-redundant", { ...by, reason: verdict.by });
      }
      if (verdict.kind === "broken") broken ??= `${catcher.line}: ${verdict.reason}`;
    }
    if (broken !== undefined) return result("broken", { reason: broken });
    return redundant === undefined ? result("survived", {}) : result("redundant", { reason: redundant });
  } finally {
    cleanTree(tree);
    copies.freshTemporary(tree);
  }
}

function progress({ name, verdict, seconds, by, reason }, done) {
  const mark = GOOD.has(verdict) ? "✓" : "✗";
  const what = by ?? reason ?? verdict;
  return `${mark} ${String(done).padStart(3)}/${mutants.length} ${name} (${seconds.toFixed(1)} s): ${verdict === "caught" ? what : `${verdict}: ${what}`}`;
}

async function bringTrees(count) {
  const tools = new Set(mutants.flatMap(({ catchers }) => catchers.map(({ tool }) => tool)));
  const trees = [];
  for (let at = 1; at <= count; at++) {
    const tree = await copies.make(`copy-${at}`);
    if (tools.has("sim")) await copies.bringAgents(tree, trees[0]);
    trees.push(tree);
  }
  return trees;
}

/** Those that fit, if not to the letter, are written as they are now. */
async function renew() {
  const tree = copies.checkOut("copy-1");
  let left = 0;
  for (const mutant of mutants) {
    cleanTree(tree);
    const why = applyMutant(mutant, tree);
    if (why === undefined) {
      writePatch(mutant, tree);
      console.log(`✓ ${mutant.name}`);
      continue;
    }
    left++;
    console.log(`✗ ${mutant.name}: ${why}`);
    console.log(`    ${mutant.weakness}`);
  }
  if (left === 0) return 0;
  console.log(`
${left} fit nowhere any more. For each: make a copy (git worktree add --detach DIRECTORY), put the weakness into it by
hand, and take it from there: npm run mutants -- --renew NAME --from DIRECTORY`);
  return 1;
}

function renewFrom(chosen) {
  if (!values.renew || chosen.length !== 1) fail("--from goes with --renew and the name of one weakness");
  const tree = resolve(values.from);
  if (!existsSync(join(tree, ".git")))
    fail(`${tree} is no git tree: make one with git worktree add --detach DIRECTORY`);
  if (tree === root) fail("--from must be another tree than this one, which may have changes of its own");
  try {
    writePatch(chosen[0], tree);
  } catch (error) {
    fail(error.message);
  }
  console.log(`✓ ${chosen[0].name}`);
  process.exit();
}

function begin() {
  try {
    return new Copies({ committed: values.committed });
  } catch (error) {
    return fail(error.message);
  }
}

function select() {
  let all;
  try {
    all = readMutants(folder);
  } catch (error) {
    fail(error.message);
  }
  const wanted = names.map((name) => ({ name, pattern: pattern(name.replace(/\.patch$/, "")) }));
  for (const { name, pattern: one } of wanted) {
    if (!all.some((mutant) => one.test(mutant.name))) fail(`no weakness is called ${name}: npm run mutants -- --list`);
  }
  let chosen = wanted.length === 0 ? all : all.filter(({ name }) => wanted.some((one) => one.pattern.test(name)));
  if (values.unit) chosen = chosen.filter(({ catchers }) => catchers.every(isUnitTest));
  if (values.shard !== undefined) chosen = shard(chosen, values.shard) ?? fail("--shard is I/N with I from 1 to N");
  if (values.share !== undefined) {
    const word = process.env.GODWIT_MUTANTS_SHARE ?? new Date().toISOString().slice(0, 10);
    chosen = share(chosen, positive("share"), word);
    if (!values.list) say(`weaknesses of ${word}: ${chosen.map(({ name }) => name).join(", ")}`);
  }
  return chosen.length > 0 ? chosen : fail("there is no weakness to put back");
}

function isUnitTest({ tool, args }) {
  return tool === "vitest" && args.every((arg) => !arg.includes(".integration."));
}

function pattern(glob) {
  const escaped = glob.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`, "i");
}

function positive(name) {
  const value = Number(values[name]);
  return Number.isInteger(value) && value > 0 ? value : fail(`--${name} is a number from 1 on, not ${values[name]}`);
}

function readArguments() {
  try {
    const args = process.argv.slice(2).filter((arg) => arg !== "--");
    const given = parseArgs({
      args,
      allowPositionals: true,
      options: {
        list: { type: "boolean", default: false },
        workers: { type: "string", default: String(availableParallelism()) },
        shard: { type: "string" },
        share: { type: "string" },
        unit: { type: "boolean", default: false },
        committed: { type: "boolean", default: false },
        json: { type: "string" },
        renew: { type: "boolean", default: false },
        from: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    const workers = Number(given.values.workers);
    if (!Number.isInteger(workers) || workers < 1) throw new Error(`--workers is a number from 1 on`);
    return given;
  } catch (error) {
    return fail(`${error.message}: npm run mutants -- --help`);
  }
}
