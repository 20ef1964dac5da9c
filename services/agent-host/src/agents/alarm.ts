import type { Clock } from "@godwit/common/clock";

/** Longer than anybody waits: until it is woken. */
export const asleep = Number.POSITIVE_INFINITY;

/** One for all: a reason that is not given is made anew each time, with a stack. */
const woken = new Error("woken");

const longestMs = 2 ** 40;

/** A sleep that may be cut short. A wake that comes while nobody sleeps cuts the next one short. */
export class Alarm {
  readonly #clock: Clock;
  #ring = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#ring.abort(woken);
  }

  /** Returns early when woken or when the signal aborts; never throws. */
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0) return;
    if (!this.#ring.signal.aborted) {
      const either = AbortSignal.any([signal, this.#ring.signal]);
      await this.#clock.sleep(ms === asleep ? longestMs : ms, either).catch(() => {});
    }
    if (this.#ring.signal.aborted) this.#ring = new AbortController();
  }
}
