import type { Clock } from "@godwit/common/clock";

/** One deadline at a time: setting another takes the one before away. */
export class Deadline {
  readonly #clock: Clock;
  #timer = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(ms: number, passed: () => void): void {
    this.clear();
    const timer = new AbortController();
    this.#timer = timer;
    this.#clock.sleep(ms, timer.signal).then(
      () => {
        if (this.#timer === timer) passed();
      },
      () => {}, // taken away
    );
  }

  clear(): void {
    this.#timer.abort();
  }
}
