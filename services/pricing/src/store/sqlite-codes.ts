// SQLite's primary result codes, as far as they are about the disk: https://sqlite.org/rescode.html

const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

export const DISK_FAILED_CODES: ReadonlySet<number> = new Set([READONLY, IOERR, FULL, CANTOPEN]);
export const DATA_CORRUPT_CODES: ReadonlySet<number> = new Set([CORRUPT, NOTADB]);

/** The primary code of an error of node:sqlite; undefined for any other error. */
export function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return error.errcode & 0xff; // an extended code has the primary one in its lowest byte
}
