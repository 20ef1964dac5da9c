// What SQLite's errors mean to a host.

import { Fault } from "@godwit/common/fault";

// Primary result codes, https://sqlite.org/rescode.html; the extended ones carry them in their low byte.
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

interface SqliteError extends Error {
  readonly errcode: number;
  readonly errstr: string;
}

/** Somebody else holds the database's lock. */
export function isLocked(error: unknown): boolean {
  const code = primaryCode(error);
  return code === BUSY || code === LOCKED;
}

/**
 * After such an error it is not known what is on the disk: a failed fsync may have thrown away pages that the kernel takes
 * for clean from then on, and a commit that failed may still be found by the next open.
 */
export function leavesDoubt(error: unknown): boolean {
  const code = primaryCode(error);
  return code === IOERR || code === CORRUPT || code === NOTADB;
}

/** A Fault for what a disk, a directory or other people's hands can do; everything else is a bug and stays as it is. */
export function asFault(error: unknown, path: string): unknown {
  if (!isSqliteError(error)) return isSystemError(error) ? diskFailed(path, error.message, error) : error;
  switch (error.errcode & 0xff) {
    case CORRUPT:
    case NOTADB:
      return new Fault({ code: "DATA_CORRUPT", path, reason: error.errstr }, { cause: error });
    case FULL:
      return diskFailed(path, `${error.errstr}: make room`, error);
    case BUSY:
    case LOCKED:
    case READONLY:
    case IOERR:
    case CANTOPEN:
      return diskFailed(path, error.errstr, error);
    default:
      return error;
  }
}

function diskFailed(path: string, reason: string, cause: unknown): Fault {
  return new Fault({ code: "DISK_FAILED", path, reason }, { cause });
}

function primaryCode(error: unknown): number | undefined {
  return isSqliteError(error) ? error.errcode & 0xff : undefined;
}

function isSqliteError(error: unknown): error is SqliteError {
  return error instanceof Error && "errcode" in error && typeof error.errcode === "number" && "errstr" in error;
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && typeof error.syscall === "string";
}
