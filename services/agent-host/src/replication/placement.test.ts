import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { placeCopies } from "./placement.ts";

const hostIds = ["ada", "bob", "cleo", "dora", "emil"];
const nobody = () => false;
const place = (question: Partial<Parameters<typeof placeCopies>[0]> = {}) =>
  placeCopies({ agentId: "agent", replicas: 2, chosen: [], hostIds, isAvoided: nobody, ...question });

describe("placement of copies", () => {
  test("a host that keeps a copy goes on keeping it when others join", () => {
    for (const hostId of hostIds) expect(place({ replicas: 1, chosen: [hostId] })).toEqual([hostId]);
  });

  test("a host that is gone, or is avoided, is replaced, and the other stays", () => {
    const [first = "", second = ""] = place();
    const left = place({ chosen: [first, second], hostIds: hostIds.filter((hostId) => hostId !== first) });
    expect(left).toContain(second);
    expect(left).toHaveLength(2);
    const avoided = place({ chosen: [first, second], isAvoided: (hostId) => hostId === second });
    expect(avoided).toContain(first);
    expect(avoided).not.toContain(second);
  });

  test("whoever asks anew, in whatever order the hosts come, gets the same hosts", () => {
    fc.assert(
      fc.property(fc.string(), fc.shuffledSubarray(hostIds, { minLength: 5 }), (agentId, shuffled) => {
        expect(place({ agentId, hostIds: shuffled })).toEqual(place({ agentId }));
      }),
    );
  });

  test("copies of many agents spread over all hosts", () => {
    const counts = new Map<string, number>();
    for (let agent = 0; agent < 1_000; agent++) {
      for (const hostId of place({ agentId: `agent-${agent}`, replicas: 1 })) {
        counts.set(hostId, (counts.get(hostId) ?? 0) + 1);
      }
    }
    for (const hostId of hostIds) expect(counts.get(hostId)).toBeGreaterThan(130);
  });

  test("never more than were asked for, never one twice, as many as there are", () => {
    fc.assert(
      fc.property(fc.subarray(hostIds), fc.subarray(hostIds), fc.nat({ max: 6 }), (chosen, avoided, replicas) => {
        const placed = place({ chosen, replicas, isAvoided: (hostId) => avoided.includes(hostId) });
        expect(new Set(placed).size).toBe(placed.length);
        expect(placed).toHaveLength(Math.min(replicas, hostIds.length - avoided.length));
      }),
    );
  });
});
