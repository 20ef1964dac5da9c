// Which fundings an agent has had. Whoever repeats one, because an answer was lost, names the same id; every checkpoint
// carries the newest ids, so that none of these is applied twice, whoever runs the agent and whatever it went on from.
//
// §11  Newest last, at most 64, each once. A funding between two checkpoints adds its id at the end; nothing but more than 64
//      takes one away.

import type { Header } from "./header.ts";
import { isFunding, isFundingId, type Receipt } from "./receipt.ts";

export const MAX_FUNDING_IDS = 64;

/** The ids that a checkpoint with these receipts carries, after one with `before`. */
export function fundingIdsAfter(before: readonly string[], receipts: readonly Receipt[]): readonly string[] {
  return [...before, ...fundingIdsOf(receipts)].slice(-MAX_FUNDING_IDS);
}

export function fundingIdsOf(receipts: readonly Receipt[]): readonly string[] {
  return receipts.filter(isFunding).map(({ fundingId }) => fundingId);
}

/** What is wrong with the ids of a header by itself. */
export function fundingIdsProblem({ fundingIds, receipts }: Header): string | undefined {
  if (fundingIds.length > MAX_FUNDING_IDS)
    return `it names ${fundingIds.length} fundings, more than ${MAX_FUNDING_IDS}`;
  if (!fundingIds.every(isFundingId)) return "the id of a funding is malformed";
  if (new Set(fundingIds).size < fundingIds.length) return "it names a funding twice";
  if (!endsWith(fundingIds, fundingIdsOf(receipts)))
    return "the fundings in its receipts are not the newest that it names";
  return undefined;
}

/** What is wrong with the ids of a header after an earlier one: the `next` one before it, or one `far` before. */
export function fundingsLost(before: Header, header: Header, distance: "next" | "far"): string | undefined {
  const known = before.fundingIds;
  const { fundingIds, receipts } = header;
  if (distance === "next") {
    const due = fundingIdsAfter(known, receipts);
    return sameList(fundingIds, due) ? undefined : "does not go on from the fundings that were named before it";
  }
  // Of the earlier ids the oldest may have made room; what is left of them comes first.
  const start = known.findIndex((id) => fundingIds.includes(id));
  const kept = start === -1 ? [] : known.slice(start);
  const madeRoom = kept.length === known.length || fundingIds.length === MAX_FUNDING_IDS;
  return madeRoom && sameList(fundingIds.slice(0, kept.length), kept)
    ? undefined
    : "forgets fundings that were named before";
}

function endsWith(list: readonly string[], end: readonly string[]): boolean {
  return end.length === 0 || sameList(list.slice(-end.length), end);
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index]);
}
