// An agent's wallet: the newest receipts that it can read, newest last, as they travel with a checkpoint. Few of them are in
// a header that the receiver has, so the rest is believed only as far as it agrees with those that are.
//
// I6, T-42  No tick is left out or charged twice, each receipt goes on from the budget that the one before left, and belongs
//           to the host that owned the agent then. What the checkpoint and its bases charged is in it word for word. It begins
//           at the first tick, or is as long as a wallet may be.

import { Fault } from "@godwit/common/fault";
import type { Header } from "./header.ts";
import { FRACTIONS } from "./header-rules.ts";
import { budgetBefore, encodeReceipt, isFunding, type Receipt, readReceipt } from "./receipt.ts";

export const MAX_WALLET_RECEIPTS = 256;

/** A checkpoint of the lineage, and the host that owned its major. */
export interface WalletOwner {
  readonly header: Header;
  readonly hostId: string;
}

/**
 * The receipts of a wallet. `owners`: the checkpoint that it came with, the base of that, and so on, newest first and
 * verified; they are asked for only as far as the wallet reaches. Throws Fault CHECKPOINT_INVALID.
 */
export function checkWallet(encoded: readonly Uint8Array[], owners: Iterable<WalletOwner>): readonly Receipt[] {
  if (encoded.length > MAX_WALLET_RECEIPTS) {
    throw complain(`it has ${encoded.length} receipts, more than ${MAX_WALLET_RECEIPTS}`);
  }
  const receipts = encoded.map(readReceipt);
  const problem = gapProblem(receipts) ?? ownersProblem(receipts, owners);
  if (problem !== undefined) throw complain(problem);
  return receipts;
}

function gapProblem(receipts: readonly Receipt[]): string | undefined {
  let before: Receipt | undefined;
  for (const receipt of receipts) {
    if (before !== undefined && receipt.firstTick !== before.lastTick + 1n) {
      return `between ticks ${before.lastTick} and ${receipt.firstTick} ticks are left out, or charged twice`;
    }
    if (before !== undefined && budgetBefore(receipt) !== before.budgetAfter) {
      return `at tick ${receipt.firstTick} it does not go on from the budget that was left`;
    }
    if (!isPriced(receipt)) return `what tick ${receipt.lastTick} cost does not follow from its time and price`;
    before = receipt;
  }
  const [first] = receipts;
  const isCut = first !== undefined && first.firstTick !== 1n;
  return isCut && receipts.length < MAX_WALLET_RECEIPTS ? "its oldest receipts are missing" : undefined;
}

/** To less than a microcent: the remainders are in no receipt. Exhaustion takes what is left, whatever it would have cost. */
function isPriced(receipt: Receipt): boolean {
  if (isFunding(receipt) || receipt.budgetAfter === 0n) return true;
  const off = receipt.cost * FRACTIONS - receipt.elapsedNs * receipt.pricePerSecond;
  return off > -FRACTIONS && off < FRACTIONS;
}

function ownersProblem(receipts: readonly Receipt[], owners: Iterable<WalletOwner>): string | undefined {
  const [first] = receipts;
  const rest = [...receipts];
  let above: WalletOwner | undefined;
  for (const owner of owners) {
    const { tick, budget, receipts: signed } = owner.header;
    if (first === undefined) return tick === 0n ? undefined : "it is empty, though the agent has ticked";
    while (above !== undefined) {
      const last = rest.at(-1);
      if (last === undefined || last.firstTick <= tick) break;
      if (last.hostId !== above.hostId)
        return `tick ${last.lastTick} is charged by a host that did not own the agent then`;
      rest.pop();
    }
    const last = rest.at(-1);
    if (last === undefined) {
      const goesOn = first.firstTick !== tick + 1n || budgetBefore(first) === budget;
      return goesOn ? undefined : `it does not go on from the budget of tick ${tick}`;
    }
    if (last.lastTick !== tick) return `no receipt of it ends at tick ${tick}, where a checkpoint is`;
    const known = signed.slice(-rest.length);
    const claimed = rest.slice(rest.length - known.length);
    if (!known.every((receipt, index) => isSame(receipt, claimed[index]))) {
      return `its receipts up to tick ${tick} are not those in the checkpoint`;
    }
    above = owner;
  }
  return rest.length === 0 ? undefined : "it charges for ticks before the first";
}

function isSame(a: Receipt, b: Receipt | undefined): boolean {
  return b !== undefined && Buffer.compare(encodeReceipt(a), encodeReceipt(b)) === 0;
}

function complain(problem: string): Fault {
  return new Fault({ code: "CHECKPOINT_INVALID", reason: `of the receipts that came with it, ${problem}` });
}
