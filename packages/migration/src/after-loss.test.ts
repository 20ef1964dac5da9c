import type { AuthorityRecord, CheckpointRef } from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import { judgeLoss, type LossSituation } from "./after-loss.ts";

const ref = (major: bigint, tick: bigint, digest: string): CheckpointRef => ({ era: 0n, major, tick, digest });
const first = ref(0n, 0n, "first");
const mark = { incarnation: "i1", counter: 1n };
const situation: LossSituation = { mark, journal: { phase: "replica" }, createdUnder: "i0", held: [first] };

const record: AuthorityRecord = {
  agentId: "a",
  name: "n",
  incarnation: "i0",
  revision: 7n,
  state: "ACTIVE_OWNER",
  reason: undefined,
  era: 0n,
  major: 1n,
  owner: { hostId: "host-a", bootId: "boot-1" },
  handoff: undefined,
  head: first,
  bases: [
    { era: 0n, major: 1n, startedFrom: first },
    { era: 0n, major: 0n, startedFrom: first },
  ],
  unconfirmed: undefined,
  lastCommand: "c",
  conflict: undefined,
  forced: undefined,
  afterLoss: undefined,
  declared: false,
  terminated: undefined,
  grant: undefined,
  recoveryPolicy: "latest",
};

const found = (changes: Partial<AuthorityRecord>) =>
  ({ kind: "record", record: { ...record, ...changes }, ownerVoid: false }) as const;

describe("what a host does after a loss of the store", () => {
  test("GA-9: an agent with checkpoints and no record is recovered, on revision 0", () => {
    expect(judgeLoss({ kind: "no-record" }, situation)).toEqual({ kind: "recover", revision: 0n, head: first });
  });

  test("§4: what was made under this very incarnation was not lost: it is acquired, or waited for", () => {
    const now = { ...situation, createdUnder: "i1" };
    expect(judgeLoss({ kind: "no-record" }, { ...now, journal: { phase: "acquiring" } }).kind).toBe("not-lost");
    expect(judgeLoss({ kind: "no-record" }, now).kind).toBe("wait");
  });

  test("§4: an acquire that the loss overtook is GA-9's: its genesis names another incarnation", () => {
    expect(judgeLoss({ kind: "no-record" }, { ...situation, journal: { phase: "acquiring" } }).kind).toBe("recover");
  });

  test("GA-9: a record that nobody confirmed is recovered from the newest of the lost time that is held", () => {
    const lost = ref(2n, 9n, "lost");
    const verdict = judgeLoss(found({}), { ...situation, held: [lost, first] });
    expect(verdict).toEqual({ kind: "recover", revision: 7n, head: lost });
  });

  test("§10: what the record shows as given up is passed over", () => {
    const orphan = ref(0n, 3n, "orphan");
    expect(judgeLoss(found({}), { ...situation, held: [orphan, first] })).toMatchObject({ head: first });
    expect(judgeLoss(found({}), { ...situation, held: [orphan] }).kind).toBe("wait");
  });

  test("a record of this incarnation, a termination and a registry that does not answer are not a loss", () => {
    expect(judgeLoss(found({ incarnation: "i1" }), situation).kind).toBe("not-lost");
    const gone = { payload: new Uint8Array(0), signature: new Uint8Array(0) };
    expect(judgeLoss(found({ terminated: gone }), situation).kind).toBe("not-lost");
    expect(judgeLoss({ kind: "unreachable", cause: undefined }, situation).kind).toBe("not-lost");
  });

  test("EI-11: a conflict that the store kept waits for an operator", () => {
    const conflict = { era: 0n, major: 1n, tick: 4n, known: "a", offered: "b" };
    expect(judgeLoss(found({ conflict }), situation).kind).toBe("wait");
  });
});
