import { type FaultCode, isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ada, bob, INCARNATION, registry, stranger } from "../test/story.ts";
import {
  createGenesis,
  digestOf,
  type Genesis,
  type Grant,
  issueGrant,
  issueTermination,
  issueToken,
  type RelinquishToken,
  readGenesis,
  readGrant,
  readReceipt,
  readTermination,
  readToken,
  seal,
  type Termination,
} from "./index.ts";

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const digests = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"));
const ids = fc.stringMatching(/^[!-~]{1,128}$/);
const hosts = fc.constantFrom(ada.hostId, bob.hostId);
const sessions = fc.record({ hostId: hosts, bootId: ids });

const grants: fc.Arbitrary<Grant> = fc.record({
  agentId: digests,
  era: u64,
  major: u64,
  session: sessions,
  incarnation: ids,
  issuedAtNs: i64,
});
const tokens: fc.Arbitrary<RelinquishToken> = fc.record({
  agentId: digests,
  era: u64,
  major: u64,
  handoffId: ids,
  targetHostId: hosts,
  checkpointDigest: digests,
  tick: u64,
});
const terminations: fc.Arbitrary<Termination> = fc.record({
  agentId: digests,
  era: u64,
  major: u64,
  incarnation: ids,
  issuedAtNs: i64,
});
const geneses: fc.Arbitrary<Genesis> = fc.record({
  creatorHostId: hosts,
  moduleDigest: digests,
  manifestDigest: digests,
  incarnation: ids,
  nonce: fc.uint8Array({ minLength: 16, maxLength: 64 }),
  recoveryPolicy: fc.constantFrom("latest", "strict"),
  name: fc.stringMatching(/^[a-zà-ü 0-9漢]{0,128}$/),
});

describe("round trips", () => {
  test("a grant, a token, a termination and a genesis come back as they were", () => {
    fc.assert(
      fc.property(grants, tokens, terminations, geneses, (grant, token, termination, genesis) => {
        expect(readGrant(issueGrant(grant, registry), registry.publicKey)).toEqual(grant);
        expect(readToken(issueToken(token, ada.signer), ada.hostId)).toEqual(token);
        expect(readTermination(issueTermination(termination, registry), registry.publicKey)).toEqual(termination);
        const { bytes, agentId } = createGenesis(genesis);
        expect(agentId).toBe(digestOf(bytes));
        expect(readGenesis(bytes)).toEqual({ ...genesis, agentId });
      }),
      { numRuns: 50 },
    );
  });
});

describe("I1: who may extend a lineage", () => {
  const grant: Grant = {
    agentId: digestOf(Uint8Array.of(1)),
    era: 0n,
    major: 3n,
    session: { hostId: ada.hostId, bootId: "boot" },
    incarnation: INCARNATION,
    issuedAtNs: 5n,
  };
  const token: RelinquishToken = {
    agentId: grant.agentId,
    era: 0n,
    major: 3n,
    handoffId: "handoff",
    targetHostId: bob.hostId,
    checkpointDigest: digestOf(Uint8Array.of(2)),
    tick: 9n,
  };

  test("a grant that somebody else than the registry signed is refused", () => {
    expect(() => readGrant(issueGrant(grant, stranger), registry.publicKey)).toThrow("the signature of the grant");
  });

  test("GH: a token that somebody else than the source signed is refused", () => {
    expect(() => readToken(issueToken(token, bob.signer), ada.hostId)).toThrow("the signature of the token");
    expect(() => readToken(issueToken(token, ada.signer), "nobody")).toThrow("no Ed25519 peer id");
  });

  test("a termination that somebody else than the registry signed is refused", () => {
    const termination = { agentId: grant.agentId, era: 0n, major: 3n, incarnation: INCARNATION, issuedAtNs: 0n };
    const forged = issueTermination(termination, stranger);
    expect(() => readTermination(forged, registry.publicKey)).toThrow("the signature of the termination");
  });

  test.for<[string, Partial<Grant>]>([
    ["an agent id of another form", { agentId: "ABC" }],
    ["a negative major", { major: -1n }],
    ["an era beyond 64 bits", { era: 2n ** 64n }],
    ["a host id that is none", { session: { hostId: "host", bootId: "boot" } }],
    ["an empty boot id", { session: { hostId: ada.hostId, bootId: "" } }],
    ["an incarnation with a line break", { incarnation: "a\nb" }],
  ])("a grant with %s is not issued", ([, wrong]) => {
    expect(() => issueGrant({ ...grant, ...wrong }, registry)).toThrow("the grant is not valid");
  });

  test.for<[string, Partial<RelinquishToken>]>([
    ["no handoff id", { handoffId: "" }],
    ["no target", { targetHostId: "" }],
    ["half a digest", { checkpointDigest: "abcd" }],
    ["a negative tick", { tick: -1n }],
  ])("a token with %s is not issued", ([, wrong]) => {
    expect(() => issueToken({ ...token, ...wrong }, ada.signer)).toThrow("the relinquish token is not valid");
  });
});

describe("a genesis", () => {
  const genesis: Genesis = {
    creatorHostId: ada.hostId,
    moduleDigest: digestOf(Uint8Array.of(1)),
    manifestDigest: digestOf(Uint8Array.of(2)),
    incarnation: INCARNATION,
    nonce: new Uint8Array(16),
    recoveryPolicy: "strict",
    name: "survivor",
  };

  test("another nonce gives another agent", () => {
    const other = createGenesis({ ...genesis, nonce: new Uint8Array(16).fill(1) });
    expect(other.agentId).not.toBe(createGenesis(genesis).agentId);
  });

  test.for<[string, Partial<Genesis>]>([
    ["a nonce that can be guessed", { nonce: new Uint8Array(15) }],
    ["a name that moves the cursor", { name: "a\u001b[2J" }],
    ["a name without end", { name: "x".repeat(129) }],
    ["a module digest that is none", { moduleDigest: "00" }],
    ["a creator that is no host", { creatorHostId: "me" }],
  ])("with %s is refused", ([, wrong]) => {
    expect(() => createGenesis({ ...genesis, ...wrong })).toThrow();
  });
});

describe("reading is total", () => {
  const readers: readonly (readonly [FaultCode, (bytes: Uint8Array) => unknown])[] = [
    ["GRANT_INVALID", (bytes) => readGrant(seal("grant", bytes, registry), registry.publicKey)],
    ["TOKEN_INVALID", (bytes) => readToken(seal("token", bytes, ada.signer), ada.hostId)],
    ["LINEAGE_INVALID", (bytes) => readTermination(seal("termination", bytes, registry), registry.publicKey)],
    ["CHECKPOINT_INVALID", readGenesis],
    ["CHECKPOINT_INVALID", readReceipt],
  ];

  test("any bytes that were signed give a value or a typed fault", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => {
        for (const [code, read] of readers) expect(faultOf(() => read(bytes), code)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test("a grant whose bytes were changed by somebody who can sign is a grant or GRANT_INVALID", () => {
    fc.assert(
      fc.property(grants, fc.nat(), fc.nat(255), fc.boolean(), (grant, at, byte, cut) => {
        const { payload } = issueGrant(grant, registry);
        const index = at % payload.length;
        const changed = cut ? payload.slice(0, index) : payload.with(index, byte);
        const signed: SignedBytes = seal("grant", changed, registry);
        expect(faultOf(() => readGrant(signed, registry.publicKey), "GRANT_INVALID")).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test("a payload beyond its limit is refused before its signature is looked at", () => {
    const signed = { payload: new Uint8Array(5_000_000), signature: new Uint8Array(64) };
    expect(() => readGrant(signed, registry.publicKey)).toThrow("the grant is not valid");
    expect(() => readToken(signed, ada.hostId)).toThrow("the relinquish token is not valid");
    expect(() => readTermination(signed, registry.publicKey)).toThrow("of its termination");
  });
});

/** True when `read` gives a value, or a fault with this code. */
function faultOf(read: () => unknown, code: FaultCode): boolean {
  try {
    read();
    return true;
  } catch (error) {
    return isFault(error, code);
  }
}
