// Random lives of one agent over a store that forgets: it is put back to any earlier moment, or to nothing, again and again,
// while honest hosts hand the agent on, die, bring it back and recover it, and answers are lost. Whatever happens, no term is
// given twice, nobody ticks beside somebody else, and honest hosts never make a violation.

import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type AuthorityRecord,
  basesOfSpine,
  type CheckpointRef,
  type Command,
  compareTerms,
  decide,
  type Facts,
  formatTerm,
  type GrantItem,
  lossOf,
  reassert,
  type SessionId,
  type SpineFacts,
  sameSession,
  standing,
  type Term,
} from "./index.ts";

interface Grant extends Term {
  readonly session: SessionId;
  readonly incarnation: string;
}
/** Who has made it, and what it descends from. */
interface Checkpoint extends CheckpointRef {
  readonly base: CheckpointRef | undefined;
  readonly grantedUnder: string | undefined;
}
interface Host {
  readonly hostId: string;
  boot: number;
  /** Of the lease; it is over when not `alive`. */
  incarnation: string;
  alive: boolean;
  grant: Grant | undefined;
  /** The record as the host was last answered, while it owns the agent. */
  known: AuthorityRecord | undefined;
  /** GA-8. */
  spent: Term | undefined;
  held: Checkpoint | undefined;
}
interface Store {
  readonly record: AuthorityRecord | undefined;
  readonly sessions: ReadonlyMap<string, { readonly incarnation: string; readonly closed: boolean }>;
}

const steps = [
  "tick",
  "report",
  "confirm",
  "release",
  "recover",
  "copy",
  "expire",
  "close",
  "lose",
  "reassert",
  "end",
  "reopen",
  // What takes several steps of several hosts, which single ones would seldom make in that order.
  "take over",
  "quarantine",
] as const;
interface Step {
  readonly what: (typeof steps)[number];
  readonly host: number;
  readonly pick: number;
  /** The answer does not arrive. */
  readonly lost: boolean;
}
const step: fc.Arbitrary<Step> = fc.record({
  what: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...steps) },
    {
      weight: 9,
      arbitrary: fc.constantFrom<Step["what"]>(
        "tick",
        "confirm",
        "recover",
        "copy",
        "release",
        "reassert",
        "reopen",
        "take over",
        "quarantine",
      ),
    },
  ),
  host: fc.nat({ max: 2 }),
  pick: fc.nat({ max: 1_000 }),
  lost: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

const agentId = "a".repeat(64);
const sessionOf = ({ hostId, boot }: Host): SessionId => ({ hostId, bootId: `${boot}` });
const nameOf = ({ hostId, bootId }: SessionId) => `${hostId}/${bootId}`;

class World {
  mark = { incarnation: "i0", counter: 0n, quarantine: false };
  store: Store = { record: undefined, sessions: new Map() };
  readonly snapshots: Store[] = [];
  readonly given = new Map<string, string>();
  readonly checkpoints = new Map<string, Checkpoint>();
  readonly happened = new Map<string, number>();
  readonly hosts: readonly Host[] = ["a", "b", "c"].map((hostId) => ({
    hostId,
    boot: 0,
    incarnation: "i0",
    alive: true,
    grant: undefined,
    known: undefined,
    spent: undefined,
    held: undefined,
  }));
  #ids = 0;

  constructor() {
    for (const host of this.hosts) this.#session(host);
    const [creator] = this.hosts as [Host];
    const first: Checkpoint = {
      era: 0n,
      major: 0n,
      tick: 0n,
      digest: "genesis",
      base: undefined,
      grantedUnder: undefined,
    };
    this.checkpoints.set(first.digest, first);
    creator.held = first;
    const genesis = { creatorHostId: "a", incarnation: "i0", recoveryPolicy: "latest", name: "" } as const;
    this.#send(creator, { kind: "acquire", ...this.#base(creator), genesis, head: first }, false);
  }

  run({ what, host: at, pick, lost }: Step): void {
    const host = this.hosts[at] as Host;
    switch (what) {
      case "tick":
        if (this.ticks(host)) this.#tick(host, BigInt(1 + (pick % 3)));
        return;
      case "report":
      case "confirm":
        this.#report(host, lost);
        return;
      case "release":
        if (!host.alive || host.grant === undefined) return;
        host.spent = host.grant;
        this.#send(
          host,
          {
            kind: "release",
            ...this.#onRevision(host),
            reason: "drained",
            head: host.known?.unconfirmed ? undefined : host.held,
          },
          lost,
        );
        return;
      case "recover":
        if (!host.alive || host.held === undefined) return;
        if (host.grant !== undefined) host.spent = host.grant;
        this.#send(host, { kind: "recover", ...this.#onRevision(host), head: host.held }, lost);
        return;
      case "copy": {
        const from = this.hosts[pick % 3] as Host;
        if (from.held !== undefined && host.grant === undefined)
          host.held = pick % 5 === 0 ? (host.held ?? from.held) : from.held;
        return;
      }
      case "expire":
        host.alive = false;
        return;
      case "close": // SL-3: the host's deadline has always passed before
        if (!host.alive) this.#session(host, true);
        return;
      case "lose":
        this.#lose(pick);
        return;
      case "reassert":
        this.#reassert(host, lost);
        return;
      case "end": // its length: every lease of an earlier incarnation is over
        for (const other of this.hosts) if (other.incarnation !== this.mark.incarnation) other.alive = false;
        this.mark = { ...this.mark, quarantine: false };
        return;
      case "take over":
        this.#takeOver(host, { pick, lost });
        return;
      case "quarantine":
        this.#quarantine(pick, lost);
        return;
      case "reopen":
        if (host.alive && host.incarnation === this.mark.incarnation) return;
        host.boot++;
        Object.assign(host, { alive: true, incarnation: this.mark.incarnation, grant: undefined, known: undefined });
        this.#session(host);
    }
  }

  /** The owner dies or lets go, and this host goes on, or not quite. */
  #takeOver(host: Host, { pick, lost }: Pick<Step, "pick" | "lost">): void {
    const at = this.hosts.indexOf(host);
    const owner = this.hosts.find((other) => other.grant !== undefined && other.alive);
    const end: readonly Step["what"][] = pick % 3 === 0 ? ["report", "release"] : ["report", "expire", "close"];
    if (owner !== undefined && owner !== host) {
      for (const what of end) this.run({ what, host: this.hosts.indexOf(owner), pick, lost: lost && pick % 2 === 0 });
      if (host.grant === undefined && owner.held !== undefined) host.held = owner.held;
    }
    const on: readonly Step["what"][] = ["reopen", "recover", "confirm", "tick", "report"];
    for (const what of on.slice(0, 2 + (pick % 4))) this.run({ what, host: at, pick, lost: lost && pick % 2 === 1 });
  }

  /** A loss and what comes after it; who comes back, and who recovers, is in the bits of `pick`. */
  #quarantine(pick: number, lost: boolean): void {
    this.run({ what: "lose", host: 0, pick, lost });
    for (const host of [0, 1, 2]) {
      const at = pick % 2 === 0 ? host : 2 - host;
      if ((pick >> (host + 1)) % 4 !== 3) this.run({ what: "reassert", host: at, pick, lost: lost && host === 1 });
    }
    if (pick % 5 === 0) return;
    this.run({ what: "end", host: 0, pick, lost });
    for (const what of ["reopen", "recover", "confirm", "tick"] as const)
      this.run({ what, host: pick % 3, pick, lost: false });
  }

  /** GA-1, GA-8. */
  ticks({ alive, grant, incarnation, known, spent }: Host): boolean {
    if (!alive || grant === undefined || known === undefined || grant.incarnation !== incarnation) return false;
    return known.unconfirmed === undefined && !(spent !== undefined && compareTerms(grant, spent) <= 0);
  }

  #tick(host: Host, ticks: bigint): void {
    const { held, grant } = host;
    if (held === undefined || grant === undefined) return;
    const { era, major } = grant;
    const sameMajor = compareTerms(held, grant) === 0;
    const base = sameMajor ? (held.base ?? this.checkpoints.get("genesis")) : held;
    const tick = held.tick + ticks;
    const next = { era, major, tick, digest: `${era}.${major}/${tick}`, base, grantedUnder: grant.incarnation };
    this.checkpoints.set(next.digest, next);
    host.held = next;
  }

  #report(host: Host, lost: boolean): void {
    const { grant, known, held } = host;
    if (!host.alive || grant === undefined || known === undefined || held === undefined) return;
    const { era, major } = grant;
    const head = known.unconfirmed ?? held;
    this.#send(host, { kind: "report_head", ...this.#base(host), era, major, head }, lost);
  }

  #send(host: Host, command: Command, lost: boolean): void {
    const { record } = this.store;
    const spine = "head" in command && command.head !== undefined ? this.#spine(command.head) : undefined;
    const facts: Facts = {
      mark: this.mark,
      caller: this.#standing(host),
      ownerVoid: record?.owner === undefined || this.#isVoid(record.owner),
      announced: [],
      genesisMatches: true,
      tokenSignedByOwner: false,
      ...(lossOf(record, this.mark) !== undefined && { spine }),
    };
    const decision = decide(record, command, facts);
    if (decision.kind === "refused") {
      expect(decision.code, "EI-11: honest hosts do not diverge").not.toBe("DIVERGENT_LINEAGE");
      if (decision.code === "NOT_OWNER" && !lost) Object.assign(host, { grant: undefined, known: undefined });
      return;
    }
    const after = decision.record;
    if (decision.kind === "applied") {
      this.#count(after.afterLoss !== undefined && command.kind === "recover" ? "recover after a loss" : command.kind);
      this.#write({ ...this.store, record: after });
      if (decision.sign === "grant") this.#give(after);
    }
    if (lost) return;
    if (command.kind === "release") Object.assign(host, { grant: undefined, known: undefined });
    else this.#take(host, after);
  }

  #take(host: Host, record: AuthorityRecord): void {
    const { era, major, owner, incarnation } = record;
    if (!sameSession(owner, sessionOf(host)) || incarnation !== host.incarnation) return; // GA-8
    const grant = { era, major, session: sessionOf(host), incarnation };
    if (host.spent !== undefined && compareTerms(grant, host.spent) <= 0) return;
    host.grant = grant;
    host.known = record;
    const from = record.unconfirmed ?? (compareTerms(host.held ?? record.head, grant) === 0 ? host.held : record.head);
    host.held = this.checkpoints.get((from ?? record.head).digest);
  }

  #reassert(host: Host, lost: boolean): void {
    if (!host.alive || !this.mark.quarantine || host.incarnation === this.mark.incarnation) return;
    const { incarnation: from, grant, known, held, spent } = host;
    const session = sessionOf(host);
    if (this.store.sessions.get(nameOf(session))?.closed === true) return;
    this.#session(host);
    let brought: AuthorityRecord | undefined;
    if (grant !== undefined && known !== undefined && held !== undefined && grant.incarnation === from) {
      if (spent !== undefined && compareTerms(grant, spent) <= 0) brought = undefined;
      else brought = this.#bringBack({ grant, known, held }, { session, from });
    }
    if (lost) return;
    host.incarnation = this.mark.incarnation;
    if (brought === undefined) Object.assign(host, { grant: undefined, known: undefined });
    else this.#take(host, brought);
  }

  #bringBack(
    { grant, known, held }: { readonly grant: Grant; readonly known: AuthorityRecord; readonly held: Checkpoint },
    { session, from }: { readonly session: SessionId; readonly from: string },
  ): AuthorityRecord | undefined {
    const item: GrantItem = {
      kind: "grant",
      agentId,
      genesis: { name: "", recoveryPolicy: "latest" },
      grant,
      head: known.unconfirmed === undefined ? held : known.head,
      bases: known.bases,
      unconfirmed: known.unconfirmed,
      forced: known.forced,
      afterLoss: known.afterLoss,
      revision: known.revision,
    };
    const decision = reassert(this.store.record, item, { mark: this.mark, session, from });
    expect(decision.kind, "EI-7: honest hosts make no violation").not.toBe("violation");
    if (decision.kind !== "rebuilt" && decision.kind !== "answered") return undefined;
    this.#count(decision.kind);
    if (decision.kind === "rebuilt") {
      this.#write({ ...this.store, record: decision.record });
      this.#give(decision.record);
    }
    return decision.record;
  }

  #lose(pick: number): void {
    const back = this.snapshots[this.snapshots.length - 1 - (pick % Math.min(this.snapshots.length, 12))];
    const kept = pick % 7 === 0 || back === undefined ? { record: undefined, sessions: new Map() } : back;
    this.store = kept;
    const counter = this.mark.counter + BigInt(1 + (pick % 3));
    this.mark = { incarnation: `i${counter}`, counter, quarantine: true };
    this.#count("lose");
  }

  /** I1: every grant that was ever signed, over all losses. */
  #give(record: AuthorityRecord): void {
    const term = formatTerm(record);
    const owner = nameOf(record.owner as SessionId);
    expect(this.given.get(term) ?? owner, `I1: ${term} is given to one session`).toBe(owner);
    this.given.set(term, owner);
    expect(standing(record.bases, record.head, record.unconfirmed ?? record.head, record), "EI-3").toBe("on-lineage");
  }

  #write(store: Store): void {
    this.snapshots.push(this.store);
    this.store = store;
  }

  #session(host: Host, closed = false): void {
    const sessions = new Map(this.store.sessions);
    const name = nameOf(sessionOf(host));
    if (closed && sessions.get(name)?.incarnation !== this.mark.incarnation) return;
    sessions.set(name, { incarnation: this.mark.incarnation, closed });
    this.#write({ ...this.store, sessions });
  }

  #standing(host: Host): Facts["caller"] {
    const session = this.store.sessions.get(nameOf(sessionOf(host)));
    if (session?.incarnation !== this.mark.incarnation || host.incarnation !== this.mark.incarnation) return "unknown";
    return session.closed ? "void" : "open";
  }

  #isVoid(session: SessionId): boolean {
    const stored = this.store.sessions.get(nameOf(session));
    return stored === undefined || stored.closed || stored.incarnation !== this.mark.incarnation;
  }

  #spine(head: CheckpointRef): SpineFacts {
    const links = [];
    for (let at = this.checkpoints.get(head.digest); at !== undefined; ) {
      links.push({ ref: at, base: at.base });
      at = at.base === undefined ? undefined : this.checkpoints.get(at.base.digest);
    }
    return {
      bases: basesOfSpine(links),
      genesis: { incarnation: "i0", recoveryPolicy: "latest", name: "" },
      grantedUnder: this.checkpoints.get(head.digest)?.grantedUnder,
    };
  }

  #base(host: Host) {
    return { id: `c${this.#ids++}`, incarnation: this.mark.incarnation, agentId, caller: sessionOf(host) };
  }

  #onRevision(host: Host) {
    return { ...this.#base(host), revision: this.store.record?.revision ?? 0n };
  }

  #count(what: string): void {
    this.happened.set(what, (this.happened.get(what) ?? 0) + 1);
  }
}

test("I1, EI-1, EI-7, GA-7 to GA-9: a store that forgets gives no term twice, and lets nobody tick beside somebody else", () => {
  const happened = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (all) => {
      const world = new World();
      for (const one of all) {
        world.run(one);
        const ticking = world.hosts.filter((host) => world.ticks(host));
        expect(ticking.map(({ hostId }) => hostId).length, "EI-1").toBeLessThanOrEqual(1);
      }
      for (const [what, times] of world.happened) happened.set(what, (happened.get(what) ?? 0) + times);
    }),
    { numRuns: 1_000, seed: 20_504 },
  );
  // A world in which nothing happens proves nothing.
  for (const what of ["recover", "recover after a loss", "report_head", "release", "rebuilt", "lose"]) {
    expect(happened.get(what) ?? 0, what).toBeGreaterThan(100);
  }
});
