// A host to which an agent comes: executes what the production target machine commands. Mirrors
// services/agent-host/src/migration/migration-target.ts and src/agents/incoming.ts.

import { compareCheckpoints, untrusted } from "@godwit/common/lease";
import { startTarget, type TargetCommand, type TargetEvent, type TargetState } from "../../target.ts";
import { type Draft, grantedBy, isAtRest, supervise, withCheckpoint } from "./host.ts";
import { type Answer, agentId, type Incoming, type Journal, type Message, sessionId } from "./world.ts";

/** OFFER to PREPARED, in one step: until HANDOFF comes nothing but the machine changes. */
export function expectHandoff(draft: Draft, handoffId: string, sourceHostId: string): void {
  const { state } = startTarget();
  draft.set({
    target: {
      state,
      sourceHostId,
      streamOpen: true,
      token: undefined,
      checkpoint: undefined,
      claim: undefined,
      waiting: false,
      granted: undefined,
      relinquished: undefined,
    },
  });
  targetHears(draft, { kind: "frame", frame: { kind: "offer", handoffId, agentId } });
  targetHears(draft, { kind: "frame", frame: { kind: "spine", last: true } });
}

/** incoming.ts `admit`. */
export function mayExpectHandoff({ up, supervised, target, journal, session }: Draft["host"]): boolean {
  return up && session !== undefined && !supervised && target === undefined && journal.phase !== "terminated";
}

export function handoffArrives(draft: Draft, { token, checkpoint }: Extract<Message, { kind: "handoff" }>): void {
  const { target } = draft.host;
  if (target === undefined || !target.streamOpen || target.state.handoffId !== token.handoffId) return;
  change(draft, { token, checkpoint });
  const { handoffId } = token;
  // What it was frozen as came before the token; on its own it changes nothing but the machine.
  targetHears(draft, { kind: "frame", frame: { kind: "checkpoint", handoffId } });
  targetHears(draft, { kind: "frame", frame: { kind: "handoff", handoffId } });
  targetHears(draft, { kind: "frame", frame: { kind: "handoff-end" } });
}

export function targetHears(draft: Draft, event: TargetEvent): void {
  const { target } = draft.host;
  if (target === undefined) return;
  const { state, commands } = draft.context.rules.stepTarget(target.state, event);
  change(draft, { state: sameAfterSecondAttempt(state) });
  for (const command of commands) execute(draft, command);
}

/** How often it was tried only decides how long is waited for the next try, and there is no time here. */
function sameAfterSecondAttempt(state: TargetState): TargetState {
  const { phase } = state;
  return phase.kind === "claiming" && phase.attempt > 2 ? { ...state, phase: { ...phase, attempt: 2 } } : state;
}

function change(draft: Draft, changes: Partial<Incoming>): void {
  const { target } = draft.host;
  if (target !== undefined) draft.set({ target: { ...target, ...changes } });
}

function execute(draft: Draft, command: TargetCommand): void {
  const { target } = draft.host;
  if (target === undefined) return;
  switch (command.kind) {
    case "await":
    case "send-accept":
    case "send-prepared":
      return;
    case "admit":
      targetHears(draft, { kind: "admitted", needModule: false });
      return;
    case "prepare":
      targetHears(draft, { kind: "prepared" });
      return;
    case "stage":
      stage(draft, target);
      return;
    case "drop":
      if (target.claim !== undefined) draft.set({ journal: target.claim.before, staged: undefined });
      change(draft, { claim: undefined });
      targetHears(draft, { kind: "dropped" });
      return;
    case "claim":
      claim(draft, target, command.attempt);
      return;
    case "start":
      startAgent(draft, target);
      return;
    case "abandon":
      abandon(draft);
      return;
    case "send-started":
      if (target.streamOpen && target.token !== undefined) draft.sends.push(startedFrame(target, target.token));
      return;
    case "send-refused":
      if (target.streamOpen) {
        draft.sends.push({ kind: "refused", to: target.sourceHostId, handoffId: target.state.handoffId });
      }
      return;
    case "close-stream":
      change(draft, { streamOpen: false });
      return;
    case "end":
      ended(draft, target);
      return;
  }
}

function startedFrame({ sourceHostId }: Incoming, token: NonNullable<Incoming["token"]>): Message {
  const { handoffId, checkpointDigest: digest, era, major } = token;
  return { kind: "started", to: sourceHostId, handoffId, digest, era, major: major + 1n };
}

function stage(draft: Draft, { token, checkpoint }: Incoming): void {
  const { session, supervised, held, journal: before, relinquished } = draft.host;
  if (token === undefined || checkpoint === undefined) return;
  const newest = held[0];
  const stale = newest !== undefined && compareCheckpoints(newest, checkpoint) > 0;
  if (session === undefined || supervised || stale) {
    const fault = { code: "AGENT_EXISTS", agentId } as const;
    targetHears(draft, { kind: "refused", failure: { class: "fatal-target", fault } });
    return;
  }
  const { handoffId, era, major } = token;
  const commandId = draft.command(`claim-${handoffId}`, session, undefined).id;
  const journal: Journal = { phase: "claiming", bootId: session.bootId, commandId, handoffId, token, era, major };
  draft.set({ staged: { handoffId, checkpoint }, journal });
  change(draft, { claim: { commandId, session, before }, relinquished });
  targetHears(draft, { kind: "staged" });
}

function claim(draft: Draft, { claim: made, token }: Incoming, _attempt: number): void {
  const { session, name } = draft.host;
  if (made === undefined || token === undefined) return;
  // A session that was brought over to another incarnation is another one to a claim.
  if (session?.bootId !== made.session.bootId || session.incarnation !== made.session.incarnation) {
    targetHears(draft, { kind: "claim-answered", answer: { kind: "refused", standing: "for-recovery" } });
    return;
  }
  const base = draft.command("claim", made.session, undefined);
  const command = { ...base, id: made.commandId, kind: "claim", token } as const;
  draft.sends.push({ kind: "request", from: name, slot: "arrival", reply: true, command });
  change(draft, { waiting: true });
}

export function claimAnswered(draft: Draft, answer: Answer): void {
  const { target, name } = draft.host;
  if (target?.claim === undefined || target.token === undefined) return;
  change(draft, { waiting: false });
  if (answer.kind === "unknown") {
    targetHears(draft, { kind: "claim-answered", answer: { kind: "unknown" } });
    return;
  }
  if (answer.kind === "applied") {
    change(draft, { granted: answer.record });
    targetHears(draft, { kind: "claim-answered", answer: { kind: "granted" } });
    return;
  }
  const session = sessionId(name, target.claim.session);
  const standing = draft.context.rules.standingOf(answer.record, target.token, session);
  if (standing === "ours") change(draft, { granted: answer.record });
  targetHears(draft, { kind: "claim-answered", answer: { kind: "refused", standing } });
}

function startAgent(draft: Draft, { granted, claim: made, checkpoint, relinquished }: Incoming): void {
  if (granted === undefined || made === undefined || checkpoint === undefined) return;
  if (draft.host.supervised) {
    targetHears(draft, { kind: "start-failed", fault: { code: "AGENT_EXISTS", agentId } });
    return;
  }
  draft.set({ supervised: true, tenure: { ...untrusted, relinquished }, wish: undefined, asked: false });
  grantedBy(draft, made.session, granted, false);
  draft.set({ promoting: true });
  change(draft, { claim: undefined });
  targetHears(draft, { kind: "started" });
}

/** tenancy.ts `promote`, of which nobody waits. */
export function promote(draft: Draft): void {
  const { staged, held, journal } = draft.host;
  if (staged === undefined || journal.phase !== "claiming") {
    draft.set({ promoting: false });
    return;
  }
  const { bootId } = journal;
  draft.set({
    held: withCheckpoint(held, staged.checkpoint),
    staged: undefined,
    journal: { phase: "owner", bootId },
    promoting: false,
  });
}

function abandon(draft: Draft): void {
  const { staged, held } = draft.host;
  if (staged !== undefined) {
    draft.set({ held: withCheckpoint(held, staged.checkpoint), staged: undefined, journal: { phase: "replica" } });
  }
  change(draft, { claim: undefined });
  targetHears(draft, { kind: "abandoned" });
}

/** incoming.ts `ended`: what is staged and not settled is ours to ask the registry about. */
function ended(draft: Draft, { claim: open }: Incoming): void {
  draft.set({ target: undefined });
  const { supervised, journal } = draft.host;
  if (open !== undefined && !supervised && !isAtRest(journal)) supervise(draft);
}
