import { IllegalStep } from "@godwit/common/lease";
import type { Failure } from "@godwit/common/retry";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type SourceWord,
  startTarget,
  stepTarget,
  type TargetCommand,
  type TargetEvent,
  type TargetOutcome,
  type TargetState,
} from "./target.ts";

const agentId = "a".repeat(64);
const price: Failure = { class: "fatal-target", fault: { code: "PRICE_TOO_HIGH", price: 2n, limit: 1n } };
const frame = (said: SourceWord): TargetEvent => ({ kind: "frame", frame: said });

const offer: SourceWord = { kind: "offer", handoffId: "h1", agentId };
const checkpoint: SourceWord = { kind: "checkpoint", handoffId: "h1" };
const handoff: SourceWord = { kind: "handoff", handoffId: "h1" };
const closed: TargetEvent = { kind: "stream-closed", reason: "reset" };
const granted: TargetEvent = { kind: "claim-answered", answer: { kind: "granted" } };
const unknown: TargetEvent = { kind: "claim-answered", answer: { kind: "unknown" } };
const standing = (is: "ours" | "open" | "dead" | "for-recovery"): TargetEvent => ({
  kind: "claim-answered",
  answer: { kind: "refused", standing: is },
});

const toPrepared: readonly TargetEvent[] = [
  frame(offer),
  { kind: "admitted", needModule: true },
  frame({ kind: "module", complete: false }),
  frame({ kind: "module", complete: true }),
  frame({ kind: "spine", last: true }),
  { kind: "prepared" },
];
const toStaging: readonly TargetEvent[] = [
  ...toPrepared,
  frame(checkpoint),
  frame({ kind: "state" }),
  frame(handoff),
  frame({ kind: "handoff-end" }),
];
const toClaiming: readonly TargetEvent[] = [...toStaging, { kind: "staged" }];

function run(events: readonly TargetEvent[]) {
  let { state, commands } = startTarget();
  const all: TargetCommand[] = [...commands];
  for (const event of events) {
    ({ state, commands } = stepTarget(state, event));
    all.push(...commands);
  }
  const outcome: TargetOutcome | undefined = state.phase.kind === "ended" ? state.phase.outcome : undefined;
  const awaited = all.flatMap((command) => (command.kind === "await" ? [command.awaited] : []));
  return { state, outcome, awaited, kinds: all.map((command) => command.kind) };
}

describe("target of a handoff", () => {
  test("§6: verifies and prepares before PREPARED, stages before it claims, starts when the claim was granted", () => {
    const { kinds, outcome } = run([...toClaiming, granted, { kind: "started" }]);
    expect(kinds.filter((kind) => kind !== "await")).toEqual([
      "admit",
      "send-accept",
      "prepare",
      "send-prepared",
      "stage",
      "claim",
      "start",
      "send-started",
      "close-stream",
      "end",
    ]);
    expect(outcome).toEqual({ kind: "started" });
  });

  test("a target that has the module waits for the spine at once", () => {
    expect(run([frame(offer), { kind: "admitted", needModule: false }]).state.phase.kind).toBe("receiving-spine");
  });

  test("GH-2: a refusal is told with the class and the fault with which it was born", () => {
    const { kinds, outcome } = run([frame(offer), { kind: "refused", failure: price }]);
    expect(kinds.slice(-3)).toEqual(["send-refused", "close-stream", "end"]);
    expect(outcome).toEqual({ kind: "refused", failure: price });
  });

  test.each<[string, readonly TargetEvent[], SourceWord]>([
    ["something before the offer", [], handoff],
    ["a second offer", [frame(offer)], offer],
    [
      "a module that was not asked for",
      [frame(offer), { kind: "admitted", needModule: false }],
      { kind: "module", complete: true },
    ],
    [
      "a spine before the module",
      [frame(offer), { kind: "admitted", needModule: true }],
      { kind: "spine", last: true },
    ],
    ["a handoff before PREPARED", toPrepared.slice(0, -1), handoff],
    ["a state before the checkpoint", toPrepared, { kind: "state" }],
    ["a token before the checkpoint", toPrepared, handoff],
    ["the checkpoint of another handoff", toPrepared, { kind: "checkpoint", handoffId: "h2" }],
    ["a second checkpoint", [...toPrepared, frame(checkpoint)], checkpoint],
    ["the token of another handoff", [...toPrepared, frame(checkpoint)], { kind: "handoff", handoffId: "h2" }],
    ["the end before the token", [...toPrepared, frame(checkpoint)], { kind: "handoff-end" }],
    ["a second token", [...toPrepared, frame(checkpoint), frame(handoff)], handoff],
    ["a state after the token", [...toPrepared, frame(checkpoint), frame(handoff)], { kind: "state" }],
  ])("a frame out of order is refused and ends it: %s", (_, events, said) => {
    const { outcome, kinds } = run([...events, frame(said)]);
    expect(outcome).toMatchObject({ kind: "refused", failure: { fault: { code: "FRAME_INVALID" } } });
    expect(kinds).toContain("send-refused");
    expect(kinds).not.toContain("stage");
  });

  test("GH-8: every wait for the source has its deadline, and only its own", () => {
    expect(run(toStaging).awaited).toEqual(["offer", "module", "spine", "checkpoint", "handoff"]);
    const late = (awaited: "offer" | "module" | "spine" | "checkpoint" | "handoff"): TargetEvent => ({
      kind: "deadline",
      awaited,
      afterMs: 9,
    });
    for (const [events, awaited] of [
      [[], "offer"],
      [toPrepared.slice(0, 2), "module"],
      [toPrepared.slice(0, 4), "spine"],
      [toPrepared, "checkpoint"],
      [[...toPrepared, frame(checkpoint)], "handoff"],
      [[...toPrepared, frame(checkpoint), frame(handoff)], "handoff"],
    ] as const) {
      expect(run([...events, late(awaited)]).outcome).toMatchObject({
        failure: { fault: { code: "DEADLINE_EXCEEDED" } },
      });
    }
    expect(run([...toPrepared, late("spine")]).outcome).toBeUndefined();
    expect(run([...toClaiming, late("handoff")]).outcome).toBeUndefined();
  });

  describe("before the claim a lost stream undoes everything", () => {
    test("nothing was staged yet: nothing to take back", () => {
      const { outcome, kinds } = run([...toPrepared, closed]);
      expect(outcome?.kind).toBe("refused");
      expect(kinds).not.toContain("drop");
      expect(kinds).not.toContain("send-refused");
    });

    test("while it is being staged: dropped once it is there, and never claimed", () => {
      const { outcome, kinds } = run([...toStaging, closed, { kind: "staged" }, { kind: "dropped" }]);
      expect(kinds).toContain("drop");
      expect(kinds).not.toContain("claim");
      expect(outcome?.kind).toBe("refused");
    });

    test("a handoff that does not verify is refused without a claim", () => {
      const forged: Failure = { class: "fatal-target", fault: { code: "TOKEN_INVALID", reason: "another's" } };
      const { outcome, kinds } = run([...toStaging, { kind: "refused", failure: forged }]);
      expect(kinds).not.toContain("claim");
      expect(outcome).toEqual({ kind: "refused", failure: forged });
    });
  });

  describe("GH-4: once a claim was sent", () => {
    test("an answer that was lost is asked for again", () => {
      const { kinds, state } = run([...toClaiming, unknown, unknown]);
      expect(kinds.filter((kind) => kind === "claim").length).toBe(3);
      expect(state.phase).toEqual({ kind: "claiming", attempt: 3, streamLost: false });
    });

    test("a claim that turns out to be done is taken up as done", () => {
      expect(run([...toClaiming, unknown, standing("ours")]).kinds.at(-1)).toBe("start");
    });

    test("a lost stream and stray frames change nothing", () => {
      const { outcome, kinds } = run([...toClaiming, closed, frame(offer), granted, { kind: "started" }]);
      expect(outcome?.kind).toBe("started");
      expect(kinds).not.toContain("send-started");
    });

    test("only a dead handoff is refused, after what was staged became a replica", () => {
      const { outcome, kinds } = run([...toClaiming, standing("open"), standing("dead"), { kind: "abandoned" }]);
      expect(kinds.slice(-4)).toEqual(["abandon", "send-refused", "close-stream", "end"]);
      expect(kinds).not.toContain("drop");
      expect(outcome).toEqual({ kind: "superseded" });
    });

    test("GH-5: a host that stops leaves it to its journal", () => {
      const { outcome, kinds } = run([...toClaiming, { kind: "stopping" }]);
      expect(outcome).toEqual({ kind: "left-to-recovery" });
      expect(kinds).not.toContain("send-refused");
      expect(kinds).not.toContain("drop");
    });

    test("an earlier session of this host may own it: left to GA-5", () => {
      expect(run([...toClaiming, standing("for-recovery")]).outcome).toEqual({ kind: "left-to-recovery" });
    });

    test("FS-1: an agent that does not start here stays this host's all the same", () => {
      const fault = { code: "MODULE_INVALID", reason: "it traps" } as const;
      const { outcome, kinds } = run([...toClaiming, granted, { kind: "start-failed", fault }]);
      expect(outcome).toEqual({ kind: "owned-not-started", fault });
      expect(kinds).not.toContain("send-refused");
    });
  });

  test("an answer that nothing asked for is a bug of the driver", () => {
    expect(() => run([granted])).toThrow(IllegalStep);
    expect(() => run([...toPrepared, { kind: "staged" }])).toThrow(IllegalStep);
    expect(() => run([...toClaiming, { kind: "refused", failure: price }])).toThrow(IllegalStep);
  });
});

const answers: Readonly<Partial<Record<TargetCommand["kind"], readonly TargetEvent[]>>> = {
  admit: [
    { kind: "admitted", needModule: true },
    { kind: "admitted", needModule: false },
    { kind: "refused", failure: price },
  ],
  prepare: [{ kind: "prepared" }, { kind: "refused", failure: price }],
  stage: [{ kind: "staged" }, { kind: "refused", failure: price }],
  drop: [{ kind: "dropped" }],
  claim: [granted, unknown, standing("ours"), standing("open"), standing("dead"), standing("for-recovery")],
  abandon: [{ kind: "abandoned" }],
  start: [{ kind: "started" }, { kind: "start-failed", fault: { code: "MODULE_INVALID", reason: "it traps" } }],
};
const outside: readonly TargetEvent[] = [
  frame(offer),
  frame({ kind: "module", complete: false }),
  frame({ kind: "module", complete: true }),
  frame({ kind: "spine", last: false }),
  frame({ kind: "spine", last: true }),
  frame(checkpoint),
  frame({ kind: "checkpoint", handoffId: "h2" }),
  frame(handoff),
  frame({ kind: "handoff", handoffId: "h2" }),
  frame({ kind: "state" }),
  frame({ kind: "handoff-end" }),
  { kind: "frame-invalid", reason: "cut short" },
  closed,
  ...(["offer", "module", "spine", "checkpoint", "handoff"] as const).map(
    (awaited): TargetEvent => ({ kind: "deadline", awaited, afterMs: 1 }),
  ),
  { kind: "stopping" },
];
const helpful: Readonly<Record<string, TargetEvent>> = {
  "expecting-offer": frame(offer),
  "receiving-module": frame({ kind: "module", complete: true }),
  "receiving-spine": frame({ kind: "spine", last: true }),
  prepared: frame(checkpoint),
  "receiving-state": frame(handoff),
  "receiving-end": frame({ kind: "handoff-end" }),
};

interface Walk {
  readonly trace: readonly (TargetEvent | TargetCommand)[];
  readonly state: TargetState;
}

function walk(choices: readonly number[]): Walk {
  let { state, commands } = startTarget();
  const trace: (TargetEvent | TargetCommand)[] = [...commands];
  let outstanding: TargetCommand | undefined;
  const take = (event: TargetEvent, answered: boolean) => {
    if (answered) outstanding = undefined;
    ({ state, commands } = stepTarget(state, event));
    trace.push(event, ...commands);
    outstanding = commands.find((command) => answers[command.kind] !== undefined) ?? outstanding;
    if (state.phase.kind === "ended") outstanding = undefined;
  };
  for (const choice of choices) {
    const own = outstanding === undefined ? [] : (answers[outstanding.kind] ?? []);
    const leads = helpful[state.phase.kind];
    const leading = [...own, ...(leads === undefined ? [] : [leads])];
    const options = choice % 4 !== 0 && leading.length > 0 ? leading : [...own, ...outside];
    const event = options[Math.floor(choice / 4) % options.length];
    if (event !== undefined) take(event, own.includes(event));
  }
  for (let round = 0; round < 20 && state.phase.kind !== "ended"; round++) {
    const own = outstanding === undefined ? undefined : answers[outstanding.kind]?.[0];
    if (own !== undefined) take(own, true);
    else for (const event of outside.filter((timeout) => timeout.kind === "deadline")) take(event, false);
  }
  return { trace, state };
}

function check(property: (walk: Walk) => void): void {
  fc.assert(
    fc.property(fc.array(fc.nat(10_000), { maxLength: 40, size: "max" }), (choices) => property(walk(choices))),
    { numRuns: 3_000 },
  );
}

const at = ({ trace }: Walk, wanted: (TargetEvent | TargetCommand)["kind"]) =>
  trace.flatMap((entry, index) => (entry.kind === wanted ? [index] : []));

const isGrant = (entry: TargetEvent | TargetCommand) =>
  entry.kind === "claim-answered" &&
  (entry.answer.kind === "granted" || (entry.answer.kind === "refused" && entry.answer.standing === "ours"));
const isDeath = (entry: TargetEvent | TargetCommand) =>
  entry.kind === "claim-answered" && entry.answer.kind === "refused" && entry.answer.standing === "dead";

describe("target of a handoff, whatever happens", () => {
  test("GH-4: never started before the claim was granted, and STARTED only after the start", () => {
    check((seen) => {
      for (const start of at(seen, "start")) expect(seen.trace.slice(0, start).some(isGrant)).toBe(true);
      for (const told of at(seen, "send-started")) {
        expect(seen.trace.slice(0, told).some(({ kind }) => kind === "started")).toBe(true);
      }
    });
  });

  test("GH-4: never claimed before it was staged, and never once the source was told REFUSED", () => {
    check((seen) => {
      for (const claim of at(seen, "claim")) {
        const before = seen.trace.slice(0, claim);
        expect(before.some(({ kind }) => kind === "staged")).toBe(true);
        expect(before.some(({ kind }) => kind === "send-refused")).toBe(false);
      }
    });
  });

  test("GH-4: once a claim was sent, neither REFUSED nor anything given away before the handoff is dead, and nothing dropped ever", () => {
    check((seen) => {
      const [claim] = at(seen, "claim");
      if (claim === undefined) return;
      for (const told of [...at(seen, "send-refused"), ...at(seen, "abandon")]) {
        expect(seen.trace.slice(claim, told).some(isDeath)).toBe(true);
      }
      expect(at(seen, "drop")).toEqual([]);
    });
  });

  test("FS-1: after the grant never REFUSED", () => {
    check((seen) => {
      const grant = seen.trace.findIndex(isGrant);
      if (grant !== -1) expect(at(seen, "send-refused")).toEqual([]);
    });
  });

  test("§7: every handoff ends once faults stop, says so once, and leaves nothing staged without an owner", () => {
    const ends = new Map<string, number>();
    check((seen) => {
      expect(at(seen, "end").length).toBe(1);
      const { phase } = seen.state;
      if (phase.kind !== "ended") throw new Error(`still ${phase.kind}`);
      ends.set(phase.outcome.kind, (ends.get(phase.outcome.kind) ?? 0) + 1);
      if (phase.outcome.kind === "refused" && at(seen, "staged").length > 0) {
        expect(at(seen, "dropped").length).toBe(1);
      }
    });
    expect([...ends.keys()].toSorted()).toEqual([
      "left-to-recovery",
      "owned-not-started",
      "refused",
      "started",
      "superseded",
    ]);
  });
});
