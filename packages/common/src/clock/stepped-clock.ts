import type { Clock } from "./clock.ts";

// A clock that stands still until it is stepped, for the tests of this package only:
// the clock for everybody else's tests is the FakeClock of @godwit/testing, which depends on us.

interface Sleeper {
  readonly atMs: number;
  readonly wake: () => void;
}

export class SteppedClock implements Clock {
  #nowMs = 0;
  readonly #sleepers = new Set<Sleeper>();

  now(): Date {
    return new Date(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const leave = () => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = () => {
        leave();
        reject(signal.reason);
      };
      const sleeper: Sleeper = {
        atMs: this.#nowMs + Math.max(0, ms),
        wake: () => {
          leave();
          resolve();
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /** Moves time to the next sleeper, if there is one, and lets everything that follows from it happen. */
  async step(): Promise<boolean> {
    await settle();
    const next = [...this.#sleepers].sort((a, b) => a.atMs - b.atMs)[0];
    if (next === undefined) return false;
    this.#nowMs = next.atMs;
    next.wake();
    await settle();
    return true;
  }

  /** Steps until `work` has settled. */
  async run<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    await settle();
    while (!settled && (await this.step()));
    return await work;
  }
}

/** Long enough for every chain of promises in these tests. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}
