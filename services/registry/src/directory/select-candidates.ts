// Which hosts could run an agent, best first (GH-7). Pure.

import type { HostView } from "./directory.ts";

export interface Wishes {
  /** Microcents a second; undefined: no limit. */
  readonly maxPricePerSecond: bigint | undefined;
  readonly requiredCapabilities: readonly string[];
  readonly excludedHostIds: readonly string[];
  readonly maxFailures: number;
  readonly limit: number;
}

/**
 * Within the price, with the capabilities, not excluded, not draining, with a live session, and at most `maxFailures`
 * failures in a row. Cheapest known price first, then fewest failures, then most recently seen. A price of 0 is unknown: it
 * is within every limit, since the host names its price when it answers an OFFER, but comes after every known one.
 */
export function selectCandidates(hosts: readonly HostView[], wishes: Wishes): readonly HostView[] {
  const excluded = new Set(wishes.excludedHostIds);
  return hosts
    .filter((host) => host.live && !host.draining && !excluded.has(host.info.hostId))
    .filter((host) => host.consecutiveFailures <= wishes.maxFailures)
    .filter(({ info }) => wishes.requiredCapabilities.every((needed) => info.capabilities.includes(needed)))
    .filter(({ info }) => wishes.maxPricePerSecond === undefined || info.pricePerSecond <= wishes.maxPricePerSecond)
    .sort(byPrice)
    .slice(0, wishes.limit);
}

function byPrice(a: HostView, b: HostView): number {
  const [priceA, priceB] = [a.info.pricePerSecond, b.info.pricePerSecond];
  if (priceA !== priceB) {
    if (priceA === 0n) return 1;
    if (priceB === 0n) return -1;
    return priceA < priceB ? -1 : 1;
  }
  if (a.consecutiveFailures !== b.consecutiveFailures) return a.consecutiveFailures - b.consecutiveFailures;
  if (a.lastSeenAtMs !== b.lastSeenAtMs) return b.lastSeenAtMs - a.lastSeenAtMs;
  return a.info.hostId < b.info.hostId ? -1 : 1;
}
