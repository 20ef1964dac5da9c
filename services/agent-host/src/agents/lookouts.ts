/** Those who wait for something to be so. Whoever may have made it so calls `look`. */
export class Lookouts<T> {
  readonly #see: () => T | undefined;
  readonly #waiting = new Set<() => void>();

  /** `see`: what is waited for, once it is so. */
  constructor(see: () => T | undefined) {
    this.#see = see;
  }

  look(): void {
    for (const look of this.#waiting) look();
  }

  /** What was seen first, at the moment at which it was so; rejects with the signal's reason as soon as that aborts. */
  until(signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const seen = this.#see();
        if (seen === undefined) return;
        done();
        resolve(seen);
      };
      const onAbort = (): void => {
        done();
        reject(signal.reason);
      };
      const done = (): void => {
        this.#waiting.delete(look);
        signal.removeEventListener("abort", onAbort);
      };
      this.#waiting.add(look);
      look();
      if (signal.aborted) onAbort();
      else if (this.#waiting.has(look)) signal.addEventListener("abort", onAbort, { once: true });
    });
  }
}
