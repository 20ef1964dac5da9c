// Which hosts could run an agent, best first (GH-7). Pure, in two steps: the first goes through all hosts, of which is not
// known when they were seen; the second puts those few in order of which it was asked.

import type { HostView } from "./directory.ts";
import type { KnownHost } from "./known-hosts.ts";

export interface Wishes {
  /** Microcents a second; undefined: no limit. */
  readonly maxPricePerSecond: bigint | undefined;
  readonly requiredCapabilities: readonly string[];
  readonly excludedHostIds: readonly string[];
  readonly maxFailures: number;
  /** Below MAX_SHORTLIST. */
  readonly limit: number;
}

/** Of how many hosts it is asked when they were seen. */
export const MAX_SHORTLIST = 256;

/**
 * Within the price, with the capabilities, not excluded, not draining, with a live session, and at most `maxFailures`
 * failures in a row: the best `limit` of them, and with those all that tie with the last one in price and failures. A price
 * of 0 is unknown: it is within every limit, since the host names its price when it answers an OFFER, but comes after every
 * known one.
 *
 * There are at most MAX_SHORTLIST: where more tie, "most recently seen" is said of so many of them only, beginning at place
 * `turn` among the hosts of their price. Another turn, and others are among them.
 *
 * `byPrice`: cheapest known price first. `failuresOf`: in a row, as they count now.
 */
export function shortlist(
  byPrice: readonly KnownHost[],
  wishes: Wishes,
  { turn, failuresOf }: { readonly turn: number; readonly failuresOf: (host: KnownHost) => number },
): readonly KnownHost[] {
  const { requiredCapabilities, maxFailures, maxPricePerSecond, limit } = wishes;
  const excluded = new Set(wishes.excludedHostIds);
  const found: KnownHost[] = [];
  for (let begin = 0, end = 0; begin < byPrice.length && found.length < limit; begin = end) {
    end = endOfPrice(byPrice, begin);
    const price = byPrice[begin]?.info.pricePerSecond ?? 0n;
    if (maxPricePerSecond !== undefined && price > maxPricePerSecond) continue;

    const byFailures = new Map<number, KnownHost[]>();
    const size = end - begin;
    for (let at = 0; at < size; at++) {
      const host = byPrice[begin + ((turn + at) % size)] as KnownHost;
      if (!host.live || host.draining || excluded.has(host.hostId)) continue;
      const failures = failuresOf(host);
      if (failures > maxFailures) continue;
      if (!requiredCapabilities.every((needed) => host.info.capabilities.includes(needed))) continue;
      const equals = byFailures.get(failures) ?? [];
      byFailures.set(failures, equals);
      equals.push(host);
      if (failures === 0 && found.length + equals.length >= MAX_SHORTLIST) break; // none of this price is better
    }
    for (const [, equals] of [...byFailures].sort(([a], [b]) => a - b)) {
      if (found.length < limit) found.push(...equals.slice(0, MAX_SHORTLIST - found.length));
    }
  }
  return found;
}

/** Cheapest known price first, then fewest failures, then most recently seen. */
export function bestOf(hosts: readonly HostView[], limit: number): readonly HostView[] {
  return hosts.toSorted(byMerit).slice(0, limit);
}

function endOfPrice(byPrice: readonly KnownHost[], begin: number): number {
  const price = byPrice[begin]?.info.pricePerSecond;
  let end = begin + 1;
  while (end < byPrice.length && byPrice[end]?.info.pricePerSecond === price) end++;
  return end;
}

function byMerit(a: HostView, b: HostView): number {
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
