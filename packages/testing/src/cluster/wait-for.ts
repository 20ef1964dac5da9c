import { inspect } from "node:util";
import { systemClock, withDeadline } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";

export interface WaitRules {
  /** "agent a ticks on host b", for the error. */
  readonly what: string;
  readonly timeoutMs?: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal;
  /** What helps to see why it did not come: the last lines of logs. */
  readonly evidence?: () => string;
}

/** For what hangs: a machine that is shared takes ten times as long as one alone, and is not wrong. */
const TIMEOUT_MS = 60_000;
const EVERY_MS = 25;

/**
 * Asks again and again until the answer is neither undefined nor false, and gives that. A predicate that throws is asked again
 * too, since a service may be away for a moment; when time is up, the last error is the cause of ours.
 */
export async function waitFor<T>(
  predicate: (signal: AbortSignal) => T | Promise<T>,
  rules: WaitRules,
): Promise<Exclude<T, undefined | false>> {
  const { what, timeoutMs = TIMEOUT_MS, everyMs = EVERY_MS, signal = new AbortController().signal } = rules;
  let lastError: unknown;
  try {
    return await withDeadline(systemClock, { what, ms: timeoutMs, signal }, async (limited) => {
      for (;;) {
        try {
          const answer = await predicate(limited);
          if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
          lastError = undefined;
        } catch (error) {
          limited.throwIfAborted();
          lastError = error;
        }
        await systemClock.sleep(everyMs, limited);
      }
    });
  } catch (error) {
    if (!isFault(error, "DEADLINE_EXCEEDED") || error.detail.what !== what) throw error;
    const why =
      lastError === undefined
        ? ""
        : `\nlast error: ${inspect(lastError, { depth: 1, compact: true }).split("\n    at ")[0]}`;
    const evidence = rules.evidence === undefined ? "" : `\n${rules.evidence()}`;
    throw new Error(`${what}: not within ${timeoutMs} ms${why}${evidence}`, { cause: lastError ?? error });
  }
}
