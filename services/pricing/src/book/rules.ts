import type { BookedPrice, PriceAnswer, PriceStatement } from "./price.ts";

// What the book takes, and what it does not.
//
// PB-1  Nobody names another's price: a statement is signed by the host's key. An answer to a scan is not signed, so once a host
//       has signed an address, only an answer from that address is booked.
// PB-2  A statement that is not newer than the one known, by the host's own clock, is not taken; the very same one again is
//       no offence, since an answer may have been lost.
// PB-3  A statement from the future is not taken: it would lock out what the host says once its clock is right.
// PB-4  The history has one entry for each change of a price, not for each time that it was seen.
// PB-5  What was heard earlier does not replace what was heard later: a scan ends long after its first answer.

export const MAX_AHEAD_NS = 3_600n * 1_000_000_000n;

export type Taking =
  | { readonly kind: "taken"; readonly price: BookedPrice; readonly changed: boolean }
  | { readonly kind: "same" }
  | { readonly kind: "stale"; readonly knownAtUnixNs: bigint }
  | { readonly kind: "ahead" }
  | { readonly kind: "elsewhere"; readonly signedAddress: string };

export function takeStatement(known: BookedPrice | undefined, statement: PriceStatement, nowUnixNs: bigint): Taking {
  const { hostId, pricePerSecond, grpcAddress, statedAtUnixNs } = statement;
  const knownAtUnixNs = known?.statedAtUnixNs;
  if (known !== undefined && knownAtUnixNs !== undefined && statedAtUnixNs <= knownAtUnixNs) {
    const same =
      statedAtUnixNs === knownAtUnixNs && known.pricePerSecond === pricePerSecond && known.grpcAddress === grpcAddress;
    return same ? { kind: "same" } : { kind: "stale", knownAtUnixNs }; // PB-2
  }
  if (statedAtUnixNs > nowUnixNs + MAX_AHEAD_NS) return { kind: "ahead" }; // PB-3
  const price = { hostId, pricePerSecond, grpcAddress, seenAtUnixNs: nowUnixNs, statedAtUnixNs };
  return { kind: "taken", price, changed: known?.pricePerSecond !== pricePerSecond };
}

export function takeAnswer(known: BookedPrice | undefined, answer: PriceAnswer): Taking {
  const { hostId, pricePerSecond, grpcAddress, seenAtUnixNs } = answer;
  const statedAtUnixNs = known?.statedAtUnixNs;
  if (known !== undefined && statedAtUnixNs !== undefined && known.grpcAddress !== grpcAddress) {
    return { kind: "elsewhere", signedAddress: known.grpcAddress }; // PB-1
  }
  const price = { hostId, pricePerSecond, grpcAddress, seenAtUnixNs, statedAtUnixNs };
  return { kind: "taken", price, changed: known?.pricePerSecond !== pricePerSecond };
}
