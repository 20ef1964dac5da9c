import { maxArgumentBytes, resultShape } from "./event.ts";
import { maxVarintBytes, putVarint } from "./varint.ts";

const firstBytes = 4_096;
/** Of an event without its arguments and payload. */
const fixedBytes = 2 + 8 + maxVarintBytes;

/** Writes the calls of one tick after the other into one buffer, which it keeps. */
export class EventWriter {
  readonly #maxBytes: number;
  #bytes = new Uint8Array(firstBytes);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  clear(): void {
    this.#length = 0;
  }

  /** False if it does not fit any more: then nothing was written. */
  add(functionId: number, args: Uint8Array, result: number | bigint, payload: Uint8Array | undefined): boolean {
    const payloadBytes = payload === undefined ? 0 : payload.length;
    this.#reserve(this.#length + fixedBytes + args.length + payloadBytes);
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at++] = functionId;
    const shapeAt = at++;
    for (let index = 0; index < args.length; index++) bytes[at++] = args[index] as number;
    let shape: number = resultShape.zero;
    if (typeof result === "bigint" && BigInt.asIntN(32, result) !== result) {
      shape = resultShape.wide;
      this.#view.setBigInt64(at, result, true);
      at += 8;
    } else if (Number(result) !== 0) {
      shape = resultShape.narrow;
      this.#view.setInt32(at, Number(result), true);
      at += 4;
    }
    bytes[shapeAt] = shape | (args.length & maxArgumentBytes);
    at = putVarint(bytes, at, payloadBytes);
    if (payload !== undefined) {
      bytes.set(payload, at);
      at += payloadBytes;
    }
    if (at > this.#maxBytes) return false;
    this.#length = at; // last, so that half an event never counts
    return true;
  }

  /** A copy; undefined if there was no call. */
  taken(): Uint8Array | undefined {
    return this.#length === 0 ? undefined : this.#bytes.slice(0, this.#length);
  }

  #reserve(neededBytes: number): void {
    if (neededBytes <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(neededBytes, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
