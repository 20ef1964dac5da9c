// One attempt to hand one agent to one target, as the source sees it: events in, commands out (protocol §6, §7).
//
// GH-1  Before "relinquished" is written, whatever fails is undone: with `revert` as soon as begin_handoff may have
//       happened, and the agent is thawed only when that was answered. Once `write-relinquished` was commanded, there is no
//       revert, and the agent thaws only after `resolved: recovered`.
// GH-2  A failure has its class from here, where one knows what had been sent. After `send-handoff` everything is
//       ambiguous but a STARTED that fits and a REFUSED.
// GH-3  The way out of ambiguity, of a REFUSED after the token and of an unanswered revert is `resolve`.
// GH-8  STARTED counts only if it names this handoff, agent and checkpoint, and the next major of the same era.
//
// Answers to commands may come only while they are awaited; what peer, time and caller do may come at any moment.

import type { FaultDetail } from "@godwit/common/fault";
import { type CheckpointRef, IllegalStep, type RefusalCode, sameTerm, type Term } from "@godwit/common/lease";
import type { Failure } from "@godwit/common/retry";
import type { TargetFrame } from "./frames/frames.ts";
import type { Step, Trouble } from "./step.ts";

export interface SourcePlan extends Term {
  readonly handoffId: string;
  readonly agentId: string;
  readonly targetHostId: string;
  /** Microcents; undefined: any price. */
  readonly maxPricePerSecond: bigint | undefined;
}

export type SourceOutcome =
  /** The target ticks it under this term; `resolved`: the registry said so, no STARTED did. */
  | ({ readonly kind: "moved"; readonly hostId: string; readonly by: "started" | "resolved" } & Term)
  /** The agent ticks here; under a newer term if it had to be recovered. */
  | ({ readonly kind: "failed"; readonly recovered: Term | undefined } & Trouble)
  /** Another host than the target has it. */
  | ({ readonly kind: "taken"; readonly hostId: string; readonly failure: Failure } & Term)
  /** It runs nowhere: terminated, or released. */
  | { readonly kind: "gone"; readonly failure: Failure }
  /** This host stopped before the registry had said who has it; the journal has what the next start asks about. */
  | { readonly kind: "unresolved"; readonly failure: Failure };

export type SourcePhase =
  | { readonly kind: "connecting" }
  | { readonly kind: "offered" }
  /** Module and spine are under way; PREPARED is awaited. */
  | { readonly kind: "preparing" }
  // An answer of our own side is awaited in the next three; `abandoned` is why the attempt will not go on after it.
  | { readonly kind: "freezing"; readonly abandoned: Trouble | undefined }
  | { readonly kind: "beginning"; readonly frozen: CheckpointRef; readonly abandoned: Trouble | undefined }
  | { readonly kind: "relinquishing"; readonly frozen: CheckpointRef; readonly abandoned: Trouble | undefined }
  | { readonly kind: "handing-off"; readonly frozen: CheckpointRef }
  | { readonly kind: "reverting"; readonly trouble: Trouble }
  | { readonly kind: "resolving"; readonly trouble: Trouble }
  | { readonly kind: "retiring"; readonly outcome: SourceOutcome }
  | { readonly kind: "ended"; readonly outcome: SourceOutcome };

export interface SourceState {
  readonly plan: SourcePlan;
  readonly phase: SourcePhase;
}

export type AwaitedOfTarget = "accept" | "prepared" | "started";

/** The registry's answer to a command of the owner. */
export type OwnerAnswer =
  | { readonly kind: "applied" }
  | { readonly kind: "refused"; readonly code: RefusalCode }
  | { readonly kind: "unknown" };

export type Resolution =
  | ({ readonly kind: "recovered" } & Term)
  | ({ readonly kind: "moved"; readonly hostId: string } & Term)
  | { readonly kind: "gone" }
  | { readonly kind: "unresolved" };

export type SourceEvent =
  // Answers to commands.
  | { readonly kind: "connected" }
  | ({ readonly kind: "connection-failed" } & Trouble)
  | { readonly kind: "frozen"; readonly checkpoint: CheckpointRef }
  | { readonly kind: "freeze-failed"; readonly failure: Failure }
  | { readonly kind: "begin-answered"; readonly answer: OwnerAnswer }
  | { readonly kind: "journaled" }
  /** Whether the token was written is not known; it has not left this process. */
  | { readonly kind: "journal-failed"; readonly fault: FaultDetail }
  | { readonly kind: "revert-answered"; readonly answer: OwnerAnswer }
  | { readonly kind: "resolved"; readonly resolution: Resolution }
  | { readonly kind: "retired" }
  // At any moment.
  | { readonly kind: "frame"; readonly frame: TargetFrame }
  | { readonly kind: "frame-invalid"; readonly reason: string }
  | { readonly kind: "stream-closed"; readonly reason: string }
  | { readonly kind: "deadline"; readonly awaited: AwaitedOfTarget; readonly afterMs: number }
  | { readonly kind: "cancelled" }
  /** Something of our own that the attempt needs is not to be had. */
  | { readonly kind: "unable"; readonly fault: FaultDetail };

export type SourceCommand =
  | { readonly kind: "connect" }
  | { readonly kind: "send-offer" }
  | { readonly kind: "send-module" }
  /** Without what lies below the header with this digest, which the target has. */
  | { readonly kind: "send-spine"; readonly known: string | undefined }
  /** A deadline; it replaces the one before. */
  | { readonly kind: "await"; readonly awaited: AwaitedOfTarget }
  | { readonly kind: "freeze" }
  /**
   * The frozen checkpoint and its state, while the registry is asked: they are on the disk, and a copy gives no right to
   * tick (EI-4), so nothing is signed away by it and nothing becomes ambiguous (GH-2).
   */
  | { readonly kind: "send-checkpoint" }
  | { readonly kind: "begin" }
  | { readonly kind: "write-relinquished" }
  | { readonly kind: "send-handoff" }
  | { readonly kind: "revert" }
  | { readonly kind: "thaw" }
  | { readonly kind: "resolve" }
  | ({ readonly kind: "retire"; readonly ownerHostId: string } & Term)
  | { readonly kind: "close-stream" }
  | { readonly kind: "end"; readonly outcome: SourceOutcome };

export type SourceStep = Step<SourceState, SourceCommand>;

export function startSource(plan: SourcePlan): SourceStep {
  return { state: { plan, phase: { kind: "connecting" } }, commands: [{ kind: "connect" }] };
}

/** Throws IllegalStep for an answer that nothing had asked for. */
export function stepSource(state: SourceState, event: SourceEvent): SourceStep {
  switch (event.kind) {
    case "frame":
    case "frame-invalid":
    case "stream-closed":
    case "deadline":
    case "cancelled":
    case "unable":
      return onOutside(state, event);
    default:
      return onAnswer(state, event);
  }
}

/** Whether the agent may still be called back (GH-1). */
export function isBeforeRelinquish({ phase }: SourceState): boolean {
  const { kind } = phase;
  return (
    kind === "connecting" || kind === "offered" || kind === "preparing" || kind === "freezing" || kind === "beginning"
  );
}

type Outside = Extract<
  SourceEvent,
  { kind: "frame" | "frame-invalid" | "stream-closed" | "deadline" | "cancelled" | "unable" }
>;
type Answer = Exclude<SourceEvent, Outside>;

function onOutside(state: SourceState, event: Outside): SourceStep {
  const { phase, plan } = state;
  if (event.kind === "frame") {
    const expected = onExpectedFrame(state, event.frame);
    if (expected !== undefined) return expected;
  }
  const trouble = troubleOf(state, event);
  if (trouble === undefined) return stay(state);

  switch (phase.kind) {
    case "connecting":
    case "offered":
    case "preparing":
      return end(plan, { kind: "failed", ...trouble, recovered: undefined }, { kind: "close-stream" });
    case "freezing":
    case "beginning":
      return abandon(plan, phase, trouble);
    case "relinquishing":
      return event.kind === "cancelled" ? stay(state) : abandon(plan, phase, trouble);
    case "handing-off": {
      if (event.kind === "cancelled") return stay(state);
      const refused = event.kind === "frame" && event.frame.kind === "refused" && isOurs(plan, event.frame);
      return resolve(plan, refused ? trouble : ambiguous(trouble), { kind: "close-stream" });
    }
    default:
      return stay(state); // the stream no longer matters
  }
}

/** Undefined for a frame that this phase does not wait for. */
function onExpectedFrame({ plan, phase }: SourceState, frame: TargetFrame): SourceStep | undefined {
  if (!isOurs(plan, frame)) return undefined;
  if (phase.kind === "offered" && frame.kind === "accept") return accepted(plan, frame);
  if (phase.kind === "preparing" && frame.kind === "prepared") {
    return go(plan, { kind: "freezing", abandoned: undefined }, { kind: "freeze" });
  }
  if (phase.kind === "handing-off" && frame.kind === "started" && confirms(plan, phase.frozen, frame)) {
    const { era, major } = frame;
    const outcome: SourceOutcome = { kind: "moved", hostId: plan.targetHostId, era, major, by: "started" };
    return retire(plan, plan.targetHostId, outcome, { era, major });
  }
  return undefined;
}

function accepted(plan: SourcePlan, frame: TargetFrame & { kind: "accept" }): SourceStep {
  const { maxPricePerSecond: limit } = plan;
  const { pricePerSecond: price } = frame;
  if (limit !== undefined && price > limit) {
    const failure: Failure = { class: "fatal-target", fault: { code: "PRICE_TOO_HIGH", price, limit } };
    return end(plan, { kind: "failed", failure, by: "target", recovered: undefined }, { kind: "close-stream" });
  }
  const spine: SourceCommand = { kind: "send-spine", known: frame.spineKnown };
  const awaitPrepared: SourceCommand = { kind: "await", awaited: "prepared" };
  const module: readonly SourceCommand[] = frame.needModule ? [{ kind: "send-module" }] : [];
  return go(plan, { kind: "preparing" }, awaitPrepared, ...module, spine);
}

/** GH-8 */
function confirms(plan: SourcePlan, frozen: CheckpointRef, started: TargetFrame & { kind: "started" }): boolean {
  const next: Term = { era: plan.era, major: plan.major + 1n };
  return started.agentId === plan.agentId && started.checkpointDigest === frozen.digest && sameTerm(started, next);
}

function onAnswer(state: SourceState, event: Answer): SourceStep {
  const { plan, phase } = state;
  switch (event.kind) {
    case "connected":
      if (phase.kind !== "connecting") throw illegal(state, event);
      return go(plan, { kind: "offered" }, { kind: "await", awaited: "accept" }, { kind: "send-offer" });
    case "connection-failed":
      if (phase.kind !== "connecting") throw illegal(state, event);
      return end(plan, { kind: "failed", failure: event.failure, by: event.by, recovered: undefined });
    case "frozen":
      if (phase.kind !== "freezing") throw illegal(state, event);
      return frozen(plan, event.checkpoint, phase.abandoned);
    case "freeze-failed":
      if (phase.kind !== "freezing") throw illegal(state, event);
      return thawed(plan, phase.abandoned ?? { failure: event.failure, by: "source" }, undefined);
    case "begin-answered":
      if (phase.kind !== "beginning") throw illegal(state, event);
      return begun(plan, phase, event.answer);
    case "journaled":
      if (phase.kind !== "relinquishing") throw illegal(state, event);
      if (phase.abandoned !== undefined) return resolve(plan, phase.abandoned);
      return go(
        plan,
        { kind: "handing-off", frozen: phase.frozen },
        { kind: "await", awaited: "started" },
        { kind: "send-handoff" },
      );
    case "journal-failed":
      if (phase.kind !== "relinquishing") throw illegal(state, event);
      // What was being written may be on the disk all the same, so it counts as written (EI-6).
      return resolve(plan, phase.abandoned ?? ours("fatal-migration", event.fault), { kind: "close-stream" });
    case "revert-answered":
      if (phase.kind !== "reverting") throw illegal(state, event);
      // Refused: the record is not what we believe; unknown: it may still arrive. Either way the registry has to say.
      if (event.answer.kind !== "applied") return resolve(plan, phase.trouble);
      return thawed(plan, phase.trouble, undefined);
    case "resolved":
      if (phase.kind !== "resolving") throw illegal(state, event);
      return resolved(plan, phase.trouble, event.resolution);
    case "retired":
      if (phase.kind !== "retiring") throw illegal(state, event);
      return end(plan, phase.outcome);
  }
}

function frozen(plan: SourcePlan, checkpoint: CheckpointRef, abandoned: Trouble | undefined): SourceStep {
  if (abandoned !== undefined) return thawed(plan, abandoned, undefined);
  if (!sameTerm(checkpoint, plan)) {
    // Recovered in between: what the target was shown of the spine is no longer all of it.
    const reason = "it changed hands while the target was prepared";
    return thawed(plan, ours("retriable", { code: "MIGRATION_FAILED", agentId: plan.agentId, reason }), undefined);
  }
  return go(
    plan,
    { kind: "beginning", frozen: checkpoint, abandoned: undefined },
    { kind: "begin" },
    { kind: "send-checkpoint" },
  );
}

function begun(plan: SourcePlan, phase: SourcePhase & { kind: "beginning" }, answer: OwnerAnswer): SourceStep {
  const { abandoned } = phase;
  switch (answer.kind) {
    case "applied":
      if (abandoned !== undefined) return revert(plan, abandoned);
      return go(
        plan,
        { kind: "relinquishing", frozen: phase.frozen, abandoned: undefined },
        { kind: "write-relinquished" },
      );
    case "unknown": {
      const fault: FaultDetail = { code: "REGISTRY_UNAVAILABLE", reason: "begin_handoff was not answered" };
      return revert(plan, abandoned ?? ours("retriable", fault));
    }
    case "refused": {
      const reason = `the registry refused begin_handoff (${answer.code})`;
      const fault: FaultDetail = { code: "MIGRATION_FAILED", agentId: plan.agentId, reason };
      const trouble = abandoned ?? ours(PASSING.has(answer.code) ? "retriable" : "fatal-migration", fault);
      // A handoff that is in the record already is an earlier one of ours, which nobody reverted.
      return answer.code === "HANDOFF_IN_PROGRESS" ? revert(plan, trouble) : thawed(plan, trouble, undefined);
    }
  }
}

/** Refusals that say nothing about this agent's owner and may be over soon. */
const PASSING: ReadonlySet<RefusalCode> = new Set<RefusalCode>(["QUARANTINE", "STALE_REVISION", "BASE_UNCONFIRMED"]);

function resolved(plan: SourcePlan, trouble: Trouble, resolution: Resolution): SourceStep {
  switch (resolution.kind) {
    case "recovered": {
      const { era, major } = resolution;
      return thawed(plan, trouble, { era, major });
    }
    case "moved": {
      const { hostId, era, major } = resolution;
      const outcome: SourceOutcome =
        hostId === plan.targetHostId
          ? { kind: "moved", hostId, era, major, by: "resolved" }
          : { kind: "taken", hostId, era, major, failure: trouble.failure };
      return retire(plan, hostId, outcome, { era, major });
    }
    case "gone":
    case "unresolved":
      return end(plan, { kind: resolution.kind, failure: trouble.failure });
  }
}

function troubleOf({ plan, phase }: SourceState, event: Outside): Trouble | undefined {
  switch (event.kind) {
    case "cancelled":
      return ours("fatal-migration", { code: "CANCELLED", what: `the migration of agent ${plan.agentId}` });
    case "unable":
      return ours("fatal-migration", event.fault);
    case "stream-closed":
      return theirs("retriable", { code: "PEER_UNREACHABLE", hostId: plan.targetHostId, reason: event.reason });
    case "deadline": {
      const { awaited, afterMs } = event;
      if (awaitedIn(phase) !== awaited) return undefined; // over before it was heard
      const what = `${awaited.toUpperCase()} of host ${plan.targetHostId}`;
      return theirs("retriable", { code: "DEADLINE_EXCEEDED", what, afterMs });
    }
    case "frame-invalid":
      return theirs("fatal-target", { code: "FRAME_INVALID", reason: event.reason });
    case "frame":
      if (event.frame.kind === "refused" && isOurs(plan, event.frame)) return refusal(event.frame.failure);
      return theirs("fatal-target", {
        code: "FRAME_INVALID",
        reason: isOurs(plan, event.frame)
          ? `${event.frame.kind} does not fit while ${phase.kind}`
          : "it names another handoff",
      });
  }
}

/** A target speaks for itself only: that nobody may have the agent is not its to say. */
function refusal(failure: Failure): Trouble {
  return theirs(failure.class === "retriable" ? "retriable" : "fatal-target", failure.fault);
}

function awaitedIn(phase: SourcePhase): AwaitedOfTarget | undefined {
  if (phase.kind === "offered") return "accept";
  if (phase.kind === "preparing") return "prepared";
  return phase.kind === "handing-off" ? "started" : undefined;
}

/** A target that could not even read the offer refuses without naming a handoff. */
function isOurs(plan: SourcePlan, frame: TargetFrame): boolean {
  return frame.handoffId === plan.handoffId || (frame.kind === "refused" && frame.handoffId === "");
}

function ours(failureClass: "retriable" | "fatal-migration", fault: FaultDetail): Trouble {
  return { failure: { class: failureClass, fault }, by: "source" };
}

function theirs(failureClass: "retriable" | "fatal-target", fault: FaultDetail): Trouble {
  return { failure: { class: failureClass, fault }, by: "target" };
}

function ambiguous({ failure, by }: Trouble): Trouble {
  return { failure: { class: "ambiguous", fault: failure.fault }, by };
}

type Abandonable = Extract<SourcePhase, { kind: "freezing" | "beginning" | "relinquishing" }>;

/** The first reason counts. */
function abandon(plan: SourcePlan, phase: Abandonable, trouble: Trouble): SourceStep {
  if (phase.abandoned !== undefined) return stay({ plan, phase });
  return go(plan, { ...phase, abandoned: trouble }, { kind: "close-stream" });
}

function revert(plan: SourcePlan, trouble: Trouble): SourceStep {
  return go(plan, { kind: "reverting", trouble }, { kind: "close-stream" }, { kind: "revert" });
}

function resolve(plan: SourcePlan, trouble: Trouble, ...before: readonly SourceCommand[]): SourceStep {
  return go(plan, { kind: "resolving", trouble }, ...before, { kind: "resolve" });
}

function retire(plan: SourcePlan, ownerHostId: string, outcome: SourceOutcome, { era, major }: Term): SourceStep {
  return go(plan, { kind: "retiring", outcome }, { kind: "close-stream" }, { kind: "retire", ownerHostId, era, major });
}

function thawed(plan: SourcePlan, trouble: Trouble, recovered: Term | undefined): SourceStep {
  return end(plan, { kind: "failed", ...trouble, recovered }, { kind: "close-stream" }, { kind: "thaw" });
}

function end(plan: SourcePlan, outcome: SourceOutcome, ...before: readonly SourceCommand[]): SourceStep {
  return go(plan, { kind: "ended", outcome }, ...before, { kind: "end", outcome });
}

function go(plan: SourcePlan, phase: SourcePhase, ...commands: readonly SourceCommand[]): SourceStep {
  return { state: { plan, phase }, commands };
}

function stay(state: SourceState): SourceStep {
  return { state, commands: [] };
}

function illegal({ phase }: SourceState, event: Answer): IllegalStep {
  return new IllegalStep(`${event.kind}: not while ${phase.kind}`);
}
