import type { AuthorityRecord } from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import { standingOf } from "./standing.ts";

const session = { hostId: "target", bootId: "t2" };
const handoff = { handoffId: "h1", era: 1n, major: 4n };
const checkpoint = { era: 1n, major: 4n, tick: 9n, digest: "c".repeat(64) };
const open: AuthorityRecord = {
  agentId: "a".repeat(64),
  name: "",
  incarnation: "i",
  revision: 7n,
  state: "HANDOFF_INITIATED",
  reason: undefined,
  era: 1n,
  major: 4n,
  owner: { hostId: "source", bootId: "s1" },
  handoff: { id: "h1", targetHostId: "target" },
  head: checkpoint,
  bases: [],
  unconfirmed: undefined,
  lastCommand: "x",
  conflict: undefined,
  forced: undefined,
  afterLoss: undefined,
  declared: false,
  terminated: undefined,
  grant: undefined,
  recoveryPolicy: "latest",
};
const claimed: AuthorityRecord = { ...open, state: "ACTIVE_OWNER", handoff: undefined, major: 5n, owner: session };
const signed = { payload: new Uint8Array(1), signature: new Uint8Array(64) };

describe("GH-4: what a record says of a claim", () => {
  test("nothing has changed: it can still be granted", () => {
    expect(standingOf(open, handoff, session)).toBe("open");
  });

  test("this session owns the next major: it was granted", () => {
    expect(standingOf(claimed, handoff, session)).toBe("ours");
  });

  test("dead only with another major, or terminated, and an owner who is no session of this host", () => {
    const recovered: AuthorityRecord = { ...open, state: "ACTIVE_OWNER", handoff: undefined, major: 5n };
    expect(standingOf(recovered, handoff, session)).toBe("dead");
    expect(standingOf({ ...recovered, era: 2n, major: 0n }, handoff, session)).toBe("dead");
    expect(standingOf({ ...open, terminated: signed }, handoff, session)).toBe("dead");
    // Reverted under the same major: the letter of the rule is kept, the source's next word settles it.
    expect(standingOf({ ...open, state: "ACTIVE_OWNER", handoff: undefined }, handoff, session)).toBe("open");
  });

  test("GA-5: an earlier session of this host owns it, or it went on after the claim: recovery has to read it", () => {
    expect(standingOf({ ...claimed, owner: { hostId: "target", bootId: "t1" } }, handoff, session)).toBe(
      "for-recovery",
    );
    expect(standingOf({ ...claimed, major: 6n }, handoff, session)).toBe("for-recovery");
    expect(standingOf({ ...claimed, terminated: signed }, handoff, session)).toBe("for-recovery");
    expect(standingOf({ ...claimed, state: "RETIRED" }, handoff, session)).toBe("for-recovery");
  });

  test("GA-9: no record is no proof of anything", () => {
    expect(standingOf(undefined, handoff, session)).toBe("for-recovery");
  });
});
