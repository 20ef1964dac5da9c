// Single values of the data directory, each with a checksum.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { CellReader, sealOf } from "./rows.ts";

/** `complete`: whether host.db can do without its log; database.ts has the rule. */
export type MetaKey = "host-seed" | "mark" | "registry-key" | "complete";

export class Meta {
  readonly #cells: CellReader;
  readonly #select: StatementSync;
  readonly #upsert: StatementSync;

  constructor(db: DatabaseSync, path: string) {
    this.#cells = new CellReader(path);
    this.#select = db.prepare("SELECT value, seal FROM meta WHERE key = ?");
    this.#upsert = db.prepare("INSERT OR REPLACE INTO meta (key, value, seal) VALUES (?, ?, ?)");
  }

  get(key: MetaKey): Uint8Array | undefined {
    const row = this.#select.get(key);
    if (row === undefined) return undefined;
    const value = this.#cells.bytes(row, "value");
    this.#cells.checkSeal(row, [key, value], `the ${key}`);
    return value;
  }

  set(key: MetaKey, value: Uint8Array): void {
    this.#upsert.run(key, value, sealOf([key, value]));
  }
}
