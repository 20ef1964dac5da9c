// Writes of many callers as few transactions: what arrives within one turn of the event loop, or while a commit runs,
// shares one transaction and one fsync.
//
// 1. A promise resolves only after the transaction with its unit is on the disk.
// 2. Units are applied in the order of submission: one that fails leaves no trace and fails alone. So where one does, all are taken
//    back and applied again, each in a savepoint; nearly always none does, and the savepoints are saved.
//    Where SQLite gives up the whole transaction, the units are applied again, one transaction each.
// 3. After an error that leaves doubt about what is on the disk nothing is written any more (leavesDoubt).
// 4. A log is written back into the database only after the waiting callers were answered, and, while it is not far too
//    long, only once nothing was written for a moment: it takes milliseconds, and who writes now will write again at once
//    (a handoff writes two or three times, and an agent stands still meanwhile).
// 5. A unit that can wait does so for a moment after a transaction, so that the checkpoints of thousands of agents, which come one
//    by one all the time, share an fsync too. It waits for nothing when the disk was at rest, and never holds up one that cannot.

import type { DatabaseSync } from "node:sqlite";
import { Fault } from "@godwit/common/fault";
import { asFault, leavesDoubt } from "./sqlite-fault.ts";

export interface Unit<T> {
  /** About how much it writes. */
  readonly bytes: number;
  /** Nobody stands still until it is written. */
  readonly canWait?: boolean;
  /** Reads and writes the database and nothing else: it may be run twice. */
  run(): T;
  /** Called once, after the commit and before the promise resolves. */
  committed?(value: T): void;
}

export interface GroupCommitParts {
  readonly db: DatabaseSync;
  /** Of the database, for messages. */
  readonly path: string;
  /** Brings what the log holds into the database. */
  readonly writeBack: () => void;
  /** Runs work in a later turn of the event loop. */
  readonly defer?: (work: () => void) => void;
  /** Resolves so much later, and rejects when the signal aborts. Absent: there is no moment to wait for. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface CommitCounters {
  readonly units: number;
  readonly failedUnits: number;
  readonly transactions: number;
}

/** A transaction blocks this thread for as long as its bytes take to the disk, so there is a limit to them. */
const TRANSACTION_MAX_BYTES = 4 * 1024 * 1024;
const WRITE_BACK_ABOVE_BYTES = 4 * 1024 * 1024;
/** Longer than the pause between two writes of one handoff. */
const QUIET_MS = 30;
/** Between two transactions of nothing but what can wait: at most 50 fsyncs a second, and a checkpoint is no later than this. */
const GATHER_MS = 20;
/** Pages that a small unit touches, in bytes: as measured with thousands of agents, of which few share a page. */
const UNIT_OVERHEAD_BYTES = 24 * 1024;

interface Queued {
  readonly bytes: number;
  /** Returns what is to be done after the commit. */
  run(): () => void;
  reject(error: unknown): void;
}

interface Applied {
  readonly ok: boolean;
  /** What is to be done after the commit. */
  readonly answer: () => void;
}

export class GroupCommit {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #writeLogBack: () => void;
  readonly #defer: (work: () => void) => void;
  readonly #pause: GroupCommitParts["pause"];
  readonly #pausing = new AbortController();
  #isResting = false;
  #isGathering = false;
  #queue: Queued[] = [];
  #scheduled = false;
  #ended = false;
  #drained: (() => void)[] = [];
  #loggedBytes = 0;
  #broken: { readonly cause: unknown } | undefined;
  #counters: CommitCounters = { units: 0, failedUnits: 0, transactions: 0 };

  constructor({ db, path, writeBack, pause, defer = setImmediate }: GroupCommitParts) {
    this.#db = db;
    this.#path = path;
    this.#writeLogBack = writeBack;
    this.#pause = pause;
    this.#defer = defer;
  }

  get counters(): CommitCounters {
    return this.#counters;
  }

  /** Why nothing is written any more, until the database is opened anew. */
  get broken(): Fault | undefined {
    if (this.#broken === undefined) return undefined;
    const { cause } = this.#broken;
    const fault = asFault(cause, this.#path);
    const why = fault instanceof Fault && "reason" in fault.detail ? fault.detail.reason : String(cause);
    const reason = `${why}; which of the last writes are on the disk is known when the host was started anew`;
    return new Fault({ code: "DISK_FAILED", path: this.#path, reason }, { cause });
  }

  submit<T>(unit: Unit<T>): Promise<T> {
    if (this.#broken !== undefined) return Promise.reject(this.broken);
    return new Promise<T>((resolve, reject) => {
      const run = () => {
        const value = unit.run();
        return () => {
          unit.committed?.(value);
          resolve(value);
        };
      };
      this.#queue.push({ bytes: unit.bytes, run, reject });
      if (unit.canWait !== true || !this.#isGathering) this.#schedule();
    });
  }

  /** Drains; the database may be closed afterwards. Nothing may be submitted any more. */
  async end(): Promise<void> {
    await this.drain();
    this.#ended = true;
    this.#pausing.abort();
  }

  /** Resolves when everything that was submitted so far has been answered. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#defer(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    if (this.#ended) return;
    const batch = this.#nextBatch();
    if (batch.length > 0) {
      this.#transact(batch);
      this.#gather();
    } else if (this.#pause === undefined || this.#drained.length > 0) this.#writeBack();
    else this.#writeBackWhenQuiet(this.#pause);
    if (this.#queue.length > 0 || (this.#isWriteBackDue() && !this.#isResting)) this.#schedule();
    if (this.#queue.length === 0) for (const resolve of this.#drained.splice(0)) resolve();
  };

  /** For a moment, what can wait does. */
  #gather(): void {
    if (this.#pause === undefined || this.#isGathering) return;
    this.#isGathering = true;
    const over = () => {
      this.#isGathering = false;
      if (this.#queue.length > 0) this.#schedule();
    };
    this.#pause(GATHER_MS, this.#pausing.signal).then(over, over);
  }

  #nextBatch(): Queued[] {
    let bytes = 0;
    // A steady stream of writes must not keep the log growing for ever.
    if (this.#loggedBytes > 16 * WRITE_BACK_ABOVE_BYTES) this.#writeBack();
    const end = this.#queue.findIndex((unit, index) => {
      bytes += unit.bytes;
      return index > 0 && bytes > TRANSACTION_MAX_BYTES;
    });
    return this.#queue.splice(0, end === -1 ? this.#queue.length : end);
  }

  #transact(batch: readonly Queued[]): void {
    let answers: readonly Applied[];
    try {
      answers = this.#applyTogether(batch) ?? this.#applyEach(batch);
    } catch (error) {
      this.#rollBack(error);
      if (batch.length > 1 && this.#broken === undefined) for (const unit of batch) this.#transact([unit]);
      else for (const unit of batch) this.#refuse(unit, error);
      return;
    }
    this.#count(batch, answers);
    for (const { answer } of answers) answer();
  }

  /** As nearly always, when all goes well. `undefined`: something did not, and nothing was done. */
  #applyTogether(batch: readonly Queued[]): readonly Applied[] | undefined {
    this.#begin();
    let answers: readonly Applied[];
    try {
      answers = batch.map((unit) => ({ ok: true, answer: unit.run() }));
    } catch (error) {
      if (!this.#db.isTransaction || leavesDoubt(error)) throw error;
      this.#db.exec("ROLLBACK");
      return undefined;
    }
    this.#db.exec("COMMIT");
    return answers;
  }

  /** Each in a savepoint, which costs as much again as a small unit. */
  #applyEach(batch: readonly Queued[]): readonly Applied[] {
    this.#begin();
    const answers = batch.map((unit) => this.#apply(unit));
    this.#db.exec("COMMIT");
    return answers;
  }

  #begin(): void {
    if (this.#broken !== undefined) throw this.#broken.cause;
    this.#db.exec("BEGIN IMMEDIATE");
  }

  #count(batch: readonly Queued[], answers: readonly Applied[]): void {
    const failed = answers.filter(({ ok }) => !ok).length;
    const { units, failedUnits, transactions } = this.#counters;
    this.#counters = {
      units: units + batch.length - failed,
      failedUnits: failedUnits + failed,
      transactions: transactions + 1,
    };
    for (const { bytes } of batch) this.#loggedBytes += bytes + UNIT_OVERHEAD_BYTES;
  }

  #apply(unit: Queued): Applied {
    this.#db.exec("SAVEPOINT unit");
    try {
      const answer = unit.run();
      this.#db.exec("RELEASE unit");
      return { ok: true, answer };
    } catch (error) {
      if (!this.#db.isTransaction || leavesDoubt(error)) throw error;
      this.#db.exec("ROLLBACK TO unit; RELEASE unit");
      return { ok: false, answer: () => unit.reject(asFault(error, this.#path)) };
    }
  }

  #refuse(unit: Queued, error: unknown): void {
    this.#counters = { ...this.#counters, failedUnits: this.#counters.failedUnits + 1 };
    unit.reject(this.broken ?? asFault(error, this.#path));
  }

  #rollBack(error: unknown): void {
    if (leavesDoubt(error)) this.#broken ??= { cause: error };
    try {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
    } catch (cause) {
      this.#broken ??= { cause };
    }
  }

  #isWriteBackDue(): boolean {
    return this.#loggedBytes > WRITE_BACK_ABOVE_BYTES && this.#broken === undefined;
  }

  #writeBackWhenQuiet(pause: NonNullable<GroupCommitParts["pause"]>): void {
    if (this.#isResting || !this.#isWriteBackDue()) return;
    this.#isResting = true;
    const { transactions } = this.#counters;
    const over = (wasQuiet: boolean) => {
      this.#isResting = false;
      if (this.#ended) return;
      if (wasQuiet) this.#writeBack();
      else this.#schedule();
    };
    pause(QUIET_MS, this.#pausing.signal).then(
      () => over(this.#queue.length === 0 && this.#counters.transactions === transactions),
      () => over(false),
    );
  }

  #writeBack(): void {
    if (!this.#isWriteBackDue()) return;
    this.#loggedBytes = 0;
    try {
      this.#writeLogBack();
    } catch (error) {
      // A full disk leaves the log as it is: it holds everything, and is written back another time.
      if (leavesDoubt(error)) this.#broken = { cause: error };
    }
  }
}
