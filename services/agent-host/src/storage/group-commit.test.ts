import { DatabaseSync } from "node:sqlite";
import { isFault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { GroupCommit } from "./group-commit.ts";

function table() {
  const db = new DatabaseSync(":memory:");
  db.exec("CREATE TABLE t (x TEXT NOT NULL UNIQUE, bytes BLOB)");
  let writtenBack = 0;
  const writes = new GroupCommit({ db, path: "/data/host.db", writeBack: () => void writtenBack++ });
  const insert =
    (x: string, size = 0) =>
    () => {
      db.prepare("INSERT INTO t VALUES (?, ?)").run(x, new Uint8Array(size));
    };
  return {
    db,
    writes,
    insert,
    write: (x: string, size = 0) => writes.submit({ bytes: size, run: insert(x, size) }),
    writtenBack: () => writtenBack,
    rows: () =>
      db
        .prepare("SELECT x FROM t ORDER BY rowid")
        .all()
        .map(({ x }) => x),
  };
}

describe("group commit", () => {
  test("what arrives within one turn shares one transaction, in order", async () => {
    const { writes, write, rows } = table();
    const names = Array.from({ length: 200 }, (_, index) => `row ${index}`);
    await Promise.all(names.map((name) => write(name)));
    expect(rows()).toEqual(names);
    expect(writes.counters).toEqual({ units: 200, failedUnits: 0, transactions: 1 });
  });

  test("nothing is answered before its transaction is over, and then `committed` comes first", async () => {
    const { db, writes, insert } = table();
    const seen: string[] = [];
    const run = insert("a");
    const promise = writes.submit({
      bytes: 0,
      run: () => {
        seen.push("run");
        run();
      },
      committed: () => void seen.push(`committed, in a transaction: ${db.isTransaction}`),
    });
    seen.push("submitted");
    await promise;
    expect(seen).toEqual(["submitted", "run", "committed, in a transaction: false"]);
  });

  test("a unit that fails leaves no trace and fails alone", async () => {
    const { writes, write, insert, rows } = table();
    const half = writes.submit({
      bytes: 0,
      run: () => {
        insert("half")();
        throw new Error("no further");
      },
    });
    const results = await Promise.allSettled([write("a"), half, write("a"), write("b")]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
    await expect(half).rejects.toThrow("no further");
    expect(rows()).toEqual(["a", "b"]);
    expect(writes.counters).toEqual({ units: 2, failedUnits: 2, transactions: 1 });
  });

  test("where the whole transaction is given up, the other units are committed by themselves", async () => {
    const { db, writes, write, insert, rows } = table();
    const poison = writes.submit({
      bytes: 0,
      run: () => {
        insert("poison")();
        db.exec("ROLLBACK"); // as SQLite does by itself after some errors
        throw new Error("rolled back");
      },
    });
    const results = await Promise.allSettled([write("a"), poison, write("b")]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(rows()).toEqual(["a", "b"]);
  });

  test("a full database is DISK_FAILED for the unit that does not fit, and the next ones go on", async () => {
    const { db, writes, write, rows } = table();
    db.exec("PRAGMA max_page_count = 20");
    const results = await Promise.allSettled([write("a"), write("large", 1_000_000), write("b")]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await expect(write("large", 1_000_000)).rejects.toSatisfy((error) => isFault(error, "DISK_FAILED"));
    await write("c");
    expect(rows()).toEqual(["a", "b", "c"]);
    expect(writes.broken).toBeUndefined();
  });

  test("after an error that leaves doubt about the disk nothing is written any more", async () => {
    const { writes, write, rows } = table();
    const ioError = Object.assign(new Error("disk I/O error"), { errcode: 10 | (4 << 8), errstr: "disk I/O error" });
    const failing = writes.submit({
      bytes: 0,
      run: () => {
        throw ioError;
      },
    });
    const isDiskFailed = (error: unknown) => isFault(error, "DISK_FAILED");
    const others = [write("a"), failing, write("b")];
    for (const other of await Promise.allSettled(others)) {
      expect(other).toMatchObject({ status: "rejected", reason: expect.toSatisfy(isDiskFailed) });
    }
    await expect(write("later")).rejects.toSatisfy(isDiskFailed);
    expect(rows()).toEqual([]);
    expect(writes.broken?.message).toContain("started anew");
  });

  test("a transaction is bounded: large units are spread over several", async () => {
    const { writes, write } = table();
    await Promise.all(["a", "b", "c", "d", "e"].map((name) => write(name, 1_500_000)));
    expect(writes.counters).toEqual({ units: 5, failedUnits: 0, transactions: 3 });
  });

  test("the log is written back when much was committed, after the callers were answered", async () => {
    const { writes, write, writtenBack } = table();
    await write("small", 1_000);
    await writes.drain();
    expect(writtenBack()).toBe(0);
    await write("large", 5_000_000);
    expect(writtenBack()).toBe(0);
    await writes.drain();
    expect(writtenBack()).toBe(1);
  });

  test("the log is written back once nothing was written for a moment, however long the writes go on", async () => {
    const { db } = table();
    let writtenBack = 0;
    const rests: (() => void)[] = [];
    const quietMs = 30;
    const pause = (ms: number) =>
      ms === quietMs ? new Promise<void>((resolve) => void rests.push(resolve)) : Promise.resolve();
    const writes = new GroupCommit({ db, path: "/data/host.db", writeBack: () => void writtenBack++, pause });
    const write = (size: number) => writes.submit({ bytes: size, run: () => {} });
    const aMomentPasses = async () => {
      await expect.poll(() => rests.length, { timeout: 20_000 }).toBe(1);
      rests.splice(0)[0]?.();
    };
    await write(5_000_000);
    await expect.poll(() => rests.length, { timeout: 20_000 }).toBe(1);
    await write(1_000); // as a handoff does
    await aMomentPasses();
    expect(writtenBack).toBe(0);
    await aMomentPasses();
    await expect.poll(() => writtenBack, { timeout: 20_000 }).toBe(1);
    expect(rests).toEqual([]);

    for (let at = 0; at < 20; at++) await write(4_000_000); // never quiet: the log is bounded all the same
    expect(writtenBack).toBe(2);
    await writes.end();
  });

  test("what can wait does so after a transaction, for others; what cannot goes at once and takes it along", async () => {
    const { db, insert, rows } = table();
    const pauses: (() => void)[] = [];
    const pause = () => new Promise<void>((resolve) => void pauses.push(resolve));
    const writes = new GroupCommit({ db, path: "/data/host.db", writeBack: () => {}, pause });
    const submit = (x: string, canWait: boolean) => writes.submit({ bytes: 0, canWait, run: insert(x) });
    await submit("the disk was at rest", true);
    expect(pauses).toHaveLength(1);

    const waiting = [submit("a", true), submit("b", true)];
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    expect(writes.counters.transactions).toBe(1);
    pauses.shift()?.();
    await Promise.all(waiting);
    expect(writes.counters).toEqual({ units: 3, failedUnits: 0, transactions: 2 });

    const [third, urgent] = [submit("c", true), submit("urgent", false)];
    await Promise.all([third, urgent]); // its pause never ends
    expect(writes.counters).toEqual({ units: 5, failedUnits: 0, transactions: 3 });
    const last = submit("d", true);
    await writes.drain();
    await last;
    expect(rows()).toEqual(["the disk was at rest", "a", "b", "c", "urgent", "d"]);
  });

  test("drain waits for everything that was submitted", async () => {
    const { writes, write, rows } = table();
    const written = [write("a", 6_000_000), write("b", 6_000_000), write("c", 6_000_000)];
    await writes.drain();
    expect(rows()).toEqual(["a", "b", "c"]);
    await Promise.all(written);
    await writes.drain();
  });
});
