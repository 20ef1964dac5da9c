// Time and chance as the rest of Godwit sees them. Everything that waits, measures or draws gets a Clock and a
// Random from its caller; the two constants at the end are the only ones that ask the machine.

export interface Clock {
  /** Wall time, for records and people; never decides expiry. */
  now(): Date;
  /** Milliseconds; monotonic, and meaningful only against another reading from this process. */
  monotonicMs(): number;
  /** Resolves after `ms` (at once, but never synchronously, for 0 or less); rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** A number from 0 (included) to 1 (excluded). */
export type Random = () => number;

/** A timer that is set for longer than this fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    const untilMs = performance.now() + ms;
    do {
      await timer(Math.min(untilMs - performance.now(), LONGEST_TIMER_MS), signal);
    } while (performance.now() < untilMs); // a timer may fire a fraction of a millisecond early
  },
};

export const systemRandom: Random = () => Math.random();

function timer(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(handle);
      reject(signal.reason);
    };
    const handle = setTimeout(
      () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      },
      Math.max(0, ms),
    );
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
