// One host: its session, its disk, and the supervisor of the one agent, as small as the protocol allows.
//
// Decisions are made by the production functions in `rules`; what is here executes them, and mirrors, method by method,
// services/agent-host/src/agents/tenancy.ts, supervisor.ts and roster.ts. A tick makes its checkpoint at once, the reading
// of a record is one step with the decision that it leads to, and a frame's way through the disk is one step.

import {
  type AuthorityRecord,
  type Base,
  basesOfSpine,
  type CheckpointRef,
  type ClockReading,
  type Command,
  compareCheckpoints,
  type Doubt,
  type GrantItem,
  IllegalStep,
  type LeaseRules,
  noticeLapse,
  openLease,
  type ReassertDecision,
  type SessionLease,
  type TenureEvent,
  untrusted,
} from "@godwit/common/lease";
import type { Reading } from "../../judge.ts";
import type { Digests } from "./digests.ts";
import type { Rules } from "./rules.ts";
import {
  type Answer,
  agentId,
  type Call,
  firstIncarnation,
  type GhostEvent,
  type GivingUp,
  type Host,
  type Journal,
  journalView,
  type Message,
  type Session,
  sessionId,
} from "./world.ts";

export interface HostContext {
  readonly rules: Rules;
  readonly digests: Digests;
  /** `--trust-data-lock` of the host (GA-5). */
  readonly trustDataLock: boolean;
  /** Told of each row of the tables that a step comes through. */
  readonly onRow: (row: string) => void;
}

/** The lease of every session is of this length; only before and after its deadline are told apart. */
export const leaseRules: LeaseRules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };
const start: ClockReading = { monotonicMs: 0, wallMs: 0 };
const afterDeadline: ClockReading = { monotonicMs: leaseRules.durationMs, wallMs: leaseRules.durationMs };
const voidLease: SessionLease = { kind: "void" };

/** A host in the middle of a step, and what it sends and commits in it. */
export class Draft {
  readonly context: HostContext;
  readonly sends: Message[] = [];
  readonly ghost: GhostEvent[] = [];
  /** A session of this host that it closes in this step (GA-5). */
  closes: string | undefined;
  host: Host;
  /** The record of the reading or answer that this step is about: what `lastRecord` of tenancy.ts is asked for. */
  record: AuthorityRecord | undefined;

  constructor(context: HostContext, host: Host) {
    this.context = context;
    this.host = host;
  }

  set(changes: Partial<Host>): void {
    this.host = { ...this.host, ...changes };
  }

  step(event: TenureEvent): void {
    const tenure = this.context.rules.stepTenure(this.host.tenure, event);
    // "relinquished" is on the disk with the journal entry.
    this.set({ tenure });
  }

  doubt(doubt: Doubt): void {
    this.step({ kind: "doubt", doubt });
  }

  /** Sends a command of the tenancy; its answer comes to `answered`. */
  ask(purpose: Call["purpose"], session: Session, command: Command): void {
    this.set({ call: { purpose, commandId: command.id, session } });
    this.sends.push({ kind: "request", from: this.host.name, slot: "tenancy", reply: true, command });
  }

  /** What every command names. The id is new for each decision: what it was decided on, and how often nobody answered. */
  command(kind: string, session: Session, revision: bigint | undefined) {
    const { name, nonce } = this.host;
    const caller = sessionId(name, session);
    const on = revision === undefined ? "" : `@${revision}`;
    const id = `${name}${session.bootId}.${session.incarnation}:${kind}${on}#${nonce}`;
    return { id, incarnation: session.incarnation, agentId, caller };
  }
}

export function canTick(rules: Rules, host: Host): boolean {
  const { session, up, latest, tenure, name } = host;
  if (!up || session === undefined || latest === undefined) return false;
  return rules.mayTick(tenure, leaseOf(host), sessionId(name, session), nowOf(host)).kind === "may";
}

/** As if its newest renewal had been sent at the beginning of time; then the deadline passes, or it does not. */
export function leaseOf({ session }: Host): SessionLease {
  if (session === undefined) return voidLease;
  const { incarnation, from, missed } = session;
  return { ...openLease(incarnation, start, leaseRules), from, lapsed: missed };
}

export function nowOf({ lapsed }: Host): ClockReading {
  return lapsed ? afterDeadline : start;
}

/** session-keeper.ts: a renewal, or a reassert, was answered under `incarnation`. */
export function renewed(draft: Draft, kind: "renewed" | "reasserted", incarnation: string): void {
  const { host, context } = draft;
  const { session } = host;
  if (session === undefined) return;
  const now = nowOf(host);
  const lease = context.rules.stepLease(noticeLapse(leaseOf(host), now), {
    kind,
    incarnation,
    sentAt: now,
    rules: leaseRules,
  });
  if (lease.kind === "void") return;
  const { from, lapsed } = lease;
  const missed = from !== undefined && lapsed === true ? { missed: true } : {};
  draft.set({
    session: {
      bootId: session.bootId,
      incarnation: lease.incarnation,
      ...(from === undefined ? {} : { from }),
      ...missed,
    },
    lapsed: false,
  });
}

export function withCheckpoint(held: readonly CheckpointRef[], checkpoint: CheckpointRef): readonly CheckpointRef[] {
  if (held.some(({ digest }) => digest === checkpoint.digest)) return held;
  return [...held, checkpoint].sort((a, b) => compareCheckpoints(b, a));
}

/** supervisor.ts #tickOnce and #checkpoint. */
export function tick(draft: Draft): void {
  const { host, context } = draft;
  const { latest, ground, name, held } = host;
  if (latest === undefined || ground === undefined) return;
  const { tenure } = host;
  const grantedUnder = tenure.kind === "ACTIVE_OWNER" ? tenure.grant.incarnation : "";
  const checkpoint = context.digests.write(name, ground, latest, { base: ground.base, grantedUnder });
  draft.set({ latest: checkpoint, untold: true, held: withCheckpoint(held, checkpoint) });
  draft.ghost.push({ kind: "committed", checkpoint, previous: latest });
}

/** head-reports.ts. An answer that it was applied changes nothing, so only a refusal is answered. */
export function report(draft: Draft): void {
  const { session, latest, ground, name } = draft.host;
  draft.set({ untold: false });
  if (session === undefined || latest === undefined || ground === undefined) return;
  const { era, major } = latest;
  const command: Command = {
    ...draft.command(`report${latest.digest}`, session, undefined),
    kind: "report_head",
    era,
    major,
    head: latest,
  };
  draft.sends.push({ kind: "request", from: name, slot: "report", reply: true, command });
}

/** tenancy.ts `reported`. */
export function reported(draft: Draft, answer: Answer, commandId: string): void {
  const { tenure, latest } = draft.host;
  if (answer.kind !== "refused" || tenure.kind !== "ACTIVE_OWNER" || latest === undefined) return;
  const { era, major } = tenure.grant;
  // The id names the checkpoint, and that one the term under which it was written.
  const term = draft.host.held.find(({ digest }) => commandId.includes(`report${digest}#`));
  if (term === undefined || term.era !== era || term.major !== major || isOfTheStore(answer.code)) return;
  draft.doubt(answer.code === "DIVERGENT_LINEAGE" ? "divergent-lineage" : "lost-grant");
}

/** store-trouble.ts: it says something of the store or the session, and nothing of the agent. */
function isOfTheStore(code: string): boolean {
  return code === "QUARANTINE" || code === "STALE_INCARNATION";
}

/** tenancy.ts `settle`: one look at the registry, and one act on what it says. */
export function settle(draft: Draft, reading: Reading): void {
  const { host, context } = draft;
  const { session, name } = host;
  if (session === undefined) return;
  draft.set({ latest: undefined }); // supervisor.ts #settle drops the instance (EI-2)
  if (reading.kind === "record") draft.record = reading.record;
  const mark = { incarnation: session.incarnation, counter: counterOf(session.incarnation) };
  const { journal, held } = host;
  const loss = context.rules.judgeLoss(reading, {
    mark,
    journal: journalView(journal),
    createdUnder: firstIncarnation,
    held,
  });
  if (loss.kind === "wait") return;
  if (loss.kind === "recover") {
    const record = reading.kind === "record" ? reading.record : undefined;
    recover(draft, session, record, loss.head);
    return;
  }
  const verdict = context.rules.judge(reading, {
    session: { id: sessionId(name, session), incarnation: session.incarnation },
    journal: journalView(host.journal),
    relinquished: host.relinquished,
    taken: host.ground,
    asked: host.asked,
    mayCloseEarlier: () => context.trustDataLock,
  });
  switch (verdict.kind) {
    case "wait":
      return;
    case "acquire":
      acquire(draft, session);
      return;
    case "take-up":
      takeUp(draft, session, verdict.record);
      return;
    case "claim":
      claimAgain(draft, session);
      return;
    case "recover":
      recoverByLineage(draft, session, verdict.record);
      return;
    case "give-up-again":
      giveUpAgain(draft, session, verdict.record);
      return;
    case "close-earlier":
      draft.closes = verdict.bootId;
      return;
    case "retire":
      retired(draft);
      return;
    case "terminated":
      terminated(draft);
      return;
  }
}

function acquire(draft: Draft, session: Session): void {
  const head = draft.host.held[0];
  if (head === undefined) return;
  const genesis = {
    creatorHostId: draft.host.name,
    incarnation: firstIncarnation,
    recoveryPolicy: "latest",
    name: "agent",
  } as const;
  draft.ask("acquire", session, { ...draft.command("acquire", session, undefined), kind: "acquire", genesis, head });
}

function claimAgain(draft: Draft, session: Session): void {
  const { journal } = draft.host;
  if (journal.phase !== "claiming") return;
  const base = draft.command("claim-again", session, undefined);
  const id = journal.bootId === session.bootId ? journal.commandId : base.id;
  draft.set({ journal: { ...journal, bootId: session.bootId, commandId: id } });
  draft.ask("claim", session, { ...base, id, kind: "claim", token: journal.token });
}

function recoverByLineage(draft: Draft, session: Session, record: AuthorityRecord): void {
  promoteStaged(draft);
  const { rules } = draft.context;
  const mark = { incarnation: session.incarnation, counter: counterOf(session.incarnation) };
  const head = draft.host.held.find((ref) => rules.standingUnder(mark, record, ref) !== "orphan");
  if (head !== undefined) recover(draft, session, record, head);
}

function recover(draft: Draft, session: Session, record: AuthorityRecord | undefined, head: CheckpointRef): void {
  promoteStaged(draft);
  const revision = record?.revision ?? 0n;
  const base = draft.command("recover", session, revision);
  const on = record && { era: record.era, major: record.major };
  draft.set({ journal: { phase: "recovering", commandId: base.id, on } });
  draft.step({ kind: "sending", command: "recover" });
  draft.ask("recover", session, { ...base, kind: "recover", revision, head });
}

/** supervisor.ts #giveUp and tenancy.ts #giveUp. */
export function giveUp(draft: Draft, what: GivingUp): void {
  const { session, latest, ground } = draft.host;
  draft.set({ wish: what });
  if (session === undefined || ground === undefined) return;
  const base = draft.command(what.command, session, ground.revision);
  const journal: Journal = { phase: "giving-up", bootId: session.bootId, commandId: base.id, ...what };
  draft.set({ journal });
  draft.step({ kind: "sending", command: what.command });
  draft.doubt("outcome-unknown");
  sendGiveUp(draft, session, { base, revision: ground.revision, what, head: latest });
}

function giveUpAgain(draft: Draft, session: Session, record: AuthorityRecord): void {
  const { journal, held } = draft.host;
  if (journal.phase !== "giving-up") return;
  const base = draft.command(journal.command, session, record.revision);
  const id = journal.bootId === session.bootId ? journal.commandId : base.id;
  const { command, reason } = journal;
  sendGiveUp(draft, session, {
    base: { ...base, id },
    revision: record.revision,
    what: { command, reason },
    head: held[0],
  });
}

function sendGiveUp(
  draft: Draft,
  session: Session,
  {
    base,
    revision,
    what,
    head,
  }: {
    base: ReturnType<Draft["command"]>;
    revision: bigint;
    what: GivingUp;
    head: CheckpointRef | undefined;
  },
): void {
  switch (what.command) {
    case "release":
      draft.ask("give-up", session, { ...base, kind: "release", revision, reason: what.reason ?? "stopped", head });
      return;
    case "declare_recovery":
      draft.ask("give-up", session, { ...base, kind: "declare_recovery", revision, reason: "operator" });
      return;
    case "terminate":
      draft.ask("give-up", session, { ...base, kind: "terminate", revision });
  }
}

/** tenancy.ts `confirmBase`. */
export function confirmBase(draft: Draft): void {
  const { session, ground } = draft.host;
  if (session === undefined || ground === undefined) return;
  const { era, major, base } = ground;
  const command: Command = {
    ...draft.command(`confirm${base.digest}`, session, undefined),
    kind: "report_head",
    era,
    major,
    head: base,
  };
  draft.ask("confirm", session, command);
}

/** The answer to what the tenancy asked; `begin` and `revert` are the source machine's (source-side.ts). */
export function tenancyAnswered(draft: Draft, call: Call, answer: Answer): void {
  if (answer.kind === "applied") draft.record = answer.record;
  switch (call.purpose) {
    case "acquire":
    case "claim":
    case "recover":
      if (answer.kind === "applied") takeUp(draft, call.session, answer.record);
      return;
    case "give-up":
      if (answer.kind !== "applied") return;
      if (answer.record.terminated !== undefined) {
        terminated(draft);
        return;
      }
      // A declared agent stays ours, and comes back with `recover`.
      if (answer.record.state === "RETIRED") retired(draft);
      else draft.set({ wish: undefined, journal: { phase: "owner", bootId: call.session.bootId } });
      return;
    case "confirm":
      if (!isStillConfirming(draft, call)) return;
      if (answer.kind === "refused") draft.doubt("lost-grant");
      if (answer.kind !== "applied") return;
      remember(draft, answer.record);
      draft.set({ journal: { phase: "owner", bootId: call.session.bootId } });
      draft.step({ kind: "base-confirmed" });
      if (draft.host.ground !== undefined) {
        draft.set({ latest: draft.host.ground.base, ground: { ...draft.host.ground, pending: undefined } });
      }
      return;
  }
}

/** An answer that comes after a doubt, or for a session that is over, confirms nothing any more. */
function isStillConfirming({ host }: Draft, { session }: Call): boolean {
  const { tenure } = host;
  return tenure.kind === "ACTIVE_OWNER" && !tenure.baseConfirmed && tenure.grant.session.bootId === session.bootId;
}

export function takeUp(draft: Draft, session: Session, record: AuthorityRecord): void {
  const created = draft.host.journal.phase === "acquiring";
  promoteStaged(draft);
  grantedBy(draft, session, record, created);
  draft.set({ journal: { phase: "owner", bootId: session.bootId }, asked: false });
}

export function grantedBy(draft: Draft, session: Session, record: AuthorityRecord, created: boolean): void {
  const base = record.unconfirmed ?? record.bases[0]?.startedFrom;
  if (record.grant === undefined || base === undefined) throw new TypeError("a record without grant or base");
  const { era, major, incarnation, revision } = record;
  const baseConfirmed = record.unconfirmed === undefined;
  const grant = { era, major, session: sessionId(draft.host.name, session), incarnation };
  // GA-8: a grant of another incarnation than the lease's is none.
  const { session: current } = draft.host;
  const stale =
    current !== undefined &&
    !draft.context.rules.mayTake(grant, leaseOf(draft.host), sessionId(draft.host.name, current)) &&
    current.bootId === session.bootId;
  draft.step({ kind: "granted", grant, baseConfirmed });
  const { bases, head, afterLoss } = record;
  const pending = baseConfirmed ? undefined : { bases, head, afterLoss };
  draft.set({ ground: { era, major, base, created, revision, pending }, latest: baseConfirmed ? base : undefined });
  if (stale) {
    draft.context.onRow("GA-8 a grant that arrives for another incarnation is not taken");
    draft.doubt("session-void");
  }
  // Lost while the answer was on its way: nobody will say so again.
  if (draft.host.session?.bootId !== session.bootId) draft.doubt("session-void");
}

function retired(draft: Draft): void {
  promoteStaged(draft);
  draft.step({ kind: "retired", why: "superseded" });
  draft.set({ journal: { phase: "retired" } });
}

function terminated(draft: Draft): void {
  draft.step({ kind: "retired", why: "terminated" });
  draft.set({ journal: { phase: "terminated" }, held: [], staged: undefined });
}

function promoteStaged(draft: Draft): void {
  const { staged, journal, held } = draft.host;
  if (journal.phase !== "claiming" || staged?.handoffId !== journal.handoffId) return;
  draft.set({ held: withCheckpoint(held, staged.checkpoint), staged: undefined });
}

export function remember(draft: Draft, record: AuthorityRecord): void {
  const { ground } = draft.host;
  draft.record = record;
  if (ground !== undefined) draft.set({ ground: { ...ground, revision: record.revision } });
}

/** SL-4, session-keeper.ts `void`: what was granted under it is not ours any more. */
export function sessionVoid(draft: Draft): void {
  draft.set({ session: undefined, lapsed: false });
  if (draft.host.supervised) draft.doubt("session-void");
}

/** A supervisor that first asks the registry (roster.ts `superviseStored`, `recover`). */
export function supervise(draft: Draft): void {
  const { relinquished, journal } = draft.host;
  const wish = journal.phase === "giving-up" ? { command: journal.command, reason: journal.reason } : undefined;
  draft.set({ supervised: true, tenure: { ...untrusted, relinquished }, wish });
}

/** The supervisor's loop has ended (roster.ts onEnded): nothing of it stays in memory. */
export function superviseNoMore(draft: Draft): void {
  const { relinquished } = draft.host;
  draft.set({
    supervised: false,
    tenure: { ...untrusted, relinquished },
    ground: undefined,
    latest: undefined,
    untold: false,
    asked: false,
    wish: undefined,
    call: undefined,
  });
}

export function isAtRest({ phase }: Journal): boolean {
  return phase === "replica" || phase === "retired" || phase === "terminated";
}

/** What kill -9 leaves: the disk. */
export function crashed(host: Host): Host {
  const { name, boots, journal, relinquished, held, staged } = host;
  return {
    name,
    up: false,
    boots,
    session: undefined,
    lapsed: false,
    journal,
    relinquished,
    held,
    staged,
    supervised: false,
    tenure: untrusted,
    ground: undefined,
    latest: undefined,
    untold: false,
    asked: false,
    wish: undefined,
    call: undefined,
    source: undefined,
    target: undefined,
    promoting: false,
    nonce: 0,
    reasserting: false,
  };
}

export function counterOf(incarnation: string): bigint {
  return BigInt(incarnation.slice(1));
}

/** A host that hears of a loss looks at what it holds and does not run (GA-5), and doubts what was not brought over. */
export function loseGrant(draft: Draft): void {
  draft.doubt("session-void");
}

/** GA-7: the grant that is held, with what is known of the lineage. Undefined when GA-8 forbids it. */
export function reassertItem(draft: Draft): { readonly item: GrantItem; readonly from: string } | undefined {
  const { host, context } = draft;
  const { session, tenure, ground, name, held } = host;
  if (session?.from === undefined || ground === undefined) return undefined;
  const right = context.rules.mayReassert(tenure, {
    lease: leaseOf(host),
    session: sessionId(name, session),
    to: session.incarnation,
    now: nowOf(host),
  });
  if (right.kind !== "may") {
    context.onRow(`GA-8 not reasserted: ${right.because}`);
    return undefined;
  }
  const { era, major, base, pending, revision } = ground;
  const newest = held.find((ref) => ref.era === era && ref.major === major) ?? base;
  const spine = basesOfSpine(context.digests.spine(base));
  const bases: readonly Base[] =
    spine[0]?.startedFrom.digest === base.digest
      ? [{ era, major, startedFrom: base }, ...spine.slice(1)]
      : [{ era, major, startedFrom: base }, ...spine];
  const item: GrantItem = {
    kind: "grant",
    agentId,
    genesis: { name: "agent", recoveryPolicy: "latest" },
    grant: { era, major, session: right.grant.session, incarnation: right.grant.incarnation },
    revision,
    head: pending?.head ?? newest,
    bases: pending?.bases ?? bases,
    unconfirmed: pending === undefined ? undefined : base,
    forced: undefined,
    afterLoss: pending?.afterLoss,
  };
  return { item, from: session.from };
}

/** The answer to a reassert: the same right under the new incarnation, or doubt. */
export function reasserted(draft: Draft, decision: ReassertDecision): void {
  draft.set({ reasserting: false });
  const { host, context } = draft;
  const { session, tenure, ground, name } = host;
  if (decision.kind !== "rebuilt" && decision.kind !== "answered") {
    if (host.supervised && tenure.kind !== "RETIRED") draft.doubt("lost-grant");
    return;
  }
  const { record } = decision;
  if (session === undefined || ground === undefined || record.era !== ground.era || record.major !== ground.major)
    return;
  const grant = {
    era: record.era,
    major: record.major,
    session: sessionId(name, session),
    incarnation: record.incarnation,
  };
  if (!context.rules.mayTake(grant, leaseOf(host), sessionId(name, session))) return;
  try {
    draft.step({ kind: "reasserted", grant });
  } catch (cause) {
    if (!(cause instanceof IllegalStep)) throw cause;
    context.onRow("GA-8 what was given up while it was reasserted stays given up");
    return; // given up while the answer was on its way: the doubt that is open already settles it
  }
  remember(draft, record);
  if (draft.host.latest !== undefined || ground.pending !== undefined) return;
  // EI-2: its major may have gone on from its base; the newest checkpoint of it is what it stands on.
  const newest = host.held.find((ref) => ref.era === ground.era && ref.major === ground.major);
  draft.set({ latest: newest ?? ground.base });
}
