// What a simulated minute costs: a cluster of 5 hosts with 20 agents that tick each second, write a checkpoint every 5 s, are
// replicated and moved about, with every commit checked. Seeds run in as many processes as the simulator is given.
//
// The floor is a timeline in which as much happens and nothing is done.

import { availableParallelism } from "node:os";
import { systemClock } from "@godwit/common/clock";
import { option } from "@godwit/common/config";
import { runMany, type SeedReport, Timeline } from "@godwit/simulation";
import { figure } from "./figures.ts";
import { type Results, type Run, runBench } from "./program.ts";

const options = {
  minutes: option.integer({ fallback: 20, min: 1, max: 10_000, help: "Simulated minutes of each process." }),
  workers: option.integer({ fallback: availableParallelism(), min: 1, max: 256, help: "Processes at a time." }),
} as const;

const MOST_MS_PER_MINUTE = 60_000 / 300;

await runBench({
  name: "sim",
  summary: "Measures what a simulated minute of a cluster of 5 hosts with 20 agents costs.",
  options,
  run,
});

async function run({ options: { minutes, workers }, signal, say }: Run<typeof options>): Promise<Results> {
  say(`${workers} processes, ${minutes} simulated minutes each`);
  const beganAtMs = systemClock.monotonicMs();
  const reports: SeedReport[] = [];
  await runMany({
    first: 1,
    count: workers,
    workers,
    forMs: undefined,
    fixed: {
      shape: { hosts: 5, registries: 2, agents: 20, tickEveryMs: 1_000 },
      calm: true,
      lengthMs: minutes * 60_000,
    },
    clock: systemClock,
    signal,
    onReport: (report) => void reports.push(report),
  });
  signal.throwIfAborted();
  const tookMs = systemClock.monotonicMs() - beganAtMs;
  for (const { seed, violations, bugs } of reports) {
    if (violations.length + bugs.length > 0) throw new Error(`seed ${seed} has failed: run pnpm sim --seed ${seed}`);
  }
  const simulated = sum(reports, ({ simulatedMs }) => simulatedMs) / 60_000;
  const perMinute = (of: (report: SeedReport) => number) => Math.round(sum(reports, of) / simulated);
  const steps = perMinute((report) => report.steps);

  say("the floor");
  const floor = await nothingMs(steps);
  const value = tookMs / simulated;
  const name = "a simulated minute, 5 hosts, 20 agents";
  return {
    figures: [figure({ name, unit: "ms", value, floor, aim: { of: "value", atMost: MOST_MS_PER_MINUTE } })],
    notes: [
      `${(60_000 / value).toFixed(0)} simulated minutes per real minute in ${workers} processes, their start included`,
      `a simulated minute has ${steps} happenings and ${perMinute(({ counts }) => counts.ticks)} ticks`,
    ],
  };
}

async function nothingMs(steps: number): Promise<number> {
  const timeline = new Timeline();
  for (let step = 0; step < steps; step++) timeline.at(step, () => {});
  const beganAtMs = systemClock.monotonicMs();
  await timeline.runUntil(() => timeline.steps === steps);
  return systemClock.monotonicMs() - beganAtMs;
}

function sum(reports: readonly SeedReport[], of: (report: SeedReport) => number): number {
  return reports.reduce((total, report) => total + of(report), 0);
}
