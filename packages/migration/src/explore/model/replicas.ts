// Two registry replicas on one store, two hosts, and time: who closes sessions, who ends a quarantine, and whether anybody
// still ticks then. Here nothing is said about the order of deadlines: it has to come from the clocks.
//
// Time passes in steps for everybody alike; all times in a state are relative to now. Leases, looks and quarantine are the
// production functions: openLease, stepLease and covers, look, decideMark, rememberMark and watchQuarantine, reassertSession
// and reassertsFrom. The agent is only who owns it: an ownership ends when its session is void, or is lost with the store.

import {
  covers,
  decideMark,
  type LeaseRules,
  look,
  noticeLapse,
  openLease,
  type QuarantineWatch,
  reassertSession,
  reassertsFrom,
  rememberMark,
  type SeenMark,
  type SessionLease,
  type SilenceState,
  type StoreMark,
  stepLease,
  watchQuarantine,
} from "@godwit/common/lease";
import { BitLayout } from "../engine/bit-layout.ts";
import { Interner, keyOf } from "../engine/interner.ts";
import type { Emit, Step, System } from "../engine/search.ts";

export interface ReplicasOptions {
  /** How often a renewal is sent, a session is opened, and the store is wiped. */
  readonly renewals: number;
  readonly openings: number;
  readonly wipes: number;
  /** In steps of time; for tests that make it too short. */
  readonly quarantineSteps?: number;
  readonly graceSteps?: number;
  readonly onRow?: (row: string) => void;
}

const stepMs = 1_000;
const durationSteps = 2;
const now = { monotonicMs: 0, wallMs: 0 };

interface Session {
  readonly incarnation: string;
  readonly generation: bigint;
  readonly closed: boolean;
}

interface Store {
  readonly mark: StoreMark | undefined;
  /** By host and boot. */
  readonly sessions: Readonly<Record<string, Session>>;
  readonly owner: string | undefined;
  /** The incarnation under which the ownership was last confirmed. */
  readonly confirmed: string;
}

interface Replica {
  readonly mark: StoreMark;
  readonly seen: readonly SeenMark[];
  readonly silence: SilenceState | undefined;
  /** What the last look found silent, and was not closed yet. */
  readonly silent: readonly { readonly session: string; readonly generation: bigint }[];
  readonly watch: QuarantineWatch | undefined;
}

interface Host {
  readonly boot: number;
  readonly lease: SessionLease;
  readonly generation: bigint;
  /** A renewal that is under way: how long ago it was sent, and what it was answered once it was served. */
  readonly renewal: { readonly sentMs: number; readonly answer: bigint | undefined } | undefined;
  /** The incarnation of the grant that it holds. */
  readonly grant: string | undefined;
}

interface Left {
  readonly renewals: number;
  readonly openings: number;
  readonly wipes: number;
}

const hostNames = ["A", "B"] as const;
const quiet: Omit<Step, "event" | "who"> = { fault: false, violation: undefined };

export class Replicas implements System {
  readonly words: number;
  readonly #options: ReplicasOptions;
  readonly #layout = new BitLayout([20, 20, 20, 20, 20, 12]);
  readonly #stores = new Interner<Store>("states of the store", 20);
  readonly #replicas = new Interner<Replica>("states of a replica", 20);
  readonly #hosts = new Interner<Host>("states of a host", 20);
  readonly #left = new Interner<Left>("budgets", 12);
  readonly #fields = new Int32Array(6);
  readonly #words: Int32Array;
  readonly #olderReplicas = new Map<Replica, Replica>();
  readonly #olderHosts = new Map<Host, Host>();
  readonly #rules: LeaseRules;
  readonly #silentMs: number;
  readonly #quarantineMs: number;
  readonly #maxGapMs: number;

  constructor(options: ReplicasOptions) {
    this.#options = options;
    this.words = this.#layout.words;
    this.#words = new Int32Array(this.words);
    const graceMs = (options.graceSteps ?? 1) * stepMs;
    this.#rules = { durationMs: durationSteps * stepMs, graceMs, renewEveryMs: 500 };
    this.#silentMs = this.#rules.durationMs + graceMs;
    this.#quarantineMs = (options.quarantineSteps ?? durationSteps + 1) * stepMs;
    this.#maxGapMs = 2 * stepMs;
  }

  initial(): Int32Array {
    const mark: StoreMark = { incarnation: "i0", counter: 0n, storeIdentity: "s", quarantine: false };
    const open: Session = { incarnation: "i0", generation: 0n, closed: false };
    const store: Store = { mark, sessions: { A1: open, B1: open }, owner: "A1", confirmed: "i0" };
    const replica: Replica = {
      mark,
      seen: [{ incarnation: "i0", counter: 0n }],
      silence: undefined,
      silent: [],
      watch: undefined,
    };
    const lease = openLease("i0", now, this.#rules);
    const host = (grant: string | undefined): Host => ({ boot: 1, lease, generation: 0n, renewal: undefined, grant });
    const { renewals, openings, wipes } = this.#options;
    return this.#pack({
      store,
      replicas: [replica, replica],
      hosts: [host("i0"), host(undefined)],
      left: { renewals, openings, wipes },
    }).slice();
  }

  expand(state: Int32Array, emit: Emit): void {
    const parts = this.#unpack(state);
    const go = (who: string, event: string, changes: Partial<Parts>, more: Partial<Step> = {}): void => {
      emit(this.#pack({ ...parts, ...changes }), { who, event, ...quiet, ...more });
    };
    this.#timePasses(parts, go);
    parts.replicas.forEach((replica, index) => {
      this.#replicaSteps(parts, replica, index, go);
    });
    parts.hosts.forEach((host, index) => {
      this.#hostSteps(parts, host, index, go);
    });
    if (parts.left.wipes > 0) {
      const empty: Store = { mark: undefined, sessions: {}, owner: undefined, confirmed: "" };
      go("store", "is wiped", { store: empty, left: { ...parts.left, wipes: parts.left.wipes - 1 } }, { fault: true });
    }
  }

  violation(state: Int32Array): string | undefined {
    const ticking = this.#unpack(state).hosts.filter(mayTick);
    return ticking.length > 1 ? "EI-1: two hosts could commit a tick at the same moment" : undefined;
  }

  /** Renewals and openings are counted here, so only a state that still has both must come to a tick. */
  isGoal(state: Int32Array): boolean {
    const { hosts, left } = this.#unpack(state);
    return hosts.some(mayTick) || left.renewals === 0 || left.openings === 0;
  }

  describe(state: Int32Array): ReadonlyMap<string, string> {
    const { store, replicas, hosts } = this.#unpack(state);
    const parts = new Map<string, string>([["store", keyOf(store)]]);
    for (const [index, replica] of replicas.entries()) parts.set(`R${index + 1}`, keyOf(replica));
    for (const [index, host] of hosts.entries()) {
      parts.set(`${hostNames[index]}`, `${keyOf(host)}${mayTick(host) ? " TICKS" : ""}`);
    }
    return parts;
  }

  #timePasses(parts: Parts, go: Go): void {
    const { replicas, hosts } = parts;
    go("time", "passes", {
      replicas: replicas.map((replica) => remembered(this.#olderReplicas, replica, () => this.#older(replica))),
      hosts: hosts.map((host) => remembered(this.#olderHosts, host, () => olderHost(host))),
    });
  }

  /** What is older than every limit is as old as the limit. */
  #older({ silence, watch, ...replica }: Replica): Replica {
    const oldest = -Math.max(this.#silentMs, this.#quarantineMs, this.#maxGapMs + stepMs);
    const shift = (ms: number): number => Math.max(oldest, ms - stepMs);
    return {
      ...replica,
      silence: silence && {
        ...silence,
        lookedAtMs: shift(silence.lookedAtMs),
        watches: new Map([...silence.watches].map(([name, seen]) => [name, { ...seen, sinceMs: shift(seen.sinceMs) }])),
      },
      watch: watch && { ...watch, sinceMs: shift(watch.sinceMs), lookedAtMs: shift(watch.lookedAtMs) },
    };
  }

  #replicaSteps(parts: Parts, replica: Replica, index: number, go: Go): void {
    const { store, replicas } = parts;
    const who = `R${index + 1}`;
    const becomes = (changes: Partial<Replica>) => ({
      replicas: replicas.map((one, at) => (at === index ? { ...one, ...changes } : one)),
    });
    if (
      store.mark === undefined ||
      store.mark.incarnation !== replica.mark.incarnation ||
      store.mark.quarantine !== replica.mark.quarantine
    ) {
      this.#looksAtMark(parts, replica, { who, becomes }, go);
      return;
    }
    const { mark } = store;
    const sessions = Object.entries(store.sessions)
      .filter(([, { closed, incarnation }]) => !closed && incarnation === mark.incarnation)
      .map(([name, { generation }]) => ({
        hostId: name,
        bootId: "",
        generation,
        durationMs: this.#rules.durationMs,
        graceMs: this.#rules.graceMs,
      }));
    const { state, silent } = look(
      replica.silence,
      { incarnation: mark.incarnation, askedAtMs: 0, answeredAtMs: 0, sessions },
      { maxGapMs: this.#maxGapMs },
    );
    const found = silent.map(({ session, generation }) => ({ session: session.hostId, generation }));
    go(who, "looks at the sessions", becomes({ silence: state, silent: found }));
    for (const { session, generation } of replica.silent) {
      const rest = replica.silent.filter((one) => one.session !== session);
      const stored = store.sessions[session];
      const closes = stored !== undefined && !stored.closed && stored.generation === generation;
      if (closes) this.#row("SL-2 a replica closes a session");
      const closed = closes
        ? { ...store, sessions: { ...store.sessions, [session]: { ...stored, closed: true } } }
        : store;
      go(who, closes ? `closes session ${session}` : `finds session ${session} renewed`, {
        ...becomes({ silent: rest }),
        store: closed,
      });
    }
    if (!mark.quarantine) return;
    const { watch, over } = watchQuarantine(
      replica.watch,
      { mark, askedAtMs: 0, answeredAtMs: 0 },
      { quarantineMs: this.#quarantineMs, maxGapMs: this.#maxGapMs },
    );
    if (!over) {
      go(who, "watches the quarantine", becomes({ watch }));
      return;
    }
    this.#row("GA-6 a replica ends the quarantine");
    const ended = { ...mark, quarantine: false };
    go(who, "ends the quarantine", { ...becomes({ watch: undefined, mark: ended }), store: { ...store, mark: ended } });
  }

  #looksAtMark(
    { store }: Parts,
    replica: Replica,
    { who, becomes }: { who: string; becomes: (changes: Partial<Replica>) => Partial<Parts> },
    go: Go,
  ): void {
    const { mark } = store;
    let newest = 0n;
    for (const { counter } of replica.seen) if (counter > newest) newest = counter;
    const decision = decideMark({
      stored: mark === undefined ? { kind: "none" } : { kind: "verified", mark },
      liveIdentity: "s",
      seen: replica.seen,
      founding: false,
      forgotUnder: undefined,
      newIncarnation: `i${newest + 1n}`,
      nowSeconds: 0n,
    });
    const fresh = { silence: undefined, silent: [], watch: undefined };
    if (decision.kind === "replace") {
      this.#row("GA-6 a replica writes a new mark");
      const seen = rememberMark(replica.seen, decision.mark);
      go(who, "writes a new mark", {
        ...becomes({ ...fresh, mark: decision.mark, seen }),
        store: { ...store, mark: decision.mark },
      });
    } else if (decision.kind === "adopt") {
      this.#row("GA-6 a replica adopts the other's mark");
      const kept = mark?.incarnation === replica.mark.incarnation ? { watch: undefined } : fresh;
      go(
        who,
        "adopts the mark",
        becomes({ ...kept, mark: decision.mark, seen: rememberMark(replica.seen, decision.mark) }),
      );
    }
  }

  #hostSteps(parts: Parts, host: Host, index: number, go: Go): void {
    const { store, left, hosts } = parts;
    const who = hostNames[index] as string;
    const name = `${who}${host.boot}`;
    const becomes = (changes: Partial<Host>) => ({
      hosts: hosts.map((one, at) => (at === index ? { ...one, ...changes } : one)),
    });
    const { lease, renewal } = host;
    const served = parts.replicas.some(
      ({ mark }) => store.mark !== undefined && mark.incarnation === store.mark.incarnation,
    );
    if (lease.kind === "open" && renewal === undefined && left.renewals > 0) {
      go(who, "sends a renewal", {
        ...becomes({ renewal: { sentMs: 0, answer: undefined } }),
        left: { ...left, renewals: left.renewals - 1 },
      });
    }
    if (lease.kind === "open" && renewal !== undefined) this.#renewalSteps(parts, { host, name, who, becomes }, go);
    if (!served || store.mark === undefined) return;
    const { mark } = store;
    if (lease.kind === "open" && lease.incarnation !== mark.incarnation) {
      this.#meetsNewIncarnation(parts, { host, name, who, becomes }, go);
    }
    if (lease.kind === "void" && left.openings > 0) {
      const boot = host.boot + 1;
      const sessions = {
        ...store.sessions,
        [`${who}${boot}`]: { incarnation: mark.incarnation, generation: 0n, closed: false },
      };
      const opened = {
        boot,
        lease: openLease(mark.incarnation, now, this.#rules),
        generation: 0n,
        renewal: undefined,
        grant: undefined,
      };
      go(who, "opens a session", {
        ...becomes(opened),
        store: { ...store, sessions },
        left: { ...left, openings: left.openings - 1 },
      });
    }
    if (
      lease.kind !== "open" ||
      lease.incarnation !== mark.incarnation ||
      mark.quarantine ||
      host.grant === mark.incarnation
    )
      return;
    const own = store.sessions[name];
    if (own === undefined || own.closed) return;
    const owner = store.owner === undefined ? undefined : store.sessions[store.owner];
    const isVoid = owner === undefined || owner.closed || owner.incarnation !== mark.incarnation;
    if (store.confirmed === mark.incarnation && !isVoid) return;
    this.#row(
      store.confirmed === mark.incarnation
        ? "SL-2 an agent of a void session is recovered"
        : "GA-9 an agent of a lost record is recovered",
    );
    go(who, "recovers the agent", {
      ...becomes({ grant: mark.incarnation }),
      store: { ...store, owner: name, confirmed: mark.incarnation },
    });
  }

  /** Sent, served and answered are three moments. */
  #renewalSteps({ store }: Parts, { host, name, who, becomes }: HostView, go: Go): void {
    const { lease, renewal } = host;
    if (lease.kind !== "open" || renewal === undefined) return;
    go(who, "gives up on a renewal", becomes({ renewal: undefined }), { fault: true });
    const stored = store.sessions[name];
    const { mark } = store;
    if (renewal.answer !== undefined) {
      const sentAt = { monotonicMs: renewal.sentMs, wallMs: renewal.sentMs };
      const { incarnation } = lease;
      const renewed = stepLease(noticeLapse(lease, now), { kind: "renewed", incarnation, sentAt, rules: this.#rules });
      go(
        who,
        "hears that it was renewed",
        becomes({ lease: aged(renewed), generation: renewal.answer, renewal: undefined }),
      );
    } else if (mark !== undefined && mark.incarnation === lease.incarnation) {
      if (stored === undefined || stored.closed) {
        go(
          who,
          "hears that its session is void",
          becomes({ lease: { kind: "void" }, renewal: undefined, grant: undefined }),
        );
        return;
      }
      const generation = stored.generation + 1n;
      const sessions = { ...store.sessions, [name]: { ...stored, generation } };
      go("registry", `renews ${name}`, {
        ...becomes({ renewal: { ...renewal, answer: generation } }),
        store: { ...store, sessions },
      });
    }
  }

  /** GA-7, GA-8 */
  #meetsNewIncarnation({ store }: Parts, { host, name, who, becomes }: HostView, go: Go): void {
    const { mark } = store;
    if (mark === undefined) return;
    const from = reassertsFrom(host.lease, mark.incarnation, now);
    const brought =
      from === undefined
        ? undefined
        : reassertSession(store.sessions[name], { generation: host.generation, from }, mark);
    if (brought?.kind !== "brought-over") {
      go(
        who,
        "hears that its session is void",
        becomes({ lease: { kind: "void" }, renewal: undefined, grant: undefined }),
      );
      return;
    }
    this.#row("GA-7 a host brings its session over");
    const { generation } = brought;
    const lease = stepLease(host.lease, {
      kind: "reasserted",
      incarnation: mark.incarnation,
      sentAt: now,
      rules: this.#rules,
    });
    const sessions = { ...store.sessions, [name]: { incarnation: mark.incarnation, generation, closed: false } };
    // Its agent comes along, unless somebody has confirmed it already.
    const mine = host.grant === from && store.confirmed !== mark.incarnation;
    const after: Store = mine
      ? { ...store, sessions, owner: name, confirmed: mark.incarnation }
      : { ...store, sessions };
    const grant = mine ? mark.incarnation : undefined;
    go(who, "brings its session and its agent over", {
      ...becomes({ lease: aged(lease), generation, renewal: undefined, grant }),
      store: after,
    });
  }

  #row(row: string): void {
    this.#options.onRow?.(row);
  }

  #pack({ store, replicas, hosts, left }: Parts): Int32Array {
    // The replicas are alike, so which of two is which makes no state a different one.
    const numbers = [
      this.#stores.number(store),
      ...replicas.map((replica) => this.#replicas.number(replica)).sort((a, b) => a - b),
      ...hosts.map((host) => this.#hosts.number(host)),
      this.#left.number(left),
    ];
    this.#fields.set(numbers);
    this.#layout.pack(this.#fields, this.#words);
    return this.#words;
  }

  #unpack(state: Int32Array): Parts {
    const fields = new Int32Array(6);
    this.#layout.unpack(state, fields);
    const [store, one, other, a, b, left] = fields as unknown as [number, number, number, number, number, number];
    return {
      store: this.#stores.value(store),
      replicas: [this.#replicas.value(one), this.#replicas.value(other)],
      hosts: [this.#hosts.value(a), this.#hosts.value(b)],
      left: this.#left.value(left),
    };
  }
}

interface Parts {
  readonly store: Store;
  readonly replicas: readonly Replica[];
  readonly hosts: readonly Host[];
  readonly left: Left;
}

type Go = (who: string, event: string, changes: Partial<Parts>, more?: Partial<Step>) => void;

interface HostView {
  readonly host: Host;
  readonly name: string;
  readonly who: string;
  readonly becomes: (changes: Partial<Host>) => Partial<Parts>;
}

function remembered<T>(known: Map<T, T>, value: T, work: () => T): T {
  let after = known.get(value);
  if (after === undefined) {
    after = work();
    known.set(value, after);
  }
  return after;
}

function mayTick({ lease, grant }: Host): boolean {
  return grant !== undefined && covers(lease, { incarnation: grant }, now);
}

function olderHost({ lease, renewal, ...host }: Host): Host {
  return {
    ...host,
    lease: aged(lease, stepMs),
    renewal: renewal && { ...renewal, sentMs: Math.max(-durationSteps * stepMs, renewal.sentMs - stepMs) },
  };
}

/** A lease that has lapsed is noticed to have, and as old as any other that has. */
function aged(lease: SessionLease, byMs = 0): SessionLease {
  if (lease.kind === "void") return lease;
  const oldest = -durationSteps * stepMs;
  const since = Math.max(oldest, lease.since.monotonicMs - byMs);
  const shift = lease.since.monotonicMs - since;
  const moved = { ...lease, deadlineMs: lease.deadlineMs - shift, since: { monotonicMs: since, wallMs: since } };
  return noticeLapse(moved, now);
}
