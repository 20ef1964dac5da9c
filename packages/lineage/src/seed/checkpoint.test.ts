import { isFault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { digestOf, hexOf } from "../digest.ts";
import { seedAgent, seedCheckpointFile, stranger } from "../testing/story.ts";
import { decodeSeedCheckpoint, holdsSeedSignature, type SeedCheckpoint } from "./checkpoint.ts";

const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));

/** SHA-256 of "known-wasm-binary-for-golden-test". */
const moduleDigest = "c758436be87d535eaf52b682736f74d8988f1d61a064f1f0171521e1c8c03b8e";
const golden = {
  v2: bytesOf(`02 40420f0000000000 e803000000000000 0500000000000000 ${moduleDigest} 0300000000000000`),
  v2Empty: bytesOf(`02 20a1070000000000 d007000000000000 0000000000000000 ${moduleDigest}`),
  v3: bytesOf(
    `03 80841e0000000000 dc05000000000000 0a00000000000000 ${moduleDigest}
     0300000000000000 0700000000000000 00002a36fe9c9717 0500000000000000`,
  ),
};
const state = Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0);
const v4 = seedCheckpointFile({ moduleDigest, state, previous: "ab".repeat(32), budget: 7n, leaseEndsAtNs: 9n });

function custodyOf({ custody }: SeedCheckpoint) {
  if (custody === undefined) throw new Error("it is not signed");
  return custody;
}

describe("a checkpoint of the seed system", () => {
  test("the seed's own fixtures are read as the seed read them", () => {
    const none = { lease: undefined, custody: undefined, moduleDigest };
    expect(digestOf(golden.v2)).toBe("ab748fbd8176b9a6b2fe81655e513665fa367e5486e17702aeb7336c835e9e69");
    expect(decodeSeedCheckpoint(golden.v2)).toEqual({
      ...none,
      format: 2,
      digest: digestOf(golden.v2),
      budget: 1_000_000n,
      pricePerSecond: 1_000n,
      tick: 5n,
      headerBytes: 57,
      state: Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0),
    });
    expect(digestOf(golden.v2Empty)).toBe("7f5d876c9e671695b58739e71df4d205ec7fc2fa0b3c363b022e7df69ad7d9be");
    expect(decodeSeedCheckpoint(golden.v2Empty)).toEqual({
      ...none,
      format: 2,
      digest: digestOf(golden.v2Empty),
      budget: 500_000n,
      pricePerSecond: 2_000n,
      tick: 0n,
      headerBytes: 57,
      state: new Uint8Array(),
    });
    expect(digestOf(golden.v3)).toBe("a1b9ba10da568e1f77f651f7016ed5519210be52c08ecaaef39070dddc3c05bf");
    expect(decodeSeedCheckpoint(golden.v3)).toEqual({
      ...none,
      format: 3,
      digest: digestOf(golden.v3),
      budget: 2_000_000n,
      pricePerSecond: 1_500n,
      tick: 10n,
      lease: { major: 3n, generation: 7n, endsAtNs: 1_700_000_000_000_000_000n },
      headerBytes: 81,
      state,
    });
  });

  test("format 4 has the key that signed it and the checkpoint before; all zeros is none", () => {
    const read = decodeSeedCheckpoint(v4);
    expect(read).toMatchObject({ format: 4, headerBytes: 209, state, budget: 7n, tick: 10n });
    expect(read.lease).toEqual({ major: 3n, generation: 7n, endsAtNs: 9n });
    expect(custodyOf(read)).toMatchObject({ previous: "ab".repeat(32), publicKey: hexOf(seedAgent.publicKey) });
    expect(holdsSeedSignature(v4, custodyOf(read))).toBe(true);
    const first = decodeSeedCheckpoint(seedCheckpointFile({ moduleDigest, state }));
    expect(custodyOf(first).previous).toBeUndefined();
    expect(first.lease?.endsAtNs).toBeUndefined();
  });

  test("T-33: a flipped bit anywhere in format 4 is found, at the latest by the signature", () => {
    for (let bit = 0; bit < v4.length * 8; bit++) {
      const at = Math.floor(bit / 8);
      const changed = v4.with(at, (v4[at] ?? 0) ^ (1 << (bit % 8)));
      expect(isFoundOut(changed), `bit ${bit}`).toBe(true);
    }
  });

  test("a stranger's signature is not the agent's", () => {
    const forged = seedCheckpointFile({ moduleDigest, state, signer: stranger });
    expect(holdsSeedSignature(forged, custodyOf(decodeSeedCheckpoint(forged)))).toBe(false);
  });

  const short = (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 9);
  test.for<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(), "it is empty"],
    ["one byte", Uint8Array.of(2), "its header alone has 57 bytes, and there are 1"],
    ["zeros", new Uint8Array(30), "its version 0 is none of those"],
    ["the first format", Uint8Array.of(1, ...new Uint8Array(60)), "its version 1 is none of those"],
    ["a format to come", Uint8Array.of(255, ...new Uint8Array(300)), "its version 255 is none of those"],
    ["half of format 2", short(golden.v2), "its header alone has 57 bytes, and there are 56"],
    ["half of format 3", short(golden.v3), "its header alone has 81 bytes, and there are 80"],
    ["half of format 4", v4.subarray(0, 208), "its header alone has 209 bytes, and there are 208"],
    ["a debt", seedCheckpointFile({ format: 2, moduleDigest, state, budget: -1n }), "its budget of -1 microcents"],
    ["a price below 0", seedCheckpointFile({ format: 2, moduleDigest, state, pricePerSecond: -1n }), "its price of -1"],
    [
      "both, of which the budget is looked at first",
      seedCheckpointFile({ format: 3, moduleDigest, state, budget: -2n, pricePerSecond: -1n }),
      "its budget of -2 microcents",
    ],
  ])("%s is refused", ([, bytes, reason]) => {
    expect(refusal(() => decodeSeedCheckpoint(bytes))).toBe("CHECKPOINT_INVALID");
    expect(() => decodeSeedCheckpoint(bytes)).toThrow(reason);
  });

  test("a debt is kept for those who say so, a price below 0 is not", () => {
    const kept = { negativeBudget: "kept" } as const;
    const debt = seedCheckpointFile({ format: 3, moduleDigest, state, budget: -(2n ** 63n) });
    expect(decodeSeedCheckpoint(debt, kept).budget).toBe(-(2n ** 63n));
    const price = seedCheckpointFile({ format: 2, moduleDigest, state, budget: -1n, pricePerSecond: -1n });
    expect(refusal(() => decodeSeedCheckpoint(price, kept))).toBe("CHECKPOINT_INVALID");
  });

  test("a file of the time when a 2 stood ahead of a shorter header is read as one of a module that nobody has", () => {
    const older = Buffer.concat([golden.v2.subarray(0, 25), Buffer.alloc(40, 7)]);
    expect(decodeSeedCheckpoint(older)).toMatchObject({
      moduleDigest: "07".repeat(32),
      state: new Uint8Array(8).fill(7),
    });
  });

  test("it is read from the middle of a larger buffer", () => {
    const buffer = Buffer.concat([Buffer.alloc(13), v4, Buffer.alloc(5)]).subarray(13, 13 + v4.length);
    expect(decodeSeedCheckpoint(buffer)).toEqual(decodeSeedCheckpoint(v4));
    expect(holdsSeedSignature(buffer, custodyOf(decodeSeedCheckpoint(buffer)))).toBe(true);
  });
});

/** The code of the fault; "none". What is no fault is thrown on. */
function refusal(read: () => unknown): string {
  try {
    read();
    return "none";
  } catch (error) {
    if (!isFault(error)) throw error;
    return error.code;
  }
}

function isFoundOut(bytes: Uint8Array): boolean {
  if (refusal(() => decodeSeedCheckpoint(bytes)) === "CHECKPOINT_INVALID") return true;
  const { custody } = decodeSeedCheckpoint(bytes);
  return custody === undefined || !holdsSeedSignature(bytes, custody);
}
