import { formatMoney, type Microcents } from "@godwit/common/money";

/** Units a second, from microcents a second. */
export function formatPrice(pricePerSecond: Microcents | undefined): string {
  return pricePerSecond === undefined ? "-" : `${formatMoney(pricePerSecond)}/s`;
}

export function formatBudget(budget: Microcents | undefined): string {
  return budget === undefined ? "-" : formatMoney(budget);
}

/** "4.25 ms", "1.20 s". */
export function formatMs(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed(2)} ms` : `${(ms / 1_000).toFixed(2)} s`;
}

/** Wall time of nanoseconds since 1970, to the second; "-" for none. */
export function formatTime(unixNs: bigint): string {
  if (unixNs === 0n) return "-";
  return new Date(Number(unixNs / 1_000_000n)).toISOString().replace(/\.\d+Z$/, "Z");
}

const SHORTEST_ID = 8;

/** The fewest first characters, 8 or more, that tell these ids apart. */
export function shortIds(ids: readonly string[]): (id: string) => string {
  const longest = Math.max(SHORTEST_ID, ...ids.map((id) => id.length));
  for (let length = SHORTEST_ID; length < longest; length++) {
    if (new Set(ids.map((id) => id.slice(0, length))).size === new Set(ids).size) return (id) => id.slice(0, length);
  }
  return (id) => id;
}

/** Host ids are long and all begin alike: their ends tell them apart. */
export function shortHostId(hostId: string): string {
  return hostId.length > 12 ? `…${hostId.slice(-8)}` : hostId;
}
