// Files that are carried between people: lineages, checkpoints, evidence.

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { Fault } from "@godwit/common/fault";

/** Larger is none of ours, and is not read into memory. */
const MAX_FILE_BYTES = 512 * 2 ** 20;

/** Throws Fault DISK_FAILED. */
export function readCarried(path: string): Uint8Array {
  let size: number;
  try {
    size = statSync(path).size;
    if (size <= MAX_FILE_BYTES) return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw failed(path, cause);
  }
  throw new Fault({ code: "DISK_FAILED", path, reason: `it has ${size} bytes, more than ${MAX_FILE_BYTES}` });
}

/** Throws Fault DISK_FAILED. */
export function writeCarried(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (cause) {
    throw failed(path, cause);
  }
}

function failed(path: string, cause: unknown): Fault {
  return new Fault({ code: "DISK_FAILED", path, reason: cause instanceof Error ? cause.message : "?" }, { cause });
}
