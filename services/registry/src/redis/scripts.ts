// The Lua scripts, one file each, as commands of the client. A reply is a name, and what belongs to it.

import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";

const SCRIPTS = {
  replaceMark: "replace-mark",
  openSession: "open-session",
  renewSession: "renew-session",
  closeSession: "close-session",
  reassertSession: "reassert-session",
  applyChanges: "apply",
  announceHeld: "announce",
  readHolders: "read-holders",
  putHost: "put-host",
  setDraining: "set-draining",
  countOutcome: "count-outcome",
  readHostChanges: "read-hosts",
} as const;

export type ScriptName = keyof typeof SCRIPTS;

type Argument = string | number | Uint8Array;

/** The scripts on a client or a pipeline: the number of keys, the keys, the arguments. */
export type Scripts<Result> = Readonly<Record<ScriptName, (...parts: Argument[]) => Result>>;

export function defineScripts(redis: Redis): void {
  for (const [name, file] of Object.entries(SCRIPTS)) {
    redis.defineCommand(name, { lua: readFileSync(new URL(`./lua/${file}.lua`, import.meta.url), "utf8") });
  }
}

/** Typed access to what `defineScripts` added. */
export function scriptsOf<Result>(client: object): Scripts<Result> {
  return client as unknown as Scripts<Result>;
}

/** Those whose replies are bytes. */
export function bufferScriptsOf(client: object): {
  readonly readHostChangesBuffer: (...parts: Argument[]) => Promise<readonly Buffer[]>;
} {
  return client as unknown as ReturnType<typeof bufferScriptsOf>;
}

export function scriptCall(keys: readonly string[], args: readonly Argument[]): Argument[] {
  const bytes = (value: Argument) => (value instanceof Uint8Array ? asBuffer(value) : value);
  return [keys.length, ...keys, ...args.map(bytes)];
}

/** ioredis sends Buffers as they are, and other byte arrays as text. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A reply's name and rest. Throws for anything that no script of ours returns. */
export function readReply(reply: unknown): readonly [string, ...string[]] {
  if (!Array.isArray(reply) || typeof reply[0] !== "string" || !reply.every((part) => typeof part === "string")) {
    throw new Error(`a script answered ${JSON.stringify(reply)}`);
  }
  return reply as [string, ...string[]];
}
