// Checkpoints that a forced choice gave up: out of the way of the lineage, kept for inspection, never resumed. Whatever
// reads checkpoints does not see this table, and what is in it is not taken as a checkpoint again (checkpoint-rows.ts).

import type { DatabaseSync, StatementSync } from "node:sqlite";

const CELLS = `agent_id, era, major, tick, digest, base_digest, state_digest, payload, signature, seal,
  on_spine, receipts, receipts_seal, has_state`;

export class OrphanRows {
  readonly #statements: Readonly<Record<keyof typeof SQL, StatementSync>>;

  /** Whether there may be any at all: on most hosts there never are, and every checkpoint asks. */
  #mayBeAny: boolean;

  constructor(db: DatabaseSync) {
    const prepared = Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)] as const);
    this.#statements = Object.fromEntries(prepared) as Record<keyof typeof SQL, StatementSync>;
    this.#mayBeAny = db.prepare("SELECT 1 FROM set_aside LIMIT 1").get() !== undefined;
  }

  has(agentId: string, digest: string): boolean {
    return this.#mayBeAny && this.#statements.one.get(agentId, digest) !== undefined;
  }

  hasAny(agentId: string): boolean {
    return this.#statements.any.get(agentId) !== undefined;
  }

  /** Moves a checkpoint out of the agent's, with its receipts; its state stays where it is. */
  put(agentId: string, digest: string): void {
    this.#mayBeAny = true;
    this.#statements.put.run(agentId, digest);
    this.#statements.leave.run(agentId, digest);
  }

  /** A later choice is for one that an earlier one gave up: it is a checkpoint again. Its place has to be free. */
  bringBack(agentId: string, digest: string): void {
    this.#statements.bringBack.run(agentId, digest);
    this.#statements.drop.run(agentId, digest);
  }

  /** Rows as those of `headers`, newest first. */
  all(agentId: string) {
    return this.#statements.all.all(agentId);
  }

  dropAll(agentId: string): void {
    this.#statements.dropAll.run(agentId);
  }
}

const SQL = {
  one: "SELECT 1 FROM set_aside WHERE agent_id = ? AND digest = ?",
  any: "SELECT 1 FROM set_aside WHERE agent_id = ? LIMIT 1",
  put: `INSERT INTO set_aside (${CELLS}) SELECT ${CELLS} FROM headers WHERE agent_id = ? AND digest = ?`,
  leave: "DELETE FROM headers WHERE agent_id = ? AND digest = ?",
  bringBack: `INSERT INTO headers (${CELLS}) SELECT ${CELLS} FROM set_aside WHERE agent_id = ? AND digest = ?`,
  drop: "DELETE FROM set_aside WHERE agent_id = ? AND digest = ?",
  all: `SELECT ${CELLS} FROM set_aside WHERE agent_id = ? ORDER BY era DESC, major DESC, tick DESC, digest`,
  dropAll: "DELETE FROM set_aside WHERE agent_id = ?",
} as const;
