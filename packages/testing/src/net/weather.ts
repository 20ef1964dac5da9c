// What may happen to bytes that travel in one direction through a FaultProxy, and how often it did.
//
// WE-1  A cut fires once, after exactly so many bytes from the moment at which it was asked for, over all connections.
// WE-2  Held bytes arrive in the end, like those of a network that comes back before TCP gives up. Swallowed bytes never
//       do, so the connection that lost them can only be dead from then on.

export type Fate =
  | { readonly kind: "forward" }
  /** Forward so many bytes, then cut. */
  | { readonly kind: "cut"; readonly after: number }
  /** Forward so many bytes; the rest, and all that follows, is lost. */
  | { readonly kind: "swallow"; readonly after: number };

export interface WeatherCounts {
  readonly forwardedBytes: number;
  readonly swallowedBytes: number;
  readonly cuts: number;
  readonly delayedChunks: number;
  readonly heldChunks: number;
}

export class Weather {
  delayMs = 0;
  #cutAfter: number | undefined;
  #swallowAfter: number | undefined;
  #barrier: PromiseWithResolvers<void> | undefined;
  readonly #counts = { forwardedBytes: 0, swallowedBytes: 0, cuts: 0, delayedChunks: 0, heldChunks: 0 };

  get counts(): WeatherCounts {
    return { ...this.#counts };
  }

  cutAfter(bytes: number): void {
    this.#cutAfter = atLeastZero(bytes);
  }

  swallowAfter(bytes: number): void {
    this.#swallowAfter = atLeastZero(bytes);
  }

  hold(): void {
    this.#barrier ??= Promise.withResolvers<void>();
  }

  /** Ends holding and swallowing; a cut that has not fired stays. */
  clear(): void {
    this.#swallowAfter = undefined;
    this.#barrier?.resolve();
    this.#barrier = undefined;
  }

  /** What was asked for and has not fired is taken back, the delay included. */
  calm(): void {
    this.clear();
    this.#cutAfter = undefined;
    this.delayMs = 0;
  }

  get holding(): boolean {
    return this.#barrier !== undefined;
  }

  async untilOpen(): Promise<void> {
    if (this.#barrier === undefined) return;
    this.#counts.heldChunks++;
    while (this.#barrier !== undefined) await this.#barrier.promise; // it may be held again at once
  }

  /** What happens to a chunk that is about to be forwarded. */
  decide(bytes: number): Fate {
    const fate = this.#decide(bytes);
    const forwarded = fate.kind === "forward" ? bytes : fate.after;
    this.#counts.forwardedBytes += forwarded;
    if (this.#cutAfter !== undefined) this.#cutAfter -= forwarded;
    if (this.#swallowAfter !== undefined) this.#swallowAfter -= forwarded;
    if (fate.kind === "cut") {
      this.#cutAfter = undefined; // WE-1
      this.#counts.cuts++;
    }
    if (fate.kind === "swallow") this.#counts.swallowedBytes += bytes - fate.after;
    return fate;
  }

  swallowed(bytes: number): void {
    this.#counts.swallowedBytes += bytes;
  }

  delayed(): void {
    this.#counts.delayedChunks++;
  }

  #decide(bytes: number): Fate {
    const cut = this.#cutAfter ?? Number.POSITIVE_INFINITY;
    const swallow = this.#swallowAfter ?? Number.POSITIVE_INFINITY;
    if (cut <= bytes && cut <= swallow) return { kind: "cut", after: cut };
    if (swallow < bytes) return { kind: "swallow", after: swallow };
    return { kind: "forward" };
  }
}

function atLeastZero(bytes: number): number {
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw new RangeError(`bytes: ${bytes} is no whole number of 0 or more`);
  return bytes;
}
