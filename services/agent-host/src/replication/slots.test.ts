import { describe, expect, test } from "vitest";
import { Slots } from "./slots.ts";

const anySignal = () => new AbortController().signal;

describe("slots", () => {
  test("never more at once than there are, in the order in which they came", async () => {
    const slots = new Slots(2);
    const begun: number[] = [];
    let now = 0;
    let most = 0;
    const work = (id: number) =>
      slots.run(anySignal(), async () => {
        begun.push(id);
        most = Math.max(most, ++now);
        await new Promise((resolve) => setImmediate(resolve));
        now--;
      });
    await Promise.all([0, 1, 2, 3, 4, 5].map(work));
    expect(begun).toEqual([0, 1, 2, 3, 4, 5]);
    expect(most).toBe(2);
  });

  test("work that fails gives its slot back", async () => {
    const slots = new Slots(1);
    await expect(slots.run(anySignal(), () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    await expect(slots.run(anySignal(), async () => 7)).resolves.toBe(7);
  });

  test("whoever gives up waiting takes no slot", async () => {
    const slots = new Slots(1);
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = slots.run(anySignal(), () => promise);
    const caller = new AbortController();
    const second = slots.run(caller.signal, async () => "second");
    const third = slots.run(anySignal(), async () => "third");
    caller.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    resolve();
    await first;
    await expect(third).resolves.toBe("third");
  });
});
