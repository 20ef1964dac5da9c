// A spine over frames: cut by size, put together within limits. Whether it links up is packages/lineage's to say.

import type { SignedBytes } from "@godwit/common/lease";
import { digestOf } from "@godwit/lineage";
import type { SpineFrame } from "./frames.ts";
import { FRAME_LIMITS } from "./limits.ts";
import { frameInvalid } from "./wire.ts";

/**
 * Newest first, down to the one above `known`; the whole spine when `known` is not on it. At least one frame, and the
 * last one says so; it brings the receipts.
 */
export function* spineFrames(
  spine: readonly SignedBytes[],
  known: string | undefined,
  receipts: readonly Uint8Array[] = [],
): Generator<SpineFrame> {
  const at = known === undefined ? -1 : spine.findIndex(({ payload }) => digestOf(payload) === known);
  const wanted = at === -1 ? spine : spine.slice(0, at);
  let headers: SignedBytes[] = [];
  let bytes = 0;
  for (const header of wanted) {
    const size = header.payload.length + header.signature.length;
    if (headers.length > 0 && bytes + size > FRAME_LIMITS.spineFrameBytes) {
      yield { kind: "spine", headers, last: false, receipts: [] };
      headers = [];
      bytes = 0;
    }
    headers.push(header);
    bytes += size;
  }
  yield { kind: "spine", headers, last: true, receipts };
}

export class SpineAssembler {
  readonly #headers: SignedBytes[] = [];
  #bytes = 0;

  /** Throws ClassifiedFault FRAME_INVALID above the limits. */
  add({ headers, last }: SpineFrame): void {
    const { maxSpineBytes, maxSpineHeaders } = FRAME_LIMITS;
    if (headers.length === 0 && !last) throw frameInvalid("a part of the spine is empty");
    for (const header of headers) {
      this.#bytes += header.payload.length + header.signature.length;
      this.#headers.push(header);
    }
    if (this.#headers.length > maxSpineHeaders)
      throw frameInvalid(`the spine has more than ${maxSpineHeaders} headers`);
    if (this.#bytes > maxSpineBytes) throw frameInvalid(`the spine has more than ${maxSpineBytes} bytes`);
  }

  get headers(): readonly SignedBytes[] {
    return this.#headers;
  }
}
