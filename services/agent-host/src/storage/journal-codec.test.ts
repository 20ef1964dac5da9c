import type { CheckpointRef, SignedBytes, Term } from "@godwit/common/lease";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JournalEntry, Phase } from "./journal.ts";
import { decodeJournal, encodeJournal } from "./journal-codec.ts";

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const whole = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const digest = fc
  .array(fc.constantFrom(..."0123456789abcdef".split("")), { minLength: 64, maxLength: 64 })
  .map((digits) => digits.join(""));
const bytes = fc.uint8Array({ maxLength: 80 });
const signed: fc.Arbitrary<SignedBytes> = fc.record({ payload: bytes, signature: bytes });
const term: fc.Arbitrary<Term> = fc.record({ era: whole, major: whole });
const ref: fc.Arbitrary<CheckpointRef> = fc.record({ era: whole, major: whole, tick: whole, digest });
const own = { era: whole, major: whole };

type Arbitraries = { readonly [P in Phase]: fc.Arbitrary<Extract<JournalEntry, { phase: P }>> };

function entry<P extends Phase, T>(
  phase: P,
  fields: { [K in keyof T]: fc.Arbitrary<T[K]> },
  optional: (keyof T)[] = [],
) {
  const requiredKeys = (Object.keys(fields) as (keyof T)[]).filter((key) => !optional.includes(key));
  return fc.record(fields, { requiredKeys }).map((values) => ({ phase, ...values })) as unknown;
}

const entries = {
  acquiring: entry("acquiring", { commandId: text, bootId: text }),
  owner: entry("owner", { ...own, bootId: text, grant: signed, unconfirmedBase: ref }, ["unconfirmedBase"]),
  begun: entry("begun", { ...own, bootId: text, grant: signed, handoffId: text, targetHostId: text, commandId: text }),
  relinquished: entry("relinquished", {
    ...own,
    bootId: text,
    handoffId: text,
    targetHostId: text,
    token: signed,
    checkpointDigest: digest,
    tick: whole,
  }),
  claiming: entry("claiming", {
    ...own,
    bootId: text,
    commandId: text,
    handoffId: text,
    sourceHostId: text,
    token: signed,
    checkpointDigest: digest,
  }),
  recovering: entry("recovering", { bootId: text, commandId: text, base: ref, on: term, relinquished: term }, [
    "on",
    "relinquished",
  ]),
  "giving-up": entry(
    "giving-up",
    {
      ...own,
      bootId: text,
      command: fc.constantFrom("release", "declare_recovery", "terminate"),
      reason: text,
      commandId: text,
      grant: signed,
    },
    ["reason"],
  ),
  replica: entry("replica", {}),
  retired: entry("retired", { ...own, why: text, targetHostId: text }, ["targetHostId"]),
  terminated: entry("terminated", { termination: signed }),
} as Arbitraries;

const anyEntry: fc.Arbitrary<JournalEntry> = fc.oneof(...Object.values(entries));

describe("journal codec", () => {
  test("every entry comes back as it was written", () => {
    fc.assert(
      fc.property(anyEntry, (written) => {
        expect(decodeJournal(encodeJournal(written))).toEqual(written);
      }),
      { numRuns: 500 },
    );
  });

  test("any text gives a complete entry or nothing", () => {
    const json = fc.record({
      v: fc.constantFrom(1, 2, "1"),
      phase: fc.oneof(fc.constantFrom(...Object.keys(entries)), fc.constantFrom("constructor", "", 1)),
      era: fc.jsonValue(),
      major: fc.jsonValue(),
      why: fc.jsonValue(),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          json.map((value) => JSON.stringify(value)),
        ),
        (some) => {
          const read = decodeJournal(some);
          if (read !== undefined) expect(decodeJournal(encodeJournal(read))).toEqual(read);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("a field that is missing, added, or of another kind is refused", () => {
    fc.assert(
      fc.property(anyEntry, fc.nat(), (written, which) => {
        const json = JSON.parse(encodeJournal(written)) as Record<string, unknown>;
        const names = Object.keys(json).filter((name) => !OPTIONAL.has(name));
        const name = names[which % names.length] ?? "v";
        const { [name]: _, ...without } = json;
        expect(decodeJournal(JSON.stringify(without))).toBeUndefined();
        expect(decodeJournal(JSON.stringify({ ...json, [name]: { odd: true } }))).toBeUndefined();
        expect(decodeJournal(JSON.stringify({ ...json, surplus: 1 }))).toBeUndefined();
      }),
    );
  });

  test.each([
    ["a number with a sign", "-1"],
    ["a number with leading zeros", "01"],
    ["a number in hex", "0x10"],
    ["a number without end", "9".repeat(10_000)],
    ["an empty number", ""],
  ])("%s is no era", (_, era) => {
    expect(decodeJournal(JSON.stringify({ v: 1, phase: "retired", era, major: "1", why: "stopped" }))).toBeUndefined();
  });
});

const OPTIONAL = new Set(["on", "unconfirmedBase", "relinquished", "reason", "targetHostId"]);
