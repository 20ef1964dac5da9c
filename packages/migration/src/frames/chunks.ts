// Module and state in pieces: cut at one end, put together at the other.

import { digestOf } from "@godwit/lineage";
import type { ChunkFrame } from "./frames.ts";
import { FRAME_LIMITS } from "./limits.ts";
import { frameInvalid } from "./wire.ts";

/** Views of `bytes`, in order. Nothing for nothing. */
export function* chunksOf<Kind extends ChunkFrame["kind"]>(kind: Kind, bytes: Uint8Array): Generator<ChunkFrame<Kind>> {
  const { chunkBytes } = FRAME_LIMITS;
  for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
    yield { kind, offset, data: bytes.subarray(offset, offset + chunkBytes) };
  }
}

export interface Announced {
  /** For the complaint: "module", "state". */
  readonly what: string;
  readonly bytes: number;
  /** In hex; undefined when whoever takes the bytes compares it anyway. */
  readonly digest: string | undefined;
}

/** Takes chunks in order and without gaps, never more than were announced. Memory grows with what came, not with what was announced. */
export class ChunkAssembler {
  readonly #announced: Announced;
  #bytes: Uint8Array = new Uint8Array();
  #received = 0;

  constructor(announced: Announced) {
    this.#announced = announced;
  }

  get receivedBytes(): number {
    return this.#received;
  }

  get isComplete(): boolean {
    return this.#received === this.#announced.bytes;
  }

  /** Copies the data. Throws ClassifiedFault FRAME_INVALID for a gap, an overlap, an empty chunk and one too many. */
  add({ offset, data }: { readonly offset: number; readonly data: Uint8Array }): void {
    const { what, bytes } = this.#announced;
    if (offset !== this.#received) {
      throw frameInvalid(`the ${what} goes on at ${this.#received}, not at ${offset}`);
    }
    if (data.length === 0) throw frameInvalid(`a chunk of the ${what} is empty`);
    if (data.length > FRAME_LIMITS.chunkBytes) {
      throw frameInvalid(`a chunk of the ${what} has ${data.length} bytes, more than ${FRAME_LIMITS.chunkBytes}`);
    }
    if (offset + data.length > bytes) throw frameInvalid(`the ${what} has more than its ${bytes} bytes`);
    this.#reserve(offset + data.length);
    this.#bytes.set(data, offset);
    this.#received += data.length;
  }

  /** All of it. Throws ClassifiedFault FRAME_INVALID while something is missing, or when the digest is another. */
  finish(): Uint8Array {
    const { what, bytes, digest } = this.#announced;
    if (!this.isComplete) throw frameInvalid(`the ${what} ends after ${this.#received} of ${bytes} bytes`);
    const whole = this.#bytes.subarray(0, bytes);
    if (digest !== undefined && digestOf(whole) !== digest)
      throw frameInvalid(`the ${what} is not the one that was announced`);
    return whole;
  }

  /**
   * The first `bytes`, where only the end of the transfer says how many there are. Throws ClassifiedFault FRAME_INVALID
   * unless exactly so many came.
   */
  take(bytes: number): Uint8Array {
    const { what } = this.#announced;
    if (this.#received !== bytes) throw frameInvalid(`the ${what} ends after ${this.#received} of ${bytes} bytes`);
    return this.#bytes.subarray(0, bytes);
  }

  #reserve(needed: number): void {
    if (this.#bytes.length >= needed) return;
    const doubled = Math.max(needed, this.#bytes.length * 2, FRAME_LIMITS.maxFrameBytes);
    const grown = new Uint8Array(Math.min(this.#announced.bytes, doubled));
    grown.set(this.#bytes.subarray(0, this.#received));
    this.#bytes = grown;
  }
}
