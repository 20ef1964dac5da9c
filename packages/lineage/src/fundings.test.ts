import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fundingIdsAfter, fundingsLost, MAX_FUNDING_IDS } from "./fundings.ts";
import type { Receipt } from "./index.ts";
import { ada, createAgent, nextHeader } from "./testing/story.ts";

const created = createAgent(ada);
const id = (number: number) => number.toString(16).padStart(32, "0");
const header = (fundingIds: readonly string[], receipts: readonly Receipt[] = []) => ({
  ...nextHeader(created, { host: ada }),
  fundingIds,
  receipts,
});

describe("funding ids", () => {
  test("§11: however many fundings there were between two checkpoints, the later one is known to go on from the earlier", () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), fc.nat({ max: 200 }), (before, between) => {
        const all = Array.from({ length: before + between }, (_, number) => id(number));
        const earlier = header(all.slice(0, before).slice(-MAX_FUNDING_IDS));
        const later = header(all.slice(-MAX_FUNDING_IDS));
        expect(fundingsLost(earlier, later, "far")).toBeUndefined();
      }),
    );
  });

  test.for<[string, readonly number[], readonly number[]]>([
    ["one is missing", [1, 2], [1]],
    ["the oldest made room where there was room", [1, 2], [2, 3]],
    ["they changed places", [1, 2], [2, 1]],
    ["others stand before them", [1, 2], [9, 1, 2]],
    ["one came in between", [1, 2], [1, 9, 2]],
  ])("§11: a later checkpoint that %s does not go on from the earlier", ([, earlier, later]) => {
    expect(fundingsLost(header(earlier.map(id)), header(later.map(id)), "far")).toBeDefined();
    expect(fundingsLost(header(earlier.map(id)), header(later.map(id)), "next")).toBeDefined();
  });

  test("§11: the next checkpoint names those of the one before and its own, and of more than 64 the newest", () => {
    const known = Array.from({ length: MAX_FUNDING_IDS }, (_, number) => id(number));
    const { receipts } = nextHeader(created, { host: ada, funding: { funded: 1n, fundingId: id(99) } });
    const after = fundingIdsAfter(known, receipts);
    expect(after).toEqual([...known.slice(1), id(99)]);
    expect(fundingsLost(header(known), header(after, receipts), "next")).toBeUndefined();
    expect(fundingsLost(header(known), header([...known.slice(1), id(98)], receipts), "next")).toBeDefined();
    expect(fundingsLost(header(known), header(after), "next")).toBeDefined();
  });
});
