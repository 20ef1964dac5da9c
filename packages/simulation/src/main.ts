// `pnpm sim`: seeds in worker processes, one seed as a timeline, or the smallest part of a failing one. The only place of the
// package that sees process.*, but for the workers.

import { systemClock } from "@godwit/common/clock";
import { option, readCommandLine, type ValuesOf } from "@godwit/common/config";
import { Fault, isFault } from "@godwit/common/fault";
import { defaultAgentDirectory } from "./agent-directory.ts";
import { runMany } from "./command/run-many.ts";
import { seedLines, summaryLines, Totals } from "./command/summary.ts";
import { ALL_KINDS, type FaultKind } from "./faults/plan.ts";
import { runSeed } from "./run-seed.ts";
import { shrink } from "./shrink.ts";

const options = {
  seeds: option.integer({ fallback: 20, min: 1, max: 10_000_000, help: "How many seeds, one after the other." }),
  from: option.integer({
    optional: true,
    min: 0,
    max: 2 ** 40,
    help: "The first of them; by default the current time.",
  }),
  workers: option.integer({ fallback: 2, min: 1, max: 256, help: "Processes that run seeds at the same time." }),
  forMs: option.duration({
    optional: true,
    min: 1_000,
    max: 86_400_000,
    help: "No new seed is begun after so long.",
  }),
  kinds: option.list({ help: `Faults of these kinds only: ${ALL_KINDS.join(", ")}.` }),
  seed: option.integer({ optional: true, min: 0, max: 2 ** 40, help: "One seed, in this process." }),
  trace: option.flag({ help: "With --seed: print its timeline, which is the same every time." }),
  shrink: option.flag({ help: "With --seed: find fewer faults with which it still fails." }),
  faults: option.list({ help: "With --seed: only these faults of its plan, by number, as --shrink prints them." }),
} as const;

const INTERRUPTED = 130;

const interruption = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    if (interruption.signal.aborted) process.exit(INTERRUPTED);
    interruption.abort(new Error(`interrupted by ${name}`));
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = isFault(error, "CONFIG_INVALID") ? 2 : 1;
}
process.exit();

async function main(): Promise<number> {
  const summary =
    "Runs whole clusters on the services' own code, on simulated time, network and disks, with faults drawn from a seed, and checks what hosts committed.";
  const given = { argv: process.argv.slice(2), env: process.env };
  const line = readCommandLine({ name: "pnpm sim", summary, options }, given);
  if (line.kind === "help") {
    process.stdout.write(line.text);
    return 0;
  }
  const { seed } = line.options;
  return seed === undefined ? await many(line.options) : await one(seed, line.options);
}

async function many({ seeds, from, workers, forMs, kinds }: ValuesOf<typeof options>): Promise<number> {
  const first = from ?? Math.floor(systemClock.now().getTime() / 1_000);
  const totals = new Totals(systemClock.monotonicMs());
  const say = (text: string) => process.stderr.write(`${text}\n`);
  say(`· seeds ${first} to ${first + seeds - 1}, ${workers} at a time`);
  let toldAtMs = systemClock.monotonicMs();
  await runMany({
    first,
    count: seeds,
    workers,
    forMs,
    fixed: kindsOf(kinds),
    clock: systemClock,
    signal: interruption.signal,
    onReport: (report) => {
      totals.add(report);
      for (const text of seedLines(report)) say(text);
      const nowMs = systemClock.monotonicMs();
      if (nowMs - toldAtMs < 5_000) return;
      toldAtMs = nowMs;
      say(`· ${totals.seeds} of ${seeds} seeds, ${totals.failed.length} failed`);
    },
  });
  process.stdout.write(`${summaryLines(totals, systemClock.monotonicMs()).join("\n")}\n`);
  if (interruption.signal.aborted) return INTERRUPTED;
  return totals.failed.length === 0 ? 0 : 1;
}

async function one(seed: number, { trace, shrink: smaller, faults, kinds }: ValuesOf<typeof options>): Promise<number> {
  const agentDirectory = defaultAgentDirectory;
  const print = trace ? (text: string) => void process.stdout.write(`${text}\n`) : undefined;
  const onlyFaults = faults.length === 0 ? undefined : new Set(faults.map(Number));
  const rules = { seed, agentDirectory, ...kindsOf(kinds), ...(print && { print }), ...(onlyFaults && { onlyFaults }) };
  if (smaller) {
    const left = await shrink(rules, (text) => process.stderr.write(`· ${text}\n`), interruption.signal);
    if (left === undefined) {
      process.stdout.write(`seed ${seed} does not fail\n`);
      return 0;
    }
    const ids = left.faults.map(({ id }) => id);
    for (const text of seedLines(left)) process.stdout.write(`${text}\n`);
    process.stdout.write(`pnpm sim --seed ${seed} --trace ${ids.map((id) => `--faults ${id}`).join(" ")}\n`);
    return 1;
  }
  const beganAtMs = systemClock.monotonicMs();
  const report = await runSeed(rules);
  const totals = new Totals(beganAtMs);
  totals.add(report);
  for (const text of seedLines(report)) process.stdout.write(`${text}\n`);
  // A timeline ends with nothing that depends on the machine.
  if (!trace) process.stdout.write(`${summaryLines(totals, systemClock.monotonicMs()).join("\n")}\n`);
  return totals.failed.length === 0 ? 0 : 1;
}

/** Throws Fault CONFIG_INVALID. */
function kindsOf(names: readonly string[]): { readonly kinds?: readonly FaultKind[] } {
  if (names.length === 0) return {};
  const unknown = names.filter((name) => !ALL_KINDS.some((kind) => kind === name));
  if (unknown.length > 0) {
    const problems = unknown.map((name) => `--kinds: there is no ${name}, only ${ALL_KINDS.join(", ")}`);
    throw new Fault({ code: "CONFIG_INVALID", problems });
  }
  return { kinds: ALL_KINDS.filter((kind) => names.includes(kind)) };
}
