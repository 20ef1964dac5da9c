// The file `lock` beside the database: tells people who has the directory. It decides nothing; the lock that counts is the
// operating system's, on host.db itself, and goes with the process that holds it.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@godwit/common/clock";

const NAME = "lock";

export function noteHeld(directory: string, clock: Clock): void {
  write(directory, `held by process ${process.pid} since ${clock.now().toISOString()}`);
}

export function noteFree(directory: string, clock: Clock): void {
  write(directory, `free: closed by process ${process.pid} at ${clock.now().toISOString()}`);
}

/** For a message, when the lock was found taken. */
export function holderOf(directory: string): string {
  try {
    const [, holder] = /^held by (process \d+ since \S+)$/m.exec(readFileSync(join(directory, NAME), "utf8")) ?? [];
    return holder ?? "another process";
  } catch {
    return "another process";
  }
}

/** Whether a host has ever used this directory. */
export function hasNote(directory: string): boolean {
  return existsSync(join(directory, NAME));
}

function write(directory: string, line: string): void {
  const text = `${line}\n\nThis note is for people. The lock itself is on host.db and ends with its process.\n`;
  writeFileSync(join(directory, NAME), text, { mode: 0o600 });
}
