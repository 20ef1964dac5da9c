import { describe, expect, test } from "vitest";
import { Timeline } from "./timeline.ts";

describe("the timeline", () => {
  test("what is due first happens first, of one moment in the order of asking, and time stands at its moment", async () => {
    const timeline = new Timeline();
    const seen: string[] = [];
    const note = (name: string) => () => void seen.push(`${name}@${timeline.nowMs}`);
    timeline.at(30, note("c"));
    timeline.at(10, note("a"));
    timeline.at(10, note("b"));
    timeline.soon(note("now"));
    await timeline.runUntil(() => seen.length === 4);
    expect(seen).toEqual(["now@0", "a@10", "b@10", "c@30"]);
  });

  test("all that follows without time is over before the next happening", async () => {
    const timeline = new Timeline();
    const seen: string[] = [];
    timeline.at(1, () => {
      void (async () => {
        for (let i = 0; i < 100; i++) await Promise.resolve();
        seen.push("followed");
      })();
    });
    timeline.at(1, () => void seen.push("next"));
    await timeline.runUntil(() => seen.length === 2);
    expect(seen).toEqual(["followed", "next"]);
  });

  test("what was cancelled does not happen, and nothing left to happen is an error, not an endless wait", async () => {
    const timeline = new Timeline();
    timeline.after(5, () => expect.unreachable()).cancel();
    await expect(timeline.runUntil(() => false)).rejects.toThrow("nothing is left to happen at 0 ms");
  });

  test("a loop that lets no time pass is an error, not a run without end", async () => {
    const timeline = new Timeline();
    const again = () => timeline.soon(again);
    timeline.at(7, again);
    await expect(timeline.runUntil(() => false)).rejects.toThrow("time stands still at 7 ms");
  });

  test("a thousand happenings in any order come out in order", async () => {
    const timeline = new Timeline();
    const seen: number[] = [];
    for (let i = 0; i < 1_000; i++) {
      const atMs = (i * 7_919) % 997;
      timeline.at(atMs, () => void seen.push(atMs));
    }
    await timeline.runUntil(() => seen.length === 1_000);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });
});
