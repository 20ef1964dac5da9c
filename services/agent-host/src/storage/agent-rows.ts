// One row for each agent that was ever here: identity, journal entry, newest term relinquished.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Term } from "@godwit/common/lease";
import { decodeJournal, encodeJournal } from "./journal-codec.ts";
import { type Cell, CellReader, type Row, sameBytes, sealOf } from "./rows.ts";
import type { StoredAgent } from "./types.ts";

export class AgentRows {
  readonly #cells: CellReader;
  readonly #select: StatementSync;
  readonly #selectSeal: StatementSync;
  readonly #selectAll: StatementSync;
  readonly #upsert: StatementSync;
  readonly #delete: StatementSync;
  /** Rows that were read or written, by their seal: every checkpoint asks for one, and to read it takes longer than to find it. */
  readonly #known = new Map<string, { readonly seal: Uint8Array; readonly agent: StoredAgent }>();

  constructor(db: DatabaseSync, path: string) {
    this.#cells = new CellReader(path);
    this.#select = db.prepare("SELECT * FROM agents WHERE agent_id = ?");
    this.#selectSeal = db.prepare("SELECT seal FROM agents WHERE agent_id = ?");
    this.#selectAll = db.prepare("SELECT * FROM agents");
    this.#delete = db.prepare("DELETE FROM agents WHERE agent_id = ?");
    this.#upsert = db.prepare(
      `INSERT OR REPLACE INTO agents
       (agent_id, name, module_digest, manifest_digest, journal, relinquished_era, relinquished_major, seal)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
  }

  get(agentId: string): StoredAgent | undefined {
    const known = this.#known.get(agentId);
    const sealed = known && this.#selectSeal.get(agentId);
    if (known && sealed && sameBytes(this.#cells.bytes(sealed, "seal"), known.seal)) return known.agent;
    const row = this.#select.get(agentId);
    const agent = row && this.#read(row);
    if (row === undefined || agent === undefined) this.#known.delete(agentId);
    else this.#known.set(agentId, { seal: this.#cells.bytes(row, "seal"), agent });
    return agent;
  }

  *all(): Generator<StoredAgent> {
    for (const row of this.#selectAll.iterate()) yield this.#read(row);
  }

  put(agent: StoredAgent): void {
    const { agentId, name, moduleDigest, manifestDigest, newestRelinquished } = agent;
    const journal = encodeJournal(agent.journal);
    const { era = null, major = null } = newestRelinquished ?? {};
    const cells = [agentId, name, moduleDigest, manifestDigest, journal, era, major] as const;
    const seal = sealOf(cells);
    this.#upsert.run(...cells, seal);
    this.#known.set(agentId, { seal, agent });
  }

  delete(agentId: string): void {
    this.#delete.run(agentId);
    this.#known.delete(agentId);
  }

  #read(row: Row): StoredAgent {
    const agentId = this.#cells.text(row, "agent_id");
    const name = this.#cells.text(row, "name");
    const moduleDigest = this.#cells.text(row, "module_digest");
    const manifestDigest = this.#cells.text(row, "manifest_digest");
    const encoded = this.#cells.text(row, "journal");
    const newestRelinquished = this.#relinquished(row);
    const { era = null, major = null } = newestRelinquished ?? {};
    const cells: readonly Cell[] = [agentId, name, moduleDigest, manifestDigest, encoded, era, major];
    this.#cells.checkSeal(row, cells, `the journal of agent ${agentId}`);
    const journal = decodeJournal(encoded);
    if (journal === undefined) throw this.#cells.damaged(`the journal of agent ${agentId} cannot be read`);
    return { agentId, name, moduleDigest, manifestDigest, journal, newestRelinquished };
  }

  #relinquished(row: Row): Term | undefined {
    if (row["relinquished_era"] === null && row["relinquished_major"] === null) return undefined;
    return { era: this.#cells.whole(row, "relinquished_era"), major: this.#cells.whole(row, "relinquished_major") };
  }
}
