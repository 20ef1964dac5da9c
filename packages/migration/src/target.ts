// One incoming handoff, as the target sees it: events in, commands out (protocol §6, §7).
//
// GH-4  Nothing but the staging area is written before `claim` was granted. A claim whose answer was lost is repeated. Once
//       one was sent, the answer is neither REFUSED nor is anything dropped, until the record shows the handoff dead and
//       the owner is no session of this host; then what was staged becomes a replica.
// GH-8  Every wait for the source has a deadline, up to its last frame. From the claim on only the registry is waited for.
// FS-1  A target that fails after its claim was granted keeps the agent: it never says REFUSED.
//
// Before the claim a lost stream undoes everything; after it the handoff goes on without the stream.

import type { FaultDetail } from "@godwit/common/fault";
import { IllegalStep } from "@godwit/common/lease";
import type { Failure } from "@godwit/common/retry";
import type { Standing } from "./standing.ts";
import type { Step } from "./step.ts";

export type TargetOutcome =
  | { readonly kind: "started" }
  /** The source was told, or could not be told, why not. Nothing is left of it here. */
  | { readonly kind: "refused"; readonly failure: Failure }
  /** It was claimed, and the record says that the handoff is dead; what was staged is a replica. */
  | { readonly kind: "superseded" }
  /** The agent is this host's and does not run: its supervisor goes on with it (FS-1). */
  | { readonly kind: "owned-not-started"; readonly fault: FaultDetail }
  /** A claim was sent and the host stops, or another session of it may own the agent: the journal and GA-5 settle it. */
  | { readonly kind: "left-to-recovery" };

export type TargetPhase =
  | { readonly kind: "expecting-offer" }
  | { readonly kind: "admitting" }
  | { readonly kind: "receiving-module" }
  | { readonly kind: "receiving-spine" }
  | { readonly kind: "preparing" }
  | { readonly kind: "prepared" }
  /** What it was frozen as is here or under way; the token is awaited. */
  | { readonly kind: "receiving-state" }
  /** The token came; the last word of the handoff is awaited. */
  | { readonly kind: "receiving-end" }
  | { readonly kind: "staging"; readonly abandoned: Failure | undefined }
  | { readonly kind: "dropping"; readonly failure: Failure }
  | { readonly kind: "claiming"; readonly attempt: number; readonly streamLost: boolean }
  | { readonly kind: "abandoning"; readonly streamLost: boolean }
  | { readonly kind: "starting"; readonly streamLost: boolean }
  | { readonly kind: "ended"; readonly outcome: TargetOutcome };

export interface TargetState {
  /** Empty until the offer came. */
  readonly handoffId: string;
  readonly agentId: string;
  readonly phase: TargetPhase;
}

export type AwaitedOfSource = "offer" | "module" | "spine" | "checkpoint" | "handoff";

/** A frame of the source, without what the machine does not need. */
export type SourceWord =
  | { readonly kind: "offer"; readonly handoffId: string; readonly agentId: string }
  /** `complete`: all bytes are there and have the digest of the offer. */
  | { readonly kind: "module"; readonly complete: boolean }
  /** Of what was recorded of its last ticks: ahead of the last of the spine, and once more ahead of the checkpoint. */
  | { readonly kind: "replay" }
  | { readonly kind: "spine"; readonly last: boolean }
  /** The frozen checkpoint: with its state it comes before the token that hands it over. */
  | { readonly kind: "checkpoint"; readonly handoffId: string }
  | { readonly kind: "state" }
  | { readonly kind: "handoff"; readonly handoffId: string }
  /** All bytes of the state are there. */
  | { readonly kind: "handoff-end" };

export type ClaimAnswer =
  | { readonly kind: "granted" }
  | { readonly kind: "refused"; readonly standing: Standing }
  | { readonly kind: "unknown" };

export type TargetEvent =
  // Answers to commands.
  | { readonly kind: "admitted"; readonly needModule: boolean }
  | { readonly kind: "prepared" }
  | { readonly kind: "staged" }
  /** To admit, prepare or stage. */
  | { readonly kind: "refused"; readonly failure: Failure }
  | { readonly kind: "dropped" }
  | { readonly kind: "claim-answered"; readonly answer: ClaimAnswer }
  | { readonly kind: "abandoned" }
  | { readonly kind: "started" }
  | { readonly kind: "start-failed"; readonly fault: FaultDetail }
  // At any moment.
  | { readonly kind: "frame"; readonly frame: SourceWord }
  | { readonly kind: "frame-invalid"; readonly reason: string }
  | { readonly kind: "stream-closed"; readonly reason: string }
  | { readonly kind: "deadline"; readonly awaited: AwaitedOfSource; readonly afterMs: number }
  /** The host stops. */
  | { readonly kind: "stopping" };

export type TargetCommand =
  /** A deadline; it replaces the one before. It is taken away when something else is commanded. */
  | { readonly kind: "await"; readonly awaited: AwaitedOfSource }
  | { readonly kind: "admit" }
  | { readonly kind: "send-accept" }
  | { readonly kind: "prepare" }
  | { readonly kind: "send-prepared" }
  /** Verify all of it, and make it durable with the note "claiming". */
  | { readonly kind: "stage" }
  /** Take back what was staged, the note included. */
  | { readonly kind: "drop" }
  /** From the second attempt on after a back-off. */
  | { readonly kind: "claim"; readonly attempt: number }
  | { readonly kind: "start" }
  | { readonly kind: "send-started" }
  /** What was staged becomes a replica. */
  | { readonly kind: "abandon" }
  | { readonly kind: "send-refused"; readonly failure: Failure }
  | { readonly kind: "close-stream" }
  | { readonly kind: "end"; readonly outcome: TargetOutcome };

export type TargetStep = Step<TargetState, TargetCommand>;

export function startTarget(): TargetStep {
  const state: TargetState = { handoffId: "", agentId: "", phase: { kind: "expecting-offer" } };
  return { state, commands: [{ kind: "await", awaited: "offer" }] };
}

/** Throws IllegalStep for an answer that nothing had asked for. */
export function stepTarget(state: TargetState, event: TargetEvent): TargetStep {
  switch (event.kind) {
    case "frame":
    case "frame-invalid":
    case "stream-closed":
    case "deadline":
    case "stopping":
      return onOutside(state, event);
    default:
      return onAnswer(state, event);
  }
}

/** Whether the source may still be told REFUSED just like that (GH-4). */
export function isBeforeClaim({ phase }: TargetState): boolean {
  const { kind } = phase;
  return kind !== "claiming" && kind !== "abandoning" && kind !== "starting" && kind !== "ended";
}

type Outside = Extract<TargetEvent, { kind: "frame" | "frame-invalid" | "stream-closed" | "deadline" | "stopping" }>;
type Answer = Exclude<TargetEvent, Outside>;

function onOutside(state: TargetState, event: Outside): TargetStep {
  const { phase } = state;
  if (event.kind === "frame") {
    const expected = onExpectedFrame(state, event.frame);
    if (expected !== undefined) return expected;
  }
  switch (phase.kind) {
    case "claiming":
      if (event.kind === "stopping") return end(state, { kind: "left-to-recovery" }, { kind: "close-stream" });
      return event.kind === "stream-closed" ? go(state, { ...phase, streamLost: true }) : stay(state);
    case "starting":
    case "abandoning":
      return event.kind === "stream-closed" ? go(state, { ...phase, streamLost: true }) : stay(state);
    case "dropping":
    case "ended":
      return stay(state);
    default:
      return onTrouble(state, event);
  }
}

/** Undefined for a frame that this phase does not wait for. */
function onExpectedFrame(state: TargetState, frame: SourceWord): TargetStep | undefined {
  switch (state.phase.kind) {
    case "expecting-offer": {
      if (frame.kind !== "offer") return undefined;
      const { handoffId, agentId } = frame;
      return go({ ...state, handoffId, agentId }, { kind: "admitting" }, { kind: "admit" });
    }
    case "receiving-module":
      if (frame.kind !== "module") return undefined;
      if (!frame.complete) return stay(state);
      return go(state, { kind: "receiving-spine" }, { kind: "await", awaited: "spine" });
    case "receiving-spine":
      if (frame.kind === "replay") return stay(state);
      if (frame.kind !== "spine") return undefined;
      return frame.last ? go(state, { kind: "preparing" }, { kind: "prepare" }) : stay(state);
    case "prepared":
      if (frame.kind === "replay") return stay(state);
      if (frame.kind !== "checkpoint" || frame.handoffId !== state.handoffId) return undefined;
      return go(state, { kind: "receiving-state" }, { kind: "await", awaited: "handoff" });
    case "receiving-state":
      if (frame.kind === "state") return stay(state);
      if (frame.kind !== "handoff" || frame.handoffId !== state.handoffId) return undefined;
      return go(state, { kind: "receiving-end" }); // on the same deadline
    case "receiving-end":
      if (frame.kind !== "handoff-end") return undefined;
      return go(state, { kind: "staging", abandoned: undefined }, { kind: "stage" });
    default:
      return undefined;
  }
}

/** Before the claim: the source is told, if it can be, and nothing stays. */
function onTrouble(state: TargetState, event: Outside): TargetStep {
  const failure = failureOf(state, event);
  if (failure === undefined) return stay(state);
  const { phase } = state;
  const told: readonly TargetCommand[] = event.kind === "stream-closed" ? [] : [{ kind: "send-refused", failure }];

  if (phase.kind === "staging") {
    // What is being staged can only be dropped when it is there.
    if (phase.abandoned !== undefined) return stay(state);
    return go(state, { kind: "staging", abandoned: failure }, ...told, { kind: "close-stream" });
  }
  return end(state, { kind: "refused", failure }, ...told, { kind: "close-stream" });
}

function failureOf({ handoffId, phase }: TargetState, event: Outside): Failure | undefined {
  switch (event.kind) {
    case "stopping":
      return { class: "retriable", fault: { code: "SHUTTING_DOWN" } };
    case "stream-closed":
      return { class: "retriable", fault: { code: "CANCELLED", what: `the handoff (${event.reason})` } };
    case "deadline": {
      const { awaited, afterMs } = event;
      if (awaitedIn(phase) !== awaited) return undefined; // over before it was heard
      const what = `${awaited.toUpperCase()} of handoff ${handoffId}`;
      return { class: "retriable", fault: { code: "DEADLINE_EXCEEDED", what, afterMs } };
    }
    case "frame-invalid":
      return { class: "fatal-target", fault: { code: "FRAME_INVALID", reason: event.reason } };
    case "frame": {
      const named = event.frame.kind === "checkpoint" || event.frame.kind === "handoff";
      const other = named && event.frame.handoffId !== handoffId;
      const reason = other ? "it names another handoff" : `${event.frame.kind} does not fit while ${phase.kind}`;
      return { class: "fatal-target", fault: { code: "FRAME_INVALID", reason } };
    }
  }
}

function awaitedIn(phase: TargetPhase): AwaitedOfSource | undefined {
  switch (phase.kind) {
    case "expecting-offer":
      return "offer";
    case "receiving-module":
      return "module";
    case "receiving-spine":
      return "spine";
    case "prepared":
      return "checkpoint";
    case "receiving-state":
    case "receiving-end":
      return "handoff";
    default:
      return undefined;
  }
}

function onAnswer(state: TargetState, event: Answer): TargetStep {
  const { phase } = state;
  switch (event.kind) {
    case "admitted":
      if (phase.kind !== "admitting") throw illegal(state, event);
      return event.needModule
        ? go(state, { kind: "receiving-module" }, { kind: "await", awaited: "module" }, { kind: "send-accept" })
        : go(state, { kind: "receiving-spine" }, { kind: "await", awaited: "spine" }, { kind: "send-accept" });
    case "prepared":
      if (phase.kind !== "preparing") throw illegal(state, event);
      return go(state, { kind: "prepared" }, { kind: "await", awaited: "checkpoint" }, { kind: "send-prepared" });
    case "staged":
      if (phase.kind !== "staging") throw illegal(state, event);
      if (phase.abandoned !== undefined) {
        return go(state, { kind: "dropping", failure: phase.abandoned }, { kind: "drop" });
      }
      return go(state, { kind: "claiming", attempt: 1, streamLost: false }, { kind: "claim", attempt: 1 });
    case "refused":
      return refusedHere(state, event);
    case "dropped":
      if (phase.kind !== "dropping") throw illegal(state, event);
      return end(state, { kind: "refused", failure: phase.failure });
    case "claim-answered":
      if (phase.kind !== "claiming") throw illegal(state, event);
      return claimAnswered(state, phase, event.answer);
    case "abandoned": {
      if (phase.kind !== "abandoning") throw illegal(state, event);
      const fault: FaultDetail = { code: "HANDOFF_SUPERSEDED", agentId: state.agentId };
      const told: TargetCommand = { kind: "send-refused", failure: { class: "retriable", fault } };
      return end(state, { kind: "superseded" }, ...unless(phase.streamLost, told), { kind: "close-stream" });
    }
    case "started": {
      if (phase.kind !== "starting") throw illegal(state, event);
      const told: TargetCommand = { kind: "send-started" };
      return end(state, { kind: "started" }, ...unless(phase.streamLost, told), { kind: "close-stream" });
    }
    case "start-failed":
      if (phase.kind !== "starting") throw illegal(state, event);
      return end(state, { kind: "owned-not-started", fault: event.fault }, { kind: "close-stream" });
  }
}

function refusedHere(state: TargetState, event: Answer & { kind: "refused" }): TargetStep {
  const { phase } = state;
  const { failure } = event;
  if (phase.kind === "staging" && phase.abandoned !== undefined) {
    return end(state, { kind: "refused", failure: phase.abandoned }); // the source knows already
  }
  if (phase.kind !== "admitting" && phase.kind !== "preparing" && phase.kind !== "staging") throw illegal(state, event);
  return end(state, { kind: "refused", failure }, { kind: "send-refused", failure }, { kind: "close-stream" });
}

function claimAnswered(state: TargetState, phase: TargetPhase & { kind: "claiming" }, answer: ClaimAnswer): TargetStep {
  const { streamLost } = phase;
  const standing: Standing = answer.kind === "refused" ? answer.standing : answer.kind === "granted" ? "ours" : "open";
  switch (standing) {
    case "ours":
      return go(state, { kind: "starting", streamLost }, { kind: "start" });
    case "open": {
      const attempt = phase.attempt + 1;
      return go(state, { kind: "claiming", attempt, streamLost }, { kind: "claim", attempt });
    }
    case "dead":
      return go(state, { kind: "abandoning", streamLost }, { kind: "abandon" });
    case "for-recovery":
      return end(state, { kind: "left-to-recovery" }, { kind: "close-stream" });
  }
}

function unless(streamLost: boolean, command: TargetCommand): readonly TargetCommand[] {
  return streamLost ? [] : [command];
}

function end(state: TargetState, outcome: TargetOutcome, ...before: readonly TargetCommand[]): TargetStep {
  return go(state, { kind: "ended", outcome }, ...before, { kind: "end", outcome });
}

function go(state: TargetState, phase: TargetPhase, ...commands: readonly TargetCommand[]): TargetStep {
  return { state: { ...state, phase }, commands };
}

function stay(state: TargetState): TargetStep {
  return { state, commands: [] };
}

function illegal({ phase }: TargetState, event: Answer): IllegalStep {
  return new IllegalStep(`${event.kind}: not while ${phase.kind}`);
}
