// The registry's store in memory: what a Redis would hold, which can be wiped, rolled back and be out of reach.
//
// It is for simulations. Several registries may have it, as they have one Redis.
//
// GA-6  Every step compares the mark first, and is one step: nothing happens between its parts. Its identity is that of the
//       server that is there; data and identity may change apart from each other, as those of a Redis do.
// SL-2  A closed session stays closed and stays known, until the store forgets.

import type { CheckpointRef, SessionId, SessionSighting } from "@godwit/common/lease";
import { statementIn } from "../mark/mark.ts";
import { admit, type StoreStep } from "../store/admission.ts";
import { sameBytes } from "../store/bytes.ts";
import { checkpointKey } from "../store/checkpoint-key.ts";
import type { Placement } from "../store/placement.ts";
import {
  type AgentsRead,
  type Announcement,
  type ApplyOutcome,
  type CloseOutcome,
  type Closing,
  type CountedOutcome,
  type HostChanges,
  MAX_HISTORY,
  MAX_HOLDERS,
  MAX_HOST_CHANGES,
  MarkMismatch,
  type MarkReading,
  type OutcomeReport,
  type Page,
  type Reassertion,
  type ReassertOutcome,
  type RecordChange,
  type RegistryStore,
  type Renewal,
  type RenewOutcome,
  type StoredHolder,
  type StoredHost,
  type StoredSession,
} from "../store/registry-store.ts";

interface StoredAgentRecord {
  record: Uint8Array;
  placement: Placement;
  /** By revision. */
  readonly history: Map<bigint, Uint8Array>;
}

interface MemoryHost extends Omit<StoredHost, "live"> {
  readonly lastSeenAtMs: number;
}

interface Content {
  mark: Uint8Array | undefined;
  readonly sessions: Map<string, StoredSession>;
  readonly agents: Map<string, StoredAgentRecord>;
  /** By agent, then by session. */
  readonly holders: Map<string, Map<string, StoredHolder>>;
  readonly hosts: Map<string, MemoryHost>;
}

/** What a checker sees of it. Called after the step, before its caller is answered. */
export interface StoreWitness {
  marked?(mark: Uint8Array): void;
  /** `reasserted`: a host has brought it back (GA-7). */
  applied?(change: RecordChange, how: "decided" | "reasserted"): void;
  closed?(session: SessionId): void;
}

const empty = (): Content => ({
  mark: undefined,
  sessions: new Map(),
  agents: new Map(),
  holders: new Map(),
  hosts: new Map(),
});

export class MemoryStore implements RegistryStore {
  readonly kind = "redis";
  readonly where = "memory";
  readonly #witness: StoreWitness;
  #content = empty();
  #identity = "memory:1";

  constructor(witness: StoreWitness = {}) {
    this.#witness = witness;
  }

  async start(): Promise<void> {
    // It is there.
  }

  async stop(): Promise<void> {
    // It stays.
  }

  trouble(): string | undefined {
    return undefined;
  }

  /** FLUSHALL. */
  wipe(): void {
    this.#content = empty();
  }

  /** Another server is there now: a Redis that was started anew, or put in the place of the old one. */
  becomes(identity: string): void {
    this.#identity = identity;
  }

  /** As it holds them now. */
  records(): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.#content.agents].map(([agentId, { record }]) => [agentId, record]));
  }

  /** For `rollBack`; later writes do not change it. */
  snapshot(): unknown {
    return structuredCopy(this.#content);
  }

  rollBack(snapshot: unknown): void {
    this.#content = structuredCopy(snapshot as Content);
  }

  async readMark(): Promise<MarkReading> {
    return { identity: this.#identity, mark: this.#content.mark };
  }

  async replaceMark(before: Uint8Array | undefined, after: Uint8Array): Promise<boolean> {
    if (statementIn(after).storeIdentity !== this.#identity || !sameBytes(this.#content.mark, before)) return false;
    this.#content.mark = after.slice();
    this.#witness.marked?.(after);
    return true;
  }

  async openSession(mark: Uint8Array, session: StoredSession, seenAtMs: number): Promise<"opened" | "exists"> {
    this.#compare(mark, "openSession");
    if (this.#content.sessions.has(keyOf(session))) return "exists";
    this.#content.sessions.set(keyOf(session), session);
    this.#see(session.hostId, seenAtMs);
    this.#change(session.hostId, {});
    return "opened";
  }

  async renewSession(mark: Uint8Array, renewal: Renewal): Promise<RenewOutcome> {
    this.#compare(mark, "renewSession");
    const session = this.#content.sessions.get(keyOf(renewal));
    if (session === undefined || session.incarnation !== renewal.incarnation) return { kind: "unknown" };
    if (session.closed) return { kind: "void" };
    if (!sameBytes(session.secretDigest, renewal.secretDigest)) return { kind: "bad-secret" };
    if (renewal.generation > session.generation) return { kind: "forgot", generation: session.generation };
    const generation = session.generation + 1n;
    this.#content.sessions.set(keyOf(session), { ...session, generation });
    this.#see(session.hostId, renewal.seenAtMs);
    return { kind: "renewed", generation, rules: session.rules };
  }

  async closeSession(mark: Uint8Array, { session: id, generation, caller }: Closing): Promise<CloseOutcome> {
    this.#compare(mark, "closeSession");
    if (caller !== undefined && !this.#isOpen(caller)) return "caller-void";
    const session = this.#content.sessions.get(keyOf(id));
    if (session === undefined) return "unknown";
    if (session.closed) return "closed-before";
    if (generation !== undefined && session.generation !== generation) return "moved";
    this.#content.sessions.set(keyOf(id), { ...session, closed: true });
    this.#change(id.hostId, {});
    this.#witness.closed?.(id);
    return "closed";
  }

  async reassertSession(mark: Uint8Array, reassertion: Reassertion): Promise<ReassertOutcome> {
    this.#compare(mark, "reassertSession");
    const { hostId, bootId, incarnation, secretDigest, seenAtMs } = reassertion;
    const known = this.#content.sessions.get(keyOf(reassertion));
    if (known?.closed === true) return { kind: "void" };
    const recorded = known?.generation ?? 0n;
    const session: StoredSession = {
      hostId,
      bootId,
      incarnation,
      generation: (recorded > reassertion.generation ? recorded : reassertion.generation) + 1n,
      rules: known?.incarnation === incarnation ? known.rules : reassertion.rules, // SL-5
      closed: false,
      secretDigest,
    };
    this.#content.sessions.set(keyOf(session), session);
    this.#see(hostId, seenAtMs);
    this.#change(hostId, {});
    return { kind: "reasserted", session };
  }

  async readSessions(mark: Uint8Array, sessions: readonly SessionId[]) {
    this.#compare(mark, "readSessions");
    return sessions.map((id) => this.#content.sessions.get(keyOf(id)));
  }

  async readOpenSessions(mark: Uint8Array): Promise<readonly SessionSighting[]> {
    this.#compare(mark, "readOpenSessions");
    return [...this.#content.sessions.values()]
      .filter((session) => this.#counts(session))
      .sort((a, b) => compareText(keyOf(a), keyOf(b)))
      .map(({ hostId, bootId, generation, rules: { durationMs, graceMs } }) => ({
        hostId,
        bootId,
        generation,
        durationMs,
        graceMs,
      }));
  }

  async readAgents(
    mark: Uint8Array,
    what: {
      readonly caller?: SessionId | undefined;
      readonly agentIds: readonly string[];
      readonly withHolders: boolean;
    },
  ): Promise<AgentsRead> {
    this.#compare(mark, "readAgents");
    return {
      caller: what.caller && this.#content.sessions.get(keyOf(what.caller)),
      agents: what.agentIds.map((agentId) => ({
        record: this.#content.agents.get(agentId)?.record,
        holders: what.withHolders ? this.#liveHolders(agentId) : [],
      })),
    };
  }

  async apply(mark: Uint8Array, caller: SessionId | undefined, changes: readonly RecordChange[]) {
    this.#compare(mark, "apply");
    return this.#applyAll(caller, changes, "decided");
  }

  async applyReasserted(mark: Uint8Array, caller: SessionId, changes: readonly RecordChange[]) {
    this.#compare(mark, "applyReasserted");
    return this.#applyAll(caller, changes, "reasserted");
  }

  async announce(mark: Uint8Array, caller: SessionId, { held, withdrawn }: Announcement) {
    this.#compare(mark, "announce");
    if (!this.#isOpen(caller)) return "caller-void";
    const { hostId, bootId } = caller;
    const key = keyOf(caller);
    for (const agentId of withdrawn) this.#content.holders.get(agentId)?.delete(key);
    for (const { agentId, checkpoint } of held) {
      const holders = this.#content.holders.get(agentId) ?? new Map<string, StoredHolder>();
      this.#content.holders.set(agentId, holders);
      const before = holders.get(key);
      if (before === undefined || newestFirst(checkpoint, before.checkpoint) < 0) {
        holders.set(key, { session: { hostId, bootId }, checkpoint });
      }
    }
    return "announced";
  }

  async findAgents(
    mark: Uint8Array,
    { after, limit, prefix = "", ownerHostId }: Page & { readonly prefix?: string; readonly ownerHostId?: string },
  ): Promise<readonly string[]> {
    this.#compare(mark, "findAgents");
    return this.#find({ after, limit }, (agentId, { placement }) => {
      return agentId.startsWith(prefix) && (ownerHostId === undefined || placement.ownerHostId === ownerHostId);
    });
  }

  async readHistory(mark: Uint8Array, agentId: string): Promise<readonly Uint8Array[]> {
    this.#compare(mark, "readHistory");
    const history = this.#content.agents.get(agentId)?.history ?? new Map<bigint, Uint8Array>();
    return [...history].sort(([a], [b]) => (a < b ? 1 : -1)).map(([, entry]) => entry);
  }

  async findAgentsToOffer(mark: Uint8Array, page: Page): Promise<readonly string[]> {
    this.#compare(mark, "findAgentsToOffer");
    return this.#find(page, (_, { placement: { offeredNow, offeredWhenClosed } }) => {
      return offeredNow || (offeredWhenClosed !== undefined && !this.#isOpen(offeredWhenClosed));
    });
  }

  async findAgentsOfSession(mark: Uint8Array, session: SessionId, page: Page): Promise<readonly string[]> {
    this.#compare(mark, "findAgentsOfSession");
    return this.#find(page, (_, { placement: { offeredWhenClosed } }) => {
      return offeredWhenClosed !== undefined && keyOf(offeredWhenClosed) === keyOf(session);
    });
  }

  async putHost(
    mark: Uint8Array,
    caller: SessionId,
    { info, seenAtMs }: { readonly info: Uint8Array; readonly seenAtMs: number },
  ) {
    this.#compare(mark, "putHost");
    if (!this.#isOpen(caller)) return "caller-void";
    const { hostId } = caller;
    const before = this.#content.hosts.get(hostId) ?? { hostId, draining: false, failures: 0, lastFailureAtMs: 0 };
    const version = this.#latest() + 1;
    this.#content.hosts.set(hostId, { ...before, info: info.slice(), lastSeenAtMs: seenAtMs, version });
    return "stored";
  }

  async readHosts(mark: Uint8Array, afterVersion: number): Promise<HostChanges> {
    this.#compare(mark, "readHosts");
    const live = new Set(
      [...this.#content.sessions.values()].filter((session) => this.#counts(session)).map(({ hostId }) => hostId),
    );
    const hosts = [...this.#content.hosts.values()]
      .filter(({ version }) => version > afterVersion)
      .sort((a, b) => a.version - b.version)
      .slice(0, MAX_HOST_CHANGES)
      .map(({ hostId, version, info, draining, failures, lastFailureAtMs }) => {
        return { hostId, version, info, draining, failures, lastFailureAtMs, live: live.has(hostId) };
      });
    return { hosts, latest: this.#latest() };
  }

  async readHostsSeen(mark: Uint8Array, hostIds: readonly string[]): Promise<readonly number[]> {
    this.#compare(mark, "readHostsSeen");
    return hostIds.map((hostId) => this.#content.hosts.get(hostId)?.lastSeenAtMs ?? 0);
  }

  async setDraining(mark: Uint8Array, hostId: string, draining: boolean) {
    this.#compare(mark, "setDraining");
    const host = this.#content.hosts.get(hostId);
    if (host === undefined) return "unknown-host";
    this.#change(hostId, { draining });
    return "set";
  }

  async countOutcome(
    mark: Uint8Array,
    caller: SessionId,
    { hostId, failed, atMs, forgetAfterMs }: OutcomeReport,
  ): Promise<CountedOutcome> {
    this.#compare(mark, "countOutcome");
    if (!this.#isOpen(caller)) return { kind: "caller-void" };
    const host = this.#content.hosts.get(hostId);
    if (host === undefined) return { kind: "unknown-host" };
    const before = atMs - host.lastFailureAtMs >= forgetAfterMs ? 0 : host.failures;
    const failures = failed ? before + 1 : 0;
    this.#change(hostId, { failures, lastFailureAtMs: failed ? atMs : host.lastFailureAtMs });
    return { kind: "counted", failures };
  }

  #compare(mark: Uint8Array, step: StoreStep): void {
    admit(step, mark, this.#identity);
    if (!sameBytes(this.#content.mark, mark)) throw new MarkMismatch();
  }

  #isOpen(id: SessionId): boolean {
    const session = this.#content.sessions.get(keyOf(id));
    return session !== undefined && this.#counts(session);
  }

  /** SL-2: not closed, and known to the incarnation of the stored mark. */
  #counts({ closed, incarnation }: StoredSession): boolean {
    const { mark } = this.#content;
    return !closed && mark !== undefined && statementIn(mark).incarnation === incarnation;
  }

  #see(hostId: string, atMs: number): void {
    const host = this.#content.hosts.get(hostId);
    if (host !== undefined) this.#content.hosts.set(hostId, { ...host, lastSeenAtMs: atMs });
  }

  /** The host, if there is one, has changed. */
  #change(hostId: string, changes: Partial<MemoryHost>): void {
    const host = this.#content.hosts.get(hostId);
    if (host === undefined) return;
    this.#content.hosts.set(hostId, { ...host, ...changes, version: this.#latest() + 1 });
  }

  /** Of the directory. */
  #latest(): number {
    return Math.max(0, ...[...this.#content.hosts.values()].map(({ version }) => version));
  }

  #applyAll(
    caller: SessionId | undefined,
    changes: readonly RecordChange[],
    how: "decided" | "reasserted",
  ): readonly ApplyOutcome[] {
    if (caller !== undefined && !this.#isOpen(caller)) return changes.map(() => "caller-void");
    return changes.map((change) => this.#applyOne(change, how));
  }

  #applyOne(change: RecordChange, how: "decided" | "reasserted"): ApplyOutcome {
    const { agentId, before, after, placement, history, holdersSeen } = change;
    const stored = this.#content.agents.get(agentId);
    if (!sameBytes(stored?.record, before)) return "record-changed";
    if (holdersSeen !== undefined && !areAmong(this.#liveHolders(agentId), holdersSeen)) return "holders-changed";
    const entries = stored?.history ?? new Map<bigint, Uint8Array>();
    this.#content.agents.set(agentId, { record: after.slice(), placement: placement.after, history: entries });
    if (history !== undefined) {
      entries.set(history.revision, history.entry.slice());
      const [oldest] = [...entries.keys()].sort((a, b) => (a < b ? -1 : 1));
      if (entries.size > MAX_HISTORY && oldest !== undefined) entries.delete(oldest);
    }
    this.#witness.applied?.(change, how);
    return "applied";
  }

  #liveHolders(agentId: string): readonly StoredHolder[] {
    return [...(this.#content.holders.get(agentId)?.values() ?? [])]
      .filter(({ session }) => this.#isOpen(session))
      .sort((a, b) => newestFirst(a.checkpoint, b.checkpoint))
      .slice(0, MAX_HOLDERS);
  }

  #find(
    { after = "", limit }: Page,
    wanted: (agentId: string, agent: StoredAgentRecord) => boolean,
  ): readonly string[] {
    return [...this.#content.agents]
      .filter(([agentId, agent]) => agentId > after && wanted(agentId, agent))
      .map(([agentId]) => agentId)
      .sort(compareText)
      .slice(0, limit);
  }
}

function keyOf({ hostId, bootId }: SessionId): string {
  return `${hostId} ${bootId}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function newestFirst(a: CheckpointRef, b: CheckpointRef): number {
  return compareText(checkpointKey(b), checkpointKey(a));
}

function areAmong(live: readonly StoredHolder[], seen: readonly StoredHolder[]): boolean {
  const known = new Set(seen.map(holderKey));
  return live.every((holder) => known.has(holderKey(holder)));
}

function holderKey({ session, checkpoint }: StoredHolder): string {
  return `${keyOf(session)} ${checkpointKey(checkpoint)}`;
}

/** Records and sessions are never changed in place, maps are. */
function structuredCopy({ mark, sessions, agents, holders, hosts }: Content): Content {
  return {
    mark,
    sessions: new Map(sessions),
    agents: new Map([...agents].map(([id, agent]) => [id, { ...agent, history: new Map(agent.history) }])),
    holders: new Map([...holders].map(([id, of]) => [id, new Map(of)])),
    hosts: new Map(hosts),
  };
}
