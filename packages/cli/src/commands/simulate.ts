import { option, argument } from "@godwit/common/config";
import { formatMoney, MICROCENTS_PER_UNIT } from "@godwit/common/money";
import { defineCommand } from "../command.ts";
import { EXIT, type ExitCode } from "../exit-code.ts";
import { readProgram } from "../operations/run-agent.ts";
import {
  type SimulatedLine,
  type SimulationEnd,
  type SimulationReport,
  simulate as run,
} from "../operations/simulation.ts";
import { seededStart } from "../operations/seeded.ts";
import { formatMs, formatPrice, formatTime } from "../print/format.ts";
import { toJson } from "../print/json.ts";

const SECOND_MS = 1_000;

export const simulate = defineCommand({
  name: "simulate",
  summary: "Runs an agent in this process, without any service, and prints what it says.",
  details:
    "Under a host's limits, and charged as by a host; it gets no receipts. Its manifest is found as by run. Ends with what is left, also on Ctrl-C; " +
    "exit code 1 when a tick fails, does not come out the same when it is replayed, or the last state is not the same after it was resumed. " +
    "With --json a line for each line of its log, and the summary last.",
  options: {
    ticks: option.integer({
      fallback: 0,
      min: 0,
      max: 1_000_000_000,
      help: "How many; 0: until its budget ends, or Ctrl-C.",
    }),
    seed: option.integer({
      optional: true,
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      help:
        `Random bytes come from it, the clock begins at ${seededStart.toISOString().slice(0, 10)} and goes on by a second a tick, ` +
        "and each tick is charged as 1 ms: the same seed gives the same output.",
    }),
    verify: option.flag({ help: "Replay each tick in a fresh instance from the state before it, and compare." }),
    manifest: option.text({ optional: true, help: "Its manifest, a JSON file." }),
    budget: option.money({ fallback: MICROCENTS_PER_UNIT, help: "What it may spend, in units." }),
    price: option.money({ fallback: 1_000n, help: "What a second of run time costs, in units." }),
    everyMs: option.duration({
      optional: true,
      min: 0,
      max: 3_600_000,
      help: "Between two ticks. By default 1s as on a host, and none with --ticks or --seed.",
    }),
    tickTimeoutMs: option.duration({ fallback: 100, min: 5, max: 60_000, help: "Longest tick." }),
  },
  arguments: { module: argument.required("The agent's module, a .wasm file.") },
  run: async ({ options, arguments: { module }, output, surroundings: { terminal, signal } }) => {
    const { ticks, seed, everyMs, price, manifest, ...rest } = options;
    const files = readProgram({ modulePath: module, manifestPath: manifest });
    const paced = ticks === 0 && seed === undefined;
    const report = await run(
      {
        ...files,
        ...rest,
        ticks: ticks === 0 ? undefined : ticks,
        seed,
        pricePerSecond: price,
        everyMs: everyMs ?? (paced ? SECOND_MS : 0),
      },
      {
        signal,
        onLine: (line) => terminal.out(`${output.format === "json" ? toJson(line) : lineText(line)}\n`),
      },
    );
    output.result(report, () => reportText(report, { ...rest, price }));
    return exitCodeOf(report.end);
  },
});

function lineText({ tick, atUnixNs, line, discarded }: SimulatedLine): string {
  return `${formatTime(atUnixNs)}  ${tick}  ${discarded ? "[thrown away] " : ""}${line}`;
}

function reportText(
  { end, ticks, verified, budget, spent, elapsedNs, stateBytes, stateDigest, logsDropped }: SimulationReport,
  { verify, price }: { readonly verify: boolean; readonly price: bigint },
): readonly string[] {
  const dropped = logsDropped === 0 ? [] : [`${logsDropped} lines were dropped: too long, or too many in one tick`];
  return [
    `${ticks} ${ticks === 1n ? "tick" : "ticks"} in ${formatMs(Number(elapsedNs) / 1e6)} of run time${verify ? `, verified ${verified}` : ""}`,
    `budget ${formatMoney(budget)} left, ${formatMoney(spent)} spent at ${formatPrice(price)}`,
    `state ${stateBytes} bytes, sha256 ${stateDigest}`,
    ...dropped,
    endText(end),
  ];
}

function endText(end: SimulationEnd): string {
  switch (end.kind) {
    case "ticks":
      return "done; its last state is the same after it was resumed";
    case "budget":
      return "its budget has ended: the next tick costs more than is left";
    case "interrupted":
      return "interrupted";
    case "tick-failed":
      return `FAILED: tick ${end.tick} (${end.reason}): ${end.message}`;
    case "diverged":
      return `DIVERGED: tick ${end.tick}${end.call === undefined ? "" : `, call ${end.call}`}: ${end.message}`;
    case "replay-failed":
      return `NOT REPLAYED: tick ${end.tick} (${end.reason}): ${end.message}`;
    case "not-restored":
      return `NOT RESTORED: after agent_resume, agent_checkpoint gives another state: ${end.message}`;
  }
}

function exitCodeOf({ kind }: SimulationEnd): ExitCode {
  if (kind === "interrupted") return EXIT.interrupted;
  return kind === "ticks" || kind === "budget" ? EXIT.ok : EXIT.failed;
}
