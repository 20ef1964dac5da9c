import { describe, expect, test } from "vitest";
import { Weather } from "./weather.ts";

describe("Weather", () => {
  test("WE-1 a cut fires once, after exactly so many bytes from when it was asked for", () => {
    const weather = new Weather();
    expect(weather.decide(100)).toEqual({ kind: "forward" });
    weather.cutAfter(25);
    expect(weather.decide(10)).toEqual({ kind: "forward" });
    expect(weather.decide(40)).toEqual({ kind: "cut", after: 15 });
    expect(weather.decide(40)).toEqual({ kind: "forward" });
    expect(weather.counts).toMatchObject({ cuts: 1, forwardedBytes: 165 });
  });

  test("WE-1 the last byte fires it, not the one after it; 0 lets nothing through", () => {
    const weather = new Weather();
    weather.cutAfter(10);
    expect(weather.decide(10)).toEqual({ kind: "cut", after: 10 });
    weather.cutAfter(0);
    expect(weather.decide(1)).toEqual({ kind: "cut", after: 0 });
  });

  test("swallowing begins after so many bytes and ends when the weather clears", () => {
    const weather = new Weather();
    weather.swallowAfter(10);
    expect(weather.decide(10)).toEqual({ kind: "forward" });
    expect(weather.decide(4)).toEqual({ kind: "swallow", after: 0 });
    weather.clear();
    expect(weather.decide(4)).toEqual({ kind: "forward" });
    expect(weather.counts).toMatchObject({ forwardedBytes: 14, swallowedBytes: 4 });
  });

  test("a cut that has not fired outlives a healing, and is taken back by a calm, like a delay", () => {
    const weather = new Weather();
    weather.cutAfter(10);
    weather.delayMs = 5;
    weather.clear();
    expect(weather.decide(4)).toEqual({ kind: "forward" });
    weather.calm();
    expect(weather.decide(40)).toEqual({ kind: "forward" });
    expect(weather.delayMs).toBe(0);
    expect(weather.counts.cuts).toBe(0);
  });

  test("of a cut and a swallowing, the one with fewer bytes comes first", () => {
    const weather = new Weather();
    weather.swallowAfter(3);
    weather.cutAfter(5);
    expect(weather.decide(10)).toEqual({ kind: "swallow", after: 3 });
    const other = new Weather();
    other.swallowAfter(5);
    other.cutAfter(3);
    expect(other.decide(10)).toEqual({ kind: "cut", after: 3 });
  });

  test("who waits for it to open goes on when it clears, also when it is held again at once", async () => {
    const weather = new Weather();
    weather.hold();
    let open = false;
    const waiting = weather.untilOpen().then(() => {
      open = true;
    });
    weather.clear();
    weather.hold();
    await new Promise((resolve) => setImmediate(resolve));
    expect(open).toBe(false);
    weather.clear();
    await waiting;
    expect(weather.counts.heldChunks).toBe(1);
  });

  test("a number of bytes that is none is refused", () => {
    expect(() => new Weather().cutAfter(-1)).toThrow(RangeError);
    expect(() => new Weather().swallowAfter(0.5)).toThrow(RangeError);
  });
});
