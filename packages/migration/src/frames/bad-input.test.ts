// What any peer may send: 100,000 bad frames to each decoder give a frame or a typed refusal, and no memory stays taken.

import { isFault } from "@godwit/common/fault";
import { digestOf } from "@godwit/lineage";
import { mutations } from "@godwit/lineage/testing";
import { expect, test } from "vitest";
import type { SourceFrame, TargetFrame } from "./frames.ts";
import { decodeSourceFrame, decodeTargetFrame, encodeSourceFrame, encodeTargetFrame } from "./migration-codec.ts";
import {
  decodeHolderFrame,
  decodeOwnerFrame,
  encodeHolderFrame,
  encodeOwnerFrame,
  type HolderFrame,
  type OwnerFrame,
} from "./replication-codec.ts";

// Most of the time would be spent on traces of refusals that nobody reads.
Error.stackTraceLimit = 0;

const COUNT = 100_000;
const MAX_GROWTH_BYTES = 512 * 2 ** 20;

const agentId = digestOf(new Uint8Array(3));
const handoffId = "h1";
const signed = { payload: Uint8Array.of(1, 2, 3), signature: new Uint8Array(64).fill(7) };
const receipts = [Uint8Array.of(1), Uint8Array.of(2, 3)];
const manifest = Uint8Array.of(123, 125);
const refused = {
  kind: "refused",
  failure: { class: "retriable", fault: { code: "TARGET_BUSY", hostId: "h" } },
} as const;
const chunk = { offset: 4096, data: new Uint8Array(40) };
const sizes = { stateBytes: 4096, moduleBytes: 188_000, moduleDigest: agentId };
const of = { era: 1n, major: 2n ** 40n, tick: 17n };

const sourceFrames: readonly SourceFrame[] = [
  { kind: "offer", handoffId, agentId, name: "a survivor", ...of, budget: 10_000_000n, manifest, ...sizes },
  { kind: "module", ...chunk },
  { kind: "state", ...chunk },
  { kind: "spine", headers: [signed, signed], last: true, receipts },
  { kind: "checkpoint", handoffId, checkpoint: signed, receipts, receiptsKept: 3, state: new Uint8Array(9) },
  { kind: "handoff", handoffId, token: signed },
  { kind: "handoff-end", stateBytes: 9, stateDigest: agentId },
];
const targetFrames: readonly TargetFrame[] = [
  { kind: "accept", handoffId, needModule: true, pricePerSecond: 1_000n, spineKnown: agentId },
  { kind: "prepared", handoffId },
  { kind: "started", handoffId, agentId, checkpointDigest: agentId, era: 0n, major: 5n },
  { ...refused, handoffId },
];
const ownerFrames: readonly OwnerFrame[] = [
  { kind: "offer", agentId, checkpoint: signed, manifest, moduleBytes: 188_000, receipts },
  { kind: "terminated", agentId, termination: signed },
  { kind: "module", ...chunk },
  { kind: "spine", headers: [signed, signed], last: true, receipts: [] },
  { kind: "state", ...chunk },
  { kind: "end", stateDigest: agentId },
];
const holderFrames: readonly HolderFrame[] = [
  { kind: "accept", needModule: true, needState: true, spineKnown: agentId },
  { kind: "held", checkpoint: { ...of, digest: agentId } },
  refused,
];

test.for<[string, readonly Uint8Array[], (bytes: Uint8Array) => unknown]>([
  ["a source of a migration", sourceFrames.map(encodeSourceFrame), decodeSourceFrame],
  ["a target of a migration", targetFrames.map(encodeTargetFrame), (bytes) => decodeTargetFrame(bytes, "peer")],
  ["an owner of replicas", ownerFrames.map(encodeOwnerFrame), decodeOwnerFrame],
  ["a holder of replicas", holderFrames.map(encodeHolderFrame), (bytes) => decodeHolderFrame(bytes, "peer")],
])("bad frames of %s", ([, originals, decode]) => {
  const before = process.memoryUsage().rss;
  let taken = 0;
  for (const bytes of mutations(originals, { seed: 9, count: COUNT })) {
    try {
      decode(bytes);
      taken += 1;
    } catch (error) {
      if (!isFault(error, "FRAME_INVALID")) throw error;
    }
  }
  expect(taken).toBeGreaterThan(1_000);
  expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
});
