import { isFault } from "@godwit/common/fault";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostIdOf, isHostId, publicKeyOfHost, signerFromSeed } from "./index.ts";

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe("host ids", () => {
  test("a host id and its public key give each other", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { publicKey } = signerFromSeed(seed);
        const hostId = hostIdOf(publicKey);
        expect(hostId).toMatch(/^12D3KooW/);
        expect(publicKeyOfHost(hostId)).toEqual(publicKey);
      }),
      { numRuns: 20 },
    );
  });

  test("who changes the key that was answered does not change the host", () => {
    const hostId = hostIdOf(signerFromSeed(new Uint8Array(32).fill(9)).publicKey);
    publicKeyOfHost(hostId).fill(0);
    expect(hostIdOf(publicKeyOfHost(hostId))).toBe(hostId);
  });

  test.for<[string, string]>([
    ["nothing", ""],
    ["no peer id", "host-1"],
    ["not base58", "12D3KooW0OIl"],
    ["cut short", "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc"],
    ["a peer id of an RSA key", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"],
    ["a peer id of a secp256k1 key", "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY"],
    ["the same key spelt as a CID", "bafzaajaiaejcbpltl72da5f3y7ojrtsa7hsfn5bbnkjbkwyesziqqtdry6vjilku"],
    ["a space behind it", "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8 "],
    ["what takes long to read", `12D3KooW${"1".repeat(2_000_000)}`],
  ])("%s is refused", ([, text]) => {
    expect(isHostId(text)).toBe(false);
    expect(() => publicKeyOfHost(text)).toThrow(/is not an Ed25519 peer id/);
  });

  test("any text is a host id or Fault INVALID_ARGUMENT", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          expect(hostIdOf(publicKeyOfHost(text))).toBe(text);
        } catch (error) {
          expect(isFault(error, "INVALID_ARGUMENT")).toBe(true);
        }
      }),
    );
  });

  test("a seed or key of another length than 32 bytes is refused", () => {
    expect(() => signerFromSeed(new Uint8Array(31))).toThrow("give 32 bytes, not 31");
    expect(() => hostIdOf(new Uint8Array(33))).toThrow("give 32 bytes, not 33");
  });
});
