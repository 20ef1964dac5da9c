// When a host runs the ticks of its agents again, and what follows when one comes out differently. Pure.

/** `periodic`: this host's own agents; `on-migrate`: agents that come in; `full`: both. */
export type ReplayMode = "off" | "periodic" | "on-migrate" | "full";
/** What is done about an agent whose ticks came out differently here. */
export type DivergencePolicy = "log" | "pause" | "intensify" | "migrate";

export const replayModes = ["off", "periodic", "on-migrate", "full"] as const satisfies readonly ReplayMode[];
export const divergencePolicies = [
  "log",
  "pause",
  "intensify",
  "migrate",
] as const satisfies readonly DivergencePolicy[];

export interface ReplayRules {
  readonly mode: ReplayMode;
  /** Committed ticks after which an agent is due; 0: never. */
  readonly verifyIntervalTicks: number;
  readonly onDivergence: DivergencePolicy;
}

/** Checkpoints that have to come out right before an agent that is watched closely is let go. */
export const cleanRunsToRelax = 16;

export const verifiesOwn = ({ mode, verifyIntervalTicks }: ReplayRules): boolean =>
  (mode === "periodic" || mode === "full") && verifyIntervalTicks > 0;

export const verifiesIncoming = (mode: ReplayMode): boolean => mode === "on-migrate" || mode === "full";

/** `closeRuns`: how often the agent is still to be looked at after every checkpoint. */
export function isDue(unverifiedTicks: number, closeRuns: number, { verifyIntervalTicks }: ReplayRules): boolean {
  return unverifiedTicks >= (closeRuns > 0 ? 1 : verifyIntervalTicks);
}

export function closeRunsAfter(outcome: "clean" | "diverged", closeRuns: number, policy: DivergencePolicy): number {
  if (outcome === "clean") return Math.max(0, closeRuns - 1);
  return policy === "intensify" ? cleanRunsToRelax : closeRuns;
}
