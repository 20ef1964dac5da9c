import { type AuthorityRecord, type CheckpointRef, type RetiredReason, refusalCodes } from "@godwit/common/lease";
import { hostIdOf, signerFromSeed } from "@godwit/lineage";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { historyOf, readHistoryEntry } from "./history.ts";
import { decodeRecord, encodeRecord } from "./record-codec.ts";
import { refusalMessage, wireRefusal } from "./refusals.ts";

const hostIds = [1, 2].map((n) => hostIdOf(signerFromSeed(new Uint8Array(32).fill(n)).publicKey));
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"));
const ref: fc.Arbitrary<CheckpointRef> = fc.record({ era: u64, major: u64, tick: u64, digest });
const session = fc.record({ hostId: fc.constantFrom(...hostIds), bootId: fc.uuid() });
const signedBytes = fc.record({
  payload: fc.uint8Array({ minLength: 1, maxLength: 80 }),
  signature: fc.uint8Array({ minLength: 64, maxLength: 64 }),
});
const term = fc.record({ era: u64, major: u64 });
const bases = fc.array(fc.record({ era: u64, major: u64, startedFrom: ref }), { maxLength: 5 });
const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });

const anyRecord: fc.Arbitrary<AuthorityRecord> = fc.record({
  agentId: digest,
  name: fc.string({ unit: "grapheme", maxLength: 20 }),
  incarnation: fc.uuid(),
  revision: u64,
  state: fc.constantFrom("ACTIVE_OWNER", "HANDOFF_INITIATED", "HANDOFF_PENDING", "RECOVERY_REQUIRED", "RETIRED"),
  reason: maybe(fc.constantFrom<RetiredReason>("drained", "cannot-run", "forced", "stopped", "failed", "unfunded")),
  era: u64,
  major: u64,
  owner: maybe(session),
  handoff: maybe(fc.record({ id: fc.uuid(), targetHostId: fc.constantFrom(...hostIds) })),
  head: ref,
  bases,
  unconfirmed: maybe(ref),
  lastCommand: fc.uuid(),
  conflict: maybe(fc.record({ era: u64, major: u64, tick: u64, known: digest, offered: digest })),
  declared: fc.boolean(),
  terminated: maybe(signedBytes),
  forced: maybe(term),
  afterLoss: maybe(fc.record({ above: maybe(term), era: u64, spine: bases })),
  grant: maybe(signedBytes),
  recoveryPolicy: fc.constantFrom("latest", "strict"),
});

describe("an authority record", () => {
  test("is what was stored, whatever is in it", () => {
    fc.assert(
      fc.property(anyRecord, (record) => {
        const { bytes } = encodeRecord(record);
        const known = decodeRecord(bytes);
        expect(known.record).toEqual(record);
        expect(known.bytes).toBe(bytes);
      }),
      { numRuns: 300, seed: 4 },
    );
  });

  test("that is damaged is not taken for another", () => {
    fc.assert(
      fc.property(anyRecord, (record) => {
        expect(() => decodeRecord(encodeRecord(record).bytes.subarray(0, 3))).toThrow();
      }),
      { numRuns: 20, seed: 5 },
    );
  });
});

describe("history", () => {
  const [record] = fc.sample(anyRecord, { numRuns: 1, seed: 6 });
  if (record === undefined) throw new Error("no sample");
  const at = new Date(1_700_000_000_000);
  const command = { kind: "declare_recovery", reason: "lost its log" } as never;

  test("has an entry for every change that raised the revision, and none for a head that moved", () => {
    expect(historyOf({ command, before: record, after: record, at })).toBeUndefined();
    const after = { ...record, revision: record.revision + 1n, conflict: record.conflict };
    const entry = historyOf({ command, before: record, after, at });
    expect(entry?.revision).toBe(after.revision);
    expect(readHistoryEntry(entry?.entry ?? new Uint8Array())).toMatchObject({
      command: "declare_recovery",
      note: "lost its log",
      atUnixNs: 1_700_000_000_000_000_000n,
      major: after.major,
    });
  });
});

test.each(refusalCodes)("§4: %s has a name on the wire, and a sentence that says what to do", (code) => {
  expect(wireRefusal(code)).toBeGreaterThan(0);
  const [record] = fc.sample(anyRecord, { numRuns: 1, seed: 6 });
  for (const known of [record, undefined]) {
    const command = { kind: "terminate", agentId: "a" } as never;
    const message = refusalMessage(code, { command, record: known, incarnation: "i" });
    expect(message).toMatch(/[:,]/);
    expect(message).not.toMatch(/undefined|\[object/);
  }
});
