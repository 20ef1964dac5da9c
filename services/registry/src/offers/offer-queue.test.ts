import { describe, expect, test } from "vitest";
import { OfferQueue } from "./offer-queue.ts";

describe("agents that wait to be offered", () => {
  test("are taken in the order in which they came, no more than allowed, once", () => {
    const queue = new OfferQueue(10);
    for (const agentId of ["a", "b", "a", "c"]) queue.add(agentId, 5);
    expect(queue.takeDue(4, 10)).toEqual([]);
    expect(queue.takeDue(5, 2).map(({ agentId }) => agentId)).toEqual(["a", "b"]);
    expect(queue.takeDue(5, 2).map(({ agentId }) => agentId)).toEqual(["c"]);
    expect(queue.size).toBe(0);
  });

  test("a scan does not start an agent anew that waits for its next holder", () => {
    const queue = new OfferQueue(10);
    queue.add("a", 0);
    const [first] = queue.takeDue(0, 1);
    if (first === undefined) throw new Error("nothing was due");
    queue.postpone({ ...first, rank: 1, dueMs: 2_000 });
    queue.add("a", 100);
    expect(queue.takeDue(1_999, 1)).toEqual([]);
    expect(queue.takeDue(2_000, 1)).toEqual([{ agentId: "a", rank: 1, dueMs: 2_000 }]);
  });

  test("no more wait than there is room for", () => {
    const queue = new OfferQueue(2);
    for (const agentId of ["a", "b", "c"]) queue.add(agentId, 0);
    expect(queue.takeDue(0, 10).map(({ agentId }) => agentId)).toEqual(["a", "b"]);
  });
});
