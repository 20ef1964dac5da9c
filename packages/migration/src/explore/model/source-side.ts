// A host that hands its agent over: executes what the production source machine commands. Mirrors
// services/agent-host/src/migration/source-attempt.ts and src/agents/source-agent.ts.
//
// Everything up to PREPARED changes nothing but the two machines, so it is one step with the freeze.

import { type AuthorityRecord, IllegalStep } from "@godwit/common/lease";
import type { Reading } from "../../judge.ts";
import { type OwnerAnswer, type SourceCommand, type SourceEvent, startSource } from "../../source.ts";
import { canTick, type Draft, remember, tick } from "./host.ts";
import { type Answer, agentId, type Outgoing, type Token } from "./world.ts";

/** Offers, is accepted, freezes and begins. */
export function startHandoff(draft: Draft, handoffId: string, targetHostId: string): void {
  const { ground } = draft.host;
  if (ground === undefined) return;
  const { era, major } = ground;
  const { state } = startSource({ handoffId, agentId, targetHostId, era, major, maxPricePerSecond: undefined });
  draft.set({ source: { state, streamOpen: true, revertDue: false, token: undefined } });
  sourceHears(draft, { kind: "connected" });
  const accept = { kind: "accept", handoffId, needModule: false, pricePerSecond: 0n, spineKnown: undefined } as const;
  sourceHears(draft, { kind: "frame", frame: accept });
  sourceHears(draft, { kind: "frame", frame: { kind: "prepared", handoffId } });
}

/** A major that has not ticked has no checkpoint of its own to hand over (supervisor.ts `freeze`). */
export function mustTickToFreeze({ host }: { readonly host: Draft["host"] }): boolean {
  const { ground, latest } = host;
  return ground !== undefined && !ground.created && latest?.digest === ground.base.digest;
}

export function sourceHears(draft: Draft, event: SourceEvent): void {
  const { source } = draft.host;
  if (source === undefined) return;
  const { state, commands } = draft.context.rules.stepSource(source.state, event);
  draft.set({ source: { ...source, state } });
  for (const command of commands) execute(draft, command);
}

function change(draft: Draft, changes: Partial<Outgoing>): void {
  const { source } = draft.host;
  if (source !== undefined) draft.set({ source: { ...source, ...changes } });
}

function execute(draft: Draft, command: SourceCommand): void {
  switch (command.kind) {
    case "connect":
    case "send-offer":
    case "send-module":
    case "send-spine":
    case "send-checkpoint":
    case "await":
      return;
    case "freeze":
      freeze(draft);
      return;
    case "begin":
      begin(draft);
      return;
    case "write-relinquished":
      relinquish(draft);
      return;
    case "send-handoff":
      sendHandoff(draft);
      return;
    case "revert":
      change(draft, { revertDue: true });
      return;
    case "thaw":
      if (draft.host.tenure.kind === "HANDOFF_INITIATED") draft.step({ kind: "reverted" });
      draft.set({ untold: draft.host.latest !== undefined });
      return;
    case "resolve":
      draft.doubt("ambiguous-handoff");
      return;
    case "retire":
      if (draft.host.tenure.kind === "HANDOFF_PENDING") {
        draft.step({ kind: "retired", why: "migrated" });
        draft.set({ journal: { phase: "retired" } });
      }
      sourceHears(draft, { kind: "retired" });
      return;
    case "close-stream":
      change(draft, { streamOpen: false });
      return;
    case "end":
      draft.set({ source: undefined });
  }
}

function freeze(draft: Draft): void {
  const { source } = draft.host;
  if (source === undefined) return;
  if (!canTick(draft.context.rules, draft.host)) {
    const fault = { code: "LEASE_EXPIRED", agentId } as const;
    sourceHears(draft, { kind: "freeze-failed", failure: { class: "retriable", fault } });
    return;
  }
  if (mustTickToFreeze(draft)) tick(draft);
  const { latest } = draft.host;
  if (latest === undefined) return;
  draft.step({ kind: "freeze", handoffId: source.state.plan.handoffId });
  draft.set({ untold: false }); // its head travels with begin_handoff
  sourceHears(draft, { kind: "frozen", checkpoint: latest });
}

function begin(draft: Draft): void {
  const { source, session, latest, ground } = draft.host;
  if (source === undefined || latest === undefined || ground === undefined) return;
  if (session === undefined) {
    sourceHears(draft, { kind: "begin-answered", answer: { kind: "unknown" } });
    return;
  }
  const { handoffId, targetHostId } = source.state.plan;
  const { revision } = ground;
  const base = draft.command("begin", session, revision);
  draft.ask("begin", session, { ...base, kind: "begin_handoff", revision, handoffId, targetHostId, head: latest });
}

/** The token is signed and journaled in one go; a tenure that does not let it makes the write a failed one. */
function relinquish(draft: Draft): void {
  const { source, tenure, latest, ground, name } = draft.host;
  if (source === undefined || latest === undefined || ground === undefined) return;
  const { handoffId, targetHostId } = source.state.plan;
  const { era, major } = ground;
  try {
    if (tenure.kind === "RECOVERY_REQUIRED" || tenure.kind === "RETIRED") throw new IllegalStep("no grant");
    draft.step({ kind: "relinquished" });
  } catch (cause) {
    if (!(cause instanceof IllegalStep)) throw cause;
    sourceHears(draft, { kind: "journal-failed", fault: { code: "INTERNAL" } });
    return;
  }
  const { digest, tick: number } = latest;
  const token: Token = {
    agentId,
    era,
    major,
    handoffId,
    sourceHostId: name,
    targetHostId,
    checkpointDigest: digest,
    tick: number,
  };
  change(draft, { token });
  draft.set({ journal: { phase: "relinquished", targetHostId, era, major }, relinquished: { era, major } });
  sourceHears(draft, { kind: "journaled" });
}

function sendHandoff(draft: Draft): void {
  const { source, latest } = draft.host;
  if (source?.token === undefined || latest === undefined || !source.streamOpen) return;
  draft.sends.push({ kind: "handoff", to: source.state.plan.targetHostId, token: source.token, checkpoint: latest });
}

/** tenancy.ts `revert`: on the record as it is now. */
export function revert(draft: Draft, reading: Reading): void {
  const { session } = draft.host;
  change(draft, { revertDue: false });
  if (session === undefined || reading.kind === "unreachable") {
    revertAnswered(draft, { kind: "unknown" });
    return;
  }
  if (reading.kind === "no-record") {
    revertAnswered(draft, { kind: "refused", code: "NO_RECORD", record: undefined });
    return;
  }
  remember(draft, reading.record);
  const { revision } = reading.record;
  draft.ask("revert", session, { ...draft.command("revert", session, revision), kind: "revert_handoff", revision });
}

export function beginAnswered(draft: Draft, answer: Answer): void {
  if (answer.kind === "applied") remember(draft, answer.record);
  sourceHears(draft, { kind: "begin-answered", answer: ownerAnswer(answer) });
}

export function revertAnswered(draft: Draft, answer: Answer): void {
  let said = ownerAnswer(answer);
  if (answer.kind === "applied") {
    remember(draft, answer.record);
    try {
      draft.step({ kind: "reverted" });
    } catch (cause) {
      if (!(cause instanceof IllegalStep)) throw cause;
      said = { kind: "unknown" }; // what the driver makes of a step that was thrown
    }
  }
  sourceHears(draft, { kind: "revert-answered", answer: said });
}

function ownerAnswer(answer: Answer): OwnerAnswer {
  return answer.kind === "refused" ? { kind: "refused", code: answer.code } : { kind: answer.kind };
}

/** source-agent.ts `resolve` and supervisor.ts `untilSettled`: tells the machine how the doubt ended, if it has. */
export function tellResolved(draft: Draft): void {
  const { source, tenure } = draft.host;
  if (source?.state.phase.kind !== "resolving") return;
  if (tenure.kind === "ACTIVE_OWNER" && canTick(draft.context.rules, draft.host)) {
    const { era, major } = tenure.grant;
    sourceHears(draft, { kind: "resolved", resolution: { kind: "recovered", era, major } });
    return;
  }
  if (tenure.kind !== "RETIRED") return;
  sourceHears(draft, { kind: "resolved", resolution: whereItWent(draft.record) });
}

function whereItWent(record: AuthorityRecord | undefined) {
  if (record?.owner === undefined || record.state === "RETIRED") return { kind: "gone" } as const;
  const { era, major } = record;
  return { kind: "moved", hostId: record.owner.hostId, era, major } as const;
}
