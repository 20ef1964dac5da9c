// Random schedules of commands by several sessions against one record: delayed, repeated, overtaken, with sessions that
// become void, wrong tokens and checkpoints of every kind. What §4 promises must hold after every step.

import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type AuthorityRecord,
  type CheckpointRef,
  type Command,
  compareTerms,
  decide,
  type Facts,
  type RecoveryPolicy,
  type SessionId,
  sameCheckpoint,
  sameSession,
  standing,
} from "./index.ts";

const agentId = "a".repeat(64);
const sessions: readonly SessionId[] = [
  { hostId: "a", bootId: "1" },
  { hostId: "b", bootId: "1" },
  { hostId: "c", bootId: "1" },
  { hostId: "a", bootId: "2" },
];
const kinds = [
  "acquire",
  "report_head",
  "begin_handoff",
  "revert_handoff",
  "claim",
  "recover",
  "declare_recovery",
  "release",
  "terminate",
] as const;

/** A step of a schedule. `pick` chooses among what there is: a checkpoint, a revision seen earlier, a command sent earlier. */
interface Step {
  readonly what: "send" | "deliver-again" | "void" | "announce";
  readonly kind: (typeof kinds)[number];
  readonly session: number;
  readonly pick: number;
  /** Decides on what is known now, instead of on something that was seen earlier. */
  readonly fresh: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.oneof(
    { weight: 12, arbitrary: fc.constant("send" as const) },
    { weight: 3, arbitrary: fc.constant("deliver-again" as const) },
    { weight: 1, arbitrary: fc.constant("void" as const) },
    { weight: 2, arbitrary: fc.constant("announce" as const) },
  ),
  kind: fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom("acquire" as const, "terminate" as const) },
    { weight: 8, arbitrary: fc.constantFrom(...kinds.slice(1, -1)) },
  ),
  session: fc.nat({ max: sessions.length - 1 }),
  pick: fc.nat({ max: 1_000 }),
  fresh: fc.boolean(),
});

/** A world around one record: what was sent, seen and written. */
class World {
  record: AuthorityRecord | undefined;
  readonly seen: AuthorityRecord[] = [];
  readonly sent: Command[] = [];
  readonly dead = new Set<SessionId>();
  readonly announced = new Map<SessionId, CheckpointRef>();
  readonly checkpoints: CheckpointRef[] = [{ era: 0n, major: 0n, tick: 0n, digest: "genesis" }];
  readonly policy: RecoveryPolicy;

  constructor(policy: RecoveryPolicy) {
    this.policy = policy;
  }

  /** The record before and after, when it changed. */
  run({
    what,
    kind,
    session: at,
    pick,
    fresh,
  }: Step): readonly [AuthorityRecord | undefined, AuthorityRecord] | undefined {
    const session = sessions[at] as SessionId;
    if (what === "void") this.dead.add(session);
    if (what === "announce") this.announced.set(session, this.#checkpoint(pick));
    if (what === "void" || what === "announce") return undefined;

    const command = what === "send" ? this.#make(kind, { session, pick, fresh }) : this.sent[pick % this.sent.length];
    if (command === undefined) return undefined;
    this.sent.push(command);
    const before = this.record;
    const decision = decide(before, command, this.#facts(command));
    if (decision.kind === "repeated") expect(decision.record).toBe(before);
    const writes = decision.kind === "applied" || (decision.kind === "refused" && decision.write);
    if (!writes || decision.record === undefined) {
      if (decision.kind === "refused") expect(decision.record).toBe(before);
      return undefined;
    }
    const signed = { payload: new Uint8Array(), signature: new Uint8Array() };
    const sign = decision.kind === "applied" ? decision.sign : undefined;
    this.record = sign === "termination" ? { ...decision.record, terminated: signed } : decision.record;
    this.seen.push(this.record);
    return [before, this.record];
  }

  /** The checkpoints of the record's owner grow with it; some are forks, some never reported. */
  #checkpoint(pick: number): CheckpointRef {
    if (this.record !== undefined && pick % 3 !== 0) {
      const { era, major, head } = this.record;
      const tick = head.tick + BigInt(pick % 4);
      this.checkpoints.push({ era, major, tick, digest: pick % 41 === 1 ? `fork-${pick}` : `${major}.${tick}` });
    }
    return this.checkpoints.at(-1 - (pick % Math.min(7, this.checkpoints.length))) as CheckpointRef;
  }

  #make(
    kind: Command["kind"],
    { session, pick, fresh }: { session: SessionId; pick: number; fresh: boolean },
  ): Command {
    const known = fresh ? this.record : this.seen[pick % Math.max(1, this.seen.length)];
    const base = { id: `c${this.sent.length}`, incarnation: "i", agentId, caller: session };
    const onRevision = { ...base, revision: known?.revision ?? 0n };
    const term = { era: known?.era ?? 0n, major: known?.major ?? 0n };
    const head = fresh && pick % 2 === 0 ? (known?.unconfirmed ?? this.#checkpoint(pick)) : this.#checkpoint(pick);
    const owner = known?.owner ?? session;
    const byOwner = fresh ? { ...onRevision, caller: owner } : onRevision;
    switch (kind) {
      case "acquire":
        return {
          ...base,
          kind,
          genesis: { creatorHostId: "a", incarnation: "i", recoveryPolicy: this.policy, name: "" },
          head: this.checkpoints[0] as CheckpointRef,
        };
      case "report_head":
        return { ...base, caller: byOwner.caller, ...term, kind, head };
      case "begin_handoff":
        return { ...byOwner, kind, handoffId: `h${this.sent.length}`, targetHostId: session.hostId, head };
      case "revert_handoff":
        return { ...byOwner, kind };
      case "claim": {
        const targetHostId = known?.handoff?.targetHostId ?? session.hostId;
        const caller = fresh ? (sessions.find(({ hostId }) => hostId === targetHostId) ?? session) : session;
        const { digest: checkpointDigest, tick } = known?.head ?? head;
        const token = {
          agentId,
          ...term,
          handoffId: known?.handoff?.id ?? "none",
          targetHostId,
          checkpointDigest,
          tick,
        };
        return { ...base, caller, kind, token };
      }
      case "recover":
        return { ...onRevision, kind, head };
      case "declare_recovery":
        return { ...byOwner, kind, reason: "" };
      case "release":
        return { ...byOwner, kind, reason: pick % 2 ? "stopped" : "drained", head: pick % 3 ? head : undefined };
      case "terminate":
        return { ...byOwner, kind };
    }
  }

  #facts(command: Command): Facts {
    const owner = this.record?.owner;
    return {
      mark: { incarnation: "i", counter: 0n, quarantine: false },
      caller: this.#isDead(command.caller) ? "void" : "open",
      ownerVoid: owner === undefined || this.#isDead(owner),
      announced: [...this.announced].filter(([session]) => !this.dead.has(session)).map(([, ref]) => ref),
      genesisMatches: true,
      tokenSignedByOwner: this.sent.length % 5 !== 0,
    };
  }

  #isDead(session: SessionId): boolean {
    return [...this.dead].some((dead) => sameSession(dead, session));
  }
}

/** What one change may do; throws where it does more. */
function checkChange(before: AuthorityRecord | undefined, after: AuthorityRecord, command: Command): void {
  // The head is on the lineage, and so is the base that waits to be confirmed.
  expect(standing(after.bases, after.head, after.head), "EI-3: head on the lineage").toBe("on-lineage");
  if (after.unconfirmed !== undefined) {
    expect(standing(after.bases, after.head, after.unconfirmed), "EI-3: base on the lineage").toBe("on-lineage");
  }
  expect(after.bases.length).toBeLessThanOrEqual(64);
  const open = after.state === "HANDOFF_INITIATED";
  expect(after.handoff !== undefined, "a handoff is there while it is open").toBe(open);
  expect(after.reason !== undefined && after.state !== "RETIRED").toBe(false);
  if (before === undefined) {
    expect([command.kind, after.revision, after.major]).toEqual(["acquire", 1n, 0n]);
    return;
  }
  const newTerm = compareTerms(after, before);
  expect(newTerm, "I2: (era, major) never falls").toBeGreaterThanOrEqual(0);
  expect(after.revision >= before.revision, "the revision never falls").toBe(true);
  const onlyHead = after.revision === before.revision;
  if (onlyHead) expect({ ...after, head: before.head }).toEqual(before);
  else expect(after.revision).toBe(before.revision + 1n);
  if (!sameSession(after.owner, before.owner)) {
    expect(newTerm, "I1: another owner, another major").toBeGreaterThan(0);
    expect(["claim", "recover"]).toContain(command.kind);
  }
  if (newTerm > 0) expect(after.owner, "I1: the owner is who asked").toEqual(command.caller);
  if (before.conflict !== undefined) {
    expect(after.conflict, "EI-11: a conflict stays").toEqual(before.conflict);
    expect(after.state, "EI-11: nobody ticks in a conflict").not.toBe("ACTIVE_OWNER");
    expect(newTerm).toBe(0);
  }
  if (before.terminated !== undefined) {
    expect([command.kind, after.state, newTerm], "terminated is for good").toEqual(["terminate", "RETIRED", 0]);
  }
  if (before.unconfirmed !== undefined && after.unconfirmed === undefined && command.kind === "report_head") {
    expect(sameCheckpoint(after.head, before.unconfirmed)).toBe(true);
  }
  const wentBack =
    !sameCheckpoint(after.head, before.head) && standing(after.bases, after.head, before.head) === "orphan";
  if (wentBack) expect(before.unconfirmed, "only a confirmed recovery gives ticks up").toBeDefined();
}

test("I1, I2, EI-3, EI-11: whatever is sent, delayed, repeated or overtaken, each major has one owner, and what is final stays", () => {
  const happened = new Map<string, number>();
  fc.assert(
    fc.property(
      fc.constantFrom<RecoveryPolicy>("latest", "strict"),
      fc.array(step, { minLength: 10, maxLength: 80 }),
      (policy, steps) => {
        const world = new World(policy);
        const owners = new Map<string, SessionId | undefined>();
        for (const one of [{ what: "send", kind: "acquire", session: 0, pick: 0, fresh: true } as Step, ...steps]) {
          const change = world.run(one);
          if (change === undefined) continue;
          const [before, after] = change;
          const command = world.sent.at(-1) as Command;
          checkChange(before, after, command);
          const term = `${after.era}.${after.major}`;
          if (owners.has(term)) expect(after.owner, `I1: one owner of ${term}`).toEqual(owners.get(term));
          owners.set(term, after.owner);
          const name = after.conflict !== before?.conflict ? "conflict" : command.kind;
          happened.set(name, (happened.get(name) ?? 0) + 1);
        }
      },
    ),
    { numRuns: 1_500, seed: 20_301 },
  );
  // A schedule in which nothing happens proves nothing.
  for (const name of [...kinds, "conflict"]) expect(happened.get(name) ?? 0, name).toBeGreaterThan(20);
});

test("§4: a command that names a revision is done at most once, however often it is delivered", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const world = new World("latest");
      const doneBy = new Map<string, number>();
      const count = (one: Step) => {
        const change = world.run(one);
        const command = world.sent.at(-1);
        if (change === undefined || command === undefined || change[0]?.revision === change[1].revision) return;
        if (change[1].lastCommand === command.id) doneBy.set(command.id, (doneBy.get(command.id) ?? 0) + 1);
      };
      count({ what: "send", kind: "acquire", session: 0, pick: 0, fresh: true });
      for (const one of steps) count(one);
      const sent = world.sent.length;
      for (let pick = 0; pick < sent; pick++)
        count({ what: "deliver-again", kind: "acquire", session: 0, pick, fresh: false });
      for (const [id, times] of doneBy) expect(times, id).toBe(1);
    }),
    { numRuns: 300, seed: 20_302 },
  );
});
