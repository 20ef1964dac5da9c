// What happened to every agent, as hosts and the store committed it, and what must hold of it (testing.md, I1 to I9). It sees
// all processes at once and the true order of everything, which none of them does.
//
// I1  A term (era and major) belongs to one session; nobody ticks under an older term once a newer one has ticked, nor under
//     a session that the store has closed (which is I7 too: a host stops before its lease has ended).
// I2  Terms rise.
// I3  One checkpoint for a term and tick; each names the one before it; each is signed by the host whom its grant names.
// I4  A planned move goes on from the source's last tick.
// I5  What a host recovers from is not older than what it has held on the lineage for a while itself.
// I10 Retries of one host at one target stay within the retry budget.
// T-47 Run again, a tick comes out the same: what agents do here follows from their state and from what their host answers.
// I6  Money is conserved from checkpoint to checkpoint: what came in was sent, and came in once (fundings.ts). The state has
//     counted each tick once.

import type { EndedTick, ReplayedSegment, WriteUnit } from "@godwit/agent-host/parts";
import {
  type AuthorityRecord,
  type CheckpointRef,
  compareCheckpoints,
  compareTerms,
  type SessionId,
  standing,
  type Term,
} from "@godwit/common/lease";
import { type Checkpoint, isFunding, verifyHeader } from "@godwit/lineage";
import { decodeRecord, type RecordChange } from "@godwit/registry/parts";
import type { Timeline } from "../time/timeline.ts";
import { Fundings, type SentFunding } from "./fundings.ts";

export interface Violation {
  readonly rule: string;
  readonly atMs: number;
  readonly agentId: string;
  readonly what: string;
}

interface TickSeen extends Term {
  readonly tick: bigint;
  readonly host: string;
  readonly session: string;
  readonly atMs: number;
}

interface AgentSeen {
  readonly name: string;
  /** Newest tick of the newest term that ticked. */
  last: TickSeen | undefined;
  /** Newest number given in the newest term: a tick, an exhaustion, or a funding. */
  highest: (Term & { readonly tick: bigint }) | undefined;
  readonly sessionOf: Map<string, string>;
  readonly baseOf: Map<string, bigint>;
  /** By term and tick. */
  readonly digests: Map<string, string>;
  readonly checkpoints: Map<string, Checkpoint>;
  record: AuthorityRecord | undefined;
  /** By host: which checkpoints are on its disk, or were, since when. */
  readonly heldBy: Map<string, Map<string, { readonly ref: CheckpointRef; readonly sinceMs: number }>>;
  lastCheckpointMs: number;
  /** Ticks that were lost to crashes, the most at one time. */
  lostMost: bigint;
}

export interface HistoryCounts {
  ticks: number;
  fundings: number;
  exhaustions: number;
  discarded: number;
  /** Ticks that were run again and came out the same. */
  replayed: number;
  checkpoints: number;
  majors: number;
  claims: number;
  recoveries: number;
  reasserted: number;
  lostTicks: number;
}

export interface HistoryKnows {
  readonly registryKey: () => Uint8Array;
  /** The name of a host. */
  readonly hostNamed: (hostId: string) => string;
}

/** Protocol §11. */
const RETRY_TOKENS = 10;
const SETTLED_AFTER_MS = 15_000;

/** Where the agent of the simulation counts its ticks in its state: survivor's README. */
const TICKS_AT = 8;
const FRACTIONS = 1_000_000_000n;

export class History {
  readonly violations: Violation[] = [];
  readonly counts: HistoryCounts = {
    ticks: 0,
    fundings: 0,
    exhaustions: 0,
    discarded: 0,
    replayed: 0,
    checkpoints: 0,
    majors: 0,
    claims: 0,
    recoveries: 0,
    reasserted: 0,
    lostTicks: 0,
  };
  readonly #timeline: Timeline;
  readonly #registryKey: () => Uint8Array;
  readonly #hostNamed: (hostId: string) => string;
  readonly #agents = new Map<string, AgentSeen>();
  readonly #closed = new Map<string, number>();
  readonly #fundings = new Fundings();

  constructor(timeline: Timeline, known: HistoryKnows) {
    this.#timeline = timeline;
    this.#registryKey = known.registryKey;
    this.#hostNamed = known.hostNamed;
  }

  get agents(): ReadonlyMap<string, AgentSeen> {
    return this.#agents;
  }

  /** When the agent ticked last, by virtual time. */
  lastTickMs(agentId: string): number | undefined {
    return this.#agents.get(agentId)?.last?.atMs;
  }

  ticked(host: string, session: SessionId | undefined, ended: EndedTick): void {
    const { outcome } = ended;
    if (outcome === "discarded") this.counts.discarded++;
    if (outcome === "discarded" || outcome === "recovering" || outcome === "stopped") return;
    // Fundings and exhaustions are ticks for every rule (§2), but that nothing runs.
    const ran = outcome === "normal" || outcome === "more-work";
    if (ran) this.counts.ticks++;
    else if (outcome === "funded") this.counts.fundings++;
    else this.counts.exhaustions++;
    const { agentId, era, major, tick } = ended;
    const seen = this.#seen(agentId);
    const key = session === undefined ? "no session" : keyOf(session);
    const term = { era, major };
    const named = `${ran ? "tick" : outcome} ${era}:${major}:${tick} on ${host}`;
    const { last, highest } = seen;

    this.#term(agentId, term, { session: key, by: named });
    if (session === undefined) this.#violated("I7", agentId, `${named} under no session`);
    const closedAtMs = this.#closed.get(key);
    if (closedAtMs !== undefined) {
      this.#violated("I7", agentId, `${named}: its session was closed at ${closedAtMs.toFixed(1)} ms`);
    }
    if (last !== undefined && compareTerms(term, last) < 0) {
      this.#violated("I1", agentId, `${named} after ${last.host} ticked under ${last.era}:${last.major}`);
    }
    const before =
      highest !== undefined && compareTerms(highest, term) === 0 ? highest.tick : seen.baseOf.get(nameOf(term));
    if (before === undefined) this.#violated("I2", agentId, `${named}: nobody was granted that term`);
    else if (tick !== before + 1n) this.#violated("I4", agentId, `${named}: the one before was ${before}`);
    const atMs = ran ? this.#timeline.nowMs : (last?.atMs ?? 0);
    seen.last = { ...term, tick, host, session: key, atMs };
    this.#number(seen, { ...term, tick });
  }

  committed(host: string, unit: WriteUnit): void {
    const { checkpoint, agentId } = unit;
    if (checkpoint === undefined) return;
    const { header, digest, state } = checkpoint;
    const seen = this.#seen(agentId);
    const { era, major, tick } = header;
    const named = `checkpoint ${era}:${major}:${tick} on ${host}`;
    this.#held(seen, host, { ref: { era, major, tick, digest }, sinceMs: this.#timeline.nowMs });
    const place = `${nameOf(header)}:${tick}`;
    const known = seen.digests.get(place);
    if (known !== undefined) {
      if (known !== digest) this.#violated("I3", agentId, `${named} is another one than ${known.slice(0, 8)}`);
      return;
    }
    this.counts.checkpoints++;
    seen.lastCheckpointMs = this.#timeline.nowMs;
    seen.digests.set(place, digest);
    seen.checkpoints.set(digest, checkpoint);
    this.#number(seen, { era, major, tick });
    try {
      verifyHeader(checkpoint.signed, this.#registryKey());
    } catch (error) {
      this.#violated("I3", agentId, `${named}: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (header.previous === undefined) {
      if (tick !== 0n) this.#violated("I3", agentId, `${named} names none before it`);
      return;
    }
    const previous = seen.checkpoints.get(header.previous);
    if (previous === undefined) {
      this.#violated("I3", agentId, `${named}: nobody has committed the one before it`);
      return;
    }
    this.#money(agentId, named, { previous, checkpoint });
    for (const problem of this.#fundings.committed(agentId, previous.digest, checkpoint)) {
      this.#violated("I6", agentId, `${named}: ${problem}`);
    }
    let ran = ticksIn(state) - ticksIn(previous.state);
    for (const receipt of header.receipts) {
      if (!isFunding(receipt)) ran -= receipt.lastTick - receipt.firstTick + 1n;
    }
    // Fundings take a number and do not run the agent; so does an exhaustion, and with it the budget is used up.
    if (ran !== 0n && !(ran === -1n && isUsedUp(checkpoint))) {
      this.#violated("I6", agentId, `${named}: its state has counted ${ticksIn(state)} ticks, ${ran} too many`);
    }
  }

  /** Money is about to be sent: this much, under this id. */
  sent(agentId: string, funding: SentFunding): void {
    this.#fundings.sent(agentId, funding);
  }

  /** A host has answered that it was applied, as that tick: then it is on a disk. */
  answered(host: string, agentId: string, funding: { readonly id: string; readonly tick: bigint | undefined }): void {
    const problem = this.#fundings.answered(agentId, funding);
    if (problem !== undefined) this.#violated("I6", agentId, `${host} has answered a funding that ${problem}`);
  }

  applied({ agentId, before: beforeBytes, after: afterBytes }: RecordChange, how: "decided" | "reasserted"): void {
    const seen = this.#seen(agentId);
    const after = decodeRecord(afterBytes).record;
    const before = beforeBytes && decodeRecord(beforeBytes).record;
    seen.record = after;
    if (before !== undefined && compareTerms(after, before) < 0) {
      this.#violated("I2", agentId, `the record went from ${nameOf(before)} back to ${nameOf(after)}`);
    }
    if (how === "reasserted") {
      this.#reasserted(agentId, after);
      return;
    }
    if (before !== undefined && compareTerms(after, before) === 0) return;
    this.counts.majors++;
    const base = after.unconfirmed ?? after.bases[0]?.startedFrom ?? after.head;
    seen.baseOf.set(nameOf(after), base.tick);
    if (after.owner !== undefined) this.#term(agentId, after, { session: keyOf(after.owner), by: "the record" });
    if (before === undefined) return;
    if (after.era > before.era) {
      // GA-9: after a loss of the store whoever holds an acceptable checkpoint may, whoever lives.
      this.counts.recoveries++;
      return;
    }

    const planned = before.state === "HANDOFF_INITIATED" && after.owner?.hostId === before.handoff?.targetHostId;
    const sameOwner =
      before.owner !== undefined && after.owner !== undefined && keyOf(before.owner) === keyOf(after.owner);
    const { highest } = seen;
    if (planned && !sameOwner && before.head.digest === base.digest) {
      this.counts.claims++;
      if (highest !== undefined && highest.tick !== base.tick) {
        this.#violated("I4", agentId, `claimed from ${base.tick}, but the source has given number ${highest.tick}`);
      }
      return;
    }
    this.counts.recoveries++;
    if (
      !sameOwner &&
      before.owner !== undefined &&
      before.state !== "RETIRED" &&
      !this.#closed.has(keyOf(before.owner))
    ) {
      this.#violated("I1", agentId, `recovered as ${nameOf(after)} while the session of its owner was open`);
    }
    if (!sameOwner && after.owner !== undefined) this.#notOlder(agentId, before, { owner: after.owner, base });
    const lost = highest === undefined ? 0n : highest.tick - base.tick;
    if (lost > 0n) {
      this.counts.lostTicks += Number(lost);
      if (lost > seen.lostMost) seen.lostMost = lost;
    }
  }

  /** GA-7: a host brings back what it was granted, nothing else, and nothing that was overtaken by what it ticked. */
  #reasserted(agentId: string, after: AuthorityRecord): void {
    this.counts.reasserted++;
    const seen = this.#seen(agentId);
    const name = nameOf(after);
    const owner = seen.sessionOf.get(name);
    if (after.owner !== undefined && owner !== keyOf(after.owner)) {
      this.#violated(
        "I1",
        agentId,
        `reasserted: term ${name} was never granted to session ${keyOf(after.owner).slice(-8)}`,
      );
    }
    if (seen.last !== undefined && compareTerms(after, seen.last) < 0) {
      this.#violated("I1", agentId, `reasserted: term ${name}, although ${nameOf(seen.last)} has ticked`);
    }
  }

  closed(session: SessionId): void {
    this.#closed.set(keyOf(session), this.#timeline.nowMs);
  }

  /** `retries`: of one host process at one target, of migrations; `successes`: of those that went there. */
  retried(agentId: string, { retries, successes }: { readonly retries: number; readonly successes: number }): void {
    if (retries <= RETRY_TOKENS + successes / 10 + 1) return;
    this.#violated("I10", agentId, `retry ${retries} at one target after ${successes} successes`);
  }

  replayed(host: string, { agentId, outcome, ticks }: ReplayedSegment): void {
    if (outcome === "verified") this.counts.replayed += ticks;
    if (outcome === "diverged") this.#violated("T-47", agentId, `ticks of it came out differently on ${host}`);
  }

  violated(rule: string, agentId: string, what: string): void {
    this.#violated(rule, agentId, what);
  }

  #money(
    agentId: string,
    named: string,
    { previous, checkpoint }: { readonly previous: Checkpoint; readonly checkpoint: Checkpoint },
  ): void {
    const { header } = checkpoint;
    if (header.budget < 0n) this.#violated("I6", agentId, `${named}: its budget is ${header.budget}`);
    let worth = previous.header.budget * FRACTIONS - previous.header.remainder;
    for (const { elapsedNs, pricePerSecond, funded = 0n } of header.receipts) {
      worth += funded * FRACTIONS - elapsedNs * pricePerSecond;
    }
    const now = header.budget * FRACTIONS - header.remainder;
    // Exhaustion takes what is left, whatever it was.
    if (worth !== now && !isUsedUp(checkpoint)) {
      this.#violated("I6", agentId, `${named}: ${worth - now} fractions are missing`);
    }
    let next = previous.header.tick + 1n;
    for (const { firstTick, lastTick } of header.receipts) {
      if (firstTick !== next) this.#violated("I6", agentId, `${named}: tick ${next} is charged twice or not at all`);
      next = lastTick + 1n;
    }
  }

  #held(seen: AgentSeen, host: string, held: { readonly ref: CheckpointRef; readonly sinceMs: number }): void {
    const known = seen.heldBy.get(host) ?? new Map<string, typeof held>();
    seen.heldBy.set(host, known);
    if (!known.has(held.ref.digest)) known.set(held.ref.digest, held);
  }

  /** I5; what has just come may be newer than what the recovery was asked with. */
  #notOlder(
    agentId: string,
    before: AuthorityRecord,
    { owner, base }: { readonly owner: SessionId; readonly base: CheckpointRef },
  ): void {
    const held = this.#seen(agentId).heldBy.get(this.#hostNamed(owner.hostId))?.values() ?? [];
    for (const { ref, sinceMs } of held) {
      if (compareCheckpoints(ref, base) <= 0 || this.#timeline.nowMs - sinceMs < SETTLED_AFTER_MS) continue;
      if (standing(before.bases, before.head, ref) === "orphan") continue;
      this.#violated(
        "I5",
        agentId,
        `recovered from ${nameOf(base)}:${base.tick}, with ${nameOf(ref)}:${ref.tick} on its disk`,
      );
      return;
    }
  }

  #term(agentId: string, term: Term, { session, by }: { readonly session: string; readonly by: string }): void {
    const seen = this.#seen(agentId);
    const name = nameOf(term);
    const owner = seen.sessionOf.get(name);
    if (owner === undefined) seen.sessionOf.set(name, session);
    else if (owner !== session) {
      this.#violated(
        "I1",
        agentId,
        `${by}: term ${name} belongs to session ${owner.slice(-8)}, not ${session.slice(-8)}`,
      );
    }
  }

  #number(seen: AgentSeen, number: Term & { readonly tick: bigint }): void {
    const { highest } = seen;
    const order = highest === undefined ? 1 : compareTerms(number, highest);
    if (highest === undefined || order > 0 || (order === 0 && number.tick > highest.tick)) {
      const { era, major, tick } = number;
      seen.highest = { era, major, tick };
    }
  }

  #seen(agentId: string): AgentSeen {
    const known = this.#agents.get(agentId);
    if (known !== undefined) return known;
    const seen: AgentSeen = {
      name: agentId,
      last: undefined,
      highest: undefined,
      sessionOf: new Map(),
      baseOf: new Map(),
      digests: new Map(),
      checkpoints: new Map(),
      record: undefined,
      heldBy: new Map(),
      lastCheckpointMs: 0,
      lostMost: 0n,
    };
    this.#agents.set(agentId, seen);
    return seen;
  }

  #violated(rule: string, agentId: string, what: string): void {
    this.violations.push({ rule, atMs: this.#timeline.nowMs, agentId, what });
  }
}

function ticksIn(state: Uint8Array): bigint {
  return Buffer.from(state.buffer, state.byteOffset).readBigUInt64LE(TICKS_AT);
}

/** The budget was 0 on the way from the checkpoint before. */
function isUsedUp({ header }: Checkpoint): boolean {
  return header.receipts.some(({ budgetAfter }) => budgetAfter === 0n);
}

function keyOf({ hostId, bootId }: SessionId): string {
  return `${hostId} ${bootId}`;
}

function nameOf({ era, major }: Term): string {
  return `${era}:${major}`;
}
