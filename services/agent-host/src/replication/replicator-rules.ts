import type { AvoidanceRules } from "./avoidance.ts";

export interface ReplicatorRules {
  /** Hosts that keep a copy of each agent, this one not counted. */
  readonly replicas: number;
  readonly maxPushes: number;
  readonly maxPushesPerHost: number;
  readonly connectMs: number;
  /** How long a holder may be silent. */
  readonly stallMs: number;
  /** For one push, whatever its size. */
  readonly pushMs: number;
  readonly avoidance: AvoidanceRules;
  /** How often what could not be placed is looked at again. */
  readonly lookEveryMs: number;
  /** How often the registry is asked which hosts there are. */
  readonly hostsEveryMs: number;
  /** How long holders are told that an agent is gone for good. */
  readonly terminationMs: number;
  /** How long `stop` waits for what was committed last to arrive. */
  readonly flushMs: number;
}

export const DEFAULT_REPLICATOR_RULES: ReplicatorRules = {
  replicas: 1,
  maxPushes: 8,
  maxPushesPerHost: 4,
  connectMs: 5_000,
  stallMs: 10_000,
  pushMs: 120_000,
  avoidance: { firstMs: 1_000, longestMs: 30_000 },
  lookEveryMs: 500,
  hostsEveryMs: 5_000,
  terminationMs: 600_000,
  flushMs: 2_000,
};
