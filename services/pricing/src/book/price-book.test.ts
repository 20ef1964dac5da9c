import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "@godwit/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SqlitePriceStore } from "../store/sqlite-price-store.ts";
import type { PriceAnswer, PriceStatement } from "./price.ts";
import { PriceBook } from "./price-book.ts";

const WALL = new Date("2030-01-01T00:00:00Z");
const WALL_NS = BigInt(WALL.getTime()) * 1_000_000n;

describe("PriceBook", () => {
  let dir: string;
  let store: SqlitePriceStore;
  let clock: FakeClock;
  let book: PriceBook;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "godwit-book-"));
    store = new SqlitePriceStore({ directory: dir, historyLimit: 10 });
    store.open();
    clock = new FakeClock({ wall: WALL });
    book = new PriceBook({ store, clock }, { maxHosts: 2 });
  });
  afterEach(() => {
    store.close();
    rmSync(dir, { recursive: true });
  });

  const statement = (hostId: string, pricePerSecond: bigint, statedAtUnixNs = WALL_NS): PriceStatement => ({
    hostId,
    pricePerSecond,
    grpcAddress: "127.0.0.1:7460",
    statedAtUnixNs,
  });

  const answer = (hostId: string, pricePerSecond: bigint): PriceAnswer => ({
    hostId,
    pricePerSecond,
    grpcAddress: "127.0.0.1:7460",
    seenAtUnixNs: WALL_NS,
    heardAtMs: clock.monotonicMs(),
  });

  test("PB-5 an answer that was heard before a newer statement, or a newer answer, does not replace it", async () => {
    const early = answer("a", 1n);
    await clock.advance(10);
    book.report(statement("a", 2n));
    expect(book.record([early])).toEqual({ taken: 0, changed: 0, notTaken: 1 });
    await clock.advance(10);
    const between = answer("a", 3n);
    await clock.advance(10);
    expect(book.record([answer("a", 4n)])).toMatchObject({ taken: 1 });
    expect(book.record([between])).toMatchObject({ taken: 0 });
    expect(book.get("a").pricePerSecond).toBe(4n);
  });

  test("what a host has stated is what the book has, and each change is in the history", () => {
    expect(book.report(statement("a", 5n, 1n))).toBe("changed");
    expect(book.report(statement("a", 5n, 2n))).toBe("unchanged");
    expect(book.report(statement("a", 7n, 3n))).toBe("changed");
    expect(book.get("a")).toMatchObject({ pricePerSecond: 7n, seenAtUnixNs: WALL_NS, statedAtUnixNs: 3n });
    expect(book.history("a", 10).map(({ pricePerSecond }) => pricePerSecond)).toEqual([7n, 5n]);
  });

  test("PB-2 an older statement is refused, with what to do, and the book stays as it is", () => {
    book.report(statement("a", 5n, 10n));
    expect(() => book.report(statement("a", 1n, 9n))).toThrow(
      /stated_at_unix_ns: not newer .* state it again with a later time/,
    );
    expect(book.report(statement("a", 5n, 10n))).toBe("unchanged");
    expect(book.get("a").pricePerSecond).toBe(5n);
  });

  test("PB-3 a statement from a wrong clock is refused", () => {
    expect(() => book.report(statement("a", 5n, WALL_NS + 2n * 3_600_000_000_000n))).toThrow("set the host's clock");
    expect(() => book.report(statement("a", 5n, 2n ** 63n - 1n))).toThrow("set the host's clock");
  });

  test("a full book takes no new host, and goes on with those that it has", () => {
    book.report(statement("a", 5n));
    book.report(statement("b", 5n));
    expect(() => book.report(statement("c", 5n))).toThrow(expect.objectContaining({ code: "RESOURCE_LIMIT" }));
    expect(book.report(statement("a", 6n, WALL_NS + 1n))).toBe("changed");
    expect(book.record([answer("c", 9n), answer("a", 9n)])).toEqual({ taken: 1, changed: 1, notTaken: 1 });
    expect(book.count()).toBe(2);
  });

  test("a scan's answers are taken in one go; one from elsewhere than signed is left out", () => {
    book.report(statement("a", 5n));
    const recorded = book.record([
      { ...answer("a", 1n), grpcAddress: "127.0.0.1:6666" },
      { ...answer("b", 2n), grpcAddress: "127.0.0.1:7461" },
    ]);
    expect(recorded).toEqual({ taken: 1, changed: 1, notTaken: 1 });
    expect(book.list(undefined, 10).map(({ hostId, pricePerSecond }) => [hostId, pricePerSecond])).toEqual([
      ["b", 2n],
      ["a", 5n],
    ]);
  });

  test("an unknown host is told, in the price and in the history", () => {
    expect(() => book.get("x")).toThrow(expect.objectContaining({ code: "HOST_UNKNOWN" }));
    expect(() => book.history("x", 1)).toThrow(expect.objectContaining({ code: "HOST_UNKNOWN" }));
    expect(book.addressOf("x")).toBeUndefined();
  });
});
