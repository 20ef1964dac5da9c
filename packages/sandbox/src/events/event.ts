// One call of an agent into its host, as a tick's log has it:
//
//   function   1 byte    its id in abi.ts, never 0
//   shape      1 byte    low 6 bits: length of the arguments; high 2 bits: how the result is written
//   arguments  n bytes   numbers as varints, then what was handed in: itself up to 32 bytes, else its SHA-256
//   result     0, 4 or 8 bytes, little-endian: zero, one that fits in 32 bits, any other
//   payload    varint length, then the bytes
//
// There is one way to write an event, so equal calls are equal bytes.

import { ByteReader, MalformedEvents } from "./reader.ts";

export interface RecordedCall {
  readonly functionId: number;
  readonly args: Uint8Array;
  readonly result: bigint;
  /** What the host handed to the agent; of long random bytes the seed. */
  readonly payload: Uint8Array;
}

export const resultShape = { zero: 0x00, narrow: 0x40, wide: 0x80 } as const;
export const maxArgumentBytes = 0x3f;
/** Content and random bytes that are longer stand in the log as so many bytes: a digest, a seed. */
export const maxVerbatimBytes = 32;

/** The calls of one tick, in order. The bytes of each are views. */
export class EventReader {
  readonly #reader: ByteReader;

  constructor(events: Uint8Array) {
    this.#reader = new ByteReader(events);
  }

  get done(): boolean {
    return this.#reader.done;
  }

  /** @throws MalformedEvents */
  next(): RecordedCall {
    const reader = this.#reader;
    const functionId = reader.byte();
    if (functionId === 0) throw new MalformedEvents(`names function 0 before byte ${reader.at}`);
    const shape = reader.byte();
    const args = reader.bytes(shape & maxArgumentBytes);
    const result = readResult(reader, shape & ~maxArgumentBytes);
    const payload = reader.bytes(reader.varint());
    return { functionId, args, result, payload };
  }
}

function readResult(reader: ByteReader, shape: number): bigint {
  if (shape === resultShape.zero) return 0n;
  if (shape === resultShape.narrow) {
    const narrow = viewOf(reader.bytes(4)).getInt32(0, true);
    if (narrow === 0) throw new MalformedEvents(`writes a result of zero out before byte ${reader.at}`);
    return BigInt(narrow);
  }
  if (shape !== resultShape.wide) throw new MalformedEvents(`has a result of unknown shape before byte ${reader.at}`);
  const wide = viewOf(reader.bytes(8)).getBigInt64(0, true);
  if (wide === BigInt.asIntN(32, wide)) {
    throw new MalformedEvents(`has a result in more bytes than it needs before byte ${reader.at}`);
  }
  return wide;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
