// What a run of many seeds came to.

import { ALL_KINDS, type FaultKind } from "../faults/plan.ts";
import type { SeedReport } from "../run-seed.ts";

export class Totals {
  readonly beganAtMs: number;
  readonly fired = new Map<FaultKind, number>();
  readonly failed: number[] = [];
  seeds = 0;
  /** Seeds in which too little happened for them to count. */
  tooLittle = 0;
  simulatedMs = 0;
  migrations = 0;
  majors = 0;
  ticks = 0;
  fundings = 0;
  exhaustions = 0;
  discarded = 0;
  replayed = 0;
  checkpoints = 0;
  recoveries = 0;
  reasserted = 0;
  lostTicks = 0;
  settledMostMs = 0;

  constructor(beganAtMs: number) {
    this.beganAtMs = beganAtMs;
  }

  add(report: SeedReport): void {
    this.seeds++;
    if (hasFailed(report)) this.failed.push(report.seed);
    else if (!report.enough) this.tooLittle++;
    this.simulatedMs += report.simulatedMs;
    this.migrations += report.migrations;
    const { majors, ticks, fundings, exhaustions, discarded, checkpoints, recoveries, reasserted, lostTicks } =
      report.counts;
    this.replayed += report.counts.replayed;
    this.reasserted += reasserted;
    this.majors += majors;
    this.ticks += ticks;
    this.fundings += fundings;
    this.exhaustions += exhaustions;
    this.discarded += discarded;
    this.checkpoints += checkpoints;
    this.recoveries += recoveries;
    this.lostTicks += lostTicks;
    this.settledMostMs = Math.max(this.settledMostMs, report.settledMs);
    for (const kind of ALL_KINDS) {
      const count = report.fired[kind] ?? 0;
      if (count > 0) this.fired.set(kind, (this.fired.get(kind) ?? 0) + count);
    }
  }
}

export function hasFailed({ violations, bugs }: SeedReport): boolean {
  return violations.length > 0 || bugs.length > 0;
}

const MOST_LINES = 5;

/** Nothing for a seed that found nothing. */
export function seedLines(report: SeedReport): readonly string[] {
  if (!hasFailed(report)) return [];
  const { seed, violations, bugs } = report;
  return [
    `✗ seed ${seed}: pnpm sim --seed ${seed} --trace`,
    ...violations
      .slice(0, MOST_LINES)
      .map(
        ({ rule, atMs, agentId, what }) =>
          `    ${rule} at ${(atMs / 1_000).toFixed(3)} s, agent ${agentId.slice(0, 8)}: ${what}`,
      ),
    ...bugs.slice(0, MOST_LINES).map((bug) => `    ${bug.split("\n").slice(0, 6).join("\n      ")}`),
  ];
}

export function summaryLines(totals: Totals, nowMs: number): readonly string[] {
  const minutes = totals.simulatedMs / 60_000;
  const realMinutes = Math.max(1e-9, (nowMs - totals.beganAtMs) / 60_000);
  const faults = ALL_KINDS.map((kind) => [kind, totals.fired.get(kind) ?? 0] as const);
  const total = faults.reduce((sum, [, count]) => sum + count, 0);
  const width = Math.max(...ALL_KINDS.map((kind) => kind.length));
  return [
    "",
    `${total} faults fired:`,
    ...faults.map(([kind, count]) => `  ${kind.padEnd(width)}  ${count}`),
    "",
    `${totals.ticks} ticks, ${totals.discarded} thrown away, ${totals.replayed} run again and the same, ${totals.lostTicks} lost with their host; ${totals.checkpoints} checkpoints`,
    `${totals.fundings} fundings, ${totals.exhaustions} budgets that ended`,
    `${totals.migrations} migrations, ${totals.majors} majors given, ${totals.recoveries} recoveries, ${totals.reasserted} brought back after a loss of the store`,
    `slowest to tick again: ${(totals.settledMostMs / 1_000).toFixed(1)} s after the faults`,
    `${minutes.toFixed(1)} simulated minutes, ${(minutes / realMinutes).toFixed(0)} per real minute`,
    `${totals.seeds} seeds, ${totals.tooLittle} of them with too little to count, ${totals.failed.length} failed` +
      (totals.failed.length === 0 ? "" : `: ${totals.failed.slice(0, 20).join(", ")}`),
  ];
}
