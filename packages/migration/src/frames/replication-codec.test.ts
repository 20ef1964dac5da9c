import { create, toBinary } from "@bufbuild/protobuf";
import { isFault } from "@godwit/common/fault";
import { digestOf } from "@godwit/lineage";
import { ReplicationFrameSchema } from "@godwit/proto/godwit/migration/v1/migration";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeHolderFrame,
  decodeOwnerFrame,
  encodeHolderFrame,
  encodeOwnerFrame,
  type HolderFrame,
  type OwnerFrame,
} from "./replication-codec.ts";

const digest = digestOf(new Uint8Array(3));
const signed = { payload: Uint8Array.of(1, 2, 3), signature: new Uint8Array(64).fill(7) };

const ownerFrames: readonly OwnerFrame[] = [
  {
    kind: "offer",
    agentId: digest,
    checkpoint: signed,
    manifest: Uint8Array.of(123, 125),
    moduleBytes: 188_000,
    receipts: [Uint8Array.of(1), Uint8Array.of(2, 3)],
  },
  { kind: "terminated", agentId: digest, termination: signed },
  { kind: "module", offset: 0, data: Uint8Array.of(0, 97, 115, 109) },
  { kind: "spine", headers: [signed, signed], last: true, receipts: [] },
  { kind: "state", offset: 262_144, data: Uint8Array.of(1) },
  { kind: "end", stateDigest: digest },
];
const holderFrames: readonly HolderFrame[] = [
  { kind: "accept", needModule: true, needState: true, spineKnown: undefined },
  { kind: "accept", needModule: false, needState: false, spineKnown: digest },
  { kind: "held", checkpoint: { era: 1n, major: 2n ** 40n, tick: 17n, digest } },
  { kind: "held", checkpoint: undefined },
  { kind: "refused", failure: { class: "retriable", fault: { code: "TARGET_BUSY", hostId: "h" } } },
];

type Wire = NonNullable<Parameters<typeof create<typeof ReplicationFrameSchema>>[1]>;

function complaint(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isFault(error, "FRAME_INVALID")) return error.detail.reason;
    throw error;
  }
  throw new Error("accepted");
}

const wire = (frame: Wire) => toBinary(ReplicationFrameSchema, create(ReplicationFrameSchema, frame));

describe("frames of /godwit/replicate/1", () => {
  test.each(ownerFrames.map((frame) => [frame.kind, frame] as const))("%s arrives as it was sent", (_, frame) => {
    expect(decodeOwnerFrame(encodeOwnerFrame(frame))).toEqual(frame);
  });

  test.each(holderFrames.map((frame) => [frame.kind, frame] as const))("%s arrives as it was sent", (_, frame) => {
    expect(decodeHolderFrame(encodeHolderFrame(frame), "peer")).toEqual(frame);
  });

  test("any bytes give a frame or FRAME_INVALID", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...ownerFrames), fc.nat(), (noise, frame, at) => {
        const bytes = encodeOwnerFrame(frame);
        bytes.set(noise.subarray(0, Math.max(0, bytes.length - (at % bytes.length))), at % bytes.length);
        for (const tried of [noise, bytes, bytes.subarray(0, at % bytes.length)]) {
          for (const decode of [decodeOwnerFrame, (raw: Uint8Array) => decodeHolderFrame(raw, "peer")]) {
            try {
              decode(tried);
            } catch (error) {
              if (!isFault(error, "FRAME_INVALID")) throw error;
            }
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("each side has its own frames", () => {
    const held = encodeHolderFrame({ kind: "held", checkpoint: undefined });
    expect(complaint(() => decodeOwnerFrame(held))).toContain("holder");
    const end = encodeOwnerFrame({ kind: "end", stateDigest: digest });
    expect(complaint(() => decodeHolderFrame(end, "peer"))).toContain("owner");
    expect(complaint(() => decodeOwnerFrame(new Uint8Array()))).toContain("nothing");
  });

  test.each<[string, Wire]>([
    ["a malformed agent id", { frame: { case: "offer", value: { agentId: "../x", checkpoint: signed } } }],
    ["an offer without a checkpoint", { frame: { case: "offer", value: { agentId: digest } } }],
    [
      "a module above the limit",
      { frame: { case: "offer", value: { agentId: digest, checkpoint: signed, moduleBytes: 2n ** 30n } } },
    ],
    [
      "a manifest above the limit",
      { frame: { case: "offer", value: { agentId: digest, checkpoint: signed, manifest: new Uint8Array(70_000) } } },
    ],
    ["an offset beyond everything", { frame: { case: "state", value: { offset: 2n ** 63n } } }],
    ["receipts with a spine", { frame: { case: "spine", value: { last: true, receipts: [Uint8Array.of(1)] } } }],
    ["a short digest", { frame: { case: "end", value: { stateDigest: new Uint8Array(31) } } }],
  ])("refused: %s", (_, frame) => {
    expect(complaint(() => decodeOwnerFrame(wire(frame)))).not.toBe("");
  });

  test.each([
    ["as many as fit, each of nothing", Array.from({ length: 500_000 }, () => [0x32, 0]).flat()],
    ["one that claims 2^32 - 1 bytes", [0x32, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    [
      "headers of nothing, each of many parts",
      [0x12, 0xc0, 0x84, 0x3d, ...Array.from({ length: 500_000 }, () => [0x0a, 0]).flat()],
    ],
  ])("T-42: refused: receipts without end, before anything is made of them: %s", (_, list) => {
    // ReplicaOffer is field 1 of its frame, its receipts field 6, its checkpoint field 2.
    const length = [(list.length & 0x7f) | 0x80, ((list.length >> 7) & 0x7f) | 0x80, list.length >> 14];
    const frame = Uint8Array.from([0x0a, ...length, ...list]);
    const before = process.memoryUsage().arrayBuffers;
    expect(() => decodeOwnerFrame(frame)).toThrow(/more than 16384 fields|cut short|malformed/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  });
});
