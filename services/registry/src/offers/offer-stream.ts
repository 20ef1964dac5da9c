// One holder that listens for offers. A holder that reads slowly loses offers, never memory: the slow scan repeats them.

import { untilAborted } from "@godwit/common/clock";
import type { SessionId } from "@godwit/common/lease";
import type { KnownRecord } from "../authority/record-codec.ts";

const MAX_BUFFERED = 256;

export class OfferStream {
  readonly session: SessionId;
  readonly #buffered: KnownRecord[] = [];
  #arrived = Promise.withResolvers<void>();
  #ended: { readonly error: Error } | undefined;

  constructor(session: SessionId) {
    this.session = session;
  }

  /** False when the holder is behind, or gone. */
  push(record: KnownRecord): boolean {
    if (this.#ended !== undefined || this.#buffered.length >= MAX_BUFFERED) return false;
    this.#buffered.push(record);
    this.#wake();
    return true;
  }

  /** The reader gets what is buffered, and then this error. */
  end(error: Error): void {
    this.#ended ??= { error };
    this.#wake();
  }

  /** Ends by throwing: the signal's reason, or what `end` was told. */
  async *read(signal: AbortSignal): AsyncGenerator<KnownRecord> {
    for (;;) {
      const next = this.#buffered.shift();
      if (next !== undefined) {
        yield next;
        continue;
      }
      if (this.#ended !== undefined) throw this.#ended.error;
      const { promise } = this.#arrived;
      await untilAborted(signal, () => promise);
    }
  }

  #wake(): void {
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
  }
}
