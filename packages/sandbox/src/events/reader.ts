// Reads what event logs are made of, front to back. Total: whatever the bytes are, it answers or throws MalformedEvents.

/** The text completes "the event log …". */
export class MalformedEvents extends Error {
  override readonly name = "MalformedEvents";
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.at];
    if (value === undefined) throw new MalformedEvents(`ends in the middle of a field, at byte ${this.at}`);
    this.at += 1;
    return value;
  }

  varint(): number {
    let value = 0;
    for (let index = 0, scale = 1; index < 5; index++, scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return this.#minimal(value, { last: byte, length: index + 1, max: 0xffff_ffff });
    }
    throw new MalformedEvents(`has a number of more than 32 bits before byte ${this.at}`);
  }

  varint64(): bigint {
    let value = 0n;
    for (let index = 0; index < 10; index++) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) return this.#minimal(value, { last: byte, length: index + 1, max: 0xffff_ffff_ffff_ffffn });
    }
    throw new MalformedEvents(`has a number of more than 64 bits before byte ${this.at}`);
  }

  /** A view of the bytes, not a copy. */
  bytes(length: number): Uint8Array {
    const from = this.at;
    if (from + length > this.#bytes.length) {
      throw new MalformedEvents(`ends in the middle of ${length} bytes, at byte ${from}`);
    }
    this.at = from + length;
    return this.#bytes.subarray(from, this.at);
  }

  /** What means the same is the same bytes, since logs are compared by their digests. */
  #minimal<T extends number | bigint>(value: T, { last, length, max }: { last: number; length: number; max: T }): T {
    if (last === 0 && length > 1)
      throw new MalformedEvents(`has a number in more bytes than it needs before byte ${this.at}`);
    if (value > max) throw new MalformedEvents(`has a number that is too large before byte ${this.at}`);
    return value;
  }
}
