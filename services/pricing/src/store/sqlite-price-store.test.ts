import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { BookedPrice } from "../book/price.ts";
import { SqlitePriceStore } from "./sqlite-price-store.ts";

const price = (hostId: string, pricePerSecond: bigint, at = 1n): BookedPrice => ({
  hostId,
  pricePerSecond,
  grpcAddress: "127.0.0.1:7460",
  seenAtUnixNs: at,
  statedAtUnixNs: undefined,
});

describe("SqlitePriceStore", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "godwit-prices-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const open = (historyLimit = 1_000) => {
    const store = new SqlitePriceStore({ directory: dir, historyLimit });
    store.open();
    return store;
  };

  test("SP-1 what was written is there after it was opened again, large numbers and all", () => {
    const written = {
      ...price("a", 9_000_000_000_000_000n, 1_900_000_000_123_456_789n),
      statedAtUnixNs: 1_900_000_000_000_000_001n,
    };
    {
      using store = open();
      store.write([{ price: written, changed: true }]);
    }
    using store = open();
    expect(store.get("a")).toEqual(written);
    expect(store.get("b")).toBeUndefined();
    expect(store.history("a", 10)).toEqual([written]);
  });

  test("SP-1 a write that fails half-way changes nothing", () => {
    using store = open();
    store.write([{ price: price("a", 1n), changed: true }]);
    const tooLarge = price("b", 2n ** 70n);
    expect(() =>
      store.write([
        { price: price("a", 2n), changed: true },
        { price: tooLarge, changed: true },
      ]),
    ).toThrow();
    expect(store.get("a")?.pricePerSecond).toBe(1n);
    expect(store.history("a", 10)).toHaveLength(1);
    store.write([{ price: price("b", 3n), changed: true }]);
    expect(store.count()).toBe(2);
  });

  test("a list is cheapest first, then by host id, and goes on after a cursor", () => {
    using store = open();
    const prices = [price("d", 2n), price("b", 2n), price("a", 3n), price("c", 0n)];
    store.write(prices.map((each) => ({ price: each, changed: true })));
    const ids = (list: readonly BookedPrice[]) => list.map(({ hostId }) => hostId);
    expect(ids(store.list(undefined, 10))).toEqual(["c", "b", "d", "a"]);
    expect(ids(store.list(undefined, 2))).toEqual(["c", "b"]);
    expect(ids(store.list({ pricePerSecond: 2n, hostId: "b" }, 10))).toEqual(["d", "a"]);
    expect(ids(store.list({ pricePerSecond: 3n, hostId: "a" }, 10))).toEqual([]);
  });

  test("PB-4 the history has an entry for each change, newest first, and each host its own", () => {
    using store = open();
    store.write([{ price: price("a", 1n, 1n), changed: true }]);
    store.write([{ price: price("a", 1n, 2n), changed: false }]);
    store.write([{ price: price("a", 2n, 3n), changed: true }]);
    store.write([{ price: price("b", 9n, 4n), changed: true }]);
    expect(store.history("a", 10).map(({ seenAtUnixNs }) => seenAtUnixNs)).toEqual([3n, 1n]);
    expect(store.history("a", 1)).toHaveLength(1);
    expect(store.get("a")?.seenAtUnixNs).toBe(3n);
  });

  test("SP-3 the history is bounded for each host", () => {
    using store = open(3);
    for (let i = 1n; i <= 10n; i++) store.write([{ price: price("a", i, i), changed: true }]);
    store.write([{ price: price("b", 1n), changed: true }]);
    expect(store.history("a", 100).map(({ pricePerSecond }) => pricePerSecond)).toEqual([10n, 9n, 8n]);
    expect(store.history("b", 100)).toHaveLength(1);
  });

  test("SP-2 a file of another kind or a newer version is refused and stays as it is", () => {
    open().close();
    const db = new DatabaseSync(join(dir, "prices.db"));
    db.exec("PRAGMA user_version = 9");
    db.close();
    expect(open).toThrow("its schema is version 9, this program knows 1");

    rmSync(join(dir, "prices.db"));
    const foreign = new DatabaseSync(join(dir, "prices.db"));
    foreign.exec("CREATE TABLE somebody_elses (x)");
    foreign.close();
    expect(open).toThrow("it is no price book");

    const text = "this was never a database, it is only long enough to be taken for one".repeat(20);
    writeFileSync(join(dir, "prices.db"), text);
    expect(open).toThrow(expect.objectContaining({ code: "DATA_CORRUPT" }));
    expect(readFileSync(join(dir, "prices.db"), "utf8")).toBe(text);
  });

  test("SP-2 a file that was cut short is told, and no process dies of it", () => {
    {
      using store = open();
      const many = Array.from({ length: 500 }, (_, i) => price(`host-${i}`, BigInt(i)));
      store.write(many.map((each) => ({ price: each, changed: true })));
    }
    truncateSync(join(dir, "prices.db"), 12_288);
    expect(() => {
      using store = open();
      store.list(undefined, 1_000);
    }).toThrow(expect.objectContaining({ code: "DATA_CORRUPT" }));
  });

  test("a second one on the same directory is refused, and can be opened once the first is closed", () => {
    const first = open();
    expect(open).toThrow(expect.objectContaining({ code: "DATA_DIRECTORY_LOCKED" }));
    first.close();
    open().close();
  });

  test("a refused file leaves the directory unlocked", () => {
    writeFileSync(join(dir, "prices.db"), "x".repeat(4_096));
    expect(open).toThrow(expect.objectContaining({ code: "DATA_CORRUPT" }));
    rmSync(join(dir, "prices.db"));
    open().close();
  });

  test("a file that was removed is told by the probe", () => {
    using store = open();
    rmSync(join(dir, "prices.db"));
    expect(() => store.probe()).toThrow("it was removed");
  });
});
