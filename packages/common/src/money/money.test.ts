import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isFault } from "../fault/index.ts";
import { checkMoney, formatMoney, MAX_MICROCENTS, parseMoney, tickCost } from "./index.ts";

const amounts = fc.bigInt({ min: 0n, max: MAX_MICROCENTS });

describe("money", () => {
  test.each([
    ["1", 1_000_000n],
    ["0.25", 250_000n],
    ["12.345678", 12_345_678n],
    ["0", 0n],
    [" 7.5 ", 7_500_000n],
    ["9000000000", MAX_MICROCENTS],
  ])("%s is read exactly", (text, amount) => {
    expect(parseMoney(text, "budget")).toBe(amount);
  });

  test.each([
    ["NaN"],
    ["-1"],
    ["+1"],
    [""],
    ["."],
    ["1."],
    [".5"],
    ["1e3"],
    ["0x10"],
    ["1,5"],
    ["Infinity"],
    ["1.2345678"],
    ["9000000000.000001"],
    ["9".repeat(5_000)],
    ["٣"],
  ])("%s is refused, with the field that it was given for", (text) => {
    try {
      parseMoney(text, "budget");
    } catch (error) {
      if (!isFault(error, "INVALID_ARGUMENT")) throw error;
      expect(error.detail.field).toBe("budget");
      expect(error.message.length).toBeLessThan(200);
      return;
    }
    throw new Error("accepted");
  });

  test("what is written is read back", () => {
    fc.assert(
      fc.property(amounts, (amount) => {
        expect(parseMoney(formatMoney(amount), "x")).toBe(amount);
      }),
    );
    expect(formatMoney(-250_000n)).toBe("-0.25");
  });

  test("an amount is never negative or above the maximum", () => {
    expect(() => checkMoney(-1n, "price")).toThrow("price: -0.000001 is negative");
    expect(() => checkMoney(MAX_MICROCENTS + 1n, "price")).toThrow("above the maximum");
    expect(checkMoney(MAX_MICROCENTS, "price")).toBe(MAX_MICROCENTS);
  });
});

describe("tick cost", () => {
  const prices = fc.bigInt({ min: 0n, max: MAX_MICROCENTS });
  const times = fc.bigInt({ min: 0n, max: 10n ** 15n });
  const remainders = fc.bigInt({ min: 0n, max: 999_999_999n });

  test("I6: however a time is cut into ticks, the whole costs the same, to the last fraction", () => {
    fc.assert(
      fc.property(prices, fc.array(times, { maxLength: 50 }), remainders, (pricePerSecond, parts, first) => {
        let cost = 0n;
        let remainder = first;
        for (const elapsedNs of parts) {
          const tick = tickCost({ elapsedNs, pricePerSecond, remainder });
          cost += tick.cost;
          remainder = tick.remainder;
        }
        const elapsedNs = parts.reduce((sum, part) => sum + part, 0n);
        expect({ cost, remainder }).toEqual(tickCost({ elapsedNs, pricePerSecond, remainder: first }));
      }),
    );
  });

  test("I6: nothing is lost and nothing is made: cost and remainder are exactly time times price", () => {
    fc.assert(
      fc.property(prices, times, remainders, (pricePerSecond, elapsedNs, before) => {
        const { cost, remainder } = tickCost({ elapsedNs, pricePerSecond, remainder: before });
        expect(cost * 10n ** 9n + remainder).toBe(elapsedNs * pricePerSecond + before);
        expect(remainder >= 0n && remainder < 10n ** 9n).toBe(true);
      }),
    );
  });

  test("a second costs the price", () => {
    expect(tickCost({ elapsedNs: 10n ** 9n, pricePerSecond: 1_234n, remainder: 5n })).toEqual({
      cost: 1_234n,
      remainder: 5n,
    });
  });

  test("what cannot be a time, a price or a remainder is a bug of the caller", () => {
    expect(() => tickCost({ elapsedNs: -1n, pricePerSecond: 1n, remainder: 0n })).toThrow(RangeError);
    expect(() => tickCost({ elapsedNs: 1n, pricePerSecond: -1n, remainder: 0n })).toThrow(RangeError);
    expect(() => tickCost({ elapsedNs: 1n, pricePerSecond: 1n, remainder: 10n ** 9n })).toThrow(RangeError);
  });
});
