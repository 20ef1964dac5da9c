import { isFault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { decodeEventLog, encodeEventLog } from "./event-log.ts";
import { resultShape } from "./event.ts";

/** xorshift32: fast, and the same every time. */
function chance(seed: number) {
  let state = seed;
  return (below: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const clock = Uint8Array.of(1, resultShape.wide, 1, 2, 3, 4, 5, 6, 7, 8, 0);
const random = Uint8Array.of(2, resultShape.zero | 1, 4, 4, 9, 9, 9, 9);
const sample = encodeEventLog([
  { tick: 7n, events: clock },
  { tick: 8n, events: new Uint8Array(0) },
  { tick: 9n, events: new Uint8Array([...random, ...clock]) },
]);

describe("an event log", () => {
  test("comes back as it was written", () => {
    expect(decodeEventLog(sample).map(({ tick, events }) => [tick, [...events]])).toEqual([
      [7n, [...clock]],
      [8n, []],
      [9n, [...random, ...clock]],
    ]);
  });

  test.each<[string, number[]]>([
    ["of a newer version", [2]],
    ["that ends in a tick", [1, 7, 4, 1]],
    ["that names a tick twice", [1, 7, 0, 0, 0]],
    ["with a function 0", [1, 7, 3, 0, 0, 0]],
    ["with a number in more bytes than it needs", [1, 0x87, 0x00, 0]],
    ["with a result in more bytes than it needs", [1, 7, 11, 1, resultShape.wide, 1, 0, 0, 0, 0, 0, 0, 0, 0]],
    ["that claims 2^32 bytes", [1, 7, 0xff, 0xff, 0xff, 0xff, 0x0f]],
  ])("%s is refused", (_, bytes) => {
    expect(() => decodeEventLog(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ name: "Fault" }));
  });

  test("100,000 random and mutated ones: read, or refused with a typed fault", () => {
    const below = chance(0x9e3779b9);
    let refused = 0;
    for (let run = 0; run < 100_000; run++) {
      const bytes =
        run % 4 === 0
          ? Uint8Array.from({ length: below(64) }, () => below(256))
          : sample.slice(0, sample.length - below(3));
      for (let edits = below(4); edits > 0 && bytes.length > 0; edits--) bytes[below(bytes.length)] = below(256);
      try {
        // What is read is written in one way only.
        expect(Buffer.compare(encodeEventLog(decodeEventLog(bytes)), bytes)).toBe(0);
      } catch (error) {
        if (!isFault(error, "EVENT_LOG_INVALID")) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(30_000);
  });
});
