import { isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeHeader } from "./header.ts";
import {
  type Checkpoint,
  digestOf,
  type Header,
  type LineageProblemKind,
  refOf,
  type Signer,
  seal,
  verifyHeader,
  verifyLineage,
  verifySpine,
} from "./index.ts";
import {
  ada,
  bob,
  cleo,
  createAgent,
  grantOf,
  hostFromByte,
  next,
  nextHeader,
  registry,
  stranger,
  travelled,
} from "./testing/story.ts";

const { created, adaTicks, bobFirst, bobLast, cleoFirst, cleoLast, chain } = travelled();
const key = registry.publicKey;
const signedOf = (checkpoints: readonly Checkpoint[]): readonly SignedBytes[] =>
  checkpoints.map(({ signed }) => signed);

/** What a malicious host can make: any header that keeps the rules, signed by any key, whatever its grant says. */
function forge(header: Header, signer: Signer): SignedBytes {
  return seal("checkpoint", encodeHeader(header), signer);
}

describe("I3: a checkpoint is signed by the host that the grant of its major names", () => {
  test("a grant that the registry did not sign is refused", () => {
    const header = nextHeader(created, { host: ada });
    const forged = forge({ ...header, grant: grantOf(header.agentId, header, ada, stranger) }, ada.signer);
    expect(() => verifyHeader(forged, key)).toThrow("the signature of the grant does not verify");
  });

  test("EI-4: a host that holds a copy cannot extend it with the grant that is in it", () => {
    expect(() => verifyHeader(forge(nextHeader(bobLast, { host: bob }), cleo.signer), key)).toThrow(
      "the signature of the checkpoint does not verify",
    );
  });

  test("a former owner cannot sign under a later major, nor with the grant of its own", () => {
    const header = nextHeader(bobFirst, { host: bob });
    expect(() => verifyHeader(forge(header, ada.signer), key)).toThrow("signature");
    const own = forge({ ...header, grant: adaTicks[1].header.grant }, ada.signer);
    expect(() => verifyHeader(own, key)).toThrow("it is the grant of major 0.0, not of 0.1");
  });

  test("the grant of another agent is refused", () => {
    const header = nextHeader(created, { host: ada });
    const other = createAgent(ada, { nonce: 8 });
    const forged = forge({ ...header, grant: grantOf(other.header.agentId, header, ada) }, ada.signer);
    expect(() => verifyHeader(forged, key)).toThrow("the grant of another agent");
  });

  test("tick 0 is signed by the host of the genesis, whose digest is the agent's id", () => {
    expect(verifyHeader(created.signed, key)).toMatchObject({ signerHostId: ada.hostId, grant: undefined });
    expect(() => verifyHeader(forge(created.header, bob.signer), key)).toThrow("signature");
    const stolen = forge({ ...created.header, agentId: digestOf(Uint8Array.of(1)) }, ada.signer);
    expect(() => verifyHeader(stolen, key)).toThrow("its genesis is the one of another agent");
  });

  test("a signature of another kind over the same bytes is refused", () => {
    const { payload } = bobFirst.signed;
    expect(() => verifyHeader(seal("token", payload, bob.signer), key)).toThrow("signature");
  });

  test("any bytes give a header or a typed fault", () => {
    const codes = ["CHECKPOINT_INVALID", "SIGNATURE_INVALID", "GRANT_INVALID"] as const;
    fc.assert(
      fc.property(
        fc.nat(),
        fc.nat(255),
        fc.boolean(),
        fc.uint8Array({ maxLength: 70 }),
        (at, byte, resigned, signature) => {
          const { payload } = bobFirst.signed;
          const changed = payload.with(at % payload.length, byte);
          const signed = resigned ? seal("checkpoint", changed, bob.signer) : { payload: changed, signature };
          try {
            verifyHeader(signed, key);
          } catch (error) {
            expect(isFault(error, ...codes)).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("EI-3: the spine goes from a checkpoint to genesis, base by base", () => {
  const spine = [bobFirst, adaTicks[1], created];

  test("a whole one verifies, newest first", () => {
    const verified = verifySpine(signedOf(spine), cleoLast.header, key);
    expect(verified.map(({ ref }) => ref)).toEqual(spine.map(refOf));
    expect(verifySpine([], created.header, key)).toEqual([]);
  });

  const other = next(adaTicks[0], { host: ada, text: "another" });
  test.for<[string, readonly Checkpoint[]]>([
    ["with one missing", [bobFirst, created]],
    ["that ends before tick 0", [bobFirst, adaTicks[1]]],
    ["that is empty", []],
    ["in another order", [adaTicks[1], bobFirst, created]],
    ["that goes on after tick 0", [bobFirst, adaTicks[1], created, created]],
    ["with another checkpoint of the owner", [bobLast, adaTicks[1], created]],
    ["with another of the same tick", [bobFirst, other, created]],
    ["that ends in another agent", [bobFirst, adaTicks[1], createAgent(ada, { nonce: 8 })]],
  ])("one %s is refused", ([, broken]) => {
    expect(() => verifySpine(signedOf(broken), cleoLast.header, key)).toThrow("the lineage does not verify");
  });

  test("one with a header that does not verify by itself is refused", () => {
    const [first, ...rest] = signedOf(spine);
    const changed = { payload: first?.payload ?? new Uint8Array(), signature: new Uint8Array(64) };
    expect(() => verifySpine([changed, ...rest], cleoLast.header, key)).toThrow("signature");
  });

  test("one that continues as another agent, or with another module or manifest, is refused", () => {
    const moved = nextHeader(adaTicks[1], { host: bob, term: { era: 0n, major: 1n } });
    const other = "ab".repeat(32);
    const verifies = (wrong: Partial<Header>) =>
      verifySpine(signedOf([adaTicks[1], created]), { ...moved, ...wrong }, key);
    expect(verifies({})).toHaveLength(2);
    expect(() => verifies({ agentId: other })).toThrow("is of another agent");
    expect(() => verifies({ moduleDigest: other })).toThrow("another module or manifest");
    expect(() => verifies({ manifestDigest: other })).toThrow("another module or manifest");
  });
});

describe("a lineage", () => {
  test("EI-3: one that has travelled verifies, in any order of its headers, with its owners and its rollback", () => {
    const all = signedOf([...chain, bobLast]);
    const expected = verifyLineage(all, key);
    expect(expected).toMatchObject({
      agentId: created.header.agentId,
      ok: true,
      checkpoints: 6,
      gaps: 0,
      problems: [],
      verdict: "valid-with-remarks",
      orphans: [{ ...refOf(bobLast), hostId: bob.hostId, kind: "after-base" }],
      head: refOf(cleoLast),
      genesis: { name: "survivor" },
    });
    expect(expected.owners).toMatchObject([
      owner(ada.hostId, { major: 0n, origin: "created", firstTick: 0n, lastTickSeen: 10n }),
      owner(bob.hostId, { major: 1n, origin: "migrated", firstTick: 11n, lastTickSeen: 15n }),
      owner(cleo.hostId, {
        major: 2n,
        origin: "recovered",
        firstTick: 16n,
        lastTickSeen: 25n,
        rolledBackFromTick: 20n,
      }),
    ]);
    fc.assert(
      fc.property(fc.shuffledSubarray([...all, ...all], { minLength: all.length * 2 }), (shuffled) => {
        expect(verifyLineage(shuffled, key)).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });

  test("I6: its receipts add up to what is gone from the budget, to the last fraction", () => {
    const { receipts } = verifyLineage(signedOf(chain), key);
    const { budget, remainder, pricePerSecond } = cleoLast.header;
    expect(receipts.cost).toBe(created.header.budget - budget);
    expect(receipts.elapsedNs * pricePerSecond).toBe(receipts.cost * 10n ** 9n + remainder);
    expect(receipts.count).toBe(5);
  });

  test("headers that are missing between two bases are gaps, no problem", () => {
    expect(verifyLineage(signedOf([created, adaTicks[1], bobFirst, cleoLast]), key)).toMatchObject({
      ok: true,
      gaps: 2,
    });
  });

  test("GA-9: a recovery after store loss goes on in a new era, under major 0", () => {
    const lost = next(bobFirst, { host: cleo, term: { era: 9n, major: 0n }, origin: "recovered-after-store-loss" });
    const report = verifyLineage(signedOf([...chain, bobLast, lost]), key);
    expect(report).toMatchObject({ ok: true, head: refOf(lost) });
    expect(report.owners.at(-1)).toMatchObject({ era: 9n, major: 0n, origin: "recovered-after-store-loss" });
    expect(report.orphans).toMatchObject([bobLast, cleoFirst, cleoLast].map(refOf));
  });

  test("one that was moved again right after a recovery that did not tick verifies", () => {
    const moved = next(bobLast, { host: cleo, term: { era: 0n, major: 3n } });
    expect(verifyLineage(signedOf([created, adaTicks[1], bobLast, moved]), key).ok).toBe(true);
  });

  test("no headers, or none that verifies, is a problem", () => {
    expect(verifyLineage([], key)).toMatchObject({ ok: false, agentId: undefined, head: undefined });
    expect(kindsOf([{ payload: new Uint8Array(9), signature: new Uint8Array(64) }])).toEqual(["invalid", "empty"]);
  });

  test("a header that does not verify, or is of another agent, is a problem, and the rest is still read", () => {
    const forged = forge(nextHeader(cleoLast, { host: cleo }), bob.signer);
    const report = verifyLineage([...signedOf(chain), forged, createAgent(bob).signed], key);
    expect(report.problems.map(({ kind }) => kind)).toEqual(["invalid", "foreign"]);
    expect(report).toMatchObject({ ok: false, checkpoints: 6, head: refOf(cleoLast) });
  });

  test("a spine with a hole is a problem", () => {
    expect(kindsOf(signedOf(chain.filter((entry) => entry !== bobFirst)))).toEqual(["broken-spine"]);
    expect(kindsOf(signedOf(chain.slice(1)))).toEqual(["broken-spine"]);
  });

  test("EI-11: two checkpoints of one major and tick are a problem, on the lineage or beside it", () => {
    const twin = next(cleoFirst, { host: cleo, text: "twin" });
    expect(kindsOf(signedOf([...chain, twin]))).toContain("fork");
    const orphan = next(bobFirst, { host: bob, text: "twin" });
    expect(kindsOf(signedOf([...chain, bobLast, orphan]))).toEqual(["fork"]);
  });

  test("EI-11: a creator that signs a second beginning is found, and does not become the head", () => {
    const again = createAgent(ada, { era: 50n });
    expect(again.header.agentId).toBe(created.header.agentId);
    const report = verifyLineage(signedOf([...chain, again]), key);
    expect(report.problems.map(({ kind }) => kind)).toEqual(["fork"]);
    expect(report.head).toEqual(refOf(cleoLast));
  });

  test("EI-3: two branches of one major that never meet in a tick are found", () => {
    const branch = next(cleoFirst, { host: cleo, ticks: 3n });
    expect(kindsOf(signedOf([...chain, branch]))).toContain("broken-link");
    const later = next(branch, { host: cleo, ticks: 4n, header: { generation: 9n } });
    expect(kindsOf(signedOf([...chain, later]))).toContain("broken-link");
  });

  test("I6: receipts that leave out ticks after the checkpoint before, or charge them again, are found", () => {
    const { header } = next(cleoLast, { host: cleo });
    const [receipt] = header.receipts;
    for (const firstTick of [25n, 27n]) {
      const receipts = receipt === undefined ? [] : [{ ...receipt, firstTick }];
      const wrong = next(cleoLast, { host: cleo, header: { receipts } });
      expect(kindsOf(signedOf([...chain, wrong]))).toEqual(["broken-link"]);
    }
  });

  test("EI-10: a source that ticks on after it handed over is found", () => {
    const late = next(adaTicks[1], { host: ada });
    expect(kindsOf(signedOf([...chain, late]))).toEqual(["ticked-after-handoff"]);
  });

  test("I1: a major with two owners, two sessions, or two beginnings is found", () => {
    const term = { era: 0n, major: 2n };
    const start = { origin: "recovered", header: { rolledBackFromTick: 20n } } as const;
    const thief = next(bobFirst, { ...start, host: hostFromByte(4), term, ticks: 20n });
    const { problems } = verifyLineage(signedOf([...chain, thief]), key);
    expect(problems.some(({ kind, detail }) => kind === "owners" && detail.includes("two hosts"))).toBe(true);
    const restarted = next(cleoLast, { host: { ...cleo, bootId: "boot-later" } });
    expect(kindsOf(signedOf([...chain, restarted]))).toEqual(["owners"]);
    const rebased = next(cleoLast, { host: cleo, header: { base: refOf(adaTicks[1]) } });
    expect(kindsOf(signedOf([...chain, rebased]))).toContain("owners");
    const backwards = next(cleoLast, { host: cleo, header: { generation: 0n } });
    expect(kindsOf(signedOf([...chain, backwards]))).toEqual(["owners"]);
  });

  test("I6: a budget that grew, and a remainder that was dropped, between two checkpoints are found", () => {
    const rich = { ...cleoLast, header: { ...cleoLast.header, budget: cleoLast.header.budget + 5n } };
    expect(kindsOf(signedOf([...chain, next(rich, { host: cleo })]))).toEqual(["money"]);
    const rounded = { ...cleoLast, header: { ...cleoLast.header, remainder: 0n } };
    expect(kindsOf(signedOf([...chain, next(rounded, { host: cleo })]))).toEqual(["money"]);
  });

  test("I6: fundings are told, and so is one that is forgotten, or that comes twice", () => {
    const funding = { funded: 500n, fundingId: "ab".repeat(16) };
    const funded = next(cleoLast, { host: cleo, funding });
    const told = verifyLineage(signedOf([...chain, funded]), key);
    expect(told).toMatchObject({ ok: true, receipts: { fundings: 1, funded: 500n } });
    expect(created.header.budget + told.receipts.funded - told.receipts.cost).toBe(funded.header.budget);

    const moved = { host: ada, term: { era: 0n, major: 3n }, header: { fundingIds: [] } };
    expect(kindsOf(signedOf([...chain, funded, next(funded, moved)]))).toEqual(["money"]);
    const forgetful = { ...funded, header: { ...funded.header, fundingIds: [] } };
    expect(kindsOf(signedOf([...chain, funded, next(forgetful, { host: cleo, funding })]))).toEqual(["money"]);
    // Across a gap, too: what is not held in between cannot have taken it away.
    const between = next(funded, { host: cleo });
    const later = next(between, { host: cleo, header: { fundingIds: [] } });
    expect(kindsOf(signedOf([...chain, funded, later]))).toEqual(["money"]);
    expect(kindsOf(signedOf([...chain, funded, next(between, { host: cleo })]))).toEqual([]);
  });

  test("random bytes among the headers never end in anything but a report", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 80 }))), (junk) => {
        const noise = junk.map(([payload, signature]) => ({ payload, signature }));
        const report = verifyLineage([...noise, ...signedOf(chain)], key);
        expect(report.problems).toHaveLength(noise.length);
      }),
      { numRuns: 100 },
    );
  });
});

function kindsOf(headers: readonly SignedBytes[]): readonly LineageProblemKind[] {
  return verifyLineage(headers, key).problems.map(({ kind }) => kind);
}

function owner(hostId: string, rest: object) {
  return { era: 0n, hostId, rolledBackFromTick: undefined, ...rest };
}
