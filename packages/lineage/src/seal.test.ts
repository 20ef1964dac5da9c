import { isFault } from "@godwit/common/fault";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_SEALED_BYTES, open, type SealKind, seal } from "./index.ts";
import { Lru } from "./lru.ts";
import { registry, stranger } from "./testing/story.ts";

const kinds: readonly SealKind[] = [
  "grant",
  "token",
  "termination",
  "checkpoint",
  "mark",
  "session-opening",
  "reassertion",
  "price-statement",
];
const payloads = fc.uint8Array({ maxLength: 200 });
const anyKind = fc.constantFrom(...kinds);

describe("seal", () => {
  test("what was sealed is opened as it was, also a second time", () => {
    fc.assert(
      fc.property(anyKind, payloads, (kind, payload) => {
        const signed = seal(kind, payload, registry);
        expect(open(kind, signed, registry.publicKey)).toEqual(payload);
        expect(open(kind, signed, registry.publicKey)).toEqual(payload);
      }),
      { numRuns: 50 },
    );
  });

  test("a signature of one kind is none of another, whether it was opened before or not", () => {
    const payload = Uint8Array.of(1, 2, 3);
    for (const kind of kinds) {
      const signed = seal(kind, payload, registry);
      open(kind, signed, registry.publicKey);
      for (const other of kinds.filter((name) => name !== kind)) {
        expect(() => open(other, signed, registry.publicKey)).toThrow("does not verify");
      }
    }
  });

  test("a flipped bit anywhere, another length of signature, or another key does not verify", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 50 }), fc.nat(), fc.boolean(), (payload, at, inPayload) => {
        const signed = seal("mark", payload, registry);
        open("mark", signed, registry.publicKey);
        const changed = { payload: new Uint8Array(payload), signature: new Uint8Array(signed.signature) };
        const bytes = inPayload ? changed.payload : changed.signature;
        const bit = at % (bytes.length * 8);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        for (const forged of [changed, { payload, signature: signed.signature.subarray(1) }]) {
          try {
            open("mark", forged, registry.publicKey);
            expect.unreachable();
          } catch (error) {
            expect(isFault(error, "SIGNATURE_INVALID")).toBe(true);
          }
        }
        expect(() => open("mark", signed, stranger.publicKey)).toThrow("the signature of the mark does not verify");
      }),
      { numRuns: 100 },
    );
  });

  test("a signature that lacks its last zero byte is not taken for the one that was verified", () => {
    let signed = seal("mark", Uint8Array.of(0), registry);
    for (let nonce = 1; signed.signature[63] !== 0; nonce++) signed = seal("mark", Uint8Array.of(nonce, 1), registry);
    open("mark", signed, registry.publicKey);
    const short = { payload: signed.payload, signature: signed.signature.subarray(0, 63) };
    expect(() => open("mark", short, registry.publicKey)).toThrow("does not verify");
  });

  test("what is too large is refused before it is hashed", () => {
    const payload = new Uint8Array(MAX_SEALED_BYTES + 1);
    const signed = { payload, signature: new Uint8Array(64) };
    expect(() => seal("mark", payload, registry)).toThrow("over the limit");
    expect(() => open("mark", signed, registry.publicKey)).toThrow("over the limit");
  });

  test("what is remembered is bounded, and what was asked for last stays", () => {
    const lru = new Lru<number, string>(2);
    lru.set(1, "a");
    lru.set(2, "b");
    lru.get(1);
    lru.set(3, "c");
    expect([lru.size, lru.get(1), lru.get(2), lru.get(3)]).toEqual([2, "a", undefined, "c"]);
  });
});
