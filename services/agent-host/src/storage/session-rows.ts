// Boot ids of the sessions that this host ever opened (GA-5): which sessions of the registry's records are its own.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { CellReader } from "./rows.ts";

export class SessionRows {
  readonly #cells: CellReader;
  readonly #selectAll: StatementSync;
  readonly #insert: StatementSync;

  constructor(db: DatabaseSync, path: string) {
    this.#cells = new CellReader(path);
    this.#selectAll = db.prepare("SELECT boot_id FROM sessions");
    this.#insert = db.prepare("INSERT OR IGNORE INTO sessions (boot_id, recorded_at) VALUES (?, ?)");
  }

  all(): string[] {
    return this.#selectAll.all().map((row) => this.#cells.text(row, "boot_id"));
  }

  put(bootId: string, at: Date): void {
    this.#insert.run(bootId, at.toISOString());
  }
}
