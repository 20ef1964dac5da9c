import { expect, test } from "vitest";
import { seededRandom } from "./seeded-random.ts";

const draw = (seed: number, count: number): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, random);
};

test("the same seed gives the same numbers, another seed gives others", () => {
  expect(draw(7, 100)).toEqual(draw(7, 100));
  expect(draw(7, 4)).not.toEqual(draw(8, 4));
  expect(draw(0, 4)).not.toEqual(draw(1, 4));
});

test("numbers are at least 0, below 1, and spread evenly", () => {
  const buckets = Array.from({ length: 10 }, () => 0);
  for (const value of draw(42, 10_000)) {
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThan(1);
    const bucket = Math.floor(value * 10);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  // 1,000 are expected, with a standard deviation of 30.
  for (const count of buckets) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});

test("first numbers of neighbouring seeds have nothing in common", () => {
  const firsts = Array.from({ length: 1_000 }, (_, seed) => seededRandom(seed)());
  expect(new Set(firsts).size).toBe(1_000);
  const mean = firsts.reduce((sum, value) => sum + value, 0) / firsts.length;
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.05);
});

test("a seed that is no whole number is refused", () => {
  for (const seed of [-1, 0.5, Number.NaN, 2 ** 53]) expect(() => seededRandom(seed)).toThrow(RangeError);
});
