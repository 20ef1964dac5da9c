import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { Fault, isFault } from "@godwit/common/fault";
import { type DataDirectory, lockDataDirectory } from "@godwit/service/data-directory";
import type { BookedPrice, PriceCursor } from "../book/price.ts";
import type { PriceStore, PriceWrite } from "../book/price-store.ts";
import { DATA_CORRUPT_CODES, DISK_FAILED_CODES, sqliteCode } from "./sqlite-codes.ts";

// The book in one SQLite file of the data directory, which is locked while the file is open.
//
// SP-1  What was written is on the disk when `write` returns (WAL, synchronous=FULL), all of it or nothing.
// SP-2  A file of another schema, or none of ours, is refused and left as it is.
// SP-3  The history of a host never has more entries than its limit.

export interface SqlitePriceStoreRules {
  /** The data directory; made if it is not there. */
  readonly directory: string;
  /** Entries of history for each host. */
  readonly historyLimit: number;
}

interface Opened {
  readonly lock: DataDirectory;
  readonly db: DatabaseSync;
  readonly statements: ReturnType<typeof prepare>;
}

const FILE = "prices.db";
const SCHEMA_VERSION = 1n;
/** "GWPR": tells our file from any other SQLite database. */
const APPLICATION_ID = 0x47575052n;

const SCHEMA = `
  CREATE TABLE price (
    host_id TEXT PRIMARY KEY,
    price INTEGER NOT NULL,
    grpc_address TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    stated_at INTEGER
  ) STRICT;
  CREATE INDEX price_by_price ON price (price, host_id);
  CREATE TABLE history (
    host_id TEXT NOT NULL,
    entry INTEGER NOT NULL,
    price INTEGER NOT NULL,
    grpc_address TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    stated_at INTEGER,
    PRIMARY KEY (host_id, entry)
  ) STRICT, WITHOUT ROWID;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

const COLUMNS = "host_id, price, grpc_address, seen_at, stated_at";

export class SqlitePriceStore implements PriceStore, Disposable {
  readonly #directory: string;
  readonly #file: string;
  readonly #historyLimit: number;
  #opened: Opened | undefined;

  constructor({ directory, historyLimit }: SqlitePriceStoreRules) {
    this.#directory = directory;
    this.#file = join(directory, FILE);
    this.#historyLimit = historyLimit;
  }

  /** Faults: DATA_DIRECTORY_LOCKED, DATA_CORRUPT for a file that is none of ours (SP-2), DISK_FAILED. */
  open(): void {
    if (this.#opened !== undefined) throw new Error("the price store is open already");
    const lock = lockDataDirectory(this.#directory, "pricing");
    try {
      this.#opened = translated(this.#file, () => {
        const db = openFile(this.#file);
        return { lock, db, statements: prepare(db) };
      });
    } catch (error) {
      lock.unlock();
      throw error;
    }
  }

  close(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.db.close();
    opened?.lock.unlock();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  get(hostId: string): BookedPrice | undefined {
    return translated(this.#file, () => rows(this.#running.statements.get, hostId)[0]);
  }

  list(after: PriceCursor | undefined, limit: number): readonly BookedPrice[] {
    // No price is negative, so everything comes after this one.
    const { pricePerSecond, hostId } = after ?? { pricePerSecond: -1n, hostId: "" };
    return translated(this.#file, () => rows(this.#running.statements.list, pricePerSecond, hostId, limit));
  }

  history(hostId: string, limit: number): readonly BookedPrice[] {
    return translated(this.#file, () => rows(this.#running.statements.history, hostId, limit));
  }

  count(): number {
    return translated(this.#file, () => Number(this.#running.statements.count.get()?.["hosts"]));
  }

  write(writes: readonly PriceWrite[]): void {
    this.#inTransaction(({ statements }) => {
      for (const { price, changed } of writes) {
        const { hostId, pricePerSecond, grpcAddress, seenAtUnixNs, statedAtUnixNs = null } = price;
        statements.put.run(hostId, pricePerSecond, grpcAddress, seenAtUnixNs, statedAtUnixNs);
        if (!changed) continue;
        const entry = BigInt(String(statements.lastEntry.get(hostId)?.["entry"])) + 1n;
        statements.remember.run(hostId, entry, pricePerSecond, grpcAddress, seenAtUnixNs, statedAtUnixNs);
        statements.forget.run(hostId, entry - BigInt(this.#historyLimit)); // SP-3
      }
    });
  }

  probe(): void {
    // An open file can be written to long after somebody has removed it.
    if (!existsSync(this.#file)) throw new Fault({ code: "DISK_FAILED", path: this.#file, reason: "it was removed" });
    this.#inTransaction(({ db }) => db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`));
  }

  get #running(): Opened {
    if (this.#opened === undefined) throw new Error("the price store is not open");
    return this.#opened;
  }

  #inTransaction(work: (opened: Opened) => void): void {
    const opened = this.#running;
    translated(this.#file, () => {
      opened.db.exec("BEGIN IMMEDIATE");
      try {
        work(opened);
        opened.db.exec("COMMIT");
      } catch (error) {
        if (opened.db.isTransaction) opened.db.exec("ROLLBACK");
        throw error;
      }
    });
  }
}

function openFile(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { readBigInts: true, timeout: 0 });
  try {
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    prepareSchema(db, file);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function prepareSchema(db: DatabaseSync, file: string): void {
  const { application_id: application, user_version: version } = {
    ...db.prepare("PRAGMA application_id").get(),
    ...db.prepare("PRAGMA user_version").get(),
  } as Record<string, unknown>;
  const objects = db.prepare("SELECT count(*) AS objects FROM sqlite_schema").get()?.["objects"];
  if (application === 0n && version === 0n && objects === 0n) {
    db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
    return;
  }
  if (application !== APPLICATION_ID) {
    throw new Fault({ code: "DATA_CORRUPT", path: file, reason: "it is no price book: give another directory" });
  }
  if (version !== SCHEMA_VERSION) {
    const reason = `its schema is version ${String(version)}, this program knows ${SCHEMA_VERSION}: use the program that wrote it`;
    throw new Fault({ code: "DATA_CORRUPT", path: file, reason });
  }
}

function prepare(db: DatabaseSync) {
  return {
    get: db.prepare(`SELECT ${COLUMNS} FROM price WHERE host_id = ?`),
    list: db.prepare(`SELECT ${COLUMNS} FROM price WHERE (price, host_id) > (?, ?) ORDER BY price, host_id LIMIT ?`),
    history: db.prepare(`SELECT ${COLUMNS} FROM history WHERE host_id = ? ORDER BY entry DESC LIMIT ?`),
    count: db.prepare("SELECT count(*) AS hosts FROM price"),
    put: db.prepare(`INSERT OR REPLACE INTO price (${COLUMNS}) VALUES (?, ?, ?, ?, ?)`),
    lastEntry: db.prepare("SELECT coalesce(max(entry), 0) AS entry FROM history WHERE host_id = ?"),
    remember: db.prepare(
      "INSERT INTO history (host_id, entry, price, grpc_address, seen_at, stated_at) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    forget: db.prepare("DELETE FROM history WHERE host_id = ? AND entry <= ?"),
  };
}

function rows(statement: StatementSync, ...parameters: (string | bigint | number)[]): BookedPrice[] {
  return statement.all(...parameters).map((row) => ({
    hostId: String(row["host_id"]),
    pricePerSecond: BigInt(String(row["price"])),
    grpcAddress: String(row["grpc_address"]),
    seenAtUnixNs: BigInt(String(row["seen_at"])),
    statedAtUnixNs: row["stated_at"] === null ? undefined : BigInt(String(row["stated_at"])),
  }));
}

/** Runs `work`; what the disk did is a Fault, the rest is a bug and stays what it is. */
function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const code = sqliteCode(cause);
    if (isFault(cause) || code === undefined) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (DISK_FAILED_CODES.has(code)) throw new Fault({ code: "DISK_FAILED", path, reason }, { cause });
    if (DATA_CORRUPT_CODES.has(code)) throw new Fault({ code: "DATA_CORRUPT", path, reason }, { cause });
    throw cause;
  }
}
