import { FakeClock } from "@godwit/testing";
import { describe, expect, test } from "vitest";
import { Avoidance } from "./avoidance.ts";

const rules = { firstMs: 1_000, longestMs: 30_000 };

function place() {
  const clock = new FakeClock();
  const avoided = new Avoidance({ clock, random: () => 1 }, rules);
  const fail = () => avoided.failed("ada", clock.monotonicMs());
  return { clock, avoided, fail };
}

describe("avoidance", () => {
  test("GH-6: each failure in a row doubles the pause, up to the longest", async () => {
    const { clock, avoided, fail } = place();
    for (const pauseMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      fail();
      await clock.advance(pauseMs - 1);
      expect(avoided.isAvoided("ada")).toBe(true);
      await clock.advance(1);
      expect(avoided.isAvoided("ada")).toBe(false);
    }
    expect(avoided.failures("ada")).toBe(7);
  });

  test("tries that failed side by side count as one", async () => {
    const { clock, avoided } = place();
    const begunAtMs = clock.monotonicMs();
    await clock.advance(5);
    for (let push = 0; push < 4; push++) avoided.failed("ada", begunAtMs);
    expect(avoided.failures("ada")).toBe(1);
  });

  test("a success ends it, and concerns nobody else", () => {
    const { clock, avoided, fail } = place();
    fail();
    avoided.failed("bob", clock.monotonicMs());
    avoided.succeeded("ada");
    expect(avoided.isAvoided("ada")).toBe(false);
    expect(avoided.isAvoided("bob")).toBe(true);
  });

  test("what is long over is forgotten, and nothing else", async () => {
    const { clock, avoided, fail } = place();
    fail();
    await clock.advance(2_000);
    avoided.prune();
    expect(avoided.failures("ada")).toBe(1);
    await clock.advance(61_000);
    avoided.prune();
    expect(avoided.failures("ada")).toBe(0);
  });
});
