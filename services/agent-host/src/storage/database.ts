// host.db: made once, opened by one process at a time, looked at before it is touched.
//
// 1. The lock is SQLite's exclusive lock on host.db, taken at open and kept to the end; the system frees it with the
//    process, however that dies. It belongs to the process: nothing else in it may open host.db (closing any descriptor
//    of a file drops the locks that the process has on it).
// 2. A database appears under its name only when it is complete. So one that is missing, empty or cut short is damage,
//    never a reason to begin anew with another host key.
// 3. Looking comes before locking, through a connection that cannot write: a refusal leaves host.db and its log as they are.
// 4. host.db without its log is refused while the newest commits are only in that log. What tells is the mark `complete`:
//    0 in host.db itself, and 1 in the log from there on. Whatever writes the whole log back, which SQLite also does before
//    it removes it, brings the 1 along; a log that was lost or left behind takes it with it.

import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { hasNote, holderOf, noteFree, noteHeld } from "./lock-note.ts";
import { Meta } from "./meta.ts";
import { APPLICATION_ID, FORMAT, PAGE_BYTES, SCHEMA, SMALL_TABLES, STEPS } from "./schema.ts";
import { asFault, isLocked } from "./sqlite-fault.ts";

export const DATABASE_NAME = "host.db";
const UNFINISHED = `${DATABASE_NAME}.new-`;

/** Above this size, states, modules and headers are only checked when they are read: an open stays a matter of a second. */
const FULL_CHECK_MAX_BYTES = 256 * 1024 * 1024;
/** The log may be longer for a moment; what is above this is given back to the file system. */
const LOG_KEPT_BYTES = 64 * 1024 * 1024;

export const SEED_BYTES = 32;
const NEEDS_LOG = Uint8Array.of(0);
const COMPLETE = Uint8Array.of(1);

export interface HeldDatabase {
  readonly db: DatabaseSync;
  readonly meta: Meta;
  /** Of host.db. */
  readonly path: string;
  /** Brings what the log holds into host.db, so that the log starts again. Errors are SQLite's. */
  writeBack(): void;
  /** Also after an error: gives the lock back whatever happens. */
  close(): void;
}

export interface DatabaseParts {
  readonly clock: Clock;
  /** Reads what there is, and throws what is wrong with it. Nothing was changed by then. */
  readonly check: (db: DatabaseSync, path: string) => void;
  /** Of the whole database. `undefined`: what the disk has. */
  readonly maxBytes: number | undefined;
}

/** Throws Fault DATA_DIRECTORY_LOCKED, DATA_CORRUPT or DISK_FAILED. */
export function holdDatabase(directory: string, parts: DatabaseParts): HeldDatabase {
  const path = join(directory, DATABASE_NAME);
  try {
    makeDirectory(directory);
    if (!existsSync(path)) createDatabase(directory, path);
    inspect(path, parts.check);
    return hold(directory, path, parts);
  } catch (error) {
    if (!isLocked(error)) throw asFault(error, path);
    throw new Fault({ code: "DATA_DIRECTORY_LOCKED", path: directory, by: holderOf(directory) }, { cause: error });
  }
}

function makeDirectory(directory: string): void {
  const created = mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (created === undefined) return;
  chmodSync(directory, 0o700); // mkdir's mode is subject to the umask
  syncDirectory(dirname(created));
}

function createDatabase(directory: string, path: string): void {
  if (hasNote(directory) || existsSync(`${path}-wal`)) {
    throw damaged(
      path,
      "it is missing, although a host has used this directory: put it back, or give another directory",
    );
  }
  const unfinished = `${directory}/${UNFINISHED}${process.pid}-${randomBytes(6).toString("hex")}`;
  closeSync(openSync(unfinished, "wx", 0o600)); // it will hold the host's key
  try {
    const db = new DatabaseSync(unfinished, { readBigInts: true });
    try {
      db.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL`);
      createTables(db, { path, hostSeed: randomBytes(SEED_BYTES) });
    } finally {
      db.close(); // writes the log back, with an fsync
    }
    linkUnlessThere(unfinished, path);
    syncDirectory(directory);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** Makes all of a new host's database, in one transaction. */
export function createTables(
  db: DatabaseSync,
  { path, hostSeed }: { readonly path: string; readonly hostSeed: Uint8Array },
): void {
  db.exec(`BEGIN; ${SCHEMA}; PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${FORMAT}`);
  const meta = new Meta(db, path);
  meta.set("host-seed", hostSeed);
  meta.set("complete", COMPLETE);
  db.exec("COMMIT");
}

/** Unlike a rename, a link replaces nothing: of two processes that create at the same time, one wins and both open that. */
function linkUnlessThere(unfinished: string, path: string): void {
  try {
    linkSync(unfinished, path);
  } catch (error) {
    if (!existsSync(path)) throw error;
  }
}

function inspect(path: string, check: DatabaseParts["check"]): void {
  const { size } = statSync(path);
  if (size === 0) throw damaged(path, "it is empty");
  const logBytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  // SQLite would fill up a last page that is not whole; with a log it is what a crash leaves, and the log has that page.
  if (logBytes === 0 && size % PAGE_BYTES !== 0) throw damaged(path, "it is cut short");

  const db = new DatabaseSync(path, { readOnly: true, readBigInts: true });
  try {
    if (pragma(db, "application_id") !== BigInt(APPLICATION_ID)) throw damaged(path, "it is no database of a host");
    checkFormat(path, pragma(db, "user_version"));
    const tables = size + logBytes > FULL_CHECK_MAX_BYTES ? SMALL_TABLES : [undefined];
    for (const table of tables) {
      const [row] = db.prepare(`PRAGMA quick_check(${table ?? 1})`).all();
      const finding = String(row?.["quick_check"]);
      if (finding !== "ok") throw damaged(path, finding);
    }
    if (logBytes === 0 && new Meta(db, path).get("complete")?.[0] !== COMPLETE[0]) {
      throw damaged(path, "the newest commits were in host.db-wal, and that is gone: put it back");
    }
    check(db, path);
  } finally {
    db.close();
  }
}

function checkFormat(path: string, format: unknown): void {
  if (format === BigInt(FORMAT) || (typeof format === "bigint" && STEPS[Number(format)] !== undefined)) return;
  if (typeof format === "bigint" && format > BigInt(FORMAT)) {
    const reason = `a newer Godwit has written it (format ${format}; this one knows ${FORMAT}): use that one, or an older copy of the directory`;
    throw new Fault({ code: "DISK_FAILED", path, reason });
  }
  throw damaged(path, `its format ${String(format)} is none of a host`);
}

function hold(directory: string, path: string, { clock, maxBytes }: DatabaseParts): HeldDatabase {
  const db = new DatabaseSync(path, { readBigInts: true, timeout: 0 });
  try {
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    db.exec(`PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = ${LOG_KEPT_BYTES}; PRAGMA cache_size = -16384`);
    // What a savepoint would need to undo is kept in memory. In a file of its own, as by default, it is most of what a transaction
    // of many units writes.
    db.exec("PRAGMA temp_store = MEMORY");
    const meta = new Meta(db, path);
    const writeBack = () => {
      meta.set("complete", NEEDS_LOG);
      db.exec("PRAGMA wal_checkpoint(PASSIVE)");
      meta.set("complete", COMPLETE);
    };
    writeBack(); // its first write takes the lock
    bringUpToDate(db);
    noteHeld(directory, clock);
    limitSize(db, maxBytes);
    removeLeftovers(directory);
    const close = () => {
      try {
        meta.set("complete", COMPLETE);
      } finally {
        db.close();
        noteFree(directory, clock);
      }
    };
    return { db, meta, path, writeBack, close };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Each step of the format is on the disk as a whole or not at all, so an open that was cut short is simply done again. */
function bringUpToDate(db: DatabaseSync): void {
  for (let format = Number(pragma(db, "user_version")); format < FORMAT; format++) {
    db.exec(`BEGIN; ${STEPS[format]}; PRAGMA user_version = ${format + 1}; COMMIT`);
  }
}

function limitSize(db: DatabaseSync, maxBytes: number | undefined): void {
  if (maxBytes !== undefined) db.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(maxBytes / PAGE_BYTES))}`);
}

/** Of a creation that was interrupted, and the index of a log that several processes could share, which is not used here. */
function removeLeftovers(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (name.startsWith(UNFINISHED) || name === `${DATABASE_NAME}-shm`) rmSync(join(directory, name), { force: true });
  }
}

/** Tells what the database holds, in bytes: the room that is free in its file is not counted. */
export function bytesCounter(db: DatabaseSync): () => number {
  const all = db.prepare("PRAGMA page_count");
  const free = db.prepare("PRAGMA freelist_count");
  return () => PAGE_BYTES * (Number(all.get()?.["page_count"]) - Number(free.get()?.["freelist_count"]));
}

function pragma(db: DatabaseSync, name: string): unknown {
  return db.prepare(`PRAGMA ${name}`).get()?.[name];
}

function syncDirectory(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function damaged(path: string, reason: string): Fault {
  return new Fault({ code: "DATA_CORRUPT", path, reason });
}
