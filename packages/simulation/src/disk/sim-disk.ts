// A host's disk: a SQLite database in memory that outlives the host's processes.
//
// 1. What a commit has written is there for the next process; what was not committed when the process died is gone.
// 2. A process that is dead writes nothing more, and one that has the database keeps others out.
// 3. A commit can fail because the disk is full (nothing of it is there), or so that nobody knows whether it is there.

import { DatabaseSync } from "node:sqlite";
import { createTables, type DatabaseParts, type HeldDatabase, Meta } from "@godwit/agent-host/parts";
import { ProcessEnded, type SimProcess } from "../time/sim-process.ts";

export type CommitFault =
  | "full"
  /** An I/O error, after the commit was written. */
  | "torn-written"
  /** An I/O error, before. */
  | "torn-lost"
  /** The process dies before the commit is written. */
  | "crash-before"
  /** The process dies after the commit was written and before anybody knows. */
  | "crash-after";

const FULL = 13;
const IOERR = 10;

export class SimDisk {
  readonly #db: FaultyDatabase;
  readonly #path: string;
  readonly #hostSeed: Uint8Array;
  #made = false;

  constructor(name: string, hostSeed: Uint8Array) {
    this.#db = new FaultyDatabase(":memory:", { readBigInts: true });
    this.#path = `/sim/${name}/host.db`;
    this.#hostSeed = hostSeed;
  }

  /** Strikes at the next commit, once; `full` at all of them until it is lifted. */
  arm(fault: CommitFault, onStrike: () => void): void {
    this.#db.fault = { kind: fault, onStrike };
  }

  disarm(): void {
    this.#db.fault = undefined;
  }

  /** For DataDirectory.open. */
  holdFor(process: SimProcess): (directory: string, parts: DatabaseParts) => HeldDatabase {
    return (_directory, { check }) => {
      const db = this.#db;
      const path = this.#path;
      db.holder = process;
      if (db.isTransaction) db.exec("ROLLBACK");
      if (!this.#made) createTables(db, { path, hostSeed: this.#hostSeed });
      this.#made = true;
      check(db, path);
      return { db, path, meta: new Meta(db, path), writeBack: () => {}, close: () => {} };
    };
  }

  /** The whole simulation is over; what Node still keeps of the database must not keep the cluster with it. */
  discard(): void {
    this.#db.close();
    this.#db.holder = undefined;
    this.#db.fault = undefined;
  }
}

class FaultyDatabase extends DatabaseSync {
  holder: SimProcess | undefined;
  fault: { readonly kind: CommitFault; readonly onStrike: () => void } | undefined;

  override exec(sql: string): void {
    if (this.holder?.alive === false) throw new ProcessEnded();
    if (sql !== "COMMIT" || this.fault === undefined) {
      super.exec(sql);
      return;
    }
    const { kind, onStrike } = this.fault;
    if (kind !== "full") this.fault = undefined;
    onStrike();
    switch (kind) {
      case "full":
        throw sqliteError(FULL, "database or disk is full");
      case "torn-written":
        super.exec(sql);
        throw sqliteError(IOERR, "disk I/O error");
      case "torn-lost":
        super.exec("ROLLBACK");
        throw sqliteError(IOERR, "disk I/O error");
      case "crash-before":
        super.exec("ROLLBACK");
        this.holder?.kill();
        throw new ProcessEnded();
      case "crash-after":
        super.exec(sql);
        this.holder?.kill();
    }
  }
}

function sqliteError(errcode: number, errstr: string): Error {
  return Object.assign(new Error(errstr), { code: "ERR_SQLITE_ERROR", errcode, errstr });
}
