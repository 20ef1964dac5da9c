import type { Clock } from "@godwit/common/clock";

/** Longer than anybody waits: until it is woken. */
export const asleep = Number.POSITIVE_INFINITY;

/** One for all: a reason that is not given is made anew each time, with a stack. */
const woken = new Error("woken");

const longestMs = 2 ** 40;

/** A sleep that may be cut short, for as long as the signal lasts. A wake that comes while nobody sleeps cuts the next one short. */
export class Alarm {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #ring = new AbortController();

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    // Once, and not with each sleep: a signal made of two costs more than the rest of a tick.
    signal.addEventListener("abort", () => this.wake(), { once: true });
  }

  wake(): void {
    this.#ring.abort(woken);
  }

  /** Returns early when woken or when the signal aborts; never throws. */
  async sleep(ms: number): Promise<void> {
    if (ms <= 0 || this.#signal.aborted) return;
    await this.#clock.sleep(ms === asleep ? longestMs : ms, this.#ring.signal).catch(() => {});
    if (this.#ring.signal.aborted) this.#ring = new AbortController();
  }
}
