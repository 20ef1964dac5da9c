import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { charge, exhaust, type Purse } from "./purse.ts";

const host = { hostId: "host-a" };

describe("purse", () => {
  test("I6: whatever is charged comes off the budget, and the receipts say so without a gap", () => {
    const ticks = fc.array(
      fc.record({ elapsedNs: fc.bigInt(0n, 100_000_000n), pricePerSecond: fc.constantFrom(0n, 700n, 1_000n) }),
      { minLength: 1, maxLength: 40 },
    );
    fc.assert(
      fc.property(ticks, (all) => {
        const budget = 1_000_000n;
        let purse: Purse = { budget, remainder: 0n, receipts: [] };
        all.forEach((tick, index) => {
          const after = charge(purse, { ...host, ...tick, tick: BigInt(index) + 1n });
          if (after === undefined) throw new Error("the budget is large enough");
          purse = after;
        });
        const fractions = all.reduce((sum, tick) => sum + tick.elapsedNs * tick.pricePerSecond, 0n);
        expect((budget - purse.budget) * 1_000_000_000n + purse.remainder).toBe(fractions);
        expect(purse.receipts.reduce((sum, receipt) => sum + receipt.cost, 0n)).toBe(budget - purse.budget);
        expect(purse.receipts[0]?.firstTick).toBe(1n);
        expect(purse.receipts.at(-1)?.lastTick).toBe(BigInt(all.length));
        purse.receipts.slice(1).forEach((receipt, index) => {
          expect(receipt.firstTick).toBe((purse.receipts[index]?.lastTick ?? 0n) + 1n);
        });
      }),
    );
  });

  test("§11: a tick that costs more than is left is not charged; exhaustion takes what is left", () => {
    const purse: Purse = { budget: 5n, remainder: 0n, receipts: [] };
    const tick = { ...host, tick: 8n, elapsedNs: 10_000_000n, pricePerSecond: 1_000n };
    expect(charge(purse, tick)).toBeUndefined();
    expect(exhaust(purse, tick)).toMatchObject({
      budget: 0n,
      remainder: 0n,
      receipts: [{ cost: 5n, budgetAfter: 0n, lastTick: 8n }],
    });
  });
});
