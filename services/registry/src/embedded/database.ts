// One SQLite file, opened by one process.
//
// DB-1  An answered write is on disk: WAL with synchronous=FULL, one fsync for all that was asked in the same turn of the
//       event loop (group commit).
// DB-2  A write that threw for any other reason than its own refusal takes its whole group back: nothing half-done stays.
// DB-3  The file is locked from open to close: another program that opens it, by whatever way, is refused.

import { closeSync as closeFd, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { Fault, isFault } from "@godwit/common/fault";
import { SCHEMA_VERSION, UPGRADES } from "./schema.ts";

interface Waiting {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly isRefusal: (error: unknown) => boolean;
}

const MAX_GROUP = 512;

export class Database {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #waiting: Waiting[] = [];
  #scheduled = false;
  #trouble: string | undefined;

  /** Throws Fault DATA_DIRECTORY_LOCKED, DATA_CORRUPT or DISK_FAILED. */
  constructor(directory: string) {
    this.path = join(directory, "registry.db");
    this.#db = openFile(directory, this.path);
  }

  /** Why the last write failed; undefined when it did not. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  /** `isRefusal`: errors that the work throws before its first change. */
  write<T>(work: () => T, isRefusal: (error: unknown) => boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as (value: unknown) => void, reject, isRefusal });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    });
  }

  /** Reads see every write that was answered. Errors of the file become STORE_UNAVAILABLE. */
  read<T>(work: () => T, isRefusal: (error: unknown) => boolean): T {
    try {
      return work();
    } catch (error) {
      if (isRefusal(error) || isFault(error)) throw error;
      throw unavailable(error);
    }
  }

  /** Writes what still waits, and closes the file. Throws what the file throws. */
  close(): void {
    this.#flush();
    this.#db.close();
  }

  #flush(): void {
    this.#scheduled = false;
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, MAX_GROUP);
      this.#commit(group);
    }
  }

  #commit(group: readonly Waiting[]): void {
    const answers: (() => void)[] = [];
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      for (const { work, resolve, reject, isRefusal } of group) {
        try {
          const value = work();
          answers.push(() => resolve(value));
        } catch (error) {
          if (!isRefusal(error)) throw error;
          answers.push(() => reject(error));
        }
      }
      this.#db.exec("COMMIT");
      this.#trouble = undefined;
    } catch (error) {
      this.#takeBack();
      const fault = unavailable(error);
      this.#trouble = fault.detail.reason;
      for (const { reject } of group) reject(fault);
      return;
    }
    for (const answer of answers) answer();
  }

  #takeBack(): void {
    try {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
    } catch {
      // The error that led here says more.
    }
  }
}

function openFile(directory: string, path: string): DatabaseSync {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    closeFd(openSync(path, "a", 0o600)); // SQLite would make it readable by others
  } catch (error) {
    throw new Fault({ code: "DISK_FAILED", path, reason: textOf(error) }, { cause: error });
  }
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: 0 });
    // Before WAL, so that no shared memory is used and the lock is the file's (DB-3).
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = FULL");
    db.exec("BEGIN IMMEDIATE");
    const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
    if (version > SCHEMA_VERSION) {
      throw new Fault({ code: "DATA_CORRUPT", path, reason: `its schema ${version} is of a newer Godwit` });
    }
    for (const upgrade of UPGRADES.slice(version)) db.exec(upgrade);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    db.exec("COMMIT");
    return db;
  } catch (error) {
    db?.close();
    if (isFault(error)) throw error;
    const reason = textOf(error);
    if (/locked|busy/i.test(reason)) {
      throw new Fault({ code: "DATA_DIRECTORY_LOCKED", path: directory, by: "another registry" }, { cause: error });
    }
    if (/not a database|malformed|corrupt/i.test(reason)) {
      throw new Fault({ code: "DATA_CORRUPT", path, reason }, { cause: error });
    }
    throw new Fault({ code: "DISK_FAILED", path, reason }, { cause: error });
  }
}

function unavailable(error: unknown): Fault<"STORE_UNAVAILABLE"> {
  if (isFault(error, "STORE_UNAVAILABLE")) return error;
  return new Fault({ code: "STORE_UNAVAILABLE", reason: textOf(error) }, { cause: error });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
