import type { BookedPrice, PriceCursor } from "./price.ts";

export interface PriceWrite {
  readonly price: BookedPrice;
  /** A new entry of the history; otherwise the newest one stays as it is (PB-4). */
  readonly changed: boolean;
}

/**
 * Where the book is kept. Synchronous, since it is embedded. Faults: DISK_FAILED when the disk does not do it, with
 * everything as it was before; DATA_CORRUPT when what is there makes no sense.
 */
export interface PriceStore {
  get(hostId: string): BookedPrice | undefined;
  /** Cheapest first, then by host id. */
  list(after: PriceCursor | undefined, limit: number): readonly BookedPrice[];
  /** Newest first. */
  history(hostId: string, limit: number): readonly BookedPrice[];
  /** How many hosts there are. */
  count(): number;
  /** All or none of them; durable when it returns. */
  write(writes: readonly PriceWrite[]): void;
  /** Throws, like `write`, if nothing can be written now. */
  probe(): void;
}
