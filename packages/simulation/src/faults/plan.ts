// What goes wrong in a run, drawn from its seed before it begins: what, when, where and for how long. A plan with some of its
// faults left out is a plan too, and what is left in it happens as before, which is how a failing run is made smaller.

import type { Chance } from "../time/chance.ts";

export const FAULT_KINDS = [
  "crash-host",
  "crash-host-at-point",
  "crash-host-at-commit",
  "stop-host",
  "pause-host",
  "stall-host",
  "suspend-host",
  "crash-registry",
  "crash-registry-at-point",
  "pause-registry",
  "all-registries-gone",
  "observer-cut-off",
  "store-cut-off",
  "partition-registry",
  "partition-hosts",
  "isolate-host",
  "one-way",
  "flapping",
  "half-open",
  "weather",
  "slow-store",
  "duplicates",
  "cut-stream",
  "wall-jump",
  "disk-full",
  "disk-error",
  "drain",
  "concurrent-moves",
] as const;

/** GA-6: the store forgets, or another one is in its place. */
export const STORE_LOSSES = [
  "store-wiped",
  "store-rolled-back",
  "store-replaced",
  "store-restarted",
  // What it forgets is who took over from a host that comes back, while those who know are away.
  "failover-forgotten",
] as const;

export type StoreLossKind = (typeof STORE_LOSSES)[number];
export type FaultKind = (typeof FAULT_KINDS)[number] | StoreLossKind;
export const ALL_KINDS: readonly FaultKind[] = [...FAULT_KINDS, ...STORE_LOSSES];

export interface Fault {
  /** Its place in the plan; its own chance depends on it and the seed only. */
  readonly id: number;
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly forMs: number;
}

export interface PlanRules {
  readonly firstMs: number;
  readonly lastMs: number;
  /** Whether the store may forget. */
  readonly losses: boolean;
  /** Only of these; unset: a few are drawn for each run. */
  readonly only?: readonly FaultKind[] | undefined;
}

/** As long as it takes to tick on, to lose a lease, and, most of all, about as long as a lease and its grace are. */
function drawLengthMs(chance: Chance): number {
  if (chance.happens(0.25)) return chance.between(9_000, 14_000);
  return chance.happens(0.6) ? chance.between(100, 6_000) : chance.between(6_000, 30_000);
}

export function drawFaults(chance: Chance, { firstMs, lastMs, losses, only }: PlanRules): readonly Fault[] {
  const perMinute = chance.pick([4, 8, 15, 25]);
  const count = Math.max(4, Math.round((perMinute * (lastMs - firstMs)) / 60_000));
  // A run has a few kinds often rather than all of them once: that is how they meet.
  // One of them is sure to fire, whatever the cluster does.
  const kinds: FaultKind[] = Array.from({ length: chance.whole(4, 9) }, () => chance.pick(FAULT_KINDS));
  if (losses && chance.happens(0.5)) kinds.push(chance.happens(0.3) ? "failover-forgotten" : chance.pick(STORE_LOSSES));
  kinds.push(chance.pick(["crash-host", "pause-host", "isolate-host", "crash-registry"]));
  return Array.from({ length: count }, (_, id) => ({
    id,
    kind: chance.pick(only ?? kinds),
    atMs: chance.between(firstMs, lastMs),
    forMs: drawLengthMs(chance),
  })).sort((a, b) => a.atMs - b.atMs);
}
