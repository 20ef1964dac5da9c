import { isFault } from "@godwit/common/fault";
import type { MigrationFrameKind } from "@godwit/migration";
import { FakeClock } from "@godwit/testing";
import { describe, expect, test } from "vitest";
import type { FrameStream } from "./framed-stream.ts";
import { FAULT_FRAMES, parseStreamFault, StreamFaults } from "./stream-faults.ts";

const signal = new AbortController().signal;
/** A frame of a test is one byte: which of FAULT_FRAMES it is. */
const frame = (kind: MigrationFrameKind) => Uint8Array.of(FAULT_FRAMES.indexOf(kind));
const kindOf = (bytes: Uint8Array) => FAULT_FRAMES[bytes[0] ?? -1];

class Recorder implements FrameStream {
  readonly written: (MigrationFrameKind | undefined)[] = [];
  readonly incoming: Uint8Array[] = [];
  aborted = false;
  closed = false;

  async read(): Promise<Uint8Array | undefined> {
    if (this.aborted) throw new Error("reset");
    return this.incoming.shift();
  }
  async write(frames: readonly Uint8Array[]): Promise<void> {
    if (this.aborted) throw new Error("reset");
    this.written.push(...frames.map(kindOf));
  }
  async close(): Promise<void> {
    this.closed = true;
  }
  abort(): void {
    this.aborted = true;
  }
}

function setUp(...armed: readonly string[]) {
  const clock = new FakeClock();
  const strikes: string[] = [];
  const faults = new StreamFaults({ clock, onStrike: (fault) => strikes.push(fault) }, { allowed: true });
  for (const text of armed) faults.arm(text);
  const inner = new Recorder();
  return { clock, strikes, faults, inner, stream: faults.wrap(inner, { sent: kindOf, received: kindOf }) };
}

describe("stream faults", () => {
  test("are nothing unless the process was started for them", () => {
    const off = new StreamFaults({ clock: new FakeClock(), onStrike: () => {} }, { allowed: false });
    const inner = new Recorder();
    expect(off.wrap(inner, { sent: kindOf, received: kindOf })).toBe(inner);
    expect(() => off.arm("send:offer:swallow")).toThrow("--allow-crash-points".slice(2));
  });

  test("are written as direction, frame, number and action", () => {
    expect(parseStreamFault("send:handoff-end:cut-after")).toEqual({
      direction: "send",
      frame: "handoff-end",
      nth: 1,
      action: { kind: "cut-after" },
    });
    expect(parseStreamFault("receive:state:2:delay=250")).toMatchObject({ nth: 2, action: { kind: "delay", ms: 250 } });
  });

  test.each([
    "",
    "send",
    "send:offer",
    "both:offer:swallow",
    "send:nothing:swallow",
    "send:offer:0:swallow",
    "send:offer:x:swallow",
    "send:offer:explode",
    "send:offer:delay=",
    "send:offer:delay=9999999",
    "send:offer:1:swallow:more",
  ])("%o is refused with what to write instead", (text) => {
    try {
      parseStreamFault(text);
    } catch (error) {
      expect(isFault(error, "INVALID_ARGUMENT")).toBe(true);
      return;
    }
    throw new Error("accepted");
  });

  test("strike once, at the frame that they name, and say so", async () => {
    const { stream, inner, strikes, faults } = setUp("send:state:2:swallow");
    await stream.write([frame("handoff"), frame("state"), frame("state"), frame("state")], signal);
    expect(inner.written).toEqual(["handoff", "state", "state"]);
    expect(strikes).toEqual(["send:state:2:swallow"]);
    expect(faults.armed()).toEqual([]);
  });

  test("cut-before keeps the frame back, cut-after lets it out first; then the stream is reset", async () => {
    for (const [fault, written] of [
      ["send:state:cut-before", ["handoff"]],
      ["send:state:cut-after", ["handoff", "state"]],
    ] as const) {
      const { stream, inner } = setUp(fault);
      await expect(stream.write([frame("handoff"), frame("state"), frame("handoff-end")], signal)).rejects.toThrow();
      expect(inner.written).toEqual(written);
      expect(inner.closed && inner.aborted).toBe(true);
      await expect(stream.read(signal)).rejects.toThrow();
    }
  });

  test("the same for what is received", async () => {
    const before = setUp("receive:started:cut-before");
    before.inner.incoming.push(frame("started"));
    await expect(before.stream.read(signal)).rejects.toThrow();
    expect(before.inner.aborted).toBe(true);

    const after = setUp("receive:prepared:cut-after");
    after.inner.incoming.push(frame("prepared"), frame("started"));
    expect(kindOf((await after.stream.read(signal)) ?? new Uint8Array())).toBe("prepared");
    await expect(after.stream.read(signal)).rejects.toThrow();
  });

  test("after swallow-after nothing passes either way, and nobody is told", async () => {
    const { stream, inner } = setUp("send:handoff-end:swallow-after");
    await stream.write([frame("handoff-end"), frame("offer")], signal);
    await stream.write([frame("offer")], signal);
    inner.incoming.push(frame("started"));
    expect(await stream.read(signal)).toBeUndefined(); // the end of the recorder; the frame was swallowed
    await stream.close(signal);
    expect(inner.written).toEqual(["handoff-end"]);
    expect(inner.closed).toBe(false);
  });

  test("delay holds a frame up for as long as it says", async () => {
    const { stream, inner, clock } = setUp("send:started:delay=250");
    const writing = stream.write([frame("started")], signal);
    await clock.untilSleeping(1, signal);
    expect(inner.written).toEqual([]);
    await clock.advance(250);
    await writing;
    expect(inner.written).toEqual(["started"]);
  });
});
