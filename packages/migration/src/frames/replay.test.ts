import { expect, test } from "vitest";
import { decodeReplay, type ReplayRecord, replayFrames } from "./replay.ts";

const signed = { payload: Uint8Array.of(1), signature: new Uint8Array(64) };

function bytesOf(record: ReplayRecord): Uint8Array {
  const parts = [...replayFrames(record)].flatMap((frame) => (frame.kind === "replay" ? [frame.data] : []));
  return new Uint8Array(Buffer.concat(parts));
}

test("the longest replay comes back as it was; one of more checkpoints is refused", () => {
  const of = (count: number): ReplayRecord => ({
    headers: Array.from({ length: count }, () => signed),
    state: Uint8Array.of(7),
    eventLogs: Array.from({ length: count }, () => new Uint8Array(0)),
  });
  expect(decodeReplay(bytesOf(of(4_096)))).toEqual(of(4_096));
  expect(() => decodeReplay(bytesOf(of(4_097)))).toThrow("more than 4096 checkpoints");
});

test("a replay of nothing, a million times, is refused before anything is made of it", () => {
  const bytes = Uint8Array.from({ length: 2_000_000 }, (_, index) => (index % 2 === 0 ? 0x1a : 0));
  const before = process.memoryUsage().arrayBuffers;
  expect(() => decodeReplay(bytes)).toThrow("more than 4096 checkpoints");
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  expect(() => decodeReplay(Uint8Array.of(0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f))).toThrow("no message of this protocol");
});
