import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "@godwit/common/clock";

// A clock that stands still until a test moves it.
//
// FC-1  Monotonic time never goes back, and only `advance` and its relatives move it.
// FC-2  Sleepers wake in the order of their deadlines, those of one deadline in the order in which they lay down; when one
//       wakes, monotonic time is exactly its deadline, and all that follows from it happens before the next one wakes.
// FC-3  Wall time moves along with monotonic time, and may be set apart from it at any moment (a jump, a suspended machine).

interface Sleeper {
  readonly dueMs: number;
  readonly order: number;
  readonly wake: () => void;
}

interface Lookout {
  readonly sleepers: number;
  readonly seen: () => void;
}

export interface FakeClockStart {
  readonly wall?: Date;
  readonly monotonicMs?: number;
}

export class FakeClock implements Clock {
  #monotonicMs: number;
  #wallAheadMs: number;
  #laidDown = 0;
  readonly #sleepers = new Set<Sleeper>();
  readonly #lookouts = new Set<Lookout>();
  #moving: Promise<void> = Promise.resolve();

  constructor({ wall = new Date("2030-01-01T00:00:00Z"), monotonicMs = 1_000 }: FakeClockStart = {}) {
    this.#monotonicMs = monotonicMs;
    this.#wallAheadMs = wall.getTime() - monotonicMs;
  }

  now(): Date {
    return new Date(this.#monotonicMs + this.#wallAheadMs);
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      if (!(ms > 0)) {
        resolve();
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
        dueMs: this.#monotonicMs + ms,
        order: this.#laidDown++,
        wake: () => {
          leave();
          resolve();
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#sleepers.add(sleeper);
      for (const lookout of this.#lookouts) {
        if (this.#sleepers.size >= lookout.sleepers) lookout.seen();
      }
    });
  }

  /** How many sleep now. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Resolves as soon as at least this many sleep: what a test waits for before it moves time. */
  async untilSleeping(sleepers: number, signal: AbortSignal): Promise<void> {
    if (this.#sleepers.size >= sleepers) return;
    await new Promise<void>((resolve, reject) => {
      signal.throwIfAborted();
      const leave = () => {
        this.#lookouts.delete(lookout);
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = () => {
        leave();
        reject(signal.reason);
      };
      const lookout: Lookout = {
        sleepers,
        seen: () => {
          leave();
          resolve();
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#lookouts.add(lookout);
    });
  }

  /** Moves time by `ms`, waking whoever is due on the way, also those who lie down meanwhile. Several calls follow one another. */
  advance(ms: number): Promise<void> {
    if (!(ms >= 0) || !Number.isFinite(ms)) throw new RangeError(`advance: ${ms} ms; time only goes forward`);
    return this.#move(async () => {
      const untilMs = this.#monotonicMs + ms;
      await settle();
      for (let next = this.#next(); next !== undefined && next.dueMs <= untilMs; next = this.#next()) {
        await this.#wake(next);
      }
      this.#monotonicMs = untilMs;
      await settle();
    });
  }

  /** Moves time to the first deadline and wakes that sleeper; false when nobody sleeps. */
  async advanceToNext(): Promise<boolean> {
    let woke = false;
    await this.#move(async () => {
      await settle();
      const next = this.#next();
      if (next === undefined) return;
      await this.#wake(next);
      woke = true;
    });
    return woke;
  }

  /**
   * Moves time from deadline to deadline until `work` has settled. When nobody sleeps, real I/O may still be under way, so it
   * waits for that: work that waits for nothing ends in the test's own time-out.
   */
  async run<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    await settle();
    while (!settled) await this.advanceToNext();
    return await work;
  }

  /** Sets wall time; monotonic time stays where it is. */
  setWall(wall: Date): void {
    this.#wallAheadMs = wall.getTime() - this.#monotonicMs;
  }

  /** Wall time jumps, backwards when negative. A suspended machine wakes up with such a jump forwards. */
  jumpWall(ms: number): void {
    this.#wallAheadMs += ms;
  }

  #next(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (first === undefined || sleeper.dueMs < first.dueMs) first = sleeper;
      else if (sleeper.dueMs === first.dueMs && sleeper.order < first.order) first = sleeper;
    }
    return first;
  }

  async #wake(sleeper: Sleeper): Promise<void> {
    this.#monotonicMs = Math.max(this.#monotonicMs, sleeper.dueMs); // FC-1
    sleeper.wake();
    await settle();
  }

  #move(step: () => Promise<void>): Promise<void> {
    this.#moving = this.#moving.then(step);
    return this.#moving;
  }
}

/** One turn of the event loop: every chain of promises that can go on without time or I/O has ended by then. */
async function settle(): Promise<void> {
  await nextTurn();
}
