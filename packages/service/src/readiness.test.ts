import type { Clock } from "@godwit/common/clock";
import { describe, expect, test } from "vitest";
import { type Missing, Readiness } from "./readiness.ts";

/** Wakes when the test says so. */
class ManualClock implements Clock {
  #wake = Promise.withResolvers<void>();
  #asked = Promise.withResolvers<void>();

  now = () => new Date(0);
  monotonicMs = () => 0;

  sleep(_ms: number, signal: AbortSignal): Promise<void> {
    this.#asked.resolve();
    this.#wake = Promise.withResolvers();
    signal.addEventListener("abort", () => this.#wake.reject(signal.reason), { once: true });
    return this.#wake.promise;
  }

  /** Lets the sleeper look once, and waits until it sleeps again. */
  async tick(): Promise<void> {
    await this.#asked.promise;
    this.#asked = Promise.withResolvers();
    this.#wake.resolve();
    await this.#asked.promise;
  }
}

describe("readiness", () => {
  test("what is missing names the part and the reason", () => {
    const readiness = new Readiness();
    let store: string | undefined = "the store does not answer";
    readiness.add("store", () => store);
    readiness.add("session", () => undefined);
    expect(readiness.missing()).toEqual([{ part: "store", reason: "the store does not answer" }]);
    store = undefined;
    expect(readiness.missing()).toEqual([]);
    expect(() => readiness.add("store", () => undefined)).toThrow("already");
  });

  test("a follower hears the present state and each change, once", async () => {
    const readiness = new Readiness();
    const clock = new ManualClock();
    let store: string | undefined = "starting";
    readiness.add("store", () => store);
    const heard: (readonly Missing[])[] = [];
    const following = readiness.follow(clock, (missing) => heard.push(missing));
    await following.start?.(new AbortController().signal);
    await clock.tick();
    store = undefined;
    await clock.tick();
    await clock.tick();
    store = "gone";
    await clock.tick();
    await following.stop?.();
    expect(heard.map((missing) => missing[0]?.reason)).toEqual(["starting", undefined, "gone"]);
  });
});
