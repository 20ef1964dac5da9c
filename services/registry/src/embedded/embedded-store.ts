// The store of a registry that is alone: SQLite in its data directory.
//
// GA-6  Opened by one process, which has the data directory. Every method compares the mark before anything else.
// DB-1  Writes are answered when they are on disk.

import type { CheckpointRef, SessionId, SessionSighting } from "@godwit/common/lease";
import { type DataDirectory, lockDataDirectory } from "@godwit/service/data-directory";
import { secretsMatch } from "../sessions/secret.ts";
import { sameBytes } from "../store/bytes.ts";
import { checkpointKey, readCheckpointKey } from "../store/checkpoint-key.ts";
import {
  type AgentsRead,
  type Announcement,
  type ApplyOutcome,
  type CloseOutcome,
  type Closing,
  type CountedOutcome,
  MAX_HISTORY,
  MAX_HOLDERS,
  MarkMismatch,
  type OutcomeReport,
  type Page,
  type RecordChange,
  type RegistryStore,
  type Renewal,
  type RenewOutcome,
  type StoredHolder,
  type StoredHost,
  type StoredSession,
} from "../store/registry-store.ts";
import { Database } from "./database.ts";

interface SessionRow {
  readonly host: string;
  readonly boot: string;
  readonly incarnation: string;
  readonly generation: number;
  readonly duration_ms: number;
  readonly grace_ms: number;
  readonly renew_every_ms: number;
  readonly secret_digest: Uint8Array;
  readonly closed: number;
}

interface HostRow {
  readonly host: string;
  readonly info: Uint8Array;
  readonly draining: number;
  readonly failures: number;
  readonly failed_at_ms: number;
  readonly seen_at_ms: number;
  readonly live: number;
}

interface HolderRow {
  readonly host: string;
  readonly boot: string;
  readonly checkpoint: string;
}

export class EmbeddedStore implements RegistryStore {
  readonly kind = "embedded";
  readonly where: string;
  #opened: Database | undefined;
  #lock: DataDirectory | undefined;

  constructor(dataDirectory: string) {
    this.where = dataDirectory;
  }

  async start(): Promise<void> {
    this.#lock = lockDataDirectory(this.where, "registry");
    try {
      this.#opened = new Database(this.where);
    } catch (error) {
      this.#lock.unlock();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.#opened?.close();
    this.#opened = undefined;
    this.#lock?.unlock();
    this.#lock = undefined;
  }

  trouble(): string | undefined {
    return this.#opened === undefined ? "it is not open" : this.#opened.trouble;
  }

  async readMark(): Promise<Uint8Array | undefined> {
    return this.#db.read(() => this.#storedMark(), isRefusal);
  }

  async createMark(mark: Uint8Array): Promise<boolean> {
    const insert = this.#db.prepare("INSERT INTO mark (only, bytes) VALUES (1, ?) ON CONFLICT DO NOTHING");
    return await this.#db.write(() => insert.run(mark).changes === 1, isRefusal);
  }

  async openSession(mark: Uint8Array, session: StoredSession, seenAtMs: number): Promise<"opened" | "exists"> {
    return await this.#write(mark, () => {
      const { hostId, bootId, incarnation, generation, rules, secretDigest } = session;
      const { changes } = this.#db
        .prepare("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING")
        .run(
          hostId,
          bootId,
          incarnation,
          generation,
          rules.durationMs,
          rules.graceMs,
          rules.renewEveryMs,
          secretDigest,
        );
      if (changes === 0) return "exists";
      this.#see(hostId, seenAtMs);
      return "opened";
    });
  }

  async renewSession(mark: Uint8Array, renewal: Renewal): Promise<RenewOutcome> {
    return await this.#write(mark, () => {
      const session = this.#session(renewal);
      if (session === undefined || session.incarnation !== renewal.incarnation) return { kind: "unknown" };
      if (session.closed) return { kind: "void" };
      if (!secretsMatch(session.secretDigest, renewal.secretDigest)) return { kind: "bad-secret" };
      if (renewal.generation > session.generation) return { kind: "forgot", generation: session.generation };
      const generation = session.generation + 1n;
      this.#db
        .prepare("UPDATE sessions SET generation = ? WHERE host = ? AND boot = ?")
        .run(generation, renewal.hostId, renewal.bootId);
      this.#see(renewal.hostId, renewal.seenAtMs);
      return { kind: "renewed", generation, rules: session.rules };
    });
  }

  async closeSession(mark: Uint8Array, { session: id, generation, caller }: Closing): Promise<CloseOutcome> {
    return await this.#write(mark, () => {
      if (caller !== undefined && !this.#isOpen(caller)) return "caller-void";
      const session = this.#session(id);
      if (session === undefined) return "unknown";
      if (session.closed) return "closed-before";
      if (generation !== undefined && session.generation !== generation) return "moved";
      this.#db.prepare("UPDATE sessions SET closed = 1 WHERE host = ? AND boot = ?").run(id.hostId, id.bootId);
      this.#db
        .prepare("UPDATE agents SET offer = 2 WHERE owner_host = ? AND owner_boot = ? AND offer = 1")
        .run(id.hostId, id.bootId);
      return "closed";
    });
  }

  async readSessions(
    mark: Uint8Array,
    sessions: readonly SessionId[],
  ): Promise<readonly (StoredSession | undefined)[]> {
    return this.#read(mark, () => sessions.map((id) => this.#session(id)));
  }

  async readOpenSessions(mark: Uint8Array): Promise<readonly SessionSighting[]> {
    return this.#read(mark, () => {
      const rows = this.#db
        .prepare("SELECT * FROM sessions WHERE closed = 0 ORDER BY host, boot")
        .all() as unknown as readonly SessionRow[];
      return rows.map((row) => ({
        hostId: row.host,
        bootId: row.boot,
        generation: BigInt(row.generation),
        durationMs: row.duration_ms,
        graceMs: row.grace_ms,
      }));
    });
  }

  async readAgents(
    mark: Uint8Array,
    what: {
      readonly caller?: SessionId | undefined;
      readonly agentIds: readonly string[];
      readonly withHolders: boolean;
    },
  ): Promise<AgentsRead> {
    return this.#read(mark, () => ({
      caller: what.caller && this.#session(what.caller),
      agents: what.agentIds.map((agentId) => ({
        record: this.#record(agentId),
        holders: what.withHolders ? this.#liveHolders(agentId) : [],
      })),
    }));
  }

  async apply(mark: Uint8Array, caller: SessionId, changes: readonly RecordChange[]): Promise<readonly ApplyOutcome[]> {
    return await this.#write(mark, () => {
      if (!this.#isOpen(caller)) return changes.map(() => "caller-void" as const);
      return changes.map((change) => this.#applyOne(change));
    });
  }

  async announce(
    mark: Uint8Array,
    caller: SessionId,
    { held, withdrawn }: Announcement,
  ): Promise<"announced" | "caller-void"> {
    return await this.#write(mark, () => {
      if (!this.#isOpen(caller)) return "caller-void";
      const { hostId, bootId } = caller;
      for (const agentId of withdrawn) {
        this.#db.prepare("DELETE FROM holders WHERE agent = ? AND host = ? AND boot = ?").run(agentId, hostId, bootId);
      }
      for (const { agentId, checkpoint } of held) this.#hold(agentId, caller, checkpoint);
      return "announced";
    });
  }

  async findAgents(
    mark: Uint8Array,
    { after = "", limit, prefix = "", ownerHostId }: Page & { readonly prefix?: string; readonly ownerHostId?: string },
  ): Promise<readonly string[]> {
    return this.#read(mark, () => {
      // Ids are hex, so "g" is above all that begin with the prefix.
      const range = [after, prefix, `${prefix}g`] as const;
      const where = "agent > ? AND agent >= ? AND agent < ?";
      const rows =
        ownerHostId === undefined
          ? this.#db.prepare(`SELECT agent FROM agents WHERE ${where} ORDER BY agent LIMIT ?`).all(...range, limit)
          : this.#db
              .prepare(`SELECT agent FROM agents WHERE owner_host = ? AND ${where} ORDER BY agent LIMIT ?`)
              .all(ownerHostId, ...range, limit);
      return agentIds(rows);
    });
  }

  async readHistory(mark: Uint8Array, agentId: string): Promise<readonly Uint8Array[]> {
    return this.#read(mark, () => {
      const rows = this.#db
        .prepare("SELECT entry FROM history WHERE agent = ? ORDER BY revision DESC LIMIT ?")
        .all(agentId, MAX_HISTORY) as unknown as readonly { readonly entry: Uint8Array }[];
      return rows.map(({ entry }) => entry);
    });
  }

  async findAgentsToOffer(mark: Uint8Array, { after = "", limit }: Page): Promise<readonly string[]> {
    return this.#read(mark, () =>
      agentIds(
        this.#db
          .prepare("SELECT agent FROM agents WHERE offer = 2 AND agent > ? ORDER BY agent LIMIT ?")
          .all(after, limit),
      ),
    );
  }

  async findAgentsOfSession(
    mark: Uint8Array,
    { hostId, bootId }: SessionId,
    { after = "", limit }: Page,
  ): Promise<readonly string[]> {
    return this.#read(mark, () =>
      agentIds(
        this.#db
          .prepare(
            `SELECT agent FROM agents WHERE owner_host = ? AND owner_boot = ? AND offer > 0 AND agent > ?
             ORDER BY agent LIMIT ?`,
          )
          .all(hostId, bootId, after, limit),
      ),
    );
  }

  async putHost(
    mark: Uint8Array,
    caller: SessionId,
    { info, seenAtMs }: { readonly info: Uint8Array; readonly seenAtMs: number },
  ): Promise<"stored" | "caller-void"> {
    return await this.#write(mark, () => {
      if (!this.#isOpen(caller)) return "caller-void";
      this.#db
        .prepare(
          `INSERT INTO hosts VALUES (?, ?, 0, 0, 0, ?)
           ON CONFLICT DO UPDATE SET info = excluded.info, seen_at_ms = excluded.seen_at_ms`,
        )
        .run(caller.hostId, info, seenAtMs);
      return "stored";
    });
  }

  async readHosts(mark: Uint8Array): Promise<readonly StoredHost[]> {
    return this.#read(mark, () => {
      const rows = this.#db
        .prepare(
          `SELECT *, EXISTS (SELECT 1 FROM sessions s WHERE s.host = hosts.host AND s.closed = 0) AS live
           FROM hosts ORDER BY host`,
        )
        .all() as unknown as readonly HostRow[];
      return rows.map((row) => ({
        hostId: row.host,
        info: row.info,
        draining: row.draining === 1,
        failures: row.failures,
        lastFailureAtMs: row.failed_at_ms,
        lastSeenAtMs: row.seen_at_ms,
        live: row.live === 1,
      }));
    });
  }

  async setDraining(mark: Uint8Array, hostId: string, draining: boolean): Promise<"set" | "unknown-host"> {
    return await this.#write(mark, () => {
      const update = this.#db.prepare("UPDATE hosts SET draining = ? WHERE host = ?");
      return update.run(draining ? 1 : 0, hostId).changes === 1 ? "set" : "unknown-host";
    });
  }

  async countOutcome(
    mark: Uint8Array,
    caller: SessionId,
    { hostId, failed, atMs, forgetAfterMs }: OutcomeReport,
  ): Promise<CountedOutcome> {
    return await this.#write(mark, () => {
      if (!this.#isOpen(caller)) return { kind: "caller-void" };
      const row = this.#db.prepare("SELECT failures, failed_at_ms FROM hosts WHERE host = ?").get(hostId);
      if (row === undefined) return { kind: "unknown-host" };
      const { failures: before, failed_at_ms: lastAtMs } = row as { failures: number; failed_at_ms: number };
      const failures = failed ? (atMs - lastAtMs >= forgetAfterMs ? 0 : before) + 1 : 0;
      this.#db
        .prepare("UPDATE hosts SET failures = ?, failed_at_ms = ? WHERE host = ?")
        .run(failures, failed ? atMs : lastAtMs, hostId);
      return { kind: "counted", failures };
    });
  }

  get #db(): Database {
    if (this.#opened === undefined) throw new Error("the embedded store is used before its start or after its stop");
    return this.#opened;
  }

  async #write<T>(mark: Uint8Array, work: () => T): Promise<T> {
    return await this.#db.write(() => {
      this.#compare(mark);
      return work();
    }, isRefusal);
  }

  #read<T>(mark: Uint8Array, work: () => T): T {
    return this.#db.read(() => {
      this.#compare(mark);
      return work();
    }, isRefusal);
  }

  #compare(mark: Uint8Array): void {
    if (!sameBytes(this.#storedMark(), mark)) throw new MarkMismatch();
  }

  #storedMark(): Uint8Array | undefined {
    const row = this.#db.prepare("SELECT bytes FROM mark WHERE only = 1").get();
    return (row as { readonly bytes: Uint8Array } | undefined)?.bytes;
  }

  #session({ hostId, bootId }: SessionId): StoredSession | undefined {
    const row = this.#db.prepare("SELECT * FROM sessions WHERE host = ? AND boot = ?").get(hostId, bootId);
    return row && sessionOf(row as unknown as SessionRow);
  }

  #isOpen({ hostId, bootId }: SessionId): boolean {
    const row = this.#db.prepare("SELECT closed FROM sessions WHERE host = ? AND boot = ?").get(hostId, bootId);
    return row?.["closed"] === 0;
  }

  #record(agentId: string): Uint8Array | undefined {
    const row = this.#db.prepare("SELECT record FROM agents WHERE agent = ?").get(agentId);
    return (row as { readonly record: Uint8Array } | undefined)?.record;
  }

  #see(hostId: string, atMs: number): void {
    this.#db.prepare("UPDATE hosts SET seen_at_ms = ? WHERE host = ?").run(atMs, hostId);
  }

  #applyOne({ agentId, before, after, placement, history, holdersSeen }: RecordChange): ApplyOutcome {
    if (!sameBytes(this.#record(agentId), before)) return "record-changed";
    if (holdersSeen !== undefined && !areAmong(this.#liveHolders(agentId), holdersSeen)) return "holders-changed";

    const { ownerHostId, offeredWhenClosed, offeredNow } = placement.after;
    const offer = offeredNow ? 2 : offeredWhenClosed === undefined ? 0 : this.#isOpen(offeredWhenClosed) ? 1 : 2;
    this.#db
      .prepare(
        "INSERT INTO agents VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, owner_host = excluded.owner_host, owner_boot = excluded.owner_boot, offer = excluded.offer",
      )
      .run(agentId, after, ownerHostId ?? null, offeredWhenClosed?.bootId ?? null, offer);
    if (history === undefined) return "applied";

    this.#db.prepare("INSERT OR REPLACE INTO history VALUES (?, ?, ?)").run(agentId, history.revision, history.entry);
    this.#db
      .prepare(
        `DELETE FROM history WHERE agent = ?1 AND revision <=
           (SELECT revision FROM history WHERE agent = ?1 ORDER BY revision DESC LIMIT 1 OFFSET ?2)`,
      )
      .run(agentId, MAX_HISTORY);
    return "applied";
  }

  /** Live and newest first, at most MAX_HOLDERS. */
  #liveHolders(agentId: string): readonly StoredHolder[] {
    const rows = this.#db
      .prepare(
        `SELECT h.host, h.boot, h.checkpoint FROM holders h JOIN sessions s ON s.host = h.host AND s.boot = h.boot
         WHERE h.agent = ? AND s.closed = 0 ORDER BY h.checkpoint DESC LIMIT ?`,
      )
      .all(agentId, MAX_HOLDERS) as unknown as readonly HolderRow[];
    return rows.map(({ host, boot, checkpoint }) => ({
      session: { hostId: host, bootId: boot },
      checkpoint: readCheckpointKey(checkpoint),
    }));
  }

  #hold(agentId: string, { hostId, bootId }: SessionId, checkpoint: CheckpointRef): void {
    this.#db
      .prepare(
        `INSERT INTO holders VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET checkpoint = excluded.checkpoint
         WHERE excluded.checkpoint > holders.checkpoint`, // an older announcement may come late
      )
      .run(agentId, hostId, bootId, checkpointKey(checkpoint));
    // What is beyond the newest live ones goes; announcements of closed sessions go with it.
    this.#db
      .prepare(
        `DELETE FROM holders WHERE agent = ?1 AND (host, boot) NOT IN
           (SELECT h.host, h.boot FROM holders h JOIN sessions s ON s.host = h.host AND s.boot = h.boot
            WHERE h.agent = ?1 AND s.closed = 0 ORDER BY h.checkpoint DESC LIMIT ?2)`,
      )
      .run(agentId, MAX_HOLDERS);
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof MarkMismatch;
}

function sessionOf(row: SessionRow): StoredSession {
  return {
    hostId: row.host,
    bootId: row.boot,
    incarnation: row.incarnation,
    generation: BigInt(row.generation),
    rules: { durationMs: row.duration_ms, graceMs: row.grace_ms, renewEveryMs: row.renew_every_ms },
    closed: row.closed === 1,
    secretDigest: row.secret_digest,
  };
}

function agentIds(rows: readonly Record<string, unknown>[]): readonly string[] {
  return rows.map((row) => String(row["agent"]));
}

function areAmong(holders: readonly StoredHolder[], seen: readonly StoredHolder[]): boolean {
  const known = new Set(seen.map(keyOf));
  return holders.every((holder) => known.has(keyOf(holder)));
}

function keyOf({ session, checkpoint }: StoredHolder): string {
  return `${session.hostId}/${session.bootId}/${checkpointKey(checkpoint)}`;
}
