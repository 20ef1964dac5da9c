// Checkpoints of all agents: headers, and the states of the newest.
//
// EI-11  One checkpoint for an agent, term and tick: a second one is refused, loudly. Only an operator's choice makes room:
//        what that gives up is set aside, and is no checkpoint again (§4, §10).
// Spine  A header that another one names as its base, and tick 0, is kept for ever.
// What is read is what was signed: digest, seal and state are checked each time.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { Fault } from "@godwit/common/fault";
import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import { type Checkpoint, digestOf, type Header, isWhole, joinCheckpoint, readHeader } from "@godwit/lineage";
import { OrphanRows } from "./orphan-rows.ts";
import { type Cell, CellReader, pack, type Row, sameBytes, sealOf, unpack } from "./rows.ts";
import { type ForcedChoice, setAsideOf } from "./set-aside.ts";

/** A header as it is to be written: what it says, and what was signed. */
export interface HeaderToKeep {
  readonly header: Header;
  readonly signed: SignedBytes;
  readonly digest: string;
}

interface Wallet {
  readonly packed: Uint8Array;
  readonly seal: Uint8Array;
}

/**
 * The newest header that is held of an agent, while it is one that was written here under the base that it names, and which checkpoints
 * have their state. Enough to write the one after it without a question to the database (`putNext`); good until anything else is written
 * about the agent.
 */
export interface Newest {
  readonly era: bigint;
  readonly major: bigint;
  readonly tick: bigint;
  readonly base: string;
  /** Newest first. */
  readonly withState: readonly { readonly digest: string; readonly stateDigest: string }[];
}

export interface HeldHeader {
  readonly signed: SignedBytes;
  readonly ref: CheckpointRef;
}

/** SQLite's integers are signed. No honest agent comes near. */
const MAX_WHOLE = 2n ** 63n - 1n;

const COLUMNS = "agent_id, era, major, tick, digest, base_digest, state_digest, payload, signature, seal";
const NEWEST_FIRST = "ORDER BY era DESC, major DESC, tick DESC";

export class CheckpointRows {
  readonly #cells: CellReader;
  readonly #orphans: OrphanRows;
  readonly #statements: Readonly<Record<keyof typeof SQL, StatementSync>>;

  constructor(db: DatabaseSync, path: string) {
    this.#cells = new CellReader(path);
    this.#orphans = new OrphanRows(db);
    const prepared = Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)] as const);
    this.#statements = Object.fromEntries(prepared) as Record<keyof typeof SQL, StatementSync>;
  }

  /**
   * Whether exactly this checkpoint is held with its state. Throws Fault DIVERGENT_LINEAGE when another one has its place,
   * STALE_CHECKPOINT when it was set aside.
   */
  holds({ header, digest }: HeaderToKeep): boolean {
    const { agentId, era, major, tick } = header;
    if (this.isOrphan(agentId, digest)) throw new Fault({ code: "STALE_CHECKPOINT", agentId });
    const row = this.#statements.place.get(agentId, era, major, tick);
    if (row === undefined) return false;
    if (this.#cells.text(row, "digest") !== digest) throw new Fault({ code: "DIVERGENT_LINEAGE", agentId });
    return this.#cells.whole(row, "has_state") === 1n;
  }

  hasAny(agentId: string): boolean {
    return this.#statements.any.get(agentId) !== undefined || this.#orphans.hasAny(agentId);
  }

  /** What an earlier choice gave up, and this one takes, is a checkpoint again. */
  setAside(agentId: string, choice: ForcedChoice): void {
    const links = this.headers(agentId).map(({ ref, signed }) => {
      const { previous, base } = readHeader(signed.payload);
      return { ref, previous, base: base?.digest };
    });
    for (const digest of setAsideOf(links, choice)) this.#orphans.put(agentId, digest);
    for (const { digest } of choice.lineage) this.#orphans.bringBack(agentId, digest);
  }

  /** Whether it was set aside. */
  isOrphan(agentId: string, digest: string): boolean {
    return this.#orphans.has(agentId, digest);
  }

  /** What was set aside, newest first. */
  orphans(agentId: string): HeldHeader[] {
    return this.#orphans.all(agentId).map((row) => this.#header(row));
  }

  putOnSpine(kept: HeaderToKeep): void {
    this.holds(kept);
    this.#putHeader(kept);
    this.#markSpine(kept.header.agentId, refOfHeader(kept));
  }

  /** One that is not held (`holds` was asked). Its state is in `states` already, or comes with `putState`. */
  putCheckpoint(kept: HeaderToKeep, receipts: readonly Uint8Array[]): void {
    const wallet = walletOf(kept, receipts);
    if (this.#putHeader(kept, wallet)) return;
    const { agentId, era, major, tick } = kept.header;
    this.#statements.attachState.run(wallet.packed, wallet.seal, agentId, era, major, tick);
  }

  /** What `putNext` has to know, if this header is the newest that is held. */
  newest(kept: HeaderToKeep): Newest | undefined {
    const { agentId, era, major, tick, base } = kept.header;
    const row = this.#statements.newestPlace.get(agentId);
    if (row === undefined || base === undefined || this.#cells.text(row, "digest") !== kept.digest) return undefined;
    const withState = this.#statements.statesOf.all(agentId).map((one) => ({
      digest: this.#cells.text(one, "digest"),
      stateDigest: this.#cells.text(one, "state_digest"),
    }));
    return { era, major, tick, base: base.digest, withState };
  }

  /** Whether a checkpoint comes right after what is held: no other can have its place, and none names it as its base. */
  comesNext({ header, digest }: HeaderToKeep, { era, major, tick, base }: Newest): boolean {
    const follows = header.era === era && header.major === major && header.tick > tick && header.base?.digest === base;
    return follows && !this.isOrphan(header.agentId, digest);
  }

  /**
   * `holds`, `putState` and `putCheckpoint` of one that comes next, and `pruneStates` down to `keep`, unless that is undefined. Throws
   * Fault DIVERGENT_LINEAGE when another one has its place all the same.
   */
  putNext(
    kept: HeaderToKeep,
    content: { readonly state: Uint8Array; readonly receipts: readonly Uint8Array[] },
    {
      before,
      keep,
      named,
    }: { readonly before: Newest; readonly keep: number | undefined; readonly named: string | undefined },
  ): Newest {
    const { agentId, era, major, tick, stateDigest } = kept.header;
    this.putState(agentId, stateDigest, content.state);
    if (!this.#insertHeader(kept, { named: false, wallet: walletOf(kept, content.receipts) })) {
      throw new Fault({ code: "DIVERGENT_LINEAGE", agentId });
    }
    const all = [{ digest: kept.digest, stateDigest }, ...before.withState];
    const isKept = ({ digest }: { readonly digest: string }, at: number): boolean =>
      keep === undefined || at < keep || digest === named;
    const withState = all.filter(isKept);
    for (const old of all.filter((one, at) => !isKept(one, at))) {
      this.#statements.detachState.run(agentId, old.digest);
      this.dropState(agentId, old.stateDigest);
    }
    return { era, major, tick, base: before.base, withState };
  }

  putState(agentId: string, digest: string, bytes: Uint8Array): void {
    this.#statements.putState.run(agentId, digest, bytes);
  }

  /** Once nothing names it any more. */
  dropState(agentId: string, digest: string): void {
    this.#statements.dropState.run(agentId, digest, agentId, digest, agentId, digest, agentId, digest);
  }

  /** States that nothing names: of handoffs that never came, when the process died before it could forget them. */
  dropStatesWithoutName(): void {
    if (this.#statements.anyWithoutName.get() !== undefined) this.#statements.dropWithoutName.run();
  }

  newestWithState(agentId: string): Checkpoint | undefined {
    const row = this.#statements.newestWithState.get(agentId);
    return row && this.#checkpoint(agentId, row);
  }

  withState(agentId: string, digest: string): Checkpoint | undefined {
    const row = this.#statements.withState.get(agentId, digest);
    return row && this.#checkpoint(agentId, row);
  }

  /** The header with the state that is kept for it. Throws Fault DATA_CORRUPT when there is none, or another. */
  join(agentId: string, { header, signed, digest }: HeaderToKeep): Checkpoint {
    const row = this.#statements.state.get(agentId, header.stateDigest);
    const what = `checkpoint ${digest} (tick ${header.tick}) of agent ${agentId}`;
    if (row === undefined) throw this.#cells.damaged(`the state of ${what} is missing`);
    try {
      return joinCheckpoint(signed, this.#cells.bytes(row, "bytes"), { maxStateBytes: Number.MAX_SAFE_INTEGER });
    } catch (cause) {
      throw this.#cells.damaged(`${what} cannot be read back`, cause);
    }
  }

  /** Newest first. */
  refsWithState(agentId: string): CheckpointRef[] {
    return this.#statements.allWithState.all(agentId).map((row) => this.#ref(row));
  }

  receipts(agentId: string, digest: string): readonly Uint8Array[] | undefined {
    const row = this.#statements.receipts.get(agentId, digest);
    if (row === undefined) return undefined;
    const packed = this.#cells.bytes(row, "receipts");
    const list = unpack(packed);
    if (list === undefined || !sameBytes(receiptsSeal(digest, packed), this.#cells.bytes(row, "receipts_seal"))) {
      throw this.#cells.damaged(`the receipts of checkpoint ${digest} do not match their checksum`);
    }
    return list;
  }

  /** Newest first. */
  headers(agentId: string): HeldHeader[] {
    return this.#statements.headers.all(agentId).map((row) => this.#header(row));
  }

  /** Throws Fault CHECKPOINT_INVALID when it is not here. */
  header(agentId: string, ref: CheckpointRef): SignedBytes {
    return this.#headerAt(agentId, ref, "nothing");
  }

  /** Base headers from the base of `from` back to tick 0, newest first; each is read when it is asked for. */
  *spine(agentId: string, from: CheckpointRef): Generator<SignedBytes, void, undefined> {
    let { base } = readHeader(this.#headerAt(agentId, from, "nothing").payload);
    let namedBy = from.digest;
    while (base !== undefined) {
      const signed = this.#headerAt(agentId, base, namedBy);
      yield signed;
      namedBy = base.digest;
      base = readHeader(signed.payload).base;
    }
  }

  /** Forgets the states of all but the newest `keep` checkpoints and the one that is named. */
  pruneStates(agentId: string, keep: number, named: string | undefined): void {
    for (const row of this.#statements.beyondNewestStates.all(agentId, keep)) {
      const digest = this.#cells.text(row, "digest");
      if (digest === named) continue;
      this.#statements.detachState.run(agentId, digest);
      this.dropState(agentId, this.#cells.text(row, "state_digest"));
    }
  }

  /** Forgets what is older than the newest `keep` headers that are neither on the spine nor have a state. */
  pruneHeaders(agentId: string, keep: number): void {
    this.#statements.pruneHeaders.run(agentId, keep);
  }

  dropAll(agentId: string): void {
    this.#statements.dropHeaders.run(agentId);
    this.#statements.dropStates.run(agentId);
    this.#orphans.dropAll(agentId);
  }

  /** With a wallet it has its state, too. False when the header was there already: it is as it was. */
  #putHeader(kept: HeaderToKeep, wallet?: Wallet): boolean {
    const { agentId, era, major, base } = kept.header;
    if (base !== undefined) this.#markSpine(agentId, base);
    const isBase = () => this.#statements.namedAsBase.get(agentId, era, major, kept.digest) !== undefined;
    return this.#insertHeader(kept, { named: base === undefined || isBase(), wallet });
  }

  #insertHeader(
    { header, signed, digest }: HeaderToKeep,
    { named, wallet }: { readonly named: boolean; readonly wallet: Wallet | undefined },
  ): boolean {
    const { agentId, era, major, tick, base, stateDigest } = header;
    const { payload, signature } = signed;
    const cells = [agentId, era, major, tick, digest, base?.digest ?? null, stateDigest, payload, signature] as const;
    const { packed = null, seal = null } = wallet ?? {};
    const marks = [named ? 1 : 0, packed, seal, wallet === undefined ? 0 : 1] as const;
    return this.#statements.insertHeader.run(...cells, sealOf(cells), ...marks).changes !== 0n;
  }

  #markSpine(agentId: string, { era, major, tick, digest }: CheckpointRef): void {
    this.#statements.markSpine.run(agentId, era, major, tick, digest);
  }

  #headerAt(agentId: string, ref: CheckpointRef, namedBy: string): SignedBytes {
    const { era, major, tick, digest } = ref;
    const row = canKeep(ref) ? this.#statements.headerAt.get(agentId, era, major, tick, digest) : undefined;
    if (row !== undefined) return this.#header(row).signed;
    if (namedBy !== "nothing") throw this.#cells.damaged(`checkpoint ${digest}, the base of ${namedBy}, is missing`);
    throw invalid(`${digest} of agent ${agentId} is not on this host`);
  }

  #checkpoint(agentId: string, row: Row): Checkpoint {
    return this.join(agentId, headerToKeep(agentId, this.#header(row).signed));
  }

  #header(row: Row): HeldHeader {
    const agentId = this.#cells.text(row, "agent_id");
    const ref = this.#ref(row);
    const baseDigest = row["base_digest"] === null ? null : this.#cells.text(row, "base_digest");
    const stateDigest = this.#cells.text(row, "state_digest");
    const signed = { payload: this.#cells.bytes(row, "payload"), signature: this.#cells.bytes(row, "signature") };
    const what = `the header of checkpoint ${ref.digest} of agent ${agentId}`;
    const place: readonly Cell[] = [agentId, ref.era, ref.major, ref.tick, ref.digest, baseDigest, stateDigest];
    this.#cells.checkSeal(row, [...place, signed.payload, signed.signature], what);
    return { signed, ref };
  }

  #ref(row: Row): CheckpointRef {
    return {
      era: this.#cells.whole(row, "era"),
      major: this.#cells.whole(row, "major"),
      tick: this.#cells.whole(row, "tick"),
      digest: this.#cells.text(row, "digest"),
    };
  }
}

/** Throws Fault CHECKPOINT_INVALID for what does not belong to this agent, or not together. */
export function headerToKeep(agentId: string, signed: SignedBytes): HeaderToKeep {
  const header = readHeader(signed.payload);
  checkPlace(agentId, header);
  return { header, signed, digest: digestOf(signed.payload) };
}

/**
 * Throws Fault CHECKPOINT_INVALID. What was acknowledged can be read back, so the state is hashed before it is written,
 * unless that was done when header and state were put together.
 */
export function checkpointToKeep(agentId: string, checkpoint: Checkpoint): HeaderToKeep {
  const { header, signed, digest, state } = checkpoint;
  checkPlace(agentId, header);
  if (isWhole(checkpoint)) return { header, signed, digest };
  if (digestOf(signed.payload) !== digest || digestOf(state) !== header.stateDigest) {
    throw invalid("header and state are not those of its digests");
  }
  return { header, signed, digest };
}

function checkPlace(agentId: string, header: Header): void {
  if (header.agentId !== agentId) throw invalid(`it is one of agent ${header.agentId}, not of ${agentId}`);
  if (!canKeep(header)) throw invalid("its era, major or tick is beyond what a host can keep");
}

function canKeep({ era, major, tick }: Pick<Header, "era" | "major" | "tick">): boolean {
  return era <= MAX_WHOLE && major <= MAX_WHOLE && tick <= MAX_WHOLE;
}

function invalid(reason: string): Fault {
  return new Fault({ code: "CHECKPOINT_INVALID", reason });
}

function refOfHeader({ header, digest }: HeaderToKeep): CheckpointRef {
  return { era: header.era, major: header.major, tick: header.tick, digest };
}

function walletOf({ digest }: HeaderToKeep, receipts: readonly Uint8Array[]): Wallet {
  const packed = pack(receipts);
  return { packed, seal: receiptsSeal(digest, packed) };
}

function receiptsSeal(digest: string, packed: Uint8Array): Uint8Array {
  return sealOf([digest, packed]);
}

const WITHOUT_NAME = `FROM states
    WHERE NOT EXISTS (SELECT 1 FROM headers h WHERE h.agent_id = states.agent_id
      AND h.state_digest = states.digest AND h.has_state = 1)
    AND NOT EXISTS (SELECT 1 FROM set_aside a WHERE a.agent_id = states.agent_id
      AND a.state_digest = states.digest AND a.has_state = 1)
    AND NOT EXISTS (SELECT 1 FROM staging s WHERE s.agent_id = states.agent_id AND s.state_digest = states.digest)`;

const SQL = {
  place: "SELECT digest, has_state FROM headers WHERE agent_id = ? AND era = ? AND major = ? AND tick = ?",
  any: "SELECT 1 FROM headers WHERE agent_id = ? LIMIT 1",
  insertHeader: `INSERT OR IGNORE INTO headers (${COLUMNS}, on_spine, receipts, receipts_seal, has_state)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  markSpine: `UPDATE headers SET on_spine = 1
    WHERE agent_id = ? AND era = ? AND major = ? AND tick = ? AND digest = ? AND on_spine = 0`,
  namedAsBase: "SELECT 1 FROM headers WHERE agent_id = ? AND (era, major) > (?, ?) AND base_digest = ? LIMIT 1",
  attachState: `UPDATE headers SET has_state = 1, receipts = ?, receipts_seal = ?
    WHERE agent_id = ? AND era = ? AND major = ? AND tick = ?`,
  detachState: `UPDATE headers SET has_state = 0, receipts = NULL, receipts_seal = NULL
    WHERE agent_id = ? AND digest = ? AND has_state = 1`,
  putState: "INSERT OR IGNORE INTO states (agent_id, digest, bytes) VALUES (?, ?, ?)",
  state: "SELECT bytes FROM states WHERE agent_id = ? AND digest = ?",
  dropState: `DELETE FROM states WHERE agent_id = ? AND digest = ?
    AND NOT EXISTS (SELECT 1 FROM headers WHERE agent_id = ? AND state_digest = ? AND has_state = 1)
    AND NOT EXISTS (SELECT 1 FROM set_aside WHERE agent_id = ? AND state_digest = ? AND has_state = 1)
    AND NOT EXISTS (SELECT 1 FROM staging WHERE agent_id = ? AND state_digest = ?)`,
  anyWithoutName: `SELECT 1 ${WITHOUT_NAME} LIMIT 1`,
  dropWithoutName: `DELETE ${WITHOUT_NAME}`,
  newestWithState: `SELECT ${COLUMNS} FROM headers WHERE agent_id = ? AND has_state = 1 ${NEWEST_FIRST} LIMIT 1`,
  withState: `SELECT ${COLUMNS} FROM headers WHERE agent_id = ? AND digest = ? AND has_state = 1`,
  allWithState: `SELECT era, major, tick, digest FROM headers WHERE agent_id = ? AND has_state = 1 ${NEWEST_FIRST}`,
  newestPlace: `SELECT digest FROM headers WHERE agent_id = ? ${NEWEST_FIRST} LIMIT 1`,
  statesOf: `SELECT digest, state_digest FROM headers WHERE agent_id = ? AND has_state = 1 ${NEWEST_FIRST}`,
  beyondNewestStates: `SELECT digest, state_digest FROM headers
    WHERE agent_id = ? AND has_state = 1 ${NEWEST_FIRST} LIMIT -1 OFFSET ?`,
  receipts: "SELECT receipts, receipts_seal FROM headers WHERE agent_id = ? AND digest = ? AND has_state = 1",
  headers: `SELECT ${COLUMNS} FROM headers WHERE agent_id = ? ${NEWEST_FIRST}`,
  headerAt: `SELECT ${COLUMNS} FROM headers WHERE agent_id = ? AND era = ? AND major = ? AND tick = ? AND digest = ?`,
  pruneHeaders: `DELETE FROM headers WHERE id IN (
    SELECT id FROM headers WHERE agent_id = ? AND has_state = 0 AND on_spine = 0 ${NEWEST_FIRST} LIMIT -1 OFFSET ?)`,
  dropHeaders: "DELETE FROM headers WHERE agent_id = ?",
  dropStates: "DELETE FROM states WHERE agent_id = ?",
} as const;
