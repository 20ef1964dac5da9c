import type { CheckpointRef, Term } from "@godwit/common/lease";
import { IllegalStep } from "@godwit/common/lease";
import type { Failure } from "@godwit/common/retry";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TargetFrame } from "./frames/frames.ts";
import {
  type OwnerAnswer,
  type SourceCommand,
  type SourceEvent,
  type SourceOutcome,
  type SourcePlan,
  type SourceState,
  startSource,
  stepSource,
} from "./source.ts";

const digest = (character: string) => character.repeat(64);
const plan: SourcePlan = {
  handoffId: "h1",
  agentId: digest("a"),
  targetHostId: "target",
  era: 0n,
  major: 4n,
  maxPricePerSecond: 100n,
};
const frozen: CheckpointRef = { era: 0n, major: 4n, tick: 17n, digest: digest("c") };
const busy: Failure = { class: "retriable", fault: { code: "TARGET_BUSY", hostId: "target" } };
const missing: Failure = { class: "fatal-target", fault: { code: "CAPABILITY_MISSING", missing: ["net"] } };

const accept: TargetFrame = {
  kind: "accept",
  handoffId: "h1",
  needModule: true,
  pricePerSecond: 100n,
  spineKnown: undefined,
};
const prepared: TargetFrame = { kind: "prepared", handoffId: "h1" };
const started: TargetFrame & { kind: "started" } = {
  kind: "started",
  handoffId: "h1",
  agentId: plan.agentId,
  checkpointDigest: frozen.digest,
  era: 0n,
  major: 5n,
};
const refused = (failure: Failure): TargetFrame => ({ kind: "refused", handoffId: "h1", failure });
const frame = (said: TargetFrame): SourceEvent => ({ kind: "frame", frame: said });

const applied: OwnerAnswer = { kind: "applied" };
const closed: SourceEvent = { kind: "stream-closed", reason: "reset" };

const toPrepared: readonly SourceEvent[] = [{ kind: "connected" }, frame(accept), frame(prepared)];
const toBegun: readonly SourceEvent[] = [...toPrepared, { kind: "frozen", checkpoint: frozen }];
const toRelinquishing: readonly SourceEvent[] = [...toBegun, { kind: "begin-answered", answer: applied }];
const toHandedOff: readonly SourceEvent[] = [...toRelinquishing, { kind: "journaled" }];

interface Run {
  readonly state: SourceState;
  readonly kinds: readonly SourceCommand["kind"][];
  /** Whose frame has had a deadline set for it. */
  readonly awaited: readonly string[];
  readonly outcome: SourceOutcome | undefined;
}

function run(events: readonly SourceEvent[], on: SourcePlan = plan): Run {
  let { state, commands } = startSource(on);
  const all = [...commands];
  for (const event of events) {
    ({ state, commands } = stepSource(state, event));
    all.push(...commands);
  }
  const outcome = state.phase.kind === "ended" ? state.phase.outcome : undefined;
  const awaited = all.flatMap((command) => (command.kind === "await" ? [command.awaited] : []));
  return { state, kinds: all.map(({ kind }) => kind), awaited, outcome };
}

describe("source of a handoff", () => {
  test("§6: everything that can refuse comes before the freeze, and after it one call, one note, one message", () => {
    const { kinds, outcome } = run([...toHandedOff, frame(started), { kind: "retired" }]);
    expect(kinds.filter((kind) => kind !== "await")).toEqual([
      "connect",
      "send-offer",
      "send-module",
      "send-spine",
      "freeze",
      "begin",
      "send-checkpoint",
      "write-relinquished",
      "send-handoff",
      "close-stream",
      "retire",
      "end",
    ]);
    expect(outcome).toEqual({ kind: "moved", hostId: "target", era: 0n, major: 5n, by: "started" });
  });

  test("GH-8: ACCEPT, PREPARED and STARTED are waited for with a deadline, which is set before anything is sent", () => {
    const { awaited, kinds } = run(toHandedOff);
    expect(awaited).toEqual(["accept", "prepared", "started"]);
    for (const sent of ["send-offer", "send-module", "send-handoff"] as const) {
      expect(kinds[kinds.indexOf(sent) - 1], sent).toBe("await");
    }
  });

  test("a target that has the module is not sent it again", () => {
    expect(run([{ kind: "connected" }, frame({ ...accept, needModule: false })]).kinds).not.toContain("send-module");
  });

  test("GH-7: what the offer is answered with decides about the price", () => {
    const { outcome, kinds } = run([{ kind: "connected" }, frame({ ...accept, pricePerSecond: 101n })]);
    expect(outcome).toMatchObject({
      failure: { class: "fatal-target", fault: { code: "PRICE_TOO_HIGH", price: 101n } },
    });
    expect(kinds).not.toContain("freeze");
    const free = { ...plan, maxPricePerSecond: undefined };
    expect(run([{ kind: "connected" }, frame({ ...accept, pricePerSecond: 10n ** 9n })], free).outcome).toBeUndefined();
  });

  describe("GH-1: before relinquished is written, a failure is undone", () => {
    test("before begin_handoff: thawed, and the registry was told nothing", () => {
      const { kinds, outcome } = run([...toPrepared, closed, { kind: "frozen", checkpoint: frozen }]);
      expect(kinds).not.toContain("begin");
      expect(kinds.slice(-2)).toEqual(["thaw", "end"]);
      expect(outcome).toMatchObject({ kind: "failed", recovered: undefined, failure: { class: "retriable" } });
    });

    test.each<[string, OwnerAnswer]>([
      ["done, but the stream is gone", applied],
      ["not answered", { kind: "unknown" }],
    ])("begin_handoff %s: reverted, and thawed only then", (_, answer) => {
      const events: SourceEvent[] = [...toBegun, closed, { kind: "begin-answered", answer }];
      expect(run(events).kinds).toContain("revert");
      expect(run(events).kinds).not.toContain("thaw");
      const { kinds, outcome } = run([...events, { kind: "revert-answered", answer: applied }]);
      expect(kinds.slice(-2)).toEqual(["thaw", "end"]);
      expect(outcome).toMatchObject({ failure: { class: "retriable", fault: { code: "PEER_UNREACHABLE" } } });
    });

    test("EI-6: a journal whose write failed may hold the note: it counts as relinquished, and the token is not sent", () => {
      const full: SourceEvent = {
        kind: "journal-failed",
        fault: { code: "DISK_FAILED", path: "journal", reason: "no space" },
      };
      const { kinds } = run([...toRelinquishing, full]);
      expect(kinds).not.toContain("send-handoff");
      expect(kinds).not.toContain("revert");
      expect(kinds.at(-1)).toBe("resolve");
    });

    test.each<[string, OwnerAnswer]>([
      ["refused", { kind: "refused", code: "SESSION_VOID" }],
      ["unanswered", { kind: "unknown" }],
    ])("GH-3: a revert that was %s leaves a doubt, which only the registry settles", (_, answer) => {
      const events: SourceEvent[] = [
        ...toBegun,
        { kind: "begin-answered", answer: { kind: "unknown" } },
        { kind: "revert-answered", answer },
      ];
      expect(run(events).kinds.at(-1)).toBe("resolve");
      expect(run(events).kinds).not.toContain("thaw");
    });
  });

  test("GH-2: a begin_handoff that is refused stops the migration; a registry that is busy with itself only delays it", () => {
    const answered = (answer: OwnerAnswer) => run([...toBegun, { kind: "begin-answered", answer }]).outcome;
    const notOwner: OwnerAnswer = { kind: "refused", code: "NOT_OWNER" };
    expect(answered(notOwner)).toMatchObject({ by: "source", failure: { class: "fatal-migration" } });
    const quarantine: OwnerAnswer = { kind: "refused", code: "QUARANTINE" };
    expect(answered(quarantine)).toMatchObject({ by: "source", failure: { class: "retriable" } });
  });

  test("a handoff that an earlier attempt left open is reverted", () => {
    const answer: OwnerAnswer = { kind: "refused", code: "HANDOFF_IN_PROGRESS" };
    expect(run([...toBegun, { kind: "begin-answered", answer }]).kinds.at(-1)).toBe("revert");
  });

  test("an agent that was recovered while the target was prepared is not handed over with the old spine", () => {
    const { kinds, outcome } = run([...toPrepared, { kind: "frozen", checkpoint: { ...frozen, major: 5n } }]);
    expect(kinds).not.toContain("begin");
    expect(outcome).toMatchObject({ by: "source", failure: { class: "retriable" } });
  });

  describe("GH-2: after the first byte of HANDOFF", () => {
    test.each<[string, SourceEvent]>([
      ["a lost stream", closed],
      ["no STARTED in time", { kind: "deadline", awaited: "started", afterMs: 10_000 }],
      ["a frame that cannot be read", { kind: "frame-invalid", reason: "cut short" }],
      ["a frame that does not fit", frame(prepared)],
      ["STARTED of another handoff (GH-8)", frame({ ...started, handoffId: "h0" })],
      ["STARTED of another agent (GH-8)", frame({ ...started, agentId: digest("b") })],
      ["STARTED of another checkpoint (GH-8)", frame({ ...started, checkpointDigest: digest("d") })],
      ["STARTED of the same major (GH-8)", frame({ ...started, major: 4n })],
      ["STARTED of a later major (GH-8)", frame({ ...started, major: 6n })],
      ["STARTED of another era (GH-8)", frame({ ...started, era: 1n })],
    ])("%s is ambiguous: the registry is asked, nothing ticks", (_, event) => {
      const { kinds } = run([...toHandedOff, event]);
      expect(kinds.at(-1)).toBe("resolve");
      expect(kinds).not.toContain("thaw");
      expect(kinds).not.toContain("revert");
      const resolution: SourceEvent = { kind: "resolved", resolution: { kind: "recovered", era: 0n, major: 5n } };
      const settled = run([...toHandedOff, event, resolution]);
      expect(settled.outcome).toMatchObject({
        kind: "failed",
        recovered: { era: 0n, major: 5n },
        failure: { class: "ambiguous" },
      });
      expect(settled.kinds.slice(-2)).toEqual(["thaw", "end"]);
    });

    test("REFUSED is not ambiguous, and the way back is recover all the same", () => {
      const { kinds } = run([...toHandedOff, frame(refused(missing))]);
      expect(kinds.at(-1)).toBe("resolve");
      expect(kinds).not.toContain("revert");
      const resolution: SourceEvent = { kind: "resolved", resolution: { kind: "recovered", era: 0n, major: 5n } };
      const { outcome } = run([...toHandedOff, frame(refused(missing)), resolution]);
      expect(outcome).toMatchObject({ failure: missing, recovered: { major: 5n } });
    });

    test("GH-3: the target owns it: the migration succeeded, and the copy here is retired", () => {
      const resolution: SourceEvent = {
        kind: "resolved",
        resolution: { kind: "moved", hostId: "target", era: 0n, major: 5n },
      };
      const { kinds, outcome } = run([...toHandedOff, closed, resolution, { kind: "retired" }]);
      expect(kinds).toContain("retire");
      expect(outcome).toMatchObject({ kind: "moved", by: "resolved" });
    });

    test("a caller who gives up is not heard any more", () => {
      const { state } = run([...toHandedOff, { kind: "cancelled" }]);
      expect(state.phase.kind).toBe("handing-off");
    });
  });

  test("a token that was signed and cannot be sent any more is settled by the registry, not reverted", () => {
    const { kinds } = run([...toRelinquishing, closed, { kind: "journaled" }]);
    expect(kinds).not.toContain("send-handoff");
    expect(kinds.at(-1)).toBe("resolve");
  });

  test("a target's word that the migration is over for good counts for that target only", () => {
    const over: Failure = { class: "fatal-migration", fault: { code: "MIGRATION_DISABLED", agentId: plan.agentId } };
    const { outcome } = run([{ kind: "connected" }, frame(refused(over))]);
    expect(outcome).toMatchObject({ failure: { class: "fatal-target", fault: { code: "MIGRATION_DISABLED" } } });
  });

  test("a deadline that was over before it was heard changes nothing", () => {
    const stale: SourceEvent = { kind: "deadline", awaited: "accept", afterMs: 1 };
    expect(run([...toPrepared, stale]).state).toEqual(run(toPrepared).state);
  });

  test("an answer that nothing asked for is a bug of the driver", () => {
    expect(() => run([{ kind: "journaled" }])).toThrow(IllegalStep);
    expect(() => run([...toHandedOff, { kind: "begin-answered", answer: applied }])).toThrow(IllegalStep);
    expect(() => run([...toPrepared, { kind: "revert-answered", answer: applied }])).toThrow(IllegalStep);
    expect(() => run([{ kind: "cancelled" }, { kind: "connected" }])).toThrow(IllegalStep);
  });
});

// Random walks: whatever is outstanding is answered in any way, and peer, time and caller do what they like in between.

const recovered: Term = { era: 0n, major: 5n };
const answers: Readonly<Partial<Record<SourceCommand["kind"], readonly SourceEvent[]>>> = {
  connect: [{ kind: "connected" }, { kind: "connection-failed", failure: busy, by: "target" }],
  freeze: [
    { kind: "frozen", checkpoint: frozen },
    { kind: "frozen", checkpoint: { ...frozen, major: 5n } },
    { kind: "freeze-failed", failure: busy },
  ],
  begin: [
    { kind: "begin-answered", answer: applied },
    { kind: "begin-answered", answer: { kind: "unknown" } },
    { kind: "begin-answered", answer: { kind: "refused", code: "NOT_OWNER" } },
    { kind: "begin-answered", answer: { kind: "refused", code: "HANDOFF_IN_PROGRESS" } },
  ],
  "write-relinquished": [
    { kind: "journaled" },
    { kind: "journal-failed", fault: { code: "DISK_FAILED", path: "journal", reason: "no space" } },
  ],
  revert: [
    { kind: "revert-answered", answer: applied },
    { kind: "revert-answered", answer: { kind: "unknown" } },
  ],
  resolve: [
    { kind: "resolved", resolution: { kind: "recovered", ...recovered } },
    { kind: "resolved", resolution: { kind: "moved", hostId: "target", ...recovered } },
    { kind: "resolved", resolution: { kind: "moved", hostId: "other", ...recovered } },
    { kind: "resolved", resolution: { kind: "gone" } },
    { kind: "resolved", resolution: { kind: "unresolved" } },
  ],
  retire: [{ kind: "retired" }],
};
const outside: readonly SourceEvent[] = [
  frame(accept),
  frame({ ...accept, pricePerSecond: 101n }),
  frame(prepared),
  frame(started),
  frame({ ...started, major: 6n }),
  frame({ ...prepared, handoffId: "h0" }),
  frame(refused(busy)),
  frame(refused(missing)),
  { kind: "frame-invalid", reason: "cut short" },
  closed,
  { kind: "deadline", awaited: "accept", afterMs: 1 },
  { kind: "deadline", awaited: "prepared", afterMs: 1 },
  { kind: "deadline", awaited: "started", afterMs: 1 },
  { kind: "cancelled" },
  { kind: "unable", fault: { code: "DISK_FAILED", path: "module", reason: "no such file" } },
];
/** What the peer says when it means well, by the phase that waits for it. */
const helpful: Readonly<Record<string, SourceEvent>> = {
  offered: frame(accept),
  preparing: frame(prepared),
  "handing-off": frame(started),
};

interface Walk {
  readonly trace: readonly (SourceEvent | SourceCommand)[];
  readonly state: SourceState;
}

function walk(choices: readonly number[]): Walk {
  let { state, commands } = startSource(plan);
  const trace: (SourceEvent | SourceCommand)[] = [...commands];
  let outstanding = commands.find((command) => answers[command.kind] !== undefined);
  const take = (event: SourceEvent, answered: boolean) => {
    if (answered) outstanding = undefined;
    ({ state, commands } = stepSource(state, event));
    trace.push(event, ...commands);
    outstanding = commands.find((command) => answers[command.kind] !== undefined) ?? outstanding;
    if (state.phase.kind === "ended") outstanding = undefined;
  };
  for (const choice of choices) {
    const own = outstanding === undefined ? [] : (answers[outstanding.kind] ?? []);
    const leads = helpful[state.phase.kind];
    // Mostly what leads on, or else no walk would come far.
    const leading = [...own, ...(leads === undefined ? [] : [leads])];
    const options = choice % 8 !== 0 && leading.length > 0 ? leading : [...own, ...outside];
    const event = options[Math.floor(choice / 8) % options.length];
    if (event !== undefined) take(event, own.includes(event));
  }
  // Faults stop: everything outstanding is answered, deadlines pass.
  for (let round = 0; round < 20 && state.phase.kind !== "ended"; round++) {
    const own = outstanding === undefined ? undefined : answers[outstanding.kind]?.[0];
    if (own !== undefined) take(own, true);
    else for (const event of outside.filter((timeout) => timeout.kind === "deadline")) take(event, false);
  }
  return { trace, state };
}

const walks = fc.array(fc.nat(10_000), { maxLength: 40, size: "max" });

function check(property: (walk: Walk) => void): void {
  fc.assert(
    fc.property(walks, (choices) => property(walk(choices))),
    { numRuns: 3_000 },
  );
}

const at = ({ trace }: Walk, wanted: (SourceEvent | SourceCommand)["kind"]) =>
  trace.flatMap((entry, index) => (entry.kind === wanted ? [index] : []));

describe("source of a handoff, whatever happens", () => {
  test("GH-1: once the token may be journaled, thawed only after the registry let the agent be recovered", () => {
    check((seen) => {
      const [journaled] = at(seen, "write-relinquished");
      if (journaled === undefined) return;
      const isRecovery = (entry: SourceEvent | SourceCommand) =>
        entry.kind === "resolved" && entry.resolution.kind === "recovered";
      for (const thaw of at(seen, "thaw")) {
        expect(seen.trace.slice(journaled, thaw).some(isRecovery)).toBe(true);
      }
    });
  });

  test("GH-1: never reverted once the token may be journaled", () => {
    check((seen) => {
      const [journaled] = at(seen, "write-relinquished");
      if (journaled !== undefined) expect(at(seen, "revert").every((index) => index < journaled)).toBe(true);
    });
  });

  test("GH-1: a begin_handoff that may have happened is never followed by a thaw without an answered revert or recovery", () => {
    check((seen) => {
      for (const [index, entry] of seen.trace.entries()) {
        if (entry.kind !== "begin-answered" || entry.answer.kind === "refused") continue;
        const after = seen.trace.slice(index);
        const thaw = after.findIndex(({ kind: done }) => done === "thaw");
        if (thaw === -1) continue;
        const settled = after
          .slice(0, thaw)
          .some(
            (done) =>
              (done.kind === "revert-answered" && done.answer.kind === "applied") ||
              (done.kind === "resolved" && done.resolution.kind === "recovered"),
          );
        expect(settled).toBe(true);
      }
    });
  });

  test("§6: at most one freeze, one begin, one token and one handoff, in this order, and none before PREPARED", () => {
    check((seen) => {
      const order = (["prepared", "freeze", "begin", "write-relinquished", "journaled", "send-handoff"] as const).map(
        (wanted) =>
          wanted === "prepared"
            ? seen.trace.flatMap((entry, index) =>
                entry.kind === "frame" && entry.frame.kind === "prepared" && entry.frame.handoffId === "h1"
                  ? [index]
                  : [],
              )
            : at(seen, wanted),
      );
      for (const [index, found] of order.entries()) {
        if (index === 0) continue;
        expect(found.length).toBeLessThanOrEqual(1);
        const before = order[index - 1]?.[0];
        if (found[0] !== undefined) expect(before).toBeLessThan(found[0]);
      }
    });
  });

  test("§6: a copy of the checkpoint leaves only once it is committed, and it makes nothing ambiguous", () => {
    check((seen) => {
      const [copied] = at(seen, "send-checkpoint");
      if (copied === undefined) return;
      expect(at(seen, "frozen")[0]).toBeLessThan(copied);
      const [sent] = at(seen, "send-handoff");
      if (sent !== undefined) expect(copied).toBeLessThan(sent);
      const [ended] = at(seen, "end");
      const last = ended === undefined ? undefined : seen.trace[ended];
      if (sent !== undefined || last?.kind !== "end" || !("failure" in last.outcome)) return;
      expect(last.outcome.failure.class).not.toBe("ambiguous");
    });
  });

  test("FS-2: an attempt never ends between the handoff and the registry's word, but with a STARTED that fits", () => {
    check((seen) => {
      const [sent] = at(seen, "send-handoff");
      const [ended] = at(seen, "end");
      if (sent === undefined || ended === undefined) return;
      const settled = seen.trace
        .slice(sent, ended)
        .some((entry) => entry.kind === "resolved" || (entry.kind === "frame" && entry.frame === started));
      expect(settled).toBe(true);
    });
  });

  test("§7: every attempt ends once faults stop, says so once, and leaves no agent frozen", () => {
    let moved = 0;
    let failed = 0;
    check((seen) => {
      expect(seen.state.phase.kind).toBe("ended");
      expect(at(seen, "end").length).toBe(1);
      expect(seen.trace.findLast((entry) => "outcome" in entry)?.kind).toBe("end");
      const { phase } = seen.state;
      if (phase.kind !== "ended") return;
      if (phase.outcome.kind === "moved") moved++;
      if (phase.outcome.kind === "failed") {
        failed++;
        expect(at(seen, "thaw").length).toBe(at(seen, "freeze").length);
      }
    });
    expect(Math.min(moved, failed)).toBeGreaterThan(10);
  });
});
