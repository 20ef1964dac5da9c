import { create, toBinary } from "@bufbuild/protobuf";
import { isFault } from "@godwit/common/fault";
import { type Failure, failureOf } from "@godwit/common/retry";
import { digestOf } from "@godwit/lineage";
import { MigrationFrameSchema } from "@godwit/proto/godwit/migration/v1/migration";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChunkAssembler, chunksOf } from "./chunks.ts";
import type { SourceFrame, TargetFrame } from "./frames.ts";
import { FRAME_LIMITS } from "./limits.ts";
import {
  decodeSourceFrame,
  decodeTargetFrame,
  encodeSourceFrame,
  encodeTargetFrame,
  frameKindOf,
} from "./migration-codec.ts";
import { SpineAssembler, spineFrames } from "./spine.ts";

const digest = digestOf(new Uint8Array(3));
const signed = { payload: Uint8Array.of(1, 2, 3), signature: new Uint8Array(64).fill(7) };
const refusal = (failure: Failure): TargetFrame => ({ kind: "refused", handoffId: "h1", failure });

const sourceFrames: readonly SourceFrame[] = [
  {
    kind: "offer",
    handoffId: "h1",
    agentId: digest,
    name: "a survivor",
    era: 1n,
    major: 2n ** 40n,
    tick: 17n,
    stateBytes: 4096,
    budget: 10_000_000n,
    manifest: Uint8Array.of(123, 125),
    moduleDigest: digest,
    moduleBytes: 188_000,
  },
  { kind: "module", offset: 0, data: Uint8Array.of(0, 97, 115, 109) },
  { kind: "state", offset: 262_144, data: Uint8Array.of(1) },
  { kind: "spine", headers: [signed, signed], last: true, receipts: [Uint8Array.of(1), Uint8Array.of(2, 3)] },
  {
    kind: "checkpoint",
    handoffId: "h1",
    checkpoint: signed,
    receipts: [Uint8Array.of(5)],
    receiptsKept: 3,
    state: new Uint8Array(9),
  },
  { kind: "handoff", handoffId: "h1", token: signed },
  { kind: "handoff-end", stateBytes: 9, stateDigest: digest },
];
const targetFrames: readonly TargetFrame[] = [
  { kind: "accept", handoffId: "h1", needModule: true, pricePerSecond: 1_000n, spineKnown: undefined },
  { kind: "accept", handoffId: "h1", needModule: false, pricePerSecond: 0n, spineKnown: digest },
  { kind: "prepared", handoffId: "h1" },
  { kind: "started", handoffId: "h1", agentId: digest, checkpointDigest: digest, era: 0n, major: 5n },
  refusal({ class: "retriable", fault: { code: "TARGET_BUSY", hostId: "h" } }),
  refusal({ class: "fatal-target", fault: { code: "CAPABILITY_MISSING", missing: ["net", "kv"] } }),
  refusal({ class: "fatal-target", fault: { code: "PRICE_TOO_HIGH", price: 2n ** 60n, limit: 1n } }),
];

function complaint(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(failureOf(error)?.class).toBe("fatal-target");
    if (isFault(error, "FRAME_INVALID")) return error.detail.reason;
    throw error;
  }
  throw new Error("accepted");
}

const wire = (frame: Parameters<typeof create<typeof MigrationFrameSchema>>[1]) =>
  toBinary(MigrationFrameSchema, create(MigrationFrameSchema, frame));

describe("frames of /godwit/migrate/1", () => {
  test.each(sourceFrames.map((frame) => [frame.kind, frame] as const))("%s arrives as it was sent", (_, frame) => {
    expect(decodeSourceFrame(encodeSourceFrame(frame))).toEqual(frame);
  });

  test.each(targetFrames.map((frame) => [frame.kind, frame] as const))("%s arrives as it was sent", (_, frame) => {
    expect(decodeTargetFrame(encodeTargetFrame(frame), "peer")).toEqual(frame);
  });

  test("any bytes give a frame or FRAME_INVALID", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...sourceFrames), fc.nat(), (noise, frame, at) => {
        const bytes = encodeSourceFrame(frame);
        bytes.set(noise.subarray(0, Math.max(0, bytes.length - (at % bytes.length))), at % bytes.length);
        for (const tried of [noise, bytes, bytes.subarray(0, at % bytes.length)]) {
          for (const decode of [decodeSourceFrame, (raw: Uint8Array) => decodeTargetFrame(raw, "peer")]) {
            try {
              decode(tried);
            } catch (error) {
              if (!isFault(error, "FRAME_INVALID")) throw error;
            }
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("what is signed outlives the frame without keeping it", () => {
    const frame = decodeSourceFrame(encodeSourceFrame(sourceFrames[3] ?? fail()));
    if (frame.kind !== "spine") throw new Error(frame.kind);
    expect(frame.headers[0]?.payload.buffer.byteLength).toBe(3);
  });

  test("each side has its own frames", () => {
    expect(complaint(() => decodeSourceFrame(encodeTargetFrame({ kind: "prepared", handoffId: "h1" })))).toContain(
      "target",
    );
    const [offer] = sourceFrames;
    expect(complaint(() => decodeTargetFrame(encodeSourceFrame(offer ?? fail()), "peer"))).toContain("source");
    expect(complaint(() => decodeSourceFrame(new Uint8Array()))).toContain("nothing");
  });

  test.each<[string, Parameters<typeof wire>[0]]>([
    [
      "a module above the limit",
      {
        frame: {
          case: "offer",
          value: { handoffId: "h", agentId: digest, moduleDigest: new Uint8Array(32), moduleBytes: 2n ** 30n },
        },
      },
    ],
    [
      "a malformed agent id",
      { frame: { case: "offer", value: { handoffId: "h", agentId: "../x", moduleDigest: new Uint8Array(32) } } },
    ],
    ["no handoff id", { frame: { case: "offer", value: { agentId: digest, moduleDigest: new Uint8Array(32) } } }],
    [
      "a short digest",
      { frame: { case: "offer", value: { handoffId: "h", agentId: digest, moduleDigest: new Uint8Array(31) } } },
    ],
    [
      "a manifest above the limit",
      {
        frame: {
          case: "offer",
          value: {
            handoffId: "h",
            agentId: digest,
            moduleDigest: new Uint8Array(32),
            manifest: new Uint8Array(70_000),
          },
        },
      },
    ],
    ["an offset beyond everything", { frame: { case: "state", value: { offset: 2n ** 63n } } }],
    ["a handoff without a token", { frame: { case: "handoff", value: { handoffId: "h" } } }],
    [
      "a handoff with a short signature",
      {
        frame: {
          case: "handoff",
          value: {
            handoffId: "h",
            token: { payload: signed.payload, signature: new Uint8Array(3) },
          },
        },
      },
    ],
    [
      "a large state in one piece",
      {
        frame: {
          case: "checkpoint",
          value: { handoffId: "h", checkpoint: signed, state: new Uint8Array(300_000) },
        },
      },
    ],
    [
      "too many receipts",
      {
        frame: {
          case: "checkpoint",
          value: {
            handoffId: "h",
            checkpoint: signed,
            receipts: Array.from({ length: 5_000 }, () => new Uint8Array()),
          },
        },
      },
    ],
  ])("refused: %s", (_, frame) => {
    expect(complaint(() => decodeSourceFrame(wire(frame)))).not.toBe("");
  });

  test("refused: a frame above 1 MiB", () => {
    expect(complaint(() => decodeSourceFrame(new Uint8Array(FRAME_LIMITS.maxFrameBytes + 1)))).toContain("more than");
  });

  test("the largest checkpoint fits into a frame", () => {
    const largest = encodeSourceFrame({
      kind: "checkpoint",
      handoffId: "h".repeat(128),
      checkpoint: { payload: new Uint8Array(16_384), signature: signed.signature },
      receipts: Array.from({ length: 4_096 }, () => new Uint8Array(128)),
      receiptsKept: 4_096,
      state: new Uint8Array(FRAME_LIMITS.chunkBytes),
    });
    expect(largest.length).toBeLessThan(FRAME_LIMITS.maxFrameBytes);
    expect(decodeSourceFrame(largest).kind).toBe("checkpoint");
  });

  test("T-50, GH-2: a refusal with a code that we do not know keeps its class and its text", () => {
    const value = { handoffId: "h1", failureClass: "fatal-target", code: "MOON_PHASE", message: "not today" };
    expect(decodeTargetFrame(wire({ frame: { case: "refused", value } }), "peer")).toEqual(
      refusal({
        class: "fatal-target",
        fault: { code: "POLICY_REFUSED", hostId: "peer", reason: "MOON_PHASE: not today" },
      }),
    );
    const nobody = { ...value, failureClass: "ambiguous" };
    expect(complaint(() => decodeTargetFrame(wire({ frame: { case: "refused", value: nobody } }), "peer"))).toContain(
      "class",
    );
  });
});

describe("the kind of a frame", () => {
  test("is its first byte's to say", () => {
    for (const frame of sourceFrames) expect(frameKindOf(encodeSourceFrame(frame))).toBe(frame.kind);
    for (const frame of targetFrames) expect(frameKindOf(encodeTargetFrame(frame))).toBe(frame.kind);
    expect(frameKindOf(new Uint8Array())).toBeUndefined();
  });
});

describe("module and state in chunks", () => {
  const bytes = Uint8Array.from({ length: FRAME_LIMITS.chunkBytes * 2 + 5 }, (_, index) => index % 251);

  test("cut and put together they are the same", () => {
    const whole = new ChunkAssembler({ what: "state", bytes: bytes.length, digest: digestOf(bytes) });
    const chunks = [...chunksOf("state", bytes)];
    expect(chunks.map(({ data }) => data.length)).toEqual([FRAME_LIMITS.chunkBytes, FRAME_LIMITS.chunkBytes, 5]);
    for (const chunk of chunks) whole.add(chunk);
    expect(whole.isComplete).toBe(true);
    expect(Buffer.from(whole.finish()).equals(bytes)).toBe(true);
  });

  test("nothing is complete as it is", () => {
    const nothing = new ChunkAssembler({ what: "state", bytes: 0, digest: digestOf(new Uint8Array()) });
    expect([...chunksOf("state", new Uint8Array())]).toEqual([]);
    expect(nothing.finish().length).toBe(0);
  });

  test.each<[string, string, readonly { readonly offset: number; readonly data: Uint8Array }[]]>([
    ["a gap", "goes on at 0, not at 1", [{ offset: 1, data: new Uint8Array(1) }]],
    [
      "an overlap",
      "goes on at 4, not at 2",
      [
        { offset: 0, data: new Uint8Array(4) },
        { offset: 2, data: new Uint8Array(4) },
      ],
    ],
    ["nothing at all", "is empty", [{ offset: 0, data: new Uint8Array() }]],
    ["more than announced", "more than its 10 bytes", [{ offset: 0, data: new Uint8Array(11) }]],
    ["other bytes", "not the one that was announced", [{ offset: 0, data: new Uint8Array(10) }]],
    ["an early end", "ends after 9 of 10", [{ offset: 0, data: new Uint8Array(9) }]],
  ])("refused: %s", (_, reason, chunks) => {
    const whole = new ChunkAssembler({ what: "module", bytes: 10, digest: digestOf(new Uint8Array(10).fill(1)) });
    const work = () => {
      for (const chunk of chunks) whole.add(chunk);
      whole.finish();
    };
    expect(complaint(work)).toContain(reason);
  });

  test("refused: a chunk that is larger than chunks are", () => {
    const whole = new ChunkAssembler({ what: "state", bytes: 2 ** 20, digest: undefined });
    const data = new Uint8Array(FRAME_LIMITS.chunkBytes + 1);
    expect(complaint(() => whole.add({ offset: 0, data }))).toContain("a chunk of the state has");
  });

  test("where only the end says how many there are, exactly so many have to be there", () => {
    const some = new ChunkAssembler({ what: "state", bytes: 2 ** 20, digest: undefined });
    some.add({ offset: 0, data: Uint8Array.of(1, 2, 3) });
    expect(some.take(3)).toEqual(Uint8Array.of(1, 2, 3));
    for (const wrong of [2, 4]) expect(complaint(() => some.take(wrong))).toContain("ends after 3");
  });

  test("64 MiB that were announced cost nothing until they come", () => {
    const before = process.memoryUsage().arrayBuffers;
    const announced = { what: "module", bytes: FRAME_LIMITS.maxModuleBytes, digest };
    const many = Array.from({ length: 20 }, () => new ChunkAssembler(announced));
    for (const one of many) one.add({ offset: 0, data: new Uint8Array(1) });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20);
  });
});

describe("a spine over frames", () => {
  const header = (index: number, size = 700) => ({
    payload: new Uint8Array(size).fill(index % 251).map((byte, at) => (at < 4 ? (index >> (8 * at)) & 255 : byte)),
    signature: new Uint8Array(64),
  });
  const spine = Array.from({ length: 1_000 }, (_, index) => header(index));

  test("long ones take several frames, each within the limit, and arrive in order", () => {
    const frames = [...spineFrames(spine, undefined)];
    expect(frames.length).toBeGreaterThan(2);
    expect(frames.map(({ last }) => last)).toEqual(frames.map((_, index) => index === frames.length - 1));
    const all = new SpineAssembler();
    for (const frame of frames) {
      const encoded = encodeSourceFrame(frame);
      expect(encoded.length).toBeLessThan(FRAME_LIMITS.maxFrameBytes);
      const decoded = decodeSourceFrame(encoded);
      if (decoded.kind === "spine") all.add(decoded);
    }
    expect(all.headers).toEqual(spine);
  });

  test("what the target has already is left out", () => {
    const known = digestOf(spine[3]?.payload ?? new Uint8Array());
    expect([...spineFrames(spine, known)]).toEqual([
      { kind: "spine", headers: spine.slice(0, 3), last: true, receipts: [] },
    ]);
    expect([...spineFrames(spine, digestOf(spine[0]?.payload ?? new Uint8Array()))]).toEqual([
      { kind: "spine", headers: [], last: true, receipts: [] },
    ]);
    expect([...spineFrames(spine, digest)].flatMap(({ headers }) => headers).length).toBe(spine.length);
  });

  test("an agent that has never moved has an empty one", () => {
    expect([...spineFrames([], undefined)]).toEqual([{ kind: "spine", headers: [], last: true, receipts: [] }]);
  });

  test("refused: without end, and empty parts of it", () => {
    const all = new SpineAssembler();
    expect(complaint(() => all.add({ kind: "spine", headers: [], last: false, receipts: [] }))).toContain("empty");
    const part = Array.from({ length: 60 }, (_, index) => header(index, 16_000));
    expect(
      complaint(() => {
        for (;;) all.add({ kind: "spine", headers: part, last: false, receipts: [] });
      }),
    ).toContain("bytes");
  });
});

function fail(): never {
  throw new Error("no such frame");
}
