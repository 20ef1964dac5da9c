// Whether the file that is opened holds what was written last: the note of a clean close (GA-6).
//
// CC-1  The note is written after the file was closed without trouble, synced, and names that very file: inode, birth time, and
//       a nonce that was put into it by the same closing.
// CC-2  It is taken away, and that is synced, before the opened file is used. So a process that dies leaves no note.
// CC-3  An open that finds no note, finds another file, or was told that it was restored, is the open of another store: its
//       identity is a new one.
// A copy that is put back byte by byte into the same file together with its note, and a snapshot of the whole disk, look like
// the original: that is what `--restored` is for.

import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "@godwit/common/fault";

export interface FileMarks {
  readonly inode: string;
  readonly bornNs: string;
}

export interface Note extends FileMarks {
  /** Of the store, as it was until it was closed. */
  readonly identity: string;
  /** In the file as well. */
  readonly nonce: string;
}

const NOTE_FILE = "closed-cleanly";

export function fileMarks(path: string): FileMarks {
  const { ino, birthtimeNs } = statSync(path, { bigint: true });
  return { inode: ino.toString(), bornNs: birthtimeNs.toString() };
}

/** Takes the note away, for good, and gives it; undefined when there is none, or what is there is no note. Throws Fault DISK_FAILED. */
export function takeNote(directory: string): Note | undefined {
  const path = join(directory, NOTE_FILE);
  try {
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw error;
    }
    unlinkSync(path);
    syncDirectory(directory); // CC-2
    return readNote(text);
  } catch (cause) {
    throw failed(path, cause);
  }
}

/** Throws Fault DISK_FAILED. */
export function leaveNote(directory: string, note: Note): void {
  const path = join(directory, NOTE_FILE);
  const draft = `${path}.draft`;
  try {
    const file = openSync(draft, "w", 0o600);
    try {
      writeSync(file, `${JSON.stringify(note)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
    syncDirectory(directory);
  } catch (cause) {
    throw failed(path, cause);
  }
}

function readNote(text: string): Note | undefined {
  try {
    const { identity, inode, bornNs, nonce } = JSON.parse(text) as Partial<Record<string, unknown>>;
    if (typeof identity !== "string" || typeof nonce !== "string") return undefined;
    if (typeof inode !== "string" || typeof bornNs !== "string") return undefined;
    return { identity, inode, bornNs, nonce };
  } catch {
    return undefined; // torn, or written by nobody of ours: as good as none
  }
}

function syncDirectory(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function failed(path: string, cause: unknown): Fault<"DISK_FAILED"> {
  return new Fault(
    { code: "DISK_FAILED", path, reason: cause instanceof Error ? cause.message : String(cause) },
    { cause },
  );
}
