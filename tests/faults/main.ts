// `pnpm faults`: breaks migrations in every way there is, and counts how they end. The only place of the suites that sees
// process.*.

import { systemRandom } from "@godwit/common/clock";
import { argument, option, readCommandLine } from "@godwit/common/config";
import { Fault, isFault } from "@godwit/common/fault";
import { runSuite, SUITES, type Suite } from "./suites.ts";
import { Tally } from "./tally.ts";

const INTERRUPTED = 130;

const options = {
  seed: option.integer({
    optional: true,
    min: 0,
    max: 2 ** 31 - 1,
    help: "Draws the byte offsets; a new one each time when it is not given. It is printed.",
  }),
  offsets: option.integer({ fallback: 200, min: 1, max: 100_000, help: "How many cuts at byte offsets." }),
  bounded: option.flag({ help: "Only what `npm test` runs of it; give --offsets too." }),
  lanes: option.integer({ fallback: 3, min: 1, max: 32, help: "Pairs of hosts that are cut at the same time." }),
  only: option.text({ optional: true, help: "Only cases with this in their name: `started`, `claim.before-apply`." }),
  limitMs: option.duration({ fallback: 3_600_000, min: 1_000, help: "It fails when it takes longer." }),
} as const;

const interruption = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => {
    if (interruption.signal.aborted) process.exit(INTERRUPTED);
    interruption.abort(new Error(`interrupted by ${name}`));
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  const { aborted } = interruption.signal;
  process.stderr.write(`${aborted ? "interrupted" : `error: ${textOf(error)}`}\n`);
  process.exitCode = aborted ? INTERRUPTED : isFault(error, "CONFIG_INVALID") ? 2 : 1;
}
process.exit();

async function main(): Promise<number> {
  const commandLine = {
    name: "pnpm faults",
    summary:
      "Breaks migrations: at each boundary of frames, at random bytes of the ciphertext, by kill -9 at each named point, by partitions, by a store that forgets. After each, one host ticks, nothing is staged, the lineage verifies.",
    options,
    arguments: { suite: argument.optional(`One of ${SUITES.join(", ")}; all of them when it is not given.`) },
  } as const;
  const line = readCommandLine(commandLine, { argv: process.argv.slice(2), env: {} });
  if (line.kind === "help") {
    process.stdout.write(line.text);
    return 0;
  }
  const { bounded, limitMs, offsets, lanes, only } = line.options;
  const seed = line.options.seed ?? Math.floor(systemRandom() * 2 ** 31);
  const tally = new Tally();
  const beganAtMs = performance.now();
  const seconds = () => ((performance.now() - beganAtMs) / 1_000).toFixed(0);
  const rules = {
    tally,
    seed,
    offsets,
    lanes,
    only,
    share: bounded ? ("bounded" as const) : ("all" as const),
    signal: AbortSignal.any([interruption.signal, AbortSignal.timeout(limitMs)]),
    say: (text: string) => void process.stderr.write(`· ${text} (${seconds()} s)\n`),
  };
  for (const suite of suitesOf(line.arguments.suite)) await runSuite(suite, rules);
  const end = [`seed ${seed}, ${seconds()} s`, ...tally.lines(), ...tally.failureLines()];
  process.stdout.write(`\n${end.join("\n")}\n`);
  return tally.failures.length === 0 ? 0 : 1;
}

function suitesOf(name: string | undefined): readonly Suite[] {
  if (name === undefined) return SUITES;
  const suite = SUITES.find((known) => known === name);
  if (suite !== undefined) return [suite];
  throw new Fault({ code: "CONFIG_INVALID", problems: [`there is no ${name}, only ${SUITES.join(", ")}`] });
}

function textOf(error: unknown): string {
  if (isFault(error)) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
