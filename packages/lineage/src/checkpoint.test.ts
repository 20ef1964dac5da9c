import { isFault } from "@godwit/common/fault";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeCheckpoint,
  encodeCheckpoint,
  isWhole,
  joinCheckpoint,
  readHeader,
  refOf,
  verifyHeader,
  writeCheckpoint,
} from "./index.ts";
import { ada, bob, createAgent, next, nextHeader, registry, state, travelled } from "./testing/story.ts";

const created = createAgent(ada);
const second = next(created, { host: ada });
const third = next(second, { host: ada });

describe("a checkpoint's file", () => {
  test("comes back as it was, whatever the state", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.bigInt({ min: 1n, max: 10n ** 9n }), (bytes, ticks) => {
        const header = nextHeader(created, { host: ada, ticks, elapsedNs: 1_000_000n });
        const checkpoint = writeCheckpoint(header, bytes, ada.signer);
        const decoded = decodeCheckpoint(encodeCheckpoint(checkpoint));
        expect(decoded).toEqual(checkpoint);
        expect(refOf(decoded)).toEqual(refOf(checkpoint));
      }),
      { numRuns: 50 },
    );
  });

  test("what was put together here is known to be whole; what says so itself, or was changed on the way, is not", () => {
    expect(isWhole(second)).toBe(true);
    expect(isWhole(joinCheckpoint(second.signed, second.state))).toBe(true);
    expect(isWhole(decodeCheckpoint(encodeCheckpoint(second)))).toBe(true);
    expect(isWhole({ ...second })).toBe(false);
    expect(isWhole({ ...second, state: third.state })).toBe(false);
  });

  test("EI-2: a flipped byte anywhere is found, at the latest by the signature", () => {
    const bytes = encodeCheckpoint(second);
    for (let index = 0; index < bytes.length; index++) {
      const changed = bytes.with(index, (bytes[index] ?? 0) ^ 0x10);
      expect(findsDamage(changed), `byte ${index}`).toBe(true);
    }
  });

  test("EI-2: cut short anywhere, or with something behind it, it is refused", () => {
    const bytes = encodeCheckpoint(second);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeCheckpoint(bytes.subarray(0, length)), `${length} bytes`).toThrow(
        "the checkpoint is not valid",
      );
    }
    expect(() => decodeCheckpoint(new Uint8Array([...bytes, 0]))).toThrow("the checkpoint is not valid");
  });

  test("any bytes give a checkpoint or CHECKPOINT_INVALID", () => {
    const front = encodeCheckpoint(second).subarray(0, 12);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.nat(12), (bytes, kept) => {
        expect(isTotal(() => decodeCheckpoint(new Uint8Array([...front.subarray(0, kept), ...bytes])))).toBe(true);
        expect(isTotal(() => readHeader(bytes))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("a changed header gives a header that keeps every rule, or CHECKPOINT_INVALID", () => {
    const { payload } = third.signed;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = new Uint8Array(payload);
        for (const [at, byte] of changes) changed[at % changed.length] = byte;
        expect(isTotal(() => readHeader(changed))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("a length that is a lie allocates nothing", () => {
    const bytes = encodeCheckpoint(second).slice(0, 200);
    new DataView(bytes.buffer).setUint32(8, 0xffff_ffff, true);
    expect(() => decodeCheckpoint(bytes)).toThrow("its header has more than");
    new DataView(bytes.buffer).setUint32(8, 16_000, true);
    expect(() => decodeCheckpoint(bytes)).toThrow("cut short");
  });

  test("a header with thousands of receipts is refused", () => {
    const receipts = new Uint8Array(16_000);
    for (let at = 0; at < receipts.length; at += 3) receipts.set([0x82, 0x01, 0x00], Math.min(at, receipts.length - 3));
    const payload = new Uint8Array([...third.signed.payload, ...receipts.subarray(0, 14_997)]);
    expect(() => readHeader(payload)).toThrow("receipts, more than 16");
  });

  test("a signature of another length is refused before a signature is verified", () => {
    const { payload, signature } = second.signed;
    const short = { payload, signature: signature.subarray(1) };
    expect(() => joinCheckpoint(short, second.state)).toThrow("its signature is malformed");
  });

  test("a state above the limit is refused", () => {
    expect(() => decodeCheckpoint(encodeCheckpoint(second), { maxStateBytes: 3 })).toThrow("more than 3");
  });

  test("it is read from the middle of a larger buffer, and a kept header does not keep the buffer", () => {
    const bytes = encodeCheckpoint(second);
    const buffer = Buffer.concat([Buffer.alloc(13), bytes, Buffer.alloc(5)]);
    const decoded = decodeCheckpoint(buffer.subarray(13, 13 + bytes.length));
    expect(decoded).toEqual(second);
    expect(decoded.signed.payload.buffer.byteLength).toBe(decoded.signed.payload.length);
  });

  test("a state that came apart from its header is only joined with that one", () => {
    expect(joinCheckpoint(second.signed, second.state)).toEqual(second);
    expect(() => joinCheckpoint(second.signed, state("tick 6"))).toThrow("not the one that the header names");
    expect(() => joinCheckpoint(second.signed, state("other"))).toThrow("the checkpoint is not valid");
  });
});

describe("a checkpoint is signed", () => {
  test("I3: by its owner and by nobody else", () => {
    expect(() => writeCheckpoint(second.header, second.state, bob.signer)).toThrow("has to sign it");
    expect(() => writeCheckpoint(created.header, created.state, bob.signer)).toThrow("has to sign it");
  });

  test("and verifies, wherever the agent has been", () => {
    const { chain, bobLast } = travelled();
    for (const { signed, digest } of [...chain, bobLast]) {
      expect(verifyHeader(signed, registry.publicKey).digest).toBe(digest);
    }
  });
});

function isTotal(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    return isFault(error, "CHECKPOINT_INVALID");
  }
}

function findsDamage(bytes: Uint8Array): boolean {
  try {
    verifyHeader(decodeCheckpoint(bytes).signed, registry.publicKey);
    return false;
  } catch (error) {
    return isFault(error, "CHECKPOINT_INVALID", "SIGNATURE_INVALID", "GRANT_INVALID");
  }
}
