import type { Clock } from "@godwit/common/clock";
import type { PriceStore } from "../book/price-store.ts";

export interface StoreWatchParts {
  readonly store: Pick<PriceStore, "probe">;
  readonly clock: Clock;
  /** Told when trouble begins, and with undefined when it is over. */
  readonly onChange: (trouble: unknown) => void;
}

/** Tries again and again whether the store can be written, so that readiness knows before a caller does. */
export class StoreWatch {
  readonly #parts: StoreWatchParts;
  readonly #everyMs: number;
  #trouble: unknown;
  #running = new AbortController();
  #watching: Promise<void> = Promise.resolve();

  constructor(parts: StoreWatchParts, { everyMs }: { readonly everyMs: number }) {
    this.#parts = parts;
    this.#everyMs = everyMs;
  }

  /** Why nothing can be written; undefined when all is well. */
  reason(): string | undefined {
    if (this.#trouble === undefined) return undefined;
    return this.#trouble instanceof Error ? this.#trouble.message : "it cannot be written";
  }

  start(): void {
    this.#running = new AbortController();
    this.#watching = this.#watch(this.#running.signal);
  }

  async stop(): Promise<void> {
    this.#running.abort();
    await this.#watching;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#look();
      await this.#parts.clock.sleep(this.#everyMs, signal).catch(() => {}); // stopped
    }
  }

  #look(): void {
    const before = this.#trouble;
    this.#trouble = undefined;
    try {
      this.#parts.store.probe();
    } catch (error) {
      this.#trouble = error;
    }
    if ((before === undefined) !== (this.#trouble === undefined)) this.#parts.onChange(this.#trouble);
  }
}
