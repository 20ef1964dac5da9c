// Money that comes in for an agent.
//
// §11  A funding takes a number, and is applied once along the lineage, whoever runs the agent: who repeats it names the same
//      id. It may be given to any holder that can recover an agent whose budget has ended.

import { Fault, isFault } from "@godwit/common/fault";
import { MAX_MICROCENTS, type Microcents } from "@godwit/common/money";
import { type Checkpoint, isFunding, isFundingId, readReceipt } from "@godwit/lineage";
import { fund, type Purse } from "./purse.ts";

export interface Funding {
  /** 16 bytes in hex: whoever pays has made it. */
  readonly id: string;
  readonly amount: Microcents;
}

export interface Funded {
  /** The number that it took; `undefined`: it was applied, so long ago that no receipt here tells when. */
  readonly tick: bigint | undefined;
  /** It had been applied before, and was not again. */
  readonly repeated: boolean;
}

/** An agent's money as it stands: what is committed, and what came after that. */
export interface Accounts {
  readonly latest: Checkpoint;
  readonly purse: Purse;
  /** Encoded, newest last: committed ones. */
  readonly wallet: readonly Uint8Array[];
}

/** Throws Fault INVALID_ARGUMENT or BUDGET_INVALID for what is no funding. */
export function checkFunding({ id, amount }: Funding): void {
  if (!isFundingId(id)) {
    throw new Fault({ code: "INVALID_ARGUMENT", field: "funding id", reason: "give 16 random bytes" });
  }
  if (amount < 1n || amount > MAX_MICROCENTS) {
    throw new Fault({ code: "BUDGET_INVALID", reason: `give 1 to ${MAX_MICROCENTS} microcents` });
  }
}

/** What it comes to: the purse after it, or the same one when it was applied before. Throws Fault BUDGET_INVALID. */
export function takeIn(
  funding: Funding,
  { latest, purse, wallet }: Accounts,
  at: { readonly hostId: string; readonly tick: bigint; readonly pricePerSecond: Microcents },
): Funded & { readonly purse: Purse } {
  const { id, amount } = funding;
  const pending = purse.receipts.find((receipt) => receipt.fundingId === id);
  if (pending !== undefined) return { tick: pending.lastTick, repeated: true, purse };
  if (latest.header.fundingIds.includes(id)) return { tick: tickOfFunding(id, wallet), repeated: true, purse };
  const after = fund(purse, { ...at, funded: amount, fundingId: id });
  if (after === undefined) {
    const reason = `it would be above ${MAX_MICROCENTS} microcents: give at most ${MAX_MICROCENTS - purse.budget}`;
    throw new Fault({ code: "BUDGET_INVALID", reason });
  }
  return { tick: at.tick, repeated: false, purse: after };
}

/** The number that a funding took, when a receipt of the wallet tells. */
export function tickOfFunding(id: string, wallet: readonly Uint8Array[]): bigint | undefined {
  return wallet.map(readReceipt).find(({ fundingId }) => fundingId === id)?.lastTick;
}

/** Whether a funding is in the purse and not on the disk yet. */
export function isFundingPending({ receipts }: Purse): boolean {
  return receipts.some(isFunding);
}

/** Fundings of an agent that is being recovered for their sake: they wait for it to stand, and are applied before it ticks. */
export class AwaitedFundings {
  readonly #waiting = new Map<string, { readonly funding: Funding; readonly funded: PromiseWithResolvers<Funded> }>();

  get size(): number {
    return this.#waiting.size;
  }

  /** Settles with what becomes of it. The same id again is the same funding. */
  add(funding: Funding): Promise<Funded> {
    const known = this.#waiting.get(funding.id);
    if (known !== undefined) return known.funded.promise;
    const funded = Promise.withResolvers<Funded>();
    funded.promise.catch(() => {}); // its sender may have gone
    this.#waiting.set(funding.id, { funding, funded });
    return funded.promise;
  }

  /** One after the other. What is refused is its sender's to hear; everything else that is thrown is the caller's, too. */
  async settle(apply: (funding: Funding) => Promise<Funded>): Promise<void> {
    for (const [id, { funding, funded }] of this.#waiting) {
      this.#waiting.delete(id);
      try {
        funded.resolve(await apply(funding));
      } catch (cause) {
        funded.reject(cause);
        if (!isFault(cause)) throw cause;
      }
    }
  }

  /** None of them will be applied here. */
  refuse(fault: Fault): void {
    for (const { funded } of this.#waiting.values()) funded.reject(fault);
    this.#waiting.clear();
  }
}
