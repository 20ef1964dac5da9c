// An agent's money while it runs here, and the receipts for it. Pure: each charge gives a new purse.
//
// I6  What comes in is a receipt of its own, under a number of its own. Every charge comes off the budget, the remainder is carried, and the receipts cover every tick since the checkpoint
//     before without a gap. Only exhaustion takes what is left, whatever the tick would have cost (protocol §11).

import { MAX_MICROCENTS, type Microcents, tickCost } from "@godwit/common/money";
import { type FundingReceipt, isFunding, type Receipt } from "@godwit/lineage";

export interface Purse {
  readonly budget: Microcents;
  /** Charged, but not a whole microcent yet: 10^-9 microcents. */
  readonly remainder: bigint;
  /** Since the newest checkpoint; one for each run of ticks at one price, and one for each funding. */
  readonly receipts: readonly Receipt[];
}

export interface TickCharge {
  readonly hostId: string;
  readonly tick: bigint;
  readonly elapsedNs: bigint;
  readonly pricePerSecond: Microcents;
}

/** The purse after the tick, or `undefined` when it costs more than is left: then the tick is thrown away. */
export function charge(purse: Purse, tick: TickCharge): Purse | undefined {
  const { cost, remainder } = tickCost({ ...tick, remainder: purse.remainder });
  if (cost > purse.budget) return undefined;
  const budget = purse.budget - cost;
  return { budget, remainder, receipts: receiptsWith(purse.receipts, { ...tick, cost, budgetAfter: budget }) };
}

/** Exhaustion: takes a tick of its own and what is left. */
export function exhaust(purse: Purse, tick: TickCharge): Purse {
  const receipt = { ...tick, cost: purse.budget, budgetAfter: 0n };
  return { budget: 0n, remainder: 0n, receipts: receiptsWith(purse.receipts, receipt) };
}

export type Payment = Pick<FundingReceipt, "hostId" | "pricePerSecond" | "funded" | "fundingId"> & {
  readonly tick: bigint;
};

/** Money that came in; `undefined` when there would be more than there may be. What is charged already stays charged. */
export function fund(purse: Purse, { tick, ...payment }: Payment): Purse | undefined {
  const budget = purse.budget + payment.funded;
  if (budget > MAX_MICROCENTS) return undefined;
  const receipt = { ...payment, firstTick: tick, lastTick: tick, elapsedNs: 0n, cost: 0n, budgetAfter: budget };
  return { ...purse, budget, receipts: [...purse.receipts, receipt] };
}

function receiptsWith(
  receipts: readonly Receipt[],
  { tick, ...charged }: TickCharge & { readonly cost: Microcents; readonly budgetAfter: Microcents },
): readonly Receipt[] {
  const last = receipts.at(-1);
  if (last === undefined || isFunding(last) || last.pricePerSecond !== charged.pricePerSecond) {
    return [...receipts, { ...charged, firstTick: tick, lastTick: tick }];
  }
  const longer: Receipt = {
    ...last,
    lastTick: tick,
    elapsedNs: last.elapsedNs + charged.elapsedNs,
    cost: last.cost + charged.cost,
    budgetAfter: charged.budgetAfter,
  };
  return [...receipts.slice(0, -1), longer];
}
