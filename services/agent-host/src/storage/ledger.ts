// One write unit, applied inside a transaction. Every rule is asked against the rows as they are in that transaction, so
// two units of one agent in one transaction see each other.

import type { DatabaseSync } from "node:sqlite";
import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import type { Checkpoint } from "@godwit/lineage";
import { AgentRows } from "./agent-rows.ts";
import { CheckpointRows, checkpointToKeep, type HeaderToKeep, headerToKeep, type Newest } from "./checkpoint-rows.ts";
import { checkpointNamedBy, type JournalEntry } from "./journal.ts";
import { checkpointRefusal, journalRefusal, relinquishedAfter } from "./rules.ts";
import type { ForcedChoice } from "./set-aside.ts";
import { StagingRows } from "./staging-rows.ts";
import type { AgentIdentity, StagedHandoff, StorageRules, StoredAgent, WriteUnit } from "./types.ts";

/** A unit whose parts were read and checked by themselves. */
export interface PreparedUnit {
  readonly unit: WriteUnit;
  readonly checkpoint: HeaderToKeep | undefined;
  readonly spine: readonly HeaderToKeep[];
  readonly staged: HeaderToKeep | undefined;
  readonly bytes: number;
}

/** What the tables hold after a unit, of what is also kept in memory. */
export interface Effect {
  readonly agent: StoredAgent | undefined;
  /** Nothing is left of the agent. */
  readonly gone: boolean;
  readonly staged: StagedHandoff | undefined;
  readonly unstaged: readonly string[];
  /** With which the agent's next checkpoint is written at once. */
  readonly newest: Newest | undefined;
}

/** Headers are pruned when this many were added, so that not every checkpoint pays for it. */
const PRUNE_EVERY = 32;

export class Ledger {
  readonly agents: AgentRows;
  readonly checkpoints: CheckpointRows;
  readonly staging: StagingRows;
  readonly #rules: StorageRules;
  readonly #addedSincePruning = new Map<string, number>();
  /** As of the last commit. Whatever is written about an agent takes it out; what is committed puts the new one in. */
  readonly #newest = new Map<string, Newest>();

  constructor(db: DatabaseSync, path: string, rules: StorageRules) {
    this.agents = new AgentRows(db, path);
    this.checkpoints = new CheckpointRows(db, path);
    this.staging = new StagingRows(db, path);
    this.#rules = rules;
  }

  apply({ unit, checkpoint, spine, staged }: PreparedUnit): Effect {
    const { agentId, journal } = unit;
    const newest = this.#newest.get(agentId);
    this.#newest.delete(agentId);
    const before = this.agents.get(agentId);
    if (unit.onlyIn?.includes(before?.journal.phase ?? "none") === false) {
      throw new Fault({ code: "AGENT_EXISTS", agentId });
    }
    if (before && newest && checkpoint && isCheckpointAlone(unit) && this.checkpoints.comesNext(checkpoint, newest)) {
      return this.#putNext(before, { unit, checkpoint }, newest);
    }
    if (unit.setAside !== undefined) this.#setAside(agentId, unit.setAside, journal ?? before?.journal);
    const stagedNow = unit.stage && staged && this.#stage(before, unit.stage, staged);
    const promoted = unit.promoteStaging === undefined ? undefined : this.#promote(before, unit, unit.promoteStaging);
    const agent = this.#putAgent(before, unit, promoted?.handoff.agent);

    for (const header of spine) this.checkpoints.putOnSpine(header);
    if (checkpoint !== undefined && unit.checkpoint !== undefined) {
      this.#putCheckpoint(before, unit, checkpoint, { state: unit.checkpoint.state, receipts: unit.receipts ?? [] });
    }
    if (unit.dropStaging !== undefined) this.#dropStaging(unit.dropStaging);
    const makesSuperfluous = checkpoint !== undefined || promoted !== undefined || journal !== undefined;
    if (makesSuperfluous && unit.pruneLater !== true) this.#prune(agent ?? before, agentId);

    const unstaged = [unit.promoteStaging, unit.dropStaging].filter((id) => id !== undefined);
    const gone = unit.dropStaging !== undefined && this.#removeIfNothingIsLeft(agent ?? before);
    const known = checkpoint && isCheckpointAlone(unit) ? this.checkpoints.newest(checkpoint) : undefined;
    return { agent, gone, staged: stagedNow, unstaged, newest: known };
  }

  /** After the commit, in the order of the units. */
  committed(agentId: string, { newest }: Effect): void {
    if (newest === undefined) this.#newest.delete(agentId);
    else this.#newest.set(agentId, newest);
  }

  /** Throws Fault INVALID_ARGUMENT unless the agent is terminated. */
  forget(agentId: string): readonly string[] {
    const agent = this.agents.get(agentId);
    if (agent === undefined) return [];
    if (agent.journal.phase !== "terminated") {
      const reason = `agent ${agentId} is ${agent.journal.phase}: only one that was terminated may be forgotten`;
      throw new Fault({ code: "INVALID_ARGUMENT", field: "agent", reason });
    }
    const handoffs = [...this.staging.all()].filter((handoff) => handoff.agentId === agentId);
    this.#newest.delete(agentId);
    this.#addedSincePruning.delete(agentId);
    this.staging.deleteOfAgent(agentId);
    this.checkpoints.dropAll(agentId);
    return handoffs.map(({ handoffId }) => handoffId);
  }

  /** Throws Fault INVALID_ARGUMENT when the agent's journal goes on from what is given up: that would resume an orphan. */
  #setAside(agentId: string, choice: ForcedChoice, journal: JournalEntry | undefined): void {
    this.checkpoints.setAside(agentId, choice);
    const named = journal && checkpointNamedBy(journal);
    if (named === undefined || !this.checkpoints.isOrphan(agentId, named)) return;
    const reason = `the journal names checkpoint ${named}, which is given up: write another entry with the choice`;
    throw new Fault({ code: "INVALID_ARGUMENT", field: "journal", reason });
  }

  #stage(
    before: StoredAgent | undefined,
    incoming: NonNullable<WriteUnit["stage"]>,
    header: HeaderToKeep,
  ): StagedHandoff {
    const { agentId } = header.header;
    if (before?.journal.phase === "terminated") throw new Fault({ code: "TERMINATED", agentId });
    this.checkpoints.holds(header);
    const staged = this.staging.put(agentId, incoming);
    this.checkpoints.putState(agentId, header.header.stateDigest, incoming.checkpoint.state);
    return staged;
  }

  #promote(before: StoredAgent | undefined, { agentId, journal }: WriteUnit, handoffId: string) {
    const staged = this.staging.get(handoffId);
    if (staged === undefined || staged.handoff.agentId !== agentId) {
      const reason = `no handoff ${handoffId} of agent ${agentId} is staged`;
      throw new Fault({ code: "INVALID_ARGUMENT", field: "promoteStaging", reason });
    }
    const { checkpoint, receipts, spine } = staged;
    const isHeld = this.checkpoints.holds(checkpoint);
    const refusal = isHeld ? undefined : checkpointRefusal(before, journal, checkpoint.header);
    if (refusal !== undefined) throw refusal;
    for (const signed of spine) this.checkpoints.putOnSpine(headerToKeep(agentId, signed));
    if (!isHeld) this.checkpoints.putCheckpoint(checkpoint, receipts);
    this.staging.delete(handoffId);
    return staged;
  }

  #putAgent(
    before: StoredAgent | undefined,
    unit: WriteUnit,
    promoted: AgentIdentity | undefined,
  ): StoredAgent | undefined {
    const { agentId, journal = before?.journal } = unit;
    if (unit.journal === undefined && unit.agent === undefined && (before !== undefined || onlyStages(unit))) {
      return undefined;
    }
    const known = unit.agent ?? before ?? promoted;
    if (known === undefined || journal === undefined) {
      const reason = `agent ${agentId} is new here: write what it is together with its journal entry`;
      throw new Fault({ code: "INVALID_ARGUMENT", field: "agent", reason });
    }
    const refusal = journalRefusal(before, journal);
    if (refusal !== undefined) throw refusal;

    const { name, moduleDigest, manifestDigest } = known;
    const newestRelinquished = relinquishedAfter(before, journal);
    const agent = { agentId, name, moduleDigest, manifestDigest, journal, newestRelinquished };
    this.agents.put(agent);
    return agent;
  }

  /** What nearly every unit is: the next checkpoint of an agent that runs here. */
  #putNext(
    agent: StoredAgent,
    { unit, checkpoint }: { readonly unit: CheckpointAlone; readonly checkpoint: HeaderToKeep },
    before: Newest,
  ): Effect {
    const refusal = checkpointRefusal(agent, undefined, checkpoint.header);
    if (refusal !== undefined) throw refusal;
    const keep = unit.pruneLater === true ? undefined : this.#rules.keepStates;
    const content = { state: unit.checkpoint.state, receipts: unit.receipts ?? [] };
    const named = checkpointNamedBy(agent.journal);
    const newest = this.checkpoints.putNext(checkpoint, content, { before, keep, named });
    if (keep !== undefined) this.#pruneHeaders(unit.agentId);
    return { agent: undefined, gone: false, staged: undefined, unstaged: [], newest };
  }

  #putCheckpoint(
    before: StoredAgent | undefined,
    { agentId, journal }: WriteUnit,
    kept: HeaderToKeep,
    content: { readonly state: Uint8Array; readonly receipts: readonly Uint8Array[] },
  ): void {
    if (this.checkpoints.holds(kept)) return;
    const refusal = checkpointRefusal(before, journal, kept.header);
    if (refusal !== undefined) throw refusal;
    this.checkpoints.putState(agentId, kept.header.stateDigest, content.state);
    this.checkpoints.putCheckpoint(kept, content.receipts);
  }

  #dropStaging(handoffId: string): void {
    const staged = this.staging.get(handoffId);
    if (staged === undefined) return;
    this.staging.delete(handoffId);
    this.checkpoints.dropState(staged.handoff.agentId, staged.checkpoint.header.stateDigest);
  }

  /** A handoff that was refused before its claim leaves no agent behind, unless this host had something of it before. */
  #removeIfNothingIsLeft(agent: StoredAgent | undefined): boolean {
    if (agent?.journal.phase !== "replica" || agent.newestRelinquished !== undefined) return false;
    if (this.checkpoints.hasAny(agent.agentId) || this.staging.hasAny(agent.agentId)) return false;
    this.agents.delete(agent.agentId);
    this.#addedSincePruning.delete(agent.agentId);
    return true;
  }

  #prune(agent: StoredAgent | undefined, agentId: string): void {
    this.checkpoints.pruneStates(agentId, this.#rules.keepStates, agent && checkpointNamedBy(agent.journal));
    this.#pruneHeaders(agentId);
  }

  #pruneHeaders(agentId: string): void {
    const { keepHeaders } = this.#rules;
    const added = (this.#addedSincePruning.get(agentId) ?? PRUNE_EVERY) + 1;
    const due = added >= Math.min(PRUNE_EVERY, Math.max(1, keepHeaders / 8));
    if (due) this.checkpoints.pruneHeaders(agentId, keepHeaders);
    this.#addedSincePruning.set(agentId, due ? 0 : added);
  }
}

/** Throws Fault CHECKPOINT_INVALID for what could not be read back, or is another agent's. */
export function prepareUnit(unit: WriteUnit): PreparedUnit {
  const { agentId, stage } = unit;
  const checkpoint = unit.checkpoint && checkpointToKeep(agentId, unit.checkpoint);
  const staged = stage && checkpointToKeep(agentId, stage.checkpoint);
  const spine = (unit.spine ?? []).map((signed) => headerToKeep(agentId, signed));
  for (const signed of stage?.spine ?? []) headerToKeep(agentId, signed);
  const bytes =
    (unit.checkpoint?.state.length ?? 0) +
    (stage?.checkpoint.state.length ?? 0) +
    sizeOf(unit.spine) +
    sizeOf(stage?.spine);
  return { unit, checkpoint, spine, staged, bytes };
}

type CheckpointAlone = WriteUnit & { readonly checkpoint: Checkpoint };

/** Whether it is a checkpoint and its receipts, and nothing besides. */
function isCheckpointAlone(unit: WriteUnit): unit is CheckpointAlone {
  const { agent, journal, spine, setAside, stage, promoteStaging, dropStaging } = unit;
  const others = agent ?? journal ?? spine ?? setAside ?? stage ?? promoteStaging ?? dropStaging;
  return unit.checkpoint !== undefined && others === undefined;
}

/** A package that is staged, or dropped, makes no agent. */
function onlyStages({ promoteStaging, checkpoint, spine }: WriteUnit): boolean {
  return promoteStaging === undefined && checkpoint === undefined && spine === undefined;
}

function sizeOf(headers: readonly SignedBytes[] = []): number {
  return headers.reduce((sum, { payload, signature }) => sum + payload.length + signature.length, 0);
}
