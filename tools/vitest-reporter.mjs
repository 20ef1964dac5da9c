// What `npm test` prints about the tests: a line for each suite, with its project and its counts; then which suites
// ran on which store; then what failed, with everything that is needed to see why. The counts also go to the file
// that GODWIT_TEST_SUMMARY names, for tools/test.mjs.

import { writeFileSync } from "node:fs";
import { relative } from "node:path";

/** A suite or test that says one of these words in its name or path ran on that store. */
const STORES = [
  { name: `Redis ${process.env.GODWIT_TEST_REDIS ?? ""}`.trim(), pattern: /\bredis\b/i },
  { name: "embedded (SQLite)", pattern: /\bembedded\b|\bsqlite\b/i },
];

export default class SuiteReporter {
  #root = process.cwd();
  #totals = { passed: 0, failed: 0, skipped: 0 };
  #failures = [];
  #stores = new Map(STORES.map(({ name }) => [name, new Map()]));

  onInit(vitest) {
    this.#root = vitest.config.root;
  }

  onTestRunStart(specifications) {
    const projects = new Map();
    for (const { project } of specifications) projects.set(project.name, (projects.get(project.name) ?? 0) + 1);
    const parts = [...projects].map(([name, suites]) => `${suites} ${name}`);
    console.log(`\nsuites: ${parts.join(", ") || "none"}\n`);
  }

  onTestModuleEnd(module) {
    const path = relative(this.#root, module.moduleId);
    const counts = { passed: 0, failed: 0, skipped: 0 };

    for (const test of module.children.allTests()) {
      const { state, errors } = test.result();
      if (state === "passed") counts.passed++;
      else if (state === "failed") counts.failed++;
      else counts.skipped++;
      if (state === "failed") this.#failures.push({ title: `${path} > ${test.fullName}`, errors: errors ?? [] });
      if (state !== "skipped") this.#noteStores(path, test.fullName);
    }
    // A file that does not load has no tests, and still it failed; so has a suite whose hook threw.
    const broken = [module, ...module.children.allSuites()].filter((one) => one.errors().length > 0);
    for (const one of broken) {
      counts.failed++;
      this.#failures.push({ title: one === module ? path : `${path} > ${one.fullName}`, errors: one.errors() });
    }

    for (const key of Object.keys(counts)) this.#totals[key] += counts[key];
    const seconds = (module.diagnostic().duration / 1000).toFixed(1);
    const parts = Object.entries(counts).flatMap(([key, count]) => (count > 0 ? [`${count} ${key}`] : []));
    const mark = counts.failed > 0 ? "✗" : "✓";
    console.log(`${mark} ${module.project.name.padEnd(11)} ${path} (${parts.join(", ") || "no tests"}; ${seconds} s)`);
  }

  /** Most of what tests print is noise; what faults were tried, and with which seed, is their result. */
  onUserConsoleLog({ content }) {
    if (content.startsWith("faults of seed")) console.log(content.trimEnd().replace(/^/gm, "    "));
  }

  onTestRunEnd(_modules, unhandled) {
    this.#printStores();
    for (const error of unhandled) this.#failures.push({ title: "unhandled error", errors: [error] });
    this.#totals.failed += unhandled.length;
    for (const { title, errors } of this.#failures) {
      console.log(`\n✗ ${title}`);
      for (const error of errors) console.log(describe(error).replace(/^/gm, "    "));
    }
    if (this.#totals.skipped > 0) console.log(`\n${this.#totals.skipped} skipped`);
    const file = process.env.GODWIT_TEST_SUMMARY;
    if (file !== undefined) writeFileSync(file, JSON.stringify(this.#totals));
  }

  #noteStores(path, name) {
    for (const store of STORES) {
      if (!store.pattern.test(path.replaceAll("-", " ")) && !store.pattern.test(name)) continue;
      const suites = this.#stores.get(store.name);
      suites.set(path, (suites.get(path) ?? 0) + 1);
    }
  }

  #printStores() {
    for (const [store, suites] of this.#stores) {
      if (suites.size === 0) continue;
      console.log(`\nstore ${store}:`);
      for (const [path, tests] of suites) console.log(`    ${path} (${tests} ${tests === 1 ? "test" : "tests"})`);
    }
  }
}

function describe(error) {
  const parts = [error.stack ?? error.message ?? String(error)];
  if (error.diff) parts.push(error.diff);
  if (error.cause) parts.push(`caused by: ${describe(error.cause)}`);
  return parts.join("\n");
}
