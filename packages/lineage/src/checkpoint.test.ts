import { isFault } from "@godwit/common/fault";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ada, bob, createAgent, grantOf, next, nextHeader, registry, state, travelled } from "../test/story.ts";
import {
  decodeCheckpoint,
  encodeCheckpoint,
  type Header,
  joinCheckpoint,
  readHeader,
  refOf,
  verifyHeader,
  writeCheckpoint,
} from "./index.ts";

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
    expect(() => readHeader(new Uint8Array([...third.signed.payload, ...receipts.subarray(0, 14_997)]))).toThrow();
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

describe("what a host never signs, and nobody accepts", () => {
  const receipt = (header: Header) => header.receipts[0] ?? expect.unreachable();
  const fine = nextHeader(second, { host: ada });
  const moved = nextHeader(second, { host: bob, term: { era: 0n, major: 1n } });

  test.for<[string, Partial<Header>]>([
    ["EI-3: no base", { base: undefined }],
    ["EI-3: no checkpoint before", { previous: undefined }],
    ["EI-3: a base that is not before it", { base: { ...refOf(third), tick: 10n, major: 0n } }],
    ["EI-3: a base of its own major that is not tick 0", { base: refOf(second) }],
    ["I3: no grant", { grant: undefined }],
    ["I3: a grant of another major", { grant: grantOf(fine.agentId, { era: 0n, major: 1n }, ada) }],
    ["I3: a grant of another era", { grant: grantOf(fine.agentId, { era: 1n, major: 0n }, ada) }],
    ["I3: a grant of another agent", { grant: grantOf("ab".repeat(32), fine, ada) }],
    ["I3: a grant of another host", { grant: grantOf(fine.agentId, fine, bob) }],
    ["a genesis at another tick than 0", { genesis: created.header.genesis }],
    ["GA-9: a recovery after store loss in the era of its base", { origin: "recovered-after-store-loss" }],
    ["a rollback of what was not recovered", { rolledBackFromTick: 99n }],
    ["I6: no receipt", { receipts: [] }],
    [
      "I6: receipts that leave a tick out",
      {
        receipts: [
          { ...receipt(fine), lastTick: 7n },
          { ...receipt(fine), firstTick: 9n, cost: 0n },
        ],
      },
    ],
    ["I6: a receipt that charges the ticks of its base", { receipts: [{ ...receipt(fine), firstTick: 0n }] }],
    ["I6: a receipt that ends before its tick", { receipts: [{ ...receipt(fine), lastTick: 9n }] }],
    ["I6: a budget that was not left", { budget: fine.budget + 1n }],
    ["I6: a receipt of another host", { receipts: [{ ...receipt(fine), hostId: bob.hostId }] }],
    ["I6: a remainder of a whole microcent", { remainder: 1_000_000_000n }],
    ["I6: a price that is not charged", { receipts: [{ ...receipt(fine), pricePerSecond: 999_999_999n }] }],
    ["I6: a negative budget", { budget: -1n }],
    ["a budget beyond all money", { budget: 2n ** 63n }],
    ["more receipts than fit", { receipts: Array.from({ length: 17 }, () => receipt(fine)) }],
    ["an agent id that is none", { agentId: "x" }],
    ["a tick beyond 64 bits", { tick: 2n ** 64n }],
  ])("%s", ([, wrong]) => {
    expect(() => writeCheckpoint(fine, state("x"), ada.signer)).not.toThrow();
    expect(() => writeCheckpoint({ ...fine, ...wrong }, state("x"), ada.signer)).toThrow(/is not valid/);
  });

  test.for<[string, Partial<Header>]>([
    [
      "EI-10: a first tick that is not the source's last plus one",
      { receipts: [{ ...receipt(moved), firstTick: 7n }] },
    ],
    ["EI-10: a checkpoint before it that is not the frozen one", { previous: created.digest }],
    ["I2: a base of a newer major", { base: { ...refOf(second), major: 2n } }],
    ["I2: a base of its own major", { base: { ...refOf(second), major: 1n } }],
    ["a created agent that has an older major", { origin: "created" }],
    ["a rollback to a tick that is not older", { origin: "recovered", rolledBackFromTick: 5n }],
  ])("%s", ([, wrong]) => {
    expect(() => writeCheckpoint(moved, state("x"), bob.signer)).not.toThrow();
    expect(() => writeCheckpoint({ ...moved, ...wrong }, state("x"), bob.signer)).toThrow(/is not valid/);
  });

  test.for<[string, Partial<Header>]>([
    ["another agent's id", { agentId: "ab".repeat(32) }],
    ["another module than the genesis", { moduleDigest: "ab".repeat(32) }],
    ["a major", { major: 1n }],
    ["a base", { base: refOf(created) }],
    ["charges", { receipts: fine.receipts }],
    ["no genesis", { genesis: undefined }],
  ])("tick 0 with %s", ([, wrong]) => {
    expect(() => writeCheckpoint({ ...created.header, ...wrong }, state("x"), ada.signer)).toThrow(/is not valid/);
  });

  test("I3: a header that another host signs", () => {
    expect(() => writeCheckpoint(fine, state("x"), bob.signer)).toThrow("has to sign it");
    expect(() => writeCheckpoint(created.header, state("x"), bob.signer)).toThrow("has to sign it");
  });

  test("exhaustion takes what is left, though no time stands for it", () => {
    const left = second.header.budget;
    const taken = { ...receipt(fine), firstTick: 6n, lastTick: 6n, elapsedNs: 0n, cost: left, budgetAfter: 0n };
    const header: Header = { ...fine, tick: 6n, budget: 0n, remainder: 0n, receipts: [taken] };
    const exhausted = writeCheckpoint(header, second.state, ada.signer);
    expect(verifyHeader(exhausted.signed, registry.publicKey).header.budget).toBe(0n);
  });

  test("every checkpoint of an agent that has travelled verifies", () => {
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
