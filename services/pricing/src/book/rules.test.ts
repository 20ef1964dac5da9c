import { describe, expect, test } from "vitest";
import type { BookedPrice, PriceStatement } from "./price.ts";
import { MAX_AHEAD_NS, takeAnswer, takeStatement } from "./rules.ts";

const NOW = 1_900_000_000_000_000_000n;
const statement = (changes: Partial<PriceStatement> = {}): PriceStatement => ({
  hostId: "host",
  pricePerSecond: 5n,
  grpcAddress: "127.0.0.1:7460",
  statedAtUnixNs: NOW,
  ...changes,
});
const known = (changes: Partial<BookedPrice> = {}): BookedPrice => ({
  ...statement(),
  seenAtUnixNs: NOW - 1_000n,
  ...changes,
});

describe("takeStatement", () => {
  test("the first one is taken and is a change", () => {
    expect(takeStatement(undefined, statement(), NOW)).toEqual({
      kind: "taken",
      changed: true,
      price: { ...statement(), seenAtUnixNs: NOW },
    });
  });

  test("PB-2 an older one is stale, and so is another one of the same moment", () => {
    const stale = { kind: "stale", knownAtUnixNs: NOW };
    expect(takeStatement(known(), statement({ statedAtUnixNs: NOW - 1n }), NOW)).toEqual(stale);
    expect(takeStatement(known(), statement({ pricePerSecond: 6n }), NOW)).toEqual(stale);
    expect(takeStatement(known(), statement({ grpcAddress: "127.0.0.1:1" }), NOW)).toEqual(stale);
  });

  test("PB-2 the very same one again is no offence", () => {
    expect(takeStatement(known(), statement(), NOW)).toEqual({ kind: "same" });
  });

  test("PB-3 one from more than an hour ahead is not taken, an hour is", () => {
    expect(takeStatement(undefined, statement({ statedAtUnixNs: NOW + MAX_AHEAD_NS + 1n }), NOW)).toEqual({
      kind: "ahead",
    });
    expect(takeStatement(undefined, statement({ statedAtUnixNs: NOW + MAX_AHEAD_NS }), NOW).kind).toBe("taken");
  });

  test("PB-4 a newer one with the same price is taken and is no change", () => {
    const newer = statement({ statedAtUnixNs: NOW + 1n, grpcAddress: "127.0.0.1:1" });
    expect(takeStatement(known(), newer, NOW)).toMatchObject({ kind: "taken", changed: false, price: newer });
    const dearer = statement({ statedAtUnixNs: NOW + 1n, pricePerSecond: 6n });
    expect(takeStatement(known(), dearer, NOW)).toMatchObject({ kind: "taken", changed: true });
  });

  test("a statement is taken over what only scans have seen", () => {
    expect(takeStatement(known({ statedAtUnixNs: undefined }), statement({ statedAtUnixNs: 1n }), NOW).kind).toBe(
      "taken",
    );
  });
});

describe("takeAnswer", () => {
  const answer = { hostId: "host", pricePerSecond: 7n, grpcAddress: "127.0.0.1:7460", seenAtUnixNs: NOW, heardAtMs: 1 };

  test("an unknown host's answer is taken, without the word of the host", () => {
    expect(takeAnswer(undefined, answer)).toEqual({
      kind: "taken",
      changed: true,
      price: {
        hostId: "host",
        pricePerSecond: 7n,
        grpcAddress: "127.0.0.1:7460",
        seenAtUnixNs: NOW,
        statedAtUnixNs: undefined,
      },
    });
  });

  test("PB-1 an answer from elsewhere than the signed address is not booked", () => {
    const elsewhere = { ...answer, grpcAddress: "127.0.0.1:6666" };
    expect(takeAnswer(known(), elsewhere)).toEqual({ kind: "elsewhere", signedAddress: "127.0.0.1:7460" });
    expect(takeAnswer(known({ statedAtUnixNs: undefined }), elsewhere).kind).toBe("taken");
  });

  test("PB-2 an answer leaves the time of the newest statement as it is", () => {
    expect(takeAnswer(known(), answer)).toMatchObject({
      kind: "taken",
      changed: true,
      price: { statedAtUnixNs: NOW },
    });
  });

  test("PB-4 the same price again is no change, but it was seen", () => {
    const seen = takeAnswer(known({ pricePerSecond: 7n }), answer);
    expect(seen).toMatchObject({ kind: "taken", changed: false, price: { seenAtUnixNs: NOW } });
  });
});
