import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type FaultCode, isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import {
  GenesisSchema,
  GrantSchema,
  RelinquishTokenSchema,
  TerminationSchema,
} from "@godwit/proto/godwit/lineage/v1/lineage";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createGenesis,
  digestOf,
  digestToBytes,
  encodeReceipt,
  type Genesis,
  type Grant,
  issueGrant,
  issueTermination,
  issueToken,
  type Receipt,
  type RelinquishToken,
  readGenesis,
  readGrant,
  readReceipt,
  readTermination,
  readToken,
  seal,
  type Termination,
  toProtoPolicy,
} from "./index.ts";
import { ada, bob, createAgent, INCARNATION, next, registry, stranger } from "./testing/story.ts";

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

const agentId = digestOf(Uint8Array.of(1));
const grant: Grant = {
  agentId,
  era: 0n,
  major: 3n,
  session: { hostId: ada.hostId, bootId: "boot" },
  incarnation: INCARNATION,
  issuedAtNs: 5n,
};
const token: RelinquishToken = {
  agentId,
  era: 0n,
  major: 3n,
  handoffId: "handoff",
  targetHostId: bob.hostId,
  checkpointDigest: digestOf(Uint8Array.of(2)),
  tick: 9n,
};
const termination: Termination = { agentId, era: 0n, major: 3n, incarnation: INCARNATION, issuedAtNs: 0n };
const genesis: Genesis = {
  creatorHostId: ada.hostId,
  moduleDigest: digestOf(Uint8Array.of(1)),
  manifestDigest: digestOf(Uint8Array.of(2)),
  incarnation: INCARNATION,
  nonce: new Uint8Array(16),
  recoveryPolicy: "strict",
  name: "survivor",
};

describe("I1: who may extend a lineage", () => {
  test("a grant that somebody else than the registry signed is refused", () => {
    expect(() => readGrant(issueGrant(grant, stranger), registry.publicKey)).toThrow("the signature of the grant");
  });

  test("a token that somebody else than the source signed is refused", () => {
    expect(() => readToken(issueToken(token, bob.signer), ada.hostId)).toThrow("the signature of the token");
    expect(() => readToken(issueToken(token, ada.signer), "nobody")).toThrow("no Ed25519 peer id");
  });

  test("a termination that somebody else than the registry signed is refused", () => {
    const forged = issueTermination(termination, stranger);
    expect(() => readTermination(forged, registry.publicKey)).toThrow("the signature of the termination");
  });
});

describe("what says nothing sensible is neither signed nor believed, whoever signed it", () => {
  const readSealedGrant = (payload: Uint8Array) => readGrant(seal("grant", payload, registry), registry.publicKey);
  const readSealedToken = (payload: Uint8Array) => readToken(seal("token", payload, ada.signer), ada.hostId);
  const readSealedTermination = (payload: Uint8Array) =>
    readTermination(seal("termination", payload, registry), registry.publicKey);

  test.for<[string, Partial<Grant>]>([
    ["the agent id", { agentId: "ABC" }],
    ["the host id", { session: { hostId: "host", bootId: "boot" } }],
    ["the boot id", { session: { hostId: ada.hostId, bootId: "" } }],
    ["the incarnation", { incarnation: "a\nb" }],
  ])("a grant: %s", ([what, wrong]) => {
    expect(() => issueGrant({ ...grant, ...wrong }, registry)).toThrow(`the grant is not valid: ${what}`);
    const message = create(GrantSchema, { ...grant, ...wrong });
    expect(() => readSealedGrant(toBinary(GrantSchema, message))).toThrow(`the grant is not valid: ${what}`);
  });

  test.for<[string, Partial<Omit<RelinquishToken, "checkpointDigest">>]>([
    ["the agent id", { agentId: "ABC" }],
    ["the handoff id", { handoffId: "x".repeat(129) }],
    ["the target's host id", { targetHostId: "" }],
  ])("a token: %s", ([what, wrong]) => {
    const refusal = `the relinquish token is not valid: ${what}`;
    expect(() => issueToken({ ...token, ...wrong }, ada.signer)).toThrow(refusal);
    const checkpointDigest = digestToBytes(token.checkpointDigest);
    const message = create(RelinquishTokenSchema, { ...token, ...wrong, checkpointDigest });
    expect(() => readSealedToken(toBinary(RelinquishTokenSchema, message))).toThrow(refusal);
  });

  test("a token: the checkpoint's digest", () => {
    expect(() => issueToken({ ...token, checkpointDigest: "abcd" }, ada.signer)).toThrow("digest is malformed");
    const message = create(RelinquishTokenSchema, { ...token, checkpointDigest: new Uint8Array(31) });
    expect(() => readSealedToken(toBinary(RelinquishTokenSchema, message))).toThrow("digest is malformed");
  });

  test.for<[string, Partial<Termination>]>([
    ["the agent id", { agentId: "ABC" }],
    ["the incarnation", { incarnation: "" }],
  ])("a termination: %s", ([what, wrong]) => {
    expect(() => issueTermination({ ...termination, ...wrong }, registry)).toThrow(what);
    const message = create(TerminationSchema, { ...termination, ...wrong });
    expect(() => readSealedTermination(toBinary(TerminationSchema, message))).toThrow(`of its termination, ${what}`);
  });

  test("numbers that do not fit the wire are not signed", () => {
    for (const wrong of [{ major: -1n }, { era: 2n ** 64n }, { issuedAtNs: 2n ** 63n }]) {
      expect(() => issueGrant({ ...grant, ...wrong }, registry)).toThrow("the grant is not valid");
      expect(() => issueTermination({ ...termination, ...wrong }, registry)).toThrow("of its termination");
    }
    for (const wrong of [{ major: -1n }, { era: 2n ** 64n }, { tick: -1n }]) {
      expect(() => issueToken({ ...token, ...wrong }, ada.signer)).toThrow("the relinquish token is not valid");
    }
  });

  test("a grant without a session", () => {
    const message = create(GrantSchema, { agentId, incarnation: INCARNATION });
    expect(() => readSealedGrant(toBinary(GrantSchema, message))).toThrow("it names no session");
  });

  test.for<[string, Partial<Genesis>]>([
    ["the nonce", { nonce: new Uint8Array(15) }],
    ["the nonce", { nonce: new Uint8Array(65) }],
    ["the name has control characters", { name: "a\u001b[2J" }],
    ["the name has more than 128", { name: "x".repeat(129) }],
    ["the creator's host id", { creatorHostId: "me" }],
    ["the incarnation", { incarnation: "" }],
  ])("a genesis: %s", ([what, wrong]) => {
    expect(() => createGenesis({ ...genesis, ...wrong })).toThrow(what);
    expect(() => readGenesis(wireGenesis(wrong))).toThrow(`of its genesis, ${what}`);
  });

  test("a genesis without module, manifest or policy", () => {
    expect(() => createGenesis({ ...genesis, moduleDigest: "00" })).toThrow("module digest");
    expect(() => createGenesis({ ...genesis, manifestDigest: "00" })).toThrow("manifest digest");
    expect(() => readGenesis(wireGenesis({}, { moduleDigest: new Uint8Array(31) }))).toThrow("no module digest");
    expect(() => readGenesis(wireGenesis({}, { manifestDigest: new Uint8Array() }))).toThrow("no manifest digest");
    expect(() => readGenesis(wireGenesis({}, { recoveryPolicy: 0 }))).toThrow("no known recovery policy");
    expect(readGenesis(wireGenesis({})).agentId).toBe(createGenesis(genesis).agentId);
  });

  test.for<[string, Partial<Receipt>]>([
    ["the host id", { hostId: "me" }],
    ["it ends before it begins", { firstTick: 10n }],
    ["an amount of money", { cost: 2n ** 60n }],
    ["an amount of money", { pricePerSecond: 2n ** 60n }],
    ["an amount of money", { budgetAfter: 2n ** 60n }],
  ])("a receipt: %s", ([what, wrong]) => {
    const { header } = next(createAgent(ada), { host: ada });
    const receipt = header.receipts[0] ?? expect.unreachable();
    expect(readReceipt(encodeReceipt(receipt))).toEqual(receipt);
    expect(() => readReceipt(encodeReceipt({ ...receipt, ...wrong }))).toThrow(`of a receipt, ${what}`);
  });
});

test("another nonce gives another agent", () => {
  const other = createGenesis({ ...genesis, nonce: new Uint8Array(16).fill(1) });
  expect(other.agentId).not.toBe(createGenesis(genesis).agentId);
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

/** Bytes of a genesis that createGenesis would not make. */
function wireGenesis(wrong: Partial<Genesis>, raw: MessageInitShape<typeof GenesisSchema> = {}): Uint8Array {
  const { creatorHostId, incarnation, nonce, name } = { ...genesis, ...wrong };
  const message = create(GenesisSchema, {
    creatorHostId,
    moduleDigest: digestToBytes(genesis.moduleDigest),
    manifestDigest: digestToBytes(genesis.manifestDigest),
    incarnation,
    nonce,
    recoveryPolicy: toProtoPolicy("strict"),
    name,
    ...raw,
  });
  return toBinary(GenesisSchema, message);
}

/** True when `read` gives a value, or a fault with this code. */
function faultOf(read: () => unknown, code: FaultCode): boolean {
  try {
    read();
    return true;
  } catch (error) {
    return isFault(error, code);
  }
}
