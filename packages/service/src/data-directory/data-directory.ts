import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Fault } from "@godwit/common/fault";

// One process at a time has a data directory.
//
// The lock is an open transaction on a database of its own that nothing is ever written to: SQLite's lock of the file is the
// operating system's, so it ends with the process, however that ends, and a crash leaves nothing behind that would have to
// be cleaned up. It holds within a process as well. It does not hold on file systems without locks (some NFS).

export interface DataDirectory extends Disposable {
  /** Absolute. */
  readonly path: string;
  /** Lets another process have it. Nothing in it may be written afterwards. */
  unlock(): void;
}

const LOCK_FILE = "lock";
/** Who has the lock, for the message of whoever does not get it. Never decides anything. */
const OWNER_FILE = "lock.owner";
const SQLITE_BUSY = 5;

/** A database that nobody refers to any more is closed by the garbage collector, and its lock with it. */
const held = new Set<DatabaseSync>();

/**
 * Makes the directory, if it is not there, for this user alone, and locks it. `owner` is for the message of the next one: "pricing".
 * Throws Fault DATA_DIRECTORY_LOCKED when another process has it, DISK_FAILED when it cannot be made or written.
 */
export function lockDataDirectory(directory: string, owner: string): DataDirectory {
  const path = resolve(directory);
  const lock = open(path);
  try {
    lock.exec("BEGIN EXCLUSIVE");
    writeFileSync(join(path, OWNER_FILE), `${owner}, process ${process.pid}\n`);
  } catch (cause) {
    lock.close();
    if (isBusy(cause)) throw new Fault({ code: "DATA_DIRECTORY_LOCKED", path, by: readOwner(path) }, { cause });
    throw diskFailed(path, cause);
  }
  held.add(lock);
  const unlock = () => {
    if (held.delete(lock)) lock.close();
  };
  return { path, unlock, [Symbol.dispose]: unlock };
}

function open(path: string): DatabaseSync {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return new DatabaseSync(join(path, LOCK_FILE), { timeout: 0 });
  } catch (cause) {
    throw diskFailed(path, cause);
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}

function readOwner(path: string): string {
  try {
    return readFileSync(join(path, OWNER_FILE), "utf8").trim() || "another process";
  } catch {
    return "another process";
  }
}

function diskFailed(path: string, cause: unknown): Fault<"DISK_FAILED"> {
  return new Fault(
    { code: "DISK_FAILED", path, reason: cause instanceof Error ? cause.message : String(cause) },
    { cause },
  );
}
