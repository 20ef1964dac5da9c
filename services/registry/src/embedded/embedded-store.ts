// The store of a registry that is alone: SQLite in its data directory.
//
// GA-6  Opened by one process, which has the data directory. Every method compares the mark before anything else. The store's
//       identity is that of its clean close; without one it is new at each open (clean-close.ts).
// DB-1  Writes are answered when they are on disk.

import type { Entropy } from "@godwit/common/clock";
import type { CheckpointRef, SessionId, SessionSighting } from "@godwit/common/lease";
import { type DataDirectory, lockDataDirectory } from "@godwit/service/data-directory";
import type { Logger } from "pino";
import { statementIn } from "../mark/mark.ts";
import { secretsMatch } from "../sessions/secret.ts";
import { admit, type StoreStep } from "../store/admission.ts";
import { sameBytes } from "../store/bytes.ts";
import { checkpointKey, readCheckpointKey } from "../store/checkpoint-key.ts";
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
  StepRefused,
  type StoredHolder,
  type StoredSession,
} from "../store/registry-store.ts";
import { fileMarks, leaveNote, takeNote } from "./clean-close.ts";
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
  readonly live: number;
  readonly version: number;
}

interface HolderRow {
  readonly host: string;
  readonly boot: string;
  readonly checkpoint: string;
}

/** Of the directory. Hosts are never deleted, so none is given twice. */
const NEXT_VERSION = "(SELECT coalesce(max(version), 0) + 1 FROM hosts)";

export interface EmbeddedStoreParts {
  readonly entropy: Entropy;
  readonly logger: Logger;
}

export interface EmbeddedStoreRules {
  readonly dataDirectory: string;
  /** The operator's word that the data is from a backup or a snapshot (GA-6). */
  readonly restored: boolean;
}

export class EmbeddedStore implements RegistryStore {
  readonly kind = "embedded";
  readonly where: string;
  readonly #parts: EmbeddedStoreParts;
  readonly #restored: boolean;
  #opened: { readonly db: Database; readonly identity: string } | undefined;
  #lock: DataDirectory | undefined;

  constructor(parts: EmbeddedStoreParts, { dataDirectory, restored }: EmbeddedStoreRules) {
    this.#parts = parts;
    this.#restored = restored;
    this.where = dataDirectory;
  }

  async start(): Promise<void> {
    this.#lock = lockDataDirectory(this.where, "registry");
    try {
      const db = new Database(this.where);
      try {
        this.#opened = { db, identity: this.#identify(db) };
      } catch (error) {
        db.close();
        throw error;
      }
    } catch (error) {
      this.#lock.unlock();
      throw error;
    }
  }

  async stop(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    try {
      if (opened !== undefined) await this.#close(opened);
    } finally {
      this.#lock?.unlock();
      this.#lock = undefined;
    }
  }

  /** What was closed cleanly last is still the same store; anything else is another one. */
  #identify(db: Database): string {
    const note = takeNote(this.where);
    const file = fileMarks(db.path);
    const nonce = db.prepare("SELECT nonce FROM closings").get()?.["nonce"];
    const same = note !== undefined && note.nonce === nonce && note.inode === file.inode && note.bornNs === file.bornNs;
    if (same && !this.#restored) return note.identity;
    return `embedded:${this.#parts.entropy.uuid()}`;
  }

  /** A note is left only when nothing went wrong: without one the next open takes this for a store that may have forgotten. */
  async #close({ db, identity }: { readonly db: Database; readonly identity: string }): Promise<void> {
    const { entropy, logger } = this.#parts;
    const nonce = entropy.uuid();
    const leave = db.prepare("INSERT INTO closings VALUES (1, ?) ON CONFLICT DO UPDATE SET nonce = excluded.nonce");
    let wrong: unknown;
    try {
      await db.write(() => leave.run(nonce), isRefusal);
    } catch (error) {
      wrong = error;
    }
    db.close();
    try {
      if (wrong !== undefined) throw wrong;
      leaveNote(this.where, { identity, nonce, ...fileMarks(db.path) });
    } catch (error) {
      logger.warn({ err: error }, "no note of a clean close: the next start begins with a quarantine");
    }
  }

  trouble(): string | undefined {
    return this.#opened === undefined ? "it is not open" : this.#db.trouble;
  }

  async readMark(): Promise<MarkReading> {
    return { identity: this.#identity, mark: this.#db.read(() => this.#storedMark(), isRefusal) };
  }

  async replaceMark(before: Uint8Array | undefined, after: Uint8Array): Promise<boolean> {
    if (statementIn(after).storeIdentity !== this.#identity) return false;
    return await this.#db.write(() => {
      if (!sameBytes(this.#storedMark(), before)) return false;
      this.#db
        .prepare("INSERT INTO mark (only, bytes) VALUES (1, ?) ON CONFLICT DO UPDATE SET bytes = excluded.bytes")
        .run(after);
      return true;
    }, isRefusal);
  }

  async openSession(mark: Uint8Array, session: StoredSession, seenAtMs: number): Promise<"opened" | "exists"> {
    return await this.#write(mark, "openSession", () => {
      if (!this.#putSession("INSERT OR IGNORE", session)) return "exists";
      this.#see(session.hostId, seenAtMs);
      this.#touch(session.hostId);
      return "opened";
    });
  }

  async renewSession(mark: Uint8Array, renewal: Renewal): Promise<RenewOutcome> {
    return await this.#write(mark, "renewSession", () => {
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
    return await this.#write(mark, "closeSession", (now) => {
      if (caller !== undefined && !this.#isOpen(now, caller)) return "caller-void";
      const session = this.#session(id);
      if (session === undefined) return "unknown";
      if (session.closed) return "closed-before";
      if (generation !== undefined && session.generation !== generation) return "moved";
      this.#db.prepare("UPDATE sessions SET closed = 1 WHERE host = ? AND boot = ?").run(id.hostId, id.bootId);
      this.#db
        .prepare("UPDATE agents SET offer = 2 WHERE owner_host = ? AND owner_boot = ? AND offer = 1")
        .run(id.hostId, id.bootId);
      this.#touch(id.hostId);
      return "closed";
    });
  }

  async reassertSession(mark: Uint8Array, reassertion: Reassertion): Promise<ReassertOutcome> {
    return await this.#write(mark, "reassertSession", () => {
      const { hostId, bootId, incarnation, secretDigest } = reassertion;
      const known = this.#session(reassertion);
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
      this.#putSession("INSERT OR REPLACE", session);
      this.#see(hostId, reassertion.seenAtMs);
      this.#touch(hostId);
      return { kind: "reasserted", session };
    });
  }

  async readSessions(
    mark: Uint8Array,
    sessions: readonly SessionId[],
  ): Promise<readonly (StoredSession | undefined)[]> {
    return this.#read(mark, "readSessions", () => sessions.map((id) => this.#session(id)));
  }

  async readOpenSessions(mark: Uint8Array): Promise<readonly SessionSighting[]> {
    return this.#read(mark, "readOpenSessions", (now) => {
      const rows = this.#db
        .prepare("SELECT * FROM sessions WHERE incarnation = ? AND closed = 0 ORDER BY host, boot")
        .all(now) as unknown as readonly SessionRow[];
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
    return this.#read(mark, "readAgents", (now) => ({
      caller: what.caller && this.#session(what.caller),
      agents: what.agentIds.map((agentId) => ({
        record: this.#record(agentId),
        holders: what.withHolders ? this.#liveHolders(now, agentId) : [],
      })),
    }));
  }

  async apply(
    mark: Uint8Array,
    caller: SessionId | undefined,
    changes: readonly RecordChange[],
  ): Promise<readonly ApplyOutcome[]> {
    return await this.#write(mark, "apply", (now) => this.#applyAll(now, caller, changes));
  }

  async applyReasserted(
    mark: Uint8Array,
    caller: SessionId,
    changes: readonly RecordChange[],
  ): Promise<readonly ApplyOutcome[]> {
    return await this.#write(mark, "applyReasserted", (now) => this.#applyAll(now, caller, changes));
  }

  async announce(
    mark: Uint8Array,
    caller: SessionId,
    { held, withdrawn }: Announcement,
  ): Promise<"announced" | "caller-void"> {
    return await this.#write(mark, "announce", (now) => {
      if (!this.#isOpen(now, caller)) return "caller-void";
      const { hostId, bootId } = caller;
      for (const agentId of withdrawn) {
        this.#db.prepare("DELETE FROM holders WHERE agent = ? AND host = ? AND boot = ?").run(agentId, hostId, bootId);
      }
      for (const { agentId, checkpoint } of held) this.#hold(now, { agentId, caller, checkpoint });
      return "announced";
    });
  }

  async findAgents(
    mark: Uint8Array,
    { after = "", limit, prefix = "", ownerHostId }: Page & { readonly prefix?: string; readonly ownerHostId?: string },
  ): Promise<readonly string[]> {
    return this.#read(mark, "findAgents", () => {
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
    return this.#read(mark, "readHistory", () => {
      const rows = this.#db
        .prepare("SELECT entry FROM history WHERE agent = ? ORDER BY revision DESC LIMIT ?")
        .all(agentId, MAX_HISTORY) as unknown as readonly { readonly entry: Uint8Array }[];
      return rows.map(({ entry }) => entry);
    });
  }

  async findAgentsToOffer(mark: Uint8Array, { after = "", limit }: Page): Promise<readonly string[]> {
    return this.#read(mark, "findAgentsToOffer", () =>
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
    return this.#read(mark, "findAgentsOfSession", () =>
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
    return await this.#write(mark, "putHost", (now) => {
      if (!this.#isOpen(now, caller)) return "caller-void";
      this.#db
        .prepare(
          `INSERT INTO hosts VALUES (?, ?, 0, 0, 0, ?, ${NEXT_VERSION})
           ON CONFLICT DO UPDATE SET info = excluded.info, seen_at_ms = excluded.seen_at_ms, version = excluded.version`,
        )
        .run(caller.hostId, info, seenAtMs);
      return "stored";
    });
  }

  async readHosts(mark: Uint8Array, afterVersion: number): Promise<HostChanges> {
    return this.#read(mark, "readHosts", (now) => {
      const rows = this.#db
        .prepare(
          `SELECT *, EXISTS (SELECT 1 FROM sessions s WHERE s.incarnation = ? AND s.host = hosts.host AND s.closed = 0) AS live
           FROM hosts WHERE version > ? ORDER BY version LIMIT ?`,
        )
        .all(now, afterVersion, MAX_HOST_CHANGES) as unknown as readonly HostRow[];
      const hosts = rows.map((row) => ({
        hostId: row.host,
        info: row.info,
        draining: row.draining === 1,
        failures: row.failures,
        lastFailureAtMs: row.failed_at_ms,
        live: row.live === 1,
        version: row.version,
      }));
      const { latest } = this.#db.prepare("SELECT coalesce(max(version), 0) AS latest FROM hosts").get() as {
        latest: number;
      };
      return { hosts, latest };
    });
  }

  async readHostsSeen(mark: Uint8Array, hostIds: readonly string[]): Promise<readonly number[]> {
    return this.#read(mark, "readHostsSeen", () =>
      hostIds.map((hostId) => {
        const row = this.#db.prepare("SELECT seen_at_ms FROM hosts WHERE host = ?").get(hostId);
        return (row as { readonly seen_at_ms: number } | undefined)?.seen_at_ms ?? 0;
      }),
    );
  }

  async setDraining(mark: Uint8Array, hostId: string, draining: boolean): Promise<"set" | "unknown-host"> {
    return await this.#write(mark, "setDraining", () => {
      const update = this.#db.prepare(`UPDATE hosts SET draining = ?, version = ${NEXT_VERSION} WHERE host = ?`);
      return update.run(draining ? 1 : 0, hostId).changes === 1 ? "set" : "unknown-host";
    });
  }

  async countOutcome(
    mark: Uint8Array,
    caller: SessionId,
    { hostId, failed, atMs, forgetAfterMs }: OutcomeReport,
  ): Promise<CountedOutcome> {
    return await this.#write(mark, "countOutcome", (now) => {
      if (!this.#isOpen(now, caller)) return { kind: "caller-void" };
      const row = this.#db.prepare("SELECT failures, failed_at_ms FROM hosts WHERE host = ?").get(hostId);
      if (row === undefined) return { kind: "unknown-host" };
      const { failures: before, failed_at_ms: lastAtMs } = row as { failures: number; failed_at_ms: number };
      const failures = failed ? (atMs - lastAtMs >= forgetAfterMs ? 0 : before) + 1 : 0;
      this.#db
        .prepare(`UPDATE hosts SET failures = ?, failed_at_ms = ?, version = ${NEXT_VERSION} WHERE host = ?`)
        .run(failures, failed ? atMs : lastAtMs, hostId);
      return { kind: "counted", failures };
    });
  }

  get #open(): { readonly db: Database; readonly identity: string } {
    if (this.#opened === undefined) throw new Error("the embedded store is used before its start or after its stop");
    return this.#opened;
  }

  get #db(): Database {
    return this.#open.db;
  }

  get #identity(): string {
    return this.#open.identity;
  }

  /** `work` is given the incarnation of the stored mark. */
  async #write<T>(mark: Uint8Array, step: StoreStep, work: (incarnation: string) => T): Promise<T> {
    return await this.#db.write(() => work(this.#compare(mark, step)), isRefusal);
  }

  #read<T>(mark: Uint8Array, step: StoreStep, work: (incarnation: string) => T): T {
    return this.#db.read(() => work(this.#compare(mark, step)), isRefusal);
  }

  #compare(mark: Uint8Array, step: StoreStep): string {
    admit(step, mark, this.#identity);
    if (!sameBytes(this.#storedMark(), mark)) throw new MarkMismatch();
    return statementIn(mark).incarnation;
  }

  #storedMark(): Uint8Array | undefined {
    const row = this.#db.prepare("SELECT bytes FROM mark WHERE only = 1").get();
    return (row as { readonly bytes: Uint8Array } | undefined)?.bytes;
  }

  #session({ hostId, bootId }: SessionId): StoredSession | undefined {
    const row = this.#db.prepare("SELECT * FROM sessions WHERE host = ? AND boot = ?").get(hostId, bootId);
    return row && sessionOf(row as unknown as SessionRow);
  }

  /** Whether a row was written. */
  #putSession(insert: "INSERT OR IGNORE" | "INSERT OR REPLACE", session: StoredSession): boolean {
    const { hostId, bootId, incarnation, generation, rules, secretDigest } = session;
    const { durationMs, graceMs, renewEveryMs } = rules;
    const { changes } = this.#db
      .prepare(`${insert} INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)`)
      .run(hostId, bootId, incarnation, generation, durationMs, graceMs, renewEveryMs, secretDigest);
    return changes > 0;
  }

  /** Not closed, and known to the present incarnation. */
  #isOpen(now: string, { hostId, bootId }: SessionId): boolean {
    const row = this.#db
      .prepare("SELECT 1 FROM sessions WHERE incarnation = ? AND host = ? AND boot = ? AND closed = 0")
      .get(now, hostId, bootId);
    return row !== undefined;
  }

  #record(agentId: string): Uint8Array | undefined {
    const row = this.#db.prepare("SELECT record FROM agents WHERE agent = ?").get(agentId);
    return (row as { readonly record: Uint8Array } | undefined)?.record;
  }

  #see(hostId: string, atMs: number): void {
    this.#db.prepare("UPDATE hosts SET seen_at_ms = ? WHERE host = ?").run(atMs, hostId);
  }

  /** Says in the directory that a host changed, if it is in it. */
  #touch(hostId: string): void {
    this.#db.prepare(`UPDATE hosts SET version = ${NEXT_VERSION} WHERE host = ?`).run(hostId);
  }

  #applyAll(now: string, caller: SessionId | undefined, changes: readonly RecordChange[]): readonly ApplyOutcome[] {
    if (caller !== undefined && !this.#isOpen(now, caller)) return changes.map(() => "caller-void" as const);
    return changes.map((change) => this.#applyOne(now, change));
  }

  #applyOne(now: string, { agentId, before, after, placement, history, holdersSeen }: RecordChange): ApplyOutcome {
    if (!sameBytes(this.#record(agentId), before)) return "record-changed";
    if (holdersSeen !== undefined && !areAmong(this.#liveHolders(now, agentId), holdersSeen)) return "holders-changed";

    const { ownerHostId, offeredWhenClosed, offeredNow } = placement.after;
    const offer = offeredNow ? 2 : offeredWhenClosed === undefined ? 0 : this.#isOpen(now, offeredWhenClosed) ? 1 : 2;
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
  #liveHolders(now: string, agentId: string): readonly StoredHolder[] {
    const rows = this.#db
      .prepare(
        `SELECT h.host, h.boot, h.checkpoint FROM holders h JOIN sessions s ON s.host = h.host AND s.boot = h.boot
         WHERE h.agent = ? AND s.incarnation = ? AND s.closed = 0 ORDER BY h.checkpoint DESC LIMIT ?`,
      )
      .all(agentId, now, MAX_HOLDERS) as unknown as readonly HolderRow[];
    return rows.map(({ host, boot, checkpoint }) => ({
      session: { hostId: host, bootId: boot },
      checkpoint: readCheckpointKey(checkpoint),
    }));
  }

  #hold(
    now: string,
    {
      agentId,
      caller: { hostId, bootId },
      checkpoint,
    }: { readonly agentId: string; readonly caller: SessionId; readonly checkpoint: CheckpointRef },
  ): void {
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
            WHERE h.agent = ?1 AND s.incarnation = ?3 AND s.closed = 0 ORDER BY h.checkpoint DESC LIMIT ?2)`,
      )
      .run(agentId, MAX_HOLDERS, now);
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof MarkMismatch || error instanceof StepRefused;
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
