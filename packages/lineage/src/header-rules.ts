// What a header must say, whoever signs it. The same rules hold for one that is written and one that is read.
//
// EI-3   Except at tick 0 it names the checkpoint before and the base of its major. The base is of an older major; only
//        major 0 of the era in which the agent was created starts from its own tick 0.
// EI-10  The first checkpoint of a major follows its base with no tick between: its receipts begin at the tick after.
// I6     The receipts cover every tick after the checkpoint before, each charge comes off the budget, and the charges
//        follow from time and price to the last fraction. Only exhaustion, which takes what is left, need not. What came in
//        is a receipt, too, and its id is the newest of the fundings that the header names.

import { compareTerms, sameTerm } from "@godwit/common/lease";
import { isDigest } from "./digest.ts";
import { fundingIdsProblem } from "./fundings.ts";
import type { Header } from "./header.ts";
import { budgetBefore, isMoney, receiptProblem } from "./receipt.ts";
import { SIGNATURE_BYTES } from "./seal.ts";
import { firstOf, isI64, isU64 } from "./wire.ts";

export const MAX_RECEIPTS = 16;

/** Of a microcent: what a remainder counts. */
export const FRACTIONS = 1_000_000_000n;

export function headerProblem(header: Header): string | undefined {
  const problem = valuesProblem(header);
  if (problem !== undefined) return problem;
  if (header.tick === 0n) return firstProblem(header);
  return chainProblem(header) ?? receiptsProblem(header) ?? fundingIdsProblem(header);
}

/**
 * The remainder that the checkpoint before must have had for these charges to follow from time and price. `undefined`
 * when the budget was used up on the way: exhaustion takes what is left.
 */
export function remainderBefore({ receipts, remainder }: Header): bigint | undefined {
  if (receipts.some(({ budgetAfter }) => budgetAfter === 0n)) return undefined;
  let before = remainder;
  for (const { cost, elapsedNs, pricePerSecond } of receipts) before += cost * FRACTIONS - elapsedNs * pricePerSecond;
  return before;
}

function valuesProblem(header: Header): string | undefined {
  const { era, major, generation, tick, stateBytes, previous, base, grant, rolledBackFromTick } = header;
  return firstOf(
    !isDigest(header.agentId) && "the agent id is malformed",
    ![era, major, generation, tick, stateBytes, rolledBackFromTick ?? 0n].every(isU64) && "a number is out of range",
    !isDigest(header.moduleDigest) && "it names no module digest",
    !isDigest(header.manifestDigest) && "it names no manifest digest",
    !isDigest(header.stateDigest) && "it names no state digest",
    previous !== undefined && !isDigest(previous) && "the digest of the checkpoint before is malformed",
    base !== undefined && !isDigest(base.digest) && "the digest of its base is malformed",
    base !== undefined && ![base.era, base.major, base.tick].every(isU64) && "a number of its base is out of range",
    !isMoney(header.budget) && "the budget is out of range",
    !isMoney(header.pricePerSecond) && "the price is out of range",
    (header.remainder < 0n || header.remainder >= FRACTIONS) && "the remainder is a whole microcent or more",
    header.eventsDigest !== undefined && !isDigest(header.eventsDigest) && "the digest of its event log is malformed",
    !isI64(header.writtenAtNs) && "the time is out of range",
    header.receipts.length > MAX_RECEIPTS && `it has ${header.receipts.length} receipts, more than ${MAX_RECEIPTS}`,
    grant !== undefined && grant.signature.length !== SIGNATURE_BYTES && "the signature of its grant is malformed",
  );
}

/** Whether tick 0 may name a checkpoint before it is in its genesis, which custody.ts reads. */
function firstProblem({ major, base, grant, genesis, origin, ...header }: Header): string | undefined {
  return firstOf(
    major !== 0n && "tick 0 belongs to major 0",
    header.eventsDigest !== undefined && "tick 0 has no event log",
    base !== undefined && "tick 0 has no base",
    grant !== undefined && "tick 0 has no grant",
    genesis === undefined && "tick 0 has to carry the genesis",
    (origin !== "created" || header.rolledBackFromTick !== undefined) && "tick 0 is where an agent is created",
    header.receipts.length > 0 && "nothing is charged for tick 0",
    header.fundingIds.length > 0 && "nothing was paid in before tick 0",
    header.remainder !== 0n && "nothing is charged for tick 0, so there is no remainder",
  );
}

function chainProblem(header: Header): string | undefined {
  const { tick, previous, base, grant, genesis, origin, rolledBackFromTick } = header;
  if (base === undefined) return "it names no base";
  if (previous === undefined) return "it names no checkpoint before it";
  const recovered = origin === "recovered" || origin === "recovered-after-store-loss";
  return firstOf(
    grant === undefined && "it carries no grant",
    genesis !== undefined && "only tick 0 carries the genesis",
    base.tick >= tick && "its base is not before it",
    origin === "created"
      ? !(sameTerm(base, header) && header.major === 0n && base.tick === 0n) &&
          "an agent's first major starts from its tick 0"
      : compareTerms(base, header) >= 0 && "its base is not of an older major",
    origin === "recovered-after-store-loss" && base.era === header.era && "no store was lost since its base",
    rolledBackFromTick !== undefined && !recovered && "only a recovery rolls back",
    rolledBackFromTick !== undefined && rolledBackFromTick <= base.tick && "it rolls back to a tick that is not older",
  );
}

function receiptsProblem(header: Header): string | undefined {
  const { receipts, base, previous, tick, budget } = header;
  const [first] = receipts;
  if (first === undefined || base === undefined) return "it has no receipt of its ticks";

  let nextTick = first.firstTick;
  let left = budgetBefore(first);
  if (!isMoney(left)) return "the budget before its receipts is out of range";
  for (const receipt of receipts) {
    const problem = receiptProblem(receipt);
    if (problem !== undefined) return `of a receipt, ${problem}`;
    if (receipt.firstTick !== nextTick) return "its receipts leave out ticks or name them twice";
    if (budgetBefore(receipt) !== left) return "its receipts do not come off the budget";
    left = receipt.budgetAfter;
    nextTick = receipt.lastTick + 1n;
  }

  const before = remainderBefore(header);
  return firstOf(
    nextTick !== tick + 1n && "its receipts do not end at its tick",
    left !== budget && "its receipts do not leave its budget",
    first.firstTick <= base.tick && "its receipts begin before its base",
    (first.firstTick === base.tick + 1n) !== (previous === base.digest) &&
      "its receipts do not begin at the tick after the checkpoint before it",
    before !== undefined &&
      (before < 0n || before >= FRACTIONS) &&
      "what it charges does not follow from its times and prices",
  );
}
