import { describe, expect, test } from "vitest";
import { type Checkpoint, checkWallet, encodeReceipt, type Receipt, type WalletOwner } from "./index.ts";
import { ada, bob, cleo, createAgent, type Host, next, travelled } from "./testing/story.ts";
import { MAX_WALLET_RECEIPTS } from "./wallet.ts";

const { created, adaTicks, bobFirst, cleoFirst, cleoLast } = travelled();
const paid = next(cleoLast, { host: cleo, funding: { funded: 500n, fundingId: "ab".repeat(16) } });
const last = next(paid, { host: cleo });
const travelledReceipts = receiptsOf(...adaTicks, bobFirst, cleoFirst, cleoLast, paid, last);
const owners = [owner(last, cleo), owner(bobFirst, bob), owner(adaTicks[1], ada), owner(created, ada)];

describe("a wallet that came with a checkpoint", () => {
  test("T-42: is taken when no tick is left out, none is charged twice, and each was its owner's to charge", () => {
    expect(check(travelledReceipts)).toEqual(travelledReceipts);
    expect(checkWallet([], [owner(created, ada)])).toEqual([]);
  });

  const wrong = (index: number, changes: Partial<Receipt>) =>
    travelledReceipts.map((receipt, at) => (at === index ? { ...receipt, ...changes } : receipt));
  test.for<[string, readonly Receipt[], string]>([
    ["nothing of it", [], "it is empty"],
    ["no newest one", travelledReceipts.slice(0, -1), "ends at tick 36"],
    ["no oldest one", travelledReceipts.slice(1), "its oldest receipts are missing"],
    ["a gap", travelledReceipts.toSpliced(3, 1), "between ticks 15 and 21"],
    ["one twice", travelledReceipts.toSpliced(3, 0, travelledReceipts[3] ?? expect.unreachable()), "charged twice"],
    ["a budget that grew", wrong(1, { budgetAfter: 999_999n }), "from the budget that was left"],
    ["another price", wrong(0, { pricePerSecond: 10n ** 9n }), "does not follow from its time and price"],
    ["a charge of a host that owned nothing yet", wrong(0, { hostId: bob.hostId }), "did not own the agent then"],
    ["a charge of a host that owned it no more", wrong(3, { hostId: bob.hostId }), "did not own the agent then"],
    ["other charges than a base has signed", wrong(1, { elapsedNs: 1_234_568n }), "up to tick 10 are not those"],
    ["other charges than it has signed", wrong(7, { elapsedNs: 1_234_568n }), "up to tick 36 are not those"],
  ])("T-42: is refused with %s", ([, receipts, reason]) => {
    expect(() => check(receipts)).toThrow(reason);
  });

  test("T-42: is refused when a host charges for another one's ticks along with its own", () => {
    const [bobs, cleos] = travelledReceipts.slice(2, 4);
    if (bobs === undefined || cleos === undefined) return expect.unreachable();
    const merged = {
      ...cleos,
      firstTick: bobs.firstTick,
      elapsedNs: 2n * bobs.elapsedNs,
      cost: bobs.cost + cleos.cost,
    };
    expect(() => check(travelledReceipts.toSpliced(2, 2, merged))).toThrow("ends at tick 15");
  });

  test("T-42: is refused when it begins with another budget than the agent was made with", () => {
    const poorer = { ...created, header: { ...created.header, budget: created.header.budget - 1n } };
    expect(() => checkWallet(encoded(travelledReceipts), [...owners.slice(0, 3), owner(poorer, ada)])).toThrow(
      "from the budget of tick 0",
    );
  });

  test("T-42: names as many as a wallet holds, and of older ones nothing is asked", () => {
    let at: Checkpoint = createAgent(ada);
    const all: Checkpoint[] = [];
    for (let count = 0; count < MAX_WALLET_RECEIPTS + 5; count++) {
      at = next(at, { host: ada, ticks: 2n });
      all.push(at);
    }
    const receipts = receiptsOf(...all);
    const known = [owner(at, ada), owner(created, ada)];
    const asked = function* () {
      yield* known;
      throw new Error("asked for more than it reaches");
    };
    expect(checkWallet(encoded(receipts.slice(-MAX_WALLET_RECEIPTS)), asked())).toHaveLength(MAX_WALLET_RECEIPTS);
    expect(() => checkWallet(encoded(receipts.slice(1 - MAX_WALLET_RECEIPTS)), known)).toThrow("oldest receipts");
    expect(() => checkWallet(encoded(receipts), known)).toThrow("261 receipts, more than 256");
  });
});

function check(receipts: readonly Receipt[]): readonly Receipt[] {
  return checkWallet(encoded(receipts), owners);
}

function encoded(receipts: readonly Receipt[]): readonly Uint8Array[] {
  return receipts.map(encodeReceipt);
}

function receiptsOf(...checkpoints: readonly Checkpoint[]): readonly Receipt[] {
  return checkpoints.flatMap(({ header }) => header.receipts);
}

function owner({ header }: Checkpoint, { hostId }: Host): WalletOwner {
  return { header, hostId };
}
