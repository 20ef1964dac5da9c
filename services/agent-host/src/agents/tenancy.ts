// One agent's authority on this host: what the registry granted, what the journal says, and every command that asks for
// more or gives it back. The only place of the host that talks to the registry about an agent's ownership.
//
// The right to tick itself is the pure tenure machine of @godwit/common/lease; what to do in doubt is judge.ts. Callers
// run these methods one at a time (the supervisor's turn).
//
// GA-4  In any doubt: RECOVERY_REQUIRED, and the registry is asked for as long as it takes.
// GH-1  "relinquished" is in the journal, durable, before the token leaves; a revert is answered before anything ticks.
// GA-7  What was granted is brought back after a loss of the store, and counts again once it is granted anew, on the disk too.
// GA-8  What may have ended a term is noted before it is sent, so that nothing of that term is brought back afterwards. No grant
//       is taken that arrives for another incarnation than the lease's.
// GA-9  What was not brought back is recovered with its spine, when the quarantine is over.
// §4    What was sent is in the journal before it is sent, so that a lost answer or a crash can be taken up.

import type { Entropy } from "@godwit/common/clock";
import {
  type AuthorityRecord,
  type CheckpointRef,
  compareCheckpoints,
  type Doubt,
  IllegalStep,
  lossOf,
  mayReassert,
  mayTake,
  mayTick,
  type RefusalCode,
  type RetiredReason,
  type SignedBytes,
  sameSession,
  sameTerm,
  standingUnder,
  stepTenure,
  type Tenure,
  type TenureEvent,
  type Term,
  type TickRight,
  untrusted,
} from "@godwit/common/lease";
import { type Checkpoint, issueToken, type Origin, type Signer } from "@godwit/lineage";
import type { Logger } from "pino";
import type { Answer, Authority, HeldSession, Reading, ShownItem } from "../registry/ports.ts";
import type { DataDirectory, ForcedChoice, JournalEntry } from "../storage/index.ts";
import { causeFields } from "./cause-fields.ts";
import { judge, type Verdict } from "./judge.ts";
import { genesisOnDisk, judgeLostAgent } from "./lost-agent.ts";
import { isOfTheStore, isQuarantine } from "./store-trouble.ts";
import type { HostSession } from "./supervisor-parts.ts";

export interface TenancyParts {
  readonly agentId: string;
  readonly authority: Authority;
  readonly keeper: HostSession;
  readonly storage: DataDirectory;
  readonly signer: Signer;
  readonly entropy: Entropy;
  readonly logger: Logger;
  /** Whether the registry has heard of everything that this host holds and does not run; announces what it has not. */
  readonly announced: () => Promise<boolean>;
}

/** What of an agent's past on the disk is shown when it is brought back. */
export interface Kept {
  readonly genesis: Uint8Array;
  /** The newest checkpoint of the present major; unset: there is none yet. */
  readonly newest: CheckpointRef | undefined;
}

export interface TenancyRules {
  /** GA-5: this host's data directory is never copied while in use, so its earlier sessions may be closed at once. */
  readonly trustDataLock: boolean;
}

/** What the present major stands on; every checkpoint of it says so. */
export interface Ground {
  readonly grant: SignedBytes;
  readonly era: bigint;
  readonly major: bigint;
  readonly base: CheckpointRef;
  readonly origin: Origin;
  readonly rolledBackFromTick: bigint | undefined;
}

/** What one look at the registry came to, while in doubt. */
export type Progress =
  | { readonly kind: "granted" }
  | { readonly kind: "waiting"; readonly why: string }
  | { readonly kind: "retired"; readonly record: AuthorityRecord }
  | { readonly kind: "terminated" };

/** Refusals of `begin_handoff` after which the agent may tick on: an open handoff of ours is reverted, the others pass. */
const saysNothingOfTheGrant: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  "HANDOFF_IN_PROGRESS",
  "STALE_REVISION",
  "BASE_UNCONFIRMED",
]);

export class Tenancy {
  readonly #parts: TenancyParts;
  readonly #rules: TenancyRules;
  #tenure: Tenure;
  #revision = 0n;
  #ground: Ground | undefined;
  #journal: JournalEntry;
  /** The newest record read or answered: what is told of the agent, and a conflict that the store may have forgotten (GA-7). */
  #lastRecord: AuthorityRecord | undefined;
  /** The record of the present grant, as it was answered last: what is known of the lineage after a loss of the store. */
  #known: AuthorityRecord | undefined;
  #genesis: Uint8Array | undefined;
  /** Offered by the registry, or asked for by an operator. `if-unfunded`: by money, which asks for no more than that (§11). */
  asked: boolean | "if-unfunded" = false;

  constructor(parts: TenancyParts, rules: TenancyRules, journal: JournalEntry) {
    this.#parts = parts;
    this.#rules = rules;
    this.#journal = journal;
    const relinquished = parts.storage.agent(parts.agentId)?.newestRelinquished;
    this.#tenure = { ...untrusted, relinquished };
  }

  get tenure(): Tenure {
    return this.#tenure;
  }

  get ground(): Ground | undefined {
    return this.#ground;
  }

  get journal(): JournalEntry {
    return this.#journal;
  }

  get lastRecord(): AuthorityRecord | undefined {
    return this.#lastRecord;
  }

  /** GA-1, GA-2: asked before a tick and again before its result is committed. */
  mayTick(): TickRight {
    const session = this.#parts.keeper.current;
    if (session === undefined) return { kind: "may-not", because: "not-owner" };
    return mayTick(this.#tenure, this.#parts.keeper.lease, session.id, this.#parts.keeper.reading());
  }

  doubt(doubt: Doubt): void {
    this.#step({ kind: "doubt", doubt });
  }

  /** SL-4: the session is over. What was granted under it is not ours any more until it is recovered. */
  sessionVoid(): void {
    if (this.#tenure.kind !== "RETIRED") this.doubt("session-void");
  }

  /** One look at the registry and one act on what it says. Never throws for what the registry or the network does. */
  async settle(): Promise<Progress> {
    const { authority, keeper, storage, agentId } = this.#parts;
    const session = keeper.current;
    if (session === undefined) return { kind: "waiting", why: "no-session" };
    const reading = await authority.read(agentId);
    if (reading.kind === "record") this.#lastRecord = reading.record;
    if (reading.kind === "unreachable" && isQuarantine(reading.cause)) return { kind: "waiting", why: "quarantine" };
    const afterLoss = await this.#afterLoss(session, reading);
    if (afterLoss !== undefined) return afterLoss;
    const verdict = judge(reading, {
      session,
      journal: this.#journal,
      relinquished: storage.agent(agentId)?.newestRelinquished,
      taken: this.#ground,
      asked: this.asked === true || (this.asked === "if-unfunded" && isUnfunded(reading)),
      mayCloseEarlier: (bootId) => this.#rules.trustDataLock && storage.isOwnSession(bootId),
    });
    return await this.#act(session, verdict);
  }

  async #act(session: HeldSession, verdict: Verdict): Promise<Progress> {
    switch (verdict.kind) {
      case "wait":
        return { kind: "waiting", why: verdict.why };
      case "acquire":
        return await this.#acquire(session);
      case "take-up":
        return await this.#takeUp(session, verdict.record);
      case "claim":
        return await this.#claimAgain(session);
      case "recover":
        return await this.#recover(session, verdict.record);
      case "give-up-again":
        return await this.#giveUpAgain(session, verdict.record);
      case "close-earlier":
        return await this.#closeEarlier(verdict.bootId);
      case "retire":
        return await this.#retired(verdict.record, verdict.why);
      case "terminated":
        return await this.#terminated(verdict.record);
    }
  }

  /** Confirms an unconfirmed base (§4); nothing ticks before it is answered. */
  async confirmBase(): Promise<boolean> {
    const { authority, keeper, storage, agentId } = this.#parts;
    const session = keeper.current;
    const ground = this.#ground;
    if (session === undefined || ground === undefined) return false;
    const checkpoint = await storage.checkpoint(agentId, ground.base.digest);
    if (checkpoint === undefined) return false;
    const { era, major, base } = ground;
    const [answer] = await authority.reportHeads(session, [
      { commandId: this.#parts.entropy.uuid(), agentId, era, major, ref: base, head: checkpoint.signed },
    ]);
    if (answer?.kind === "refused" && !this.#isOfTheStore(answer.code)) this.doubt("lost-grant");
    if (answer?.kind !== "applied") return false;
    if (this.#tenure.kind !== "ACTIVE_OWNER") return false; // the session ended meanwhile
    if (answer.record.incarnation !== this.#tenure.grant.incarnation) return false;
    this.#remember(answer.record);
    this.#step({ kind: "base-confirmed" });
    await this.#write(this.#ownerEntry(session, ground));
    return true;
  }

  /**
   * The answer to a head that was reported under `term`. One that was overtaken by a newer term of ours says nothing; a
   * refusal under the present one says that the grant is not what we believe (EI-7).
   */
  reported(term: Term, answer: Answer): void {
    if (answer.kind === "applied") this.#learn(answer.record);
    if (answer.kind !== "refused" || this.#tenure.kind !== "ACTIVE_OWNER" || !sameTerm(term, this.#tenure.grant))
      return;
    if (this.#isOfTheStore(answer.code)) return; // the session's business, and the lease's (GA-1)
    // A handoff that was begun, and reverted since, has named a newer head than a report that was on its way.
    if (answer.code === "STALE_CHECKPOINT" && this.#isPresent(answer.record)) return;
    this.#parts.logger.error({ agentId: this.#parts.agentId, code: answer.code }, "head refused");
    this.doubt(answer.code === "DIVERGENT_LINEAGE" ? "divergent-lineage" : "lost-grant");
  }

  freeze(handoffId: string): void {
    this.#step({ kind: "freeze", handoffId });
  }

  async beginHandoff(handoff: { handoffId: string; targetHostId: string; head: SignedBytes }): Promise<Answer> {
    const session = this.#parts.keeper.current;
    if (session === undefined) return { kind: "unknown", cause: new Error("the session is over") };
    // Reasserted meanwhile: that has ended what was not begun yet (GA-7), and it ticks. In doubt by now: it is settled first.
    if (this.#tenure.kind !== "HANDOFF_INITIATED")
      return { kind: "refused", code: "HANDOFF_SUPERSEDED", record: this.#lastRecord };
    const answer = await this.#parts.authority.beginHandoff(session, this.#command(), handoff);
    if (answer.kind === "applied") this.#remember(answer.record);
    if (answer.kind === "refused" && !this.#isOfTheStore(answer.code) && !saysNothingOfTheGrant.has(answer.code)) {
      this.#parts.logger.error({ agentId: this.#parts.agentId, code: answer.code }, "handoff refused");
      this.doubt(answer.code === "DIVERGENT_LINEAGE" ? "divergent-lineage" : "lost-grant"); // EI-7: as with a head
    }
    return answer;
  }

  /** GH-1: the last safe moment is before this. The token leaves only after the journal has it. */
  async relinquish(handoff: { handoffId: string; targetHostId: string }, frozen: Checkpoint): Promise<SignedBytes> {
    const { signer, agentId } = this.#parts;
    const ground = this.#granted();
    const { era, major } = ground;
    const checkpointDigest = frozen.digest;
    const tick = frozen.header.tick;
    const token = issueToken({ agentId, era, major, ...handoff, checkpointDigest, tick }, signer);
    const bootId = this.#bootId();
    // From here on in doubt, not after the write: a write whose outcome is unknown may be on the disk.
    this.#step({ kind: "relinquished" });
    await this.#write({ phase: "relinquished", bootId, era, major, ...handoff, token, checkpointDigest, tick });
    return token;
  }

  /** `revert_handoff`, on the record as it is now: whether `begin_handoff` arrived is then settled (GH-1). */
  async revert(): Promise<Answer> {
    const { authority, keeper, agentId } = this.#parts;
    const session = keeper.current;
    if (session === undefined) return { kind: "unknown", cause: new Error("the session is over") };
    const reading = await authority.read(agentId);
    if (reading.kind === "unreachable") return { kind: "unknown", cause: reading.cause };
    if (reading.kind === "no-record") return { kind: "refused", code: "NO_RECORD", record: undefined };
    this.#revision = reading.record.revision;
    const answer = await authority.revertHandoff(session, this.#command());
    if (answer.kind === "applied") {
      this.#remember(answer.record);
      if (this.#tenure.kind !== "ACTIVE_OWNER") this.#step({ kind: "reverted" }); // else reasserted meanwhile (GA-7)
      // What was given up is ours again, on the disk too: it would take no checkpoint of this major otherwise (T-16).
      if (this.#journal.phase === "giving-up") await this.#write(this.#ownerEntry(session, this.#granted()));
    }
    return answer;
  }

  /** A freeze that came to nothing before `begin_handoff` can have been sent. */
  thaw(): void {
    this.#step({ kind: "reverted" });
  }

  /** Gives the agent up with its state; `undefined` head: this host cannot run it. */
  async release(reason: RetiredReason, head: Checkpoint | undefined): Promise<Answer> {
    return await this.#giveUp({ command: "release", reason }, head);
  }

  /** Gone for good. */
  async terminate(): Promise<Answer> {
    return await this.#giveUp({ command: "terminate" }, undefined);
  }

  /**
   * The target runs it: the local copy stays as a replica, under a tombstone. Nothing to do where `settle` found it out; and
   * not where a doubt came before STARTED: the store may have forgotten the claim and granted the agent to this host again,
   * so only the registry knows (GH-3, GA-9).
   */
  async retireTo(targetHostId: string): Promise<void> {
    if (this.#tenure.kind !== "HANDOFF_PENDING") return;
    const { era, major } = this.#tenure.grant;
    this.#step({ kind: "retired", why: "migrated" });
    await this.#write({ phase: "retired", why: "migrated", era, major, targetHostId });
  }

  /** A claim that was answered: the incoming agent is ours from here (§6). Its journal follows with `promote`. */
  claimed(session: HeldSession, record: AuthorityRecord): void {
    this.#grantedBy(session, record, "migrated");
  }

  /** What was staged becomes a checkpoint of ours, and the journal says so. A crash before this is GH-5's. */
  async promote(session: HeldSession, handoffId: string): Promise<void> {
    const journal = this.#ownerEntry(session, this.#granted());
    await this.#parts.storage.commit({ agentId: this.#parts.agentId, promoteStaging: handoffId, journal });
    this.#journal = journal;
  }

  async #acquire(session: HeldSession): Promise<Progress> {
    const { authority, storage, agentId } = this.#parts;
    const head = await storage.latestCheckpoint(agentId);
    if (head === undefined) return { kind: "waiting", why: "no-checkpoint" };
    const commandId = this.#commandIdOf("acquiring");
    const answer = await authority.acquire(session, { commandId, agentId }, head.signed);
    if (answer.kind === "applied") return await this.#takeUp(session, answer.record);
    return this.#notDone(answer);
  }

  async #claimAgain(session: HeldSession): Promise<Progress> {
    const journal = this.#journal;
    if (journal.phase !== "claiming") return { kind: "waiting", why: "no claim is open" };
    // A new session makes a new command; the same session repeats the one that it sent (GH-4).
    const commandId = journal.bootId === session.id.bootId ? journal.commandId : this.#parts.entropy.uuid();
    await this.#write({ ...journal, bootId: session.id.bootId, commandId });
    const { authority, agentId } = this.#parts;
    const answer = await authority.claim(session, { commandId, agentId }, journal.token);
    if (answer.kind === "applied") return await this.#takeUp(session, answer.record);
    return this.#notDone(answer);
  }

  async #recover(session: HeldSession, record: AuthorityRecord): Promise<Progress> {
    const { storage, agentId } = this.#parts;
    await this.#promoteStaged();
    // The newest that the record's lineage has. An orphan (§10) is passed over; what diverges is shown, not hidden (EI-11).
    const refs = await storage.checkpoints(agentId);
    const ref = refs.find((held) => standingUnder(session, record, held) !== "orphan");
    if (ref === undefined) return { kind: "waiting", why: "no-checkpoint" };
    return await this.#recoverFrom(session, ref, { record, isLoss: lossOf(record, session) !== undefined });
  }

  async #recoverFrom(
    session: HeldSession,
    ref: CheckpointRef,
    { record, isLoss }: { readonly record: AuthorityRecord | undefined; readonly isLoss: boolean },
  ): Promise<Progress> {
    const { authority, storage, agentId, logger } = this.#parts;
    const head = await storage.checkpoint(agentId, ref.digest);
    if (head === undefined) return { kind: "waiting", why: "no-checkpoint" };
    const spine = isLoss ? await storage.spine(agentId, ref) : [];
    const commandId = this.#parts.entropy.uuid();
    const on = record && { era: record.era, major: record.major };
    this.#step({ kind: "sending", command: "recover" });
    const entry = { phase: "recovering", bootId: session.id.bootId, commandId, base: ref } as const;
    await this.#write(on === undefined ? entry : { ...entry, on });
    const command = { commandId, agentId, revision: record?.revision ?? 0n };
    const answer = await authority.recover(session, command, head.signed, spine);
    if (answer.kind === "applied") return await this.#takeUp(session, answer.record);
    if (answer.kind === "refused") logger.warn({ agentId, code: answer.code }, "recovery refused");
    return this.#notDone(answer);
  }

  /** GA-9; `undefined`: nothing was lost, or nothing that is not the judge's. */
  async #afterLoss(session: HeldSession, reading: Reading): Promise<Progress | undefined> {
    if (reading.kind === "unreachable") return undefined;
    const record = reading.kind === "record" ? reading.record : undefined;
    if (record?.incarnation === session.incarnation || record?.terminated !== undefined) return undefined;
    const { storage, agentId } = this.#parts;
    // A claim of another incarnation is dead, so what was staged for it is a checkpoint like every other.
    if (record !== undefined || session.counter > 0n) await this.#promoteStaged();
    const verdict = await judgeLostAgent(storage, session, { agentId, journal: this.#journal, reading });
    switch (verdict.kind) {
      case "not-lost":
        return undefined;
      case "wait": {
        const why =
          record === undefined ? "no-record" : record.conflict === undefined ? "store-loss" : "divergent-lineage";
        return { kind: "waiting", why };
      }
      case "recover":
        return await this.#recoverFrom(session, verdict.head, { record, isLoss: true });
    }
  }

  /** Reads what `broughtBack` shows; `undefined`: nothing is granted here, or nothing of it is held. */
  async kept(): Promise<Kept | undefined> {
    const ground = this.#ground;
    if (ground === undefined || this.#tenure.kind === "RETIRED") return undefined;
    const { storage, agentId } = this.#parts;
    this.#genesis ??= await genesisOnDisk(storage, agentId, ground.base);
    return this.#genesis && { genesis: this.#genesis, newest: await this.newestOwn() };
  }

  /** The newest checkpoint that is held of the present major. */
  async newestOwn(): Promise<CheckpointRef | undefined> {
    const ground = this.#ground;
    if (ground === undefined) return undefined;
    const refs = await this.#parts.storage.checkpoints(this.#parts.agentId);
    return refs.find((ref) => sameTerm(ref, ground));
  }

  /** GA-7, GA-8: what is shown of the agent under the incarnation `to`. Asked just before it is sent. */
  broughtBack(to: string, kept: Kept | undefined): ShownItem | undefined {
    const { keeper, agentId } = this.#parts;
    const session = keeper.current;
    if (session === undefined) return undefined;
    const right = mayReassert(this.#tenure, { lease: keeper.lease, session: session.id, to, now: keeper.reading() });
    const ground = this.#ground;
    const record = this.#known;
    if (right.kind !== "may" || ground === undefined || record === undefined || !sameTerm(right.grant, ground)) {
      return this.#knownConflict(to);
    }
    if (kept === undefined || this.#journal.phase !== "owner") return undefined;
    // Until its base is confirmed a major has no head of its own.
    const own = record.unconfirmed === undefined ? kept.newest : undefined;
    const head = own !== undefined && compareCheckpoints(own, record.head) > 0 ? own : record.head;
    return { kind: "grant", agentId, genesis: kept.genesis, grant: ground.grant, head, record };
  }

  /** What the registry said of what was brought back; `undefined`: nothing was, so the grant is worth nothing any more. */
  async reasserted(session: HeldSession, answer: Answer | undefined): Promise<void> {
    const { keeper, agentId, logger } = this.#parts;
    if (keeper.current !== session) return; // lost again: nobody waits for this
    if (answer?.kind !== "applied" || !this.#isGivenAnew(session, answer.record)) {
      if (answer?.kind === "refused") {
        logger.warn({ agentId, code: answer.code }, "not brought back");
        this.#lastRecord = answer.record ?? this.#lastRecord;
      }
      return this.#leaveBehind(session);
    }
    const { record } = answer;
    const ground = this.#granted();
    if (record.grant === undefined) return;
    const { era, major, grant, unconfirmed } = record;
    const owned = { phase: "owner", bootId: session.id.bootId, era, major, grant } as const;
    await this.#write(unconfirmed === undefined ? owned : { ...owned, unconfirmedBase: unconfirmed });
    this.#ground = { ...ground, grant };
    this.#known = record;
    this.#remember(record);
    if (keeper.current !== session) return this.doubt("session-void");
    try {
      this.#step({ kind: "reasserted", grant: { era, major, session: session.id, incarnation: record.incarnation } });
    } catch (cause) {
      if (!(cause instanceof IllegalStep)) throw cause;
      logger.info({ agentId, reason: cause.message }, "given up while it was brought back"); // the doubt about that stands
    }
  }

  /** Whether a record gives this very major again, under the session's incarnation. */
  #isGivenAnew(session: HeldSession, record: AuthorityRecord): boolean {
    const ground = this.#ground;
    if (ground === undefined || record.grant === undefined || this.#journal.phase !== "owner") return false;
    if (!sameTerm(record, ground) || !sameSession(record.owner, session.id)) return false;
    const { era, major, incarnation } = record;
    if (!mayTake({ era, major, session: session.id, incarnation }, this.#parts.keeper.lease, session.id)) return false;
    // Confirmed while it was brought back: that confirmation is lost, and what was done since may be.
    return record.unconfirmed === undefined || (this.#tenure.kind === "ACTIVE_OWNER" && !this.#tenure.baseConfirmed);
  }

  /** A grant of another incarnation than the session's gives nothing until the agent is recovered (GA-1, GA-9). */
  #leaveBehind(session: HeldSession): void {
    const { tenure } = this;
    if (tenure.kind !== "ACTIVE_OWNER" && tenure.kind !== "HANDOFF_INITIATED") return;
    if (tenure.grant.incarnation !== session.incarnation) this.doubt("lost-grant");
  }

  #knownConflict(to: string): ShownItem | undefined {
    const record = this.#lastRecord;
    if (record?.conflict === undefined || record.incarnation === to) return undefined;
    const { agentId, era, major, conflict } = record;
    return { kind: "conflict", agentId, term: { era, major }, conflict };
  }

  async #giveUpAgain(session: HeldSession, record: AuthorityRecord): Promise<Progress> {
    const journal = this.#journal;
    if (journal.phase !== "giving-up") return { kind: "waiting", why: "nothing was given up" };
    const head = await this.#parts.storage.latestCheckpoint(this.#parts.agentId);
    const commandId = journal.bootId === session.id.bootId ? journal.commandId : this.#parts.entropy.uuid();
    this.#revision = record.revision;
    const answer = await this.#sendGiveUp(session, { ...journal, commandId }, head);
    return answer.kind === "applied" ? await this.#gaveUp(answer.record) : this.#notDone(answer);
  }

  async #giveUp(
    what: { readonly command: "release" | "terminate"; readonly reason?: RetiredReason },
    head: Checkpoint | undefined,
  ): Promise<Answer> {
    const session = this.#parts.keeper.current;
    if (session === undefined) return { kind: "unknown", cause: new Error("the session is over") };
    const { grant, era, major } = this.#granted();
    const entry = {
      phase: "giving-up",
      bootId: session.id.bootId,
      commandId: this.#parts.entropy.uuid(),
      era,
      major,
      grant,
      ...what,
    } as const;
    this.#step({ kind: "sending", command: what.command });
    await this.#write(entry);
    this.doubt("outcome-unknown"); // it ticks again only after an answered revert or recover
    const answer = await this.#sendGiveUp(session, entry, head);
    if (answer.kind === "applied") await this.#gaveUp(answer.record);
    return answer;
  }

  async #sendGiveUp(
    session: HeldSession,
    entry: JournalEntry & { phase: "giving-up" },
    head: Checkpoint | undefined,
  ): Promise<Answer> {
    const { authority } = this.#parts;
    const command = { ...this.#command(), commandId: entry.commandId };
    if (entry.command === "terminate") return await authority.terminate(session, command);
    return await authority.release(session, command, {
      reason: (entry.reason ?? "stopped") as RetiredReason,
      head: head?.signed,
    });
  }

  async #gaveUp(record: AuthorityRecord): Promise<Progress> {
    if (record.terminated !== undefined) return await this.#terminated(record);
    return await this.#retired(record, "released");
  }

  async #closeEarlier(bootId: string): Promise<Progress> {
    try {
      // What dies with that session is offered at once, and an older replica must not win over what is held here (§4).
      if (!(await this.#parts.announced())) return { kind: "waiting", why: "earlier-session-not-void" };
      await this.#parts.keeper.closeEarlier(bootId);
      return { kind: "waiting", why: "earlier-session-not-void" };
    } catch (cause) {
      this.#parts.logger.warn({ ...causeFields(cause), bootId }, "earlier session not closed");
      return { kind: "waiting", why: "earlier-session-not-void" };
    }
  }

  async #takeUp(session: HeldSession, record: AuthorityRecord): Promise<Progress> {
    const origins = { acquiring: "created", claiming: "migrated", recovering: "recovered" } as const;
    const { phase } = this.#journal;
    const origin =
      phase === "acquiring" || phase === "claiming" || phase === "recovering" ? origins[phase] : "recovered";
    await this.#promoteStaged();
    this.#grantedBy(session, record, origin);
    await this.#write(this.#ownerEntry(session, this.#granted()));
    this.asked = false;
    return { kind: "granted" };
  }

  #grantedBy(session: HeldSession, record: AuthorityRecord, origin: Origin): void {
    const base = record.unconfirmed ?? record.bases[0]?.startedFrom;
    if (record.grant === undefined || base === undefined) throw new TypeError("a record without grant or base");
    const { era, major, grant, incarnation } = record;
    const rolledBack = compareCheckpoints(record.head, base) > 0 && record.head.tick > base.tick;
    this.#step({
      kind: "granted",
      grant: { era, major, session: session.id, incarnation },
      baseConfirmed: record.unconfirmed === undefined,
    });
    const isLoss = record.afterLoss !== undefined && base.era !== era;
    this.#ground = {
      grant,
      era,
      major,
      base,
      origin: isLoss ? "recovered-after-store-loss" : origin,
      rolledBackFromTick: rolledBack ? record.head.tick : undefined,
    };
    this.#known = undefined;
    this.#remember(record);
    // Lost while the answer was on its way: nobody will say so again, and its grant would be waited for in vain (SL-4, GA-8).
    const { keeper } = this.#parts;
    const taken = mayTake({ era, major, session: session.id, incarnation }, keeper.lease, session.id);
    if (keeper.current !== session || !taken) this.doubt("session-void");
  }

  async #retired(record: AuthorityRecord, why: "migrated" | "superseded" | "released"): Promise<Progress> {
    const { era, major } = record;
    await this.#promoteStaged();
    const reason = why === "released" ? (record.reason ?? "stopped") : why;
    this.#step({ kind: "retired", why: reason });
    const targetHostId = record.owner?.hostId;
    const entry = { phase: "retired", why: reason, era, major } as const;
    await this.#write(targetHostId === undefined ? entry : { ...entry, targetHostId }, record);
    return { kind: "retired", record };
  }

  async #terminated(record: AuthorityRecord): Promise<Progress> {
    this.#step({ kind: "retired", why: "terminated" });
    if (record.terminated === undefined) return { kind: "terminated" };
    await this.#write({ phase: "terminated", termination: record.terminated });
    await this.#parts.storage.forget(this.#parts.agentId);
    return { kind: "terminated" };
  }

  /** What was staged for a claim becomes a checkpoint of ours: a base to run from, or a replica. */
  async #promoteStaged(): Promise<void> {
    const { storage, agentId } = this.#parts;
    const { phase } = this.#journal;
    if (phase !== "claiming") return;
    const { handoffId } = this.#journal;
    if (!storage.stagedFor(agentId).some((staged) => staged.handoffId === handoffId)) return;
    await storage.commit({ agentId, promoteStaging: handoffId });
  }

  #notDone(answer: Exclude<Answer, { kind: "applied" }>): Progress {
    if (answer.kind === "refused") {
      this.#isOfTheStore(answer.code);
      return { kind: "waiting", why: answer.code };
    }
    const { agentId, logger } = this.#parts;
    logger.info({ agentId, ...causeFields(answer.cause) }, "outcome unknown, asking again");
    return { kind: "waiting", why: "unknown" };
  }

  /** Whether a refusal speaks of the store; the session hears of another incarnation at once. */
  #isOfTheStore(code: RefusalCode): boolean {
    if (code === "STALE_INCARNATION") this.#parts.keeper.suspect();
    return isOfTheStore(code);
  }

  #commandIdOf(phase: "acquiring"): string {
    return this.#journal.phase === phase ? this.#journal.commandId : this.#parts.entropy.uuid();
  }

  #ownerEntry(session: HeldSession, { era, major, grant, base }: Ground): JournalEntry {
    const confirmed = this.#tenure.kind === "ACTIVE_OWNER" && this.#tenure.baseConfirmed;
    return {
      phase: "owner",
      bootId: session.id.bootId,
      era,
      major,
      grant,
      ...(confirmed ? {} : { unconfirmedBase: base }),
    };
  }

  #command(): { commandId: string; agentId: string; revision: bigint } {
    return { commandId: this.#parts.entropy.uuid(), agentId: this.#parts.agentId, revision: this.#revision };
  }

  /** The registry has us as the owner under the very term that we hold. */
  #isPresent(record: AuthorityRecord | undefined): boolean {
    const session = this.#parts.keeper.current?.id;
    const ground = this.#ground;
    if (record?.owner === undefined || session === undefined || ground === undefined) return false;
    return sameSession(record.owner, session) && sameTerm(record, ground);
  }

  #granted(): Ground {
    if (this.#ground === undefined) throw new TypeError("nothing was granted");
    return this.#ground;
  }

  #bootId(): string {
    const { tenure } = this;
    if (tenure.kind === "RECOVERY_REQUIRED" || tenure.kind === "RETIRED")
      throw new TypeError(`no grant in ${tenure.kind}`);
    return tenure.grant.session.bootId;
  }

  #remember(record: AuthorityRecord): void {
    this.#revision = record.revision;
    this.#learn(record);
  }

  #learn(record: AuthorityRecord): void {
    this.#lastRecord = record;
    if (this.#ground === undefined || !sameTerm(record, this.#ground)) return;
    if (this.#known === undefined || record.revision >= this.#known.revision) this.#known = record;
  }

  /** `giver`: the record of an owner elsewhere. What an operator's choice gave up of ours makes room for its checkpoints. */
  async #write(journal: JournalEntry, giver?: AuthorityRecord): Promise<void> {
    const { storage, agentId } = this.#parts;
    const setAside = giver && forcedChoice(giver);
    const pruneLater = journal.phase === "relinquished"; // the agent stands still until it is written
    await storage.commit({ agentId, journal, pruneLater, ...(setAside === undefined ? {} : { setAside }) });
    this.#journal = journal;
  }

  #step(event: TenureEvent): void {
    const before = this.#tenure;
    this.#tenure = stepTenure(before, event);
    if (before.kind !== this.#tenure.kind) {
      this.#parts.logger.info({ agentId: this.#parts.agentId, from: before.kind, to: this.#tenure.kind }, "tenure");
    }
  }
}

function isUnfunded(reading: Reading): boolean {
  return reading.kind === "record" && reading.record.state === "RETIRED" && reading.record.reason === "unfunded";
}

/** What the record says of an operator's choice. While a store loss is not settled an orphan may win yet (GA-9). */
function forcedChoice({ forced, afterLoss, bases }: AuthorityRecord): ForcedChoice | undefined {
  if (forced === undefined || afterLoss !== undefined) return undefined;
  return { forced, lineage: bases.map(({ startedFrom }) => startedFrom) };
}
