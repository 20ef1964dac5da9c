import type { Microcents } from "./money.ts";

const NS_PER_SECOND = 1_000_000_000n;

export interface TickTime {
  /** How long the tick ran. */
  readonly elapsedNs: bigint;
  readonly pricePerSecond: Microcents;
  /** What the charge before left over, in 10^-9 microcents; 0 for the first. */
  readonly remainder: bigint;
}

export interface TickCost {
  readonly cost: Microcents;
  /** To be carried into the next charge: 10^-9 microcents, less than one microcent. */
  readonly remainder: bigint;
}

/**
 * What a tick costs: nanoseconds * price / 10^9, exactly. What does not make a whole microcent is carried, so however
 * a time is cut into ticks, the costs and the last remainder add up to the same.
 */
export function tickCost({ elapsedNs, pricePerSecond, remainder }: TickTime): TickCost {
  if (elapsedNs < 0n || pricePerSecond < 0n) throw new RangeError("time and price are never negative");
  if (remainder < 0n || remainder >= NS_PER_SECOND) throw new RangeError("a remainder is less than one microcent");
  const total = elapsedNs * pricePerSecond + remainder;
  return { cost: total / NS_PER_SECOND, remainder: total % NS_PER_SECOND };
}
