import { isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeHeader } from "./header.ts";
import {
  checkDoubleSigning,
  decodeEvidence,
  decodeLineageFile,
  type EvidenceFlaw,
  encodeEvidence,
  encodeLineageFile,
  evidenceOf,
  findDoubleSignings,
  type Header,
  issueGrant,
  refOf,
  type Signer,
  seal,
} from "./index.ts";
import {
  ada,
  bob,
  cleo,
  createAgent,
  grantOf,
  next,
  nextHeader,
  registry,
  stranger,
  travelled,
} from "./testing/story.ts";

const { created, bobFirst, bobLast, cleoLast, chain } = travelled();
const key = registry.publicKey;
const twin = next(bobFirst, { host: bob, text: "twin" });

const forge = (header: Header, signer: Signer): SignedBytes => seal("checkpoint", encodeHeader(header), signer);
/** The pair as somebody writes it down who does not care whether it proves anything. */
const claimed = (a: SignedBytes, b: SignedBytes, registryPublicKey = key) =>
  decodeEvidence(encodeEvidence({ registryPublicKey, headers: [a, b] }));

function flawOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (isFault(error, "EVIDENCE_INVALID")) return error.detail.flaw;
    throw error;
  }
  return "none";
}

describe("EI-11: two signed checkpoints of one tick", () => {
  test("prove who signed twice to whoever has the registry's key, and nothing else is needed", () => {
    const bytes = encodeEvidence(evidenceOf(bobLast.signed, twin.signed, key));
    const { hostId, session, tick, major, checkpoints } = checkDoubleSigning(decodeEvidence(bytes), key);
    expect({ hostId, session, tick, major }).toEqual({
      hostId: bob.hostId,
      session: { hostId: bob.hostId, bootId: bob.bootId },
      tick: 20n,
      major: 1n,
    });
    expect(new Set(checkpoints.map(({ digest }) => digest))).toEqual(new Set([bobLast.digest, twin.digest]));
  });

  test("are the same file, whichever comes first", () => {
    const one = encodeEvidence(evidenceOf(bobLast.signed, twin.signed, key));
    expect(encodeEvidence(evidenceOf(twin.signed, bobLast.signed, key))).toEqual(one);
  });

  test("need no grant at tick 0: the creator's key in the agent's own genesis is enough", () => {
    const again = { ...created.header, writtenAtNs: 5n };
    const evidence = evidenceOf(created.signed, forge(again, ada.signer), key);
    expect(checkDoubleSigning(evidence, key)).toMatchObject({ hostId: ada.hostId, session: undefined, tick: 0n });
  });

  test("prove it also under a grant that was given anew after a store loss, to the same session", () => {
    const session = { hostId: bob.hostId, bootId: bob.bootId };
    const anew = { agentId: created.header.agentId, era: 0n, major: 1n, session, incarnation: "later", issuedAtNs: 2n };
    const grant = issueGrant(anew, registry);
    const header = nextHeader(bobFirst, { host: bob, header: { grant, writtenAtNs: 9n } });
    const evidence = evidenceOf(bobLast.signed, forge(header, bob.signer), key);
    expect(checkDoubleSigning(evidence, key)).toMatchObject({ hostId: bob.hostId, session });
  });

  test("are found among the headers of many hosts, one for each tick", () => {
    const third = next(bobFirst, { host: bob, text: "a third" });
    const all = [...chain, bobLast, twin, third, twin].map(({ signed }) => signed);
    const found = findDoubleSignings([...all, { payload: new Uint8Array(3), signature: new Uint8Array(64) }], key);
    expect(found).toHaveLength(1);
    const [evidence] = found;
    expect(evidence && checkDoubleSigning(evidence, key)).toMatchObject({ tick: 20n, hostId: bob.hostId });
    expect(findDoubleSignings(all, stranger.publicKey)).toEqual([]);
  });
});

describe("what proves nothing is refused, and says why", () => {
  const otherAgent = (() => {
    const other = createAgent(bob, { nonce: 9 });
    return next(other, { host: bob });
  })();
  const restarted = next(bobFirst, { host: { ...bob, bootId: "boot-later" }, text: "restarted" });
  const ownGrant = nextHeader(bobFirst, { host: bob, header: { writtenAtNs: 9n } });

  test.for<[EvidenceFlaw, string, SignedBytes, SignedBytes]>([
    ["same-checkpoint", "the same twice", bobLast.signed, bobLast.signed],
    ["other-tick", "two ticks", bobFirst.signed, bobLast.signed],
    ["other-major", "two majors", bobLast.signed, cleoLast.signed],
    ["other-agent", "two agents", bobLast.signed, otherAgent.signed],
    ["other-session", "two sessions of one host", bobLast.signed, restarted.signed],
    ["bad-signature", "one that somebody else signed", bobLast.signed, forge(ownGrant, cleo.signer)],
    [
      "bad-grant",
      "a grant that the registry did not give",
      bobLast.signed,
      forge({ ...ownGrant, grant: grantOf(ownGrant.agentId, ownGrant, bob, stranger) }, bob.signer),
    ],
    [
      "bad-grant",
      "the grant of another major",
      bobLast.signed,
      forge({ ...ownGrant, grant: grantOf(ownGrant.agentId, { era: 0n, major: 7n }, bob) }, bob.signer),
    ],
    ["header-invalid", "bytes that are no header", bobLast.signed, seal("checkpoint", Uint8Array.of(1, 2), bob.signer)],
  ])("%s: %s", ([flaw, , a, b]) => {
    expect(flawOf(() => checkDoubleSigning(claimed(a, b), key))).toBe(flaw);
    expect(flawOf(() => checkDoubleSigning(claimed(b, a), key))).toBe(flaw);
    expect(flawOf(() => evidenceOf(a, b, key))).toBe(flaw);
  });

  test("other-registry: evidence from another registry, also when its writer says otherwise", () => {
    const evidence = evidenceOf(bobLast.signed, twin.signed, key);
    expect(flawOf(() => checkDoubleSigning(evidence, stranger.publicKey))).toBe("other-registry");
    const relabelled = { ...evidence, registryPublicKey: stranger.publicKey };
    expect(flawOf(() => checkDoubleSigning(relabelled, stranger.publicKey))).toBe("bad-grant");
    expect(flawOf(() => checkDoubleSigning(evidence, new Uint8Array(3)))).toBe("other-registry");
  });

  test("same-checkpoint: another signature over the same header is not a second checkpoint", () => {
    const again = forge(bobLast.header, bob.signer);
    expect(flawOf(() => evidenceOf(bobLast.signed, again, key))).toBe("same-checkpoint");
  });

  test("malformed: three headers, one, or the file of a lineage", () => {
    const { registryPublicKey, headers } = evidenceOf(bobLast.signed, twin.signed, key);
    const lineage = encodeLineageFile({ registryPublicKey, headers });
    expect(flawOf(() => decodeEvidence(lineage))).toBe("malformed");
    for (const count of [0, 1, 3]) {
      const bytes = encodeLineageFile({ registryPublicKey, headers: [...headers, bobFirst.signed].slice(0, count) });
      bytes.set(new TextEncoder().encode("GWEV"));
      expect(flawOf(() => decodeEvidence(bytes))).toBe("malformed");
    }
  });
});

describe("files", () => {
  const evidence = evidenceOf(bobLast.signed, twin.signed, key);
  const file = encodeEvidence(evidence);
  const lineage = encodeLineageFile({ registryPublicKey: key, headers: chain.map(({ signed }) => signed) });

  test("what was written is what is read, from a Buffer too", () => {
    expect(decodeEvidence(Buffer.from(file))).toEqual(evidence);
    expect(decodeLineageFile(Buffer.from(lineage)).headers.map(({ payload }) => payload)).toEqual(
      chain.map(({ signed }) => signed.payload),
    );
    expect(decodeLineageFile(encodeLineageFile({ registryPublicKey: key, headers: [] })).headers).toEqual([]);
    expect(refOf(bobLast).digest).toBe(bobLast.digest);
  });

  test("what is not whole, or has something behind it, is refused", () => {
    for (let length = 0; length < file.length; length++) {
      expect(flawOf(() => decodeEvidence(file.subarray(0, length)))).toBe("malformed");
    }
    expect(flawOf(() => decodeEvidence(Uint8Array.of(...file, 0)))).toBe("malformed");
    expect(() => decodeLineageFile(lineage.subarray(0, -1))).toThrow("cut short");
    expect(() => encodeLineageFile({ registryPublicKey: new Uint8Array(2), headers: [] })).toThrow("2 bytes");
  });

  test("any bytes give a value whose encoding they are, or a typed fault; and prove nothing that was not signed", () => {
    const said = checkDoubleSigning(evidence, key);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = file.with(at, (file[at] ?? 0) ^ flip);
        try {
          const read = decodeEvidence(changed);
          expect(encodeEvidence(read)).toEqual(changed);
          expect(checkDoubleSigning(read, key)).toEqual(said);
          expect.unreachable("no byte of it is there for nothing");
        } catch (error) {
          if (!isFault(error, "EVIDENCE_INVALID")) throw error;
        }
      }),
      { numRuns: 300 },
    );
  });

  test("noise, with and without the right front, gives a typed fault", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(44), (noise, kept) => {
        const bytes = Uint8Array.of(...file.subarray(0, kept), ...noise);
        expect(["none", "malformed"]).toContain(flawOf(() => decodeEvidence(bytes)));
        const other = Uint8Array.of(...lineage.subarray(0, kept), ...noise);
        try {
          expect(encodeLineageFile(decodeLineageFile(other))).toEqual(other);
        } catch (error) {
          expect(isFault(error, "LINEAGE_INVALID")).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});
