// What the parts of the registry's benchmark share.

import type { Redis } from "ioredis";
import type { Results } from "../program.ts";

/** Figures that are measured together. */
export type Part = (parts: PartInput) => Promise<Results>;

export interface PartInput {
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export type Work = () => Promise<unknown>;

/** What a command header takes on the wire, about. */
export const REQUEST_BYTES = 330;

/** No lease ends while something is made or measured. */
export const registryEnv = { GODWIT_LEASE_DURATION: "600s", GODWIT_RENEW_EVERY: "60s" };

/** Milliseconds of each call. */
export async function timed(work: Work, calls: number, signal: AbortSignal): Promise<number[]> {
  const samples: number[] = [];
  for (let call = 0; call < calls; call++) {
    signal.throwIfAborted();
    const startedMs = performance.now();
    await work();
    samples.push(performance.now() - startedMs);
  }
  return samples;
}

/** One script that sets so many values of so many bytes. */
export function bareScript(
  redis: Redis,
  { bytes, values = 1 }: { readonly bytes: number; readonly values?: number },
): Work {
  const lua = 'for i = 1, #KEYS do redis.call("SET", KEYS[i], ARGV[i]) end return { "DONE" }';
  redis.defineCommand(`bareSet${values}`, { numberOfKeys: values, lua });
  const scripts = redis as unknown as Record<string, (...parts: (string | Buffer)[]) => Promise<unknown>>;
  const names = Array.from({ length: values }, (_, at) => `floor:${at}`);
  const contents = names.map(() => Buffer.alloc(bytes, 7));
  return async () => await scripts[`bareSet${values}`]?.(...names, ...contents);
}

/** Calls it for each item, so many at the same time. */
export async function forEachOf<T>(
  items: readonly T[],
  { atOnce, signal }: { readonly atOnce: number; readonly signal: AbortSignal },
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) {
      signal.throwIfAborted();
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
