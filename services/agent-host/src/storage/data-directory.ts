// The host's data directory: everything that outlives the process, in one database that one process holds.
//
// 1. A promise of a write resolves only when the write is on the disk (group-commit.ts).
// 2. A write unit is on the disk as a whole or not at all, whenever the process or the machine stops.
// 3. What memory says of agents, sessions and staged handoffs is what is on the disk: it changes with the commit, never before.
// 4. What cannot be read back as it was written is Fault DATA_CORRUPT, never nothing and never something else.
//
// Writes take no AbortSignal: they are bounded by the disk, and one that was cut off would leave its outcome unknown.

import { resolve } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import type { Checkpoint } from "@godwit/lineage";
import { AgentRows } from "./agent-rows.ts";
import { BlobRows } from "./blob-rows.ts";
import { Blobs } from "./blobs.ts";
import { checkpointToKeep } from "./checkpoint-rows.ts";
import { bytesCounter, type DatabaseParts, type HeldDatabase, holdDatabase, SEED_BYTES } from "./database.ts";
import { type CommitCounters, GroupCommit, type Unit } from "./group-commit.ts";
import { type Effect, Ledger, prepareUnit } from "./ledger.ts";
import { Meta } from "./meta.ts";
import { pack, sameBytes, unpack } from "./rows.ts";
import { SessionRows } from "./session-rows.ts";
import { asFault } from "./sqlite-fault.ts";
import { StagingRows } from "./staging-rows.ts";
import type { IncomingHandoff, StagedHandoff, StorageRules, StoredAgent, WriteUnit } from "./types.ts";

export interface DataDirectoryParts {
  readonly clock: Clock;
  readonly rules: StorageRules;
  /** Takes the database and what it holds; by default the one in the directory. */
  readonly hold?: (directory: string, parts: DatabaseParts) => HeldDatabase;
  /** Runs work in a later turn of the event loop; by default the next one. */
  readonly defer?: (work: () => void) => void;
  /** Told of each unit once it is on the disk. */
  readonly onCommitted?: (unit: WriteUnit) => void;
}

export class DataDirectory {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #held: HeldDatabase;
  readonly #writes: GroupCommit;
  readonly #onCommitted: DataDirectoryParts["onCommitted"];
  readonly #ledger: Ledger;
  readonly #countBytes: () => number;
  readonly #blobs: Blobs;
  readonly #sessionRows: SessionRows;
  readonly #seed: Uint8Array;
  readonly #sessions: Set<string>;
  readonly #agents = new Map<string, StoredAgent>();
  readonly #staged = new Map<string, StagedHandoff>();
  #mark: SignedBytes | undefined;
  #registryKey: Uint8Array | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Takes the directory, which is made when it is missing. Throws Fault DATA_DIRECTORY_LOCKED while another process has it,
   * DATA_CORRUPT for damage, DISK_FAILED when it cannot be used, also because a newer Godwit has written it; nothing is
   * changed by a refusal.
   */
  static async open(path: string, parts: DataDirectoryParts): Promise<DataDirectory> {
    checkRules(parts.rules);
    const directory = resolve(path);
    const { clock, rules, hold = holdDatabase } = parts;
    const check = (db: DatabaseSync, file: string) => void contentOf(db, file);
    const held = hold(directory, { clock, maxBytes: rules.maxBytes, check });
    try {
      return new DataDirectory(directory, held, parts);
    } catch (error) {
      held.close();
      throw asFault(error, held.path);
    }
  }

  private constructor(path: string, held: HeldDatabase, { clock, rules, defer, onCommitted }: DataDirectoryParts) {
    const { db } = held;
    this.#path = path;
    this.#clock = clock;
    this.#held = held;
    const pause = (ms: number, signal: AbortSignal) => clock.sleep(ms, signal);
    this.#writes = new GroupCommit({ ...held, pause, ...(defer === undefined ? {} : { defer }) });
    this.#onCommitted = onCommitted;
    this.#ledger = new Ledger(db, held.path, rules);
    this.#countBytes = bytesCounter(db);
    this.#blobs = new Blobs({
      rows: new BlobRows(db, held.path),
      write: (unit) => this.#write(unit),
      read: (read) => this.#read(read),
      agents: () => this.#agents.values(),
      staged: () => this.#staged.values(),
      collectAfterBytes: rules.collectAfterBytes,
    });
    this.#sessionRows = new SessionRows(db, held.path);

    const content = contentOf(db, held.path);
    this.#seed = content.seed;
    this.#registryKey = content.registryKey;
    this.#mark = content.mark;
    this.#sessions = new Set(content.sessions);
    for (const agent of content.agents) this.#agents.set(agent.agentId, agent);
    for (const staged of content.staged) this.#staged.set(staged.handoffId, staged);
    this.#ledger.checkpoints.dropStatesWithoutName();
  }

  get path(): string {
    return this.#path;
  }

  /** The 32 bytes of the Ed25519 key that is this host's identity; made with the directory. */
  get hostSeed(): Uint8Array {
    return this.#seed.slice();
  }

  /** Of writes, since the directory was opened. */
  get counters(): CommitCounters {
    return this.#writes.counters;
  }

  /** What is kept here, in bytes. */
  get bytesUsed(): number {
    return this.#read(this.#countBytes);
  }

  /** Why nothing can be written any more until the process is started anew; `undefined` while all is well. */
  get broken(): Fault | undefined {
    return this.#writes.broken;
  }

  /** Answers what was submitted before, then gives the directory back. What comes later is refused with SHUTTING_DOWN. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async recordSession(bootId: string): Promise<void> {
    await this.#write({
      bytes: bootId.length,
      run: () => this.#sessionRows.put(bootId, this.#clock.now()),
      committed: () => void this.#sessions.add(bootId),
    });
  }

  /** Whether this host has opened the session with that boot id, in this process or in an earlier one. */
  isOwnSession(bootId: string): boolean {
    return this.#sessions.has(bootId);
  }

  /** The mark of the registry's store that was saved last (GA-6). */
  newestMark(): SignedBytes | undefined {
    return this.#mark;
  }

  /** The caller has verified it, and that it is newer. */
  async saveMark(mark: SignedBytes): Promise<void> {
    const packed = pack([mark.payload, mark.signature]);
    await this.#write({
      bytes: packed.length,
      run: () => this.#held.meta.set("mark", packed),
      committed: () => {
        this.#mark = readMark(packed, this.#held.path);
      },
    });
  }

  /** The registry's public key, once it was pinned. */
  registryKey(): Uint8Array | undefined {
    return this.#registryKey?.slice();
  }

  /** Binds the directory to one registry. Throws Fault INVALID_ARGUMENT when it belongs to another. */
  async pinRegistryKey(key: Uint8Array): Promise<void> {
    const pinned = key.slice();
    await this.#write({
      bytes: pinned.length,
      run: () => {
        const before = this.#held.meta.get("registry-key");
        if (before === undefined) this.#held.meta.set("registry-key", pinned);
        else if (!sameBytes(before, pinned)) throw otherRegistry(this.#path);
      },
      committed: () => {
        this.#registryKey = pinned;
      },
    });
  }

  /**
   * Keeps a module or a manifest, and answers its SHA-256 in lower-case hex. What nothing names is not kept for long: hold it
   * from before this until what names it is written.
   */
  async putBlob(bytes: Uint8Array): Promise<string> {
    return await this.#blobs.put(bytes);
  }

  /** Throws Fault DATA_CORRUPT when the bytes are not those that were put. */
  async getBlob(digest: string): Promise<Uint8Array | undefined> {
    return this.#blobs.get(digest);
  }

  hasBlob(digest: string): boolean {
    return this.#blobs.has(digest);
  }

  /** Until it is disposed of, no blob of these digests is collected, whether it is here by now or not. */
  holdBlobs(...digests: readonly string[]): Disposable {
    return this.#blobs.hold(digests);
  }

  /**
   * Drops the blobs that no agent and no staged handoff names, and nobody holds; gives how many. Their room is used again; the
   * file does not shrink. Throws Fault DISK_FAILED, DATA_CORRUPT, SHUTTING_DOWN.
   */
  async collectBlobs(): Promise<number> {
    return await this.#blobs.collect();
  }

  /** Every agent that this host knows, tombstones included. */
  agents(): readonly StoredAgent[] {
    return [...this.#agents.values()];
  }

  agent(agentId: string): StoredAgent | undefined {
    return this.#agents.get(agentId);
  }

  /**
   * Throws Fault DIVERGENT_LINEAGE for a second checkpoint of one term and tick (EI-11), AGENT_NOT_RUNNING or TERMINATED
   * for what rules.ts forbids, STALE_CHECKPOINT for what was set aside, AGENT_EXISTS in a phase that `onlyIn` does not name, CHECKPOINT_INVALID or
   * INVALID_ARGUMENT for what does not fit together, DISK_FAILED or
   * DATA_CORRUPT for the disk's part. In all these cases nothing of the unit was written, except that after DISK_FAILED
   * with `broken` set it is not known.
   */
  async commit(unit: WriteUnit): Promise<void> {
    const prepared = prepareUnit(unit);
    await this.#write({
      bytes: prepared.bytes,
      canWait: unit.canWait === true,
      run: () => this.#ledger.apply(prepared),
      committed: (effect) => {
        this.#remember(unit.agentId, effect);
        this.#onCommitted?.(unit);
      },
    });
  }

  /** A unit of its own that stages a package; `commit` can do the same together with the journal entry. */
  async stage(incoming: IncomingHandoff): Promise<void> {
    await this.commit({ agentId: incoming.checkpoint.header.agentId, stage: incoming });
  }

  /**
   * Writes the state of a handoff that may come, so that `stage` has little left to write. It gives nothing a name: what is
   * not staged is forgotten with `dropStateAhead`, and at the next open. Throws Fault CHECKPOINT_INVALID, DISK_FAILED.
   */
  async putStateAhead(agentId: string, checkpoint: Checkpoint): Promise<void> {
    const { stateDigest } = checkpointToKeep(agentId, checkpoint).header;
    const { state } = checkpoint;
    await this.#write({
      bytes: state.length,
      run: () => this.#ledger.checkpoints.putState(agentId, stateDigest, state),
    });
  }

  /** A state that a checkpoint or a staged handoff names stays. */
  async dropStateAhead(agentId: string, stateDigest: string): Promise<void> {
    await this.#write({ bytes: 0, run: () => this.#ledger.checkpoints.dropState(agentId, stateDigest) });
  }

  /** Handoffs that were staged and neither promoted nor dropped, oldest first. */
  staged(): readonly StagedHandoff[] {
    return [...this.#staged.values()];
  }

  stagedFor(agentId: string): readonly StagedHandoff[] {
    return this.staged().filter((handoff) => handoff.agentId === agentId);
  }

  /** The checkpoint of a staged handoff. Throws Fault DATA_CORRUPT. */
  async stagedCheckpoint(handoffId: string): Promise<Checkpoint | undefined> {
    return this.#read(() => {
      const staged = this.#ledger.staging.get(handoffId);
      return staged && this.#ledger.checkpoints.join(staged.handoff.agentId, staged.checkpoint);
    });
  }

  /**
   * The newest committed checkpoint by term and tick. Throws Fault DATA_CORRUPT, which names it, when it cannot be read
   * back: whether an older one will do is the caller's decision.
   */
  async latestCheckpoint(agentId: string): Promise<Checkpoint | undefined> {
    return this.#read(() => this.#ledger.checkpoints.newestWithState(agentId));
  }

  /** A committed checkpoint whose state is still kept. Throws Fault DATA_CORRUPT. */
  async checkpoint(agentId: string, digest: string): Promise<Checkpoint | undefined> {
    return this.#read(() => this.#ledger.checkpoints.withState(agentId, digest));
  }

  /** Committed checkpoints whose states are kept, newest first. */
  async checkpoints(agentId: string): Promise<readonly CheckpointRef[]> {
    return this.#read(() => this.#ledger.checkpoints.refsWithState(agentId));
  }

  /** The agent's wallet as of a checkpoint whose state is kept, as it was committed. Throws Fault DATA_CORRUPT. */
  async receipts(agentId: string, digest: string): Promise<readonly Uint8Array[] | undefined> {
    return this.#read(() => this.#ledger.checkpoints.receipts(agentId, digest));
  }

  /** Headers of what a forced choice gave up, newest first: for inspection. Nothing else gives them, or resumes from them. */
  async orphans(agentId: string): Promise<SignedBytes[]> {
    return this.#read(() => this.#ledger.checkpoints.orphans(agentId).map(({ signed }) => signed));
  }

  /** All headers that are held, newest first; without those that were set aside. */
  async headers(agentId: string): Promise<SignedBytes[]> {
    return this.#read(() => this.#ledger.checkpoints.headers(agentId).map(({ signed }) => signed));
  }

  /**
   * Base headers from the base of `from` back to tick 0, newest first. Throws Fault CHECKPOINT_INVALID when `from` is not
   * here, DATA_CORRUPT when a link is missing.
   */
  async spine(agentId: string, from: CheckpointRef): Promise<SignedBytes[]> {
    return [...this.walkSpine(agentId, from)];
  }

  /** `spine`, read as far as it is asked for, and anew each time: an agent that lives long has a long one. Throws as it does. */
  walkSpine(agentId: string, from: CheckpointRef): Iterable<SignedBytes> {
    return { [Symbol.iterator]: () => this.#walkSpine(agentId, from) };
  }

  /** `spine`, with the header of `from` itself in front. */
  async spineFrom(agentId: string, from: CheckpointRef): Promise<SignedBytes[]> {
    return this.#read(() => {
      const { checkpoints } = this.#ledger;
      return [checkpoints.header(agentId, from), ...checkpoints.spine(agentId, from)];
    });
  }

  /** Header of the newest committed checkpoint whose state is kept; the state is not read. */
  async newestHeader(agentId: string): Promise<SignedBytes | undefined> {
    return this.#read(() => {
      const [newest] = this.#ledger.checkpoints.refsWithState(agentId);
      return newest && this.#ledger.checkpoints.header(agentId, newest);
    });
  }

  /** Drops all but the tombstone of an agent that was terminated. Throws Fault INVALID_ARGUMENT for any other. */
  async forget(agentId: string): Promise<void> {
    await this.#write({
      bytes: 0,
      run: () => this.#ledger.forget(agentId),
      committed: (handoffs) => {
        for (const id of handoffs) this.#staged.delete(id);
      },
    });
  }

  *#walkSpine(agentId: string, from: CheckpointRef): Generator<SignedBytes, void, undefined> {
    const spine = this.#ledger.checkpoints.spine(agentId, from);
    for (;;) {
      const next = this.#read(() => spine.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  #remember(agentId: string, effect: Effect): void {
    const { agent, gone, staged, unstaged } = effect;
    this.#ledger.committed(agentId, effect);
    if (agent !== undefined) this.#agents.set(agentId, agent);
    if (gone) this.#agents.delete(agentId);
    if (staged !== undefined) this.#staged.set(staged.handoffId, staged);
    for (const handoffId of unstaged) this.#staged.delete(handoffId);
  }

  #write<T>(unit: Unit<T>): Promise<T> {
    this.#refuseWhenClosing();
    return this.#writes.submit(unit);
  }

  #read<T>(read: () => T): T {
    this.#refuseWhenClosing();
    try {
      return read();
    } catch (error) {
      throw asFault(error, this.#held.path);
    }
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== undefined) throw new Fault({ code: "SHUTTING_DOWN" });
  }

  async #close(): Promise<void> {
    await this.#writes.end();
    try {
      this.#held.close();
    } catch (error) {
      throw asFault(error, this.#held.path);
    }
  }
}

/** All that is kept in memory, read and checked. */
function contentOf(db: DatabaseSync, path: string) {
  const meta = new Meta(db, path);
  const seed = meta.get("host-seed");
  if (seed?.length !== SEED_BYTES) {
    const reason = `the host's key ${seed === undefined ? "is missing" : `has ${seed.length} bytes, not ${SEED_BYTES}`}`;
    throw new Fault({ code: "DATA_CORRUPT", path, reason });
  }
  return {
    seed,
    registryKey: meta.get("registry-key"),
    mark: readMark(meta.get("mark"), path),
    sessions: new SessionRows(db, path).all(),
    agents: [...new AgentRows(db, path).all()],
    staged: [...new StagingRows(db, path).all()],
  };
}

function checkRules({ keepHeaders, keepStates, maxBytes, collectAfterBytes = 1 }: StorageRules): void {
  const wrong =
    !Number.isSafeInteger(keepStates) ||
    keepStates < 1 ||
    !Number.isSafeInteger(keepHeaders) ||
    keepHeaders < 1 ||
    (maxBytes !== undefined && !(maxBytes > 0)) ||
    !(collectAfterBytes > 0);
  if (!wrong) return;
  const reason = "states, headers and bytes to keep have to be whole numbers of at least 1";
  throw new Fault({ code: "INVALID_ARGUMENT", field: "storage rules", reason });
}

function readMark(packed: Uint8Array | undefined, path: string): SignedBytes | undefined {
  if (packed === undefined) return undefined;
  const [payload, signature] = unpack(packed) ?? [];
  if (payload && signature) return { payload, signature };
  throw new Fault({ code: "DATA_CORRUPT", path, reason: "the registry's mark cannot be read" });
}

function otherRegistry(directory: string): Fault {
  const reason = `${directory} belongs to a registry with another key: connect to that one, or give an empty directory`;
  return new Fault({ code: "INVALID_ARGUMENT", field: "registry", reason });
}
