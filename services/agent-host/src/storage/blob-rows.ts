// Modules and manifests under the digest of their bytes.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { digestOf } from "@godwit/lineage";
import { CellReader } from "./rows.ts";

export class BlobRows {
  readonly #cells: CellReader;
  readonly #select: StatementSync;
  readonly #exists: StatementSync;
  readonly #insert: StatementSync;
  readonly #replace: StatementSync;
  readonly #selectDigests: StatementSync;
  readonly #delete: StatementSync;

  constructor(db: DatabaseSync, path: string) {
    this.#cells = new CellReader(path);
    this.#select = db.prepare("SELECT bytes FROM blobs WHERE digest = ?");
    this.#exists = db.prepare("SELECT 1 FROM blobs WHERE digest = ?");
    this.#insert = db.prepare("INSERT INTO blobs (digest, bytes) VALUES (?, ?)");
    this.#replace = db.prepare("UPDATE blobs SET bytes = ? WHERE digest = ?");
    this.#selectDigests = db.prepare("SELECT digest FROM blobs");
    this.#delete = db.prepare("DELETE FROM blobs WHERE digest = ?");
  }

  has(digest: string): boolean {
    return this.#exists.get(digest) !== undefined;
  }

  /** Throws Fault DATA_CORRUPT when the bytes are not those of the digest any more. */
  get(digest: string): Uint8Array | undefined {
    const row = this.#select.get(digest);
    if (row === undefined) return undefined;
    const bytes = this.#cells.bytes(row, "bytes");
    if (digestOf(bytes) !== digest) throw this.#cells.damaged(`blob ${digest} cannot be read back`);
    return bytes;
  }

  /** Whether it would be read back as it was put. */
  isGood(digest: string): boolean {
    const row = this.#select.get(digest);
    return row !== undefined && digestOf(this.#cells.bytes(row, "bytes")) === digest;
  }

  /** Bytes that went bad are made good by whoever brings them again. */
  put(digest: string, bytes: Uint8Array): void {
    if (!this.has(digest)) this.#insert.run(digest, bytes);
    else if (!this.isGood(digest)) this.#replace.run(bytes, digest);
  }

  /** Drops at most `most` of those that nobody needs, and gives how many these were. */
  dropUnneeded(isNeeded: (digest: string) => boolean, most: number): number {
    const unneeded: string[] = [];
    for (const row of this.#selectDigests.iterate()) {
      const digest = this.#cells.text(row, "digest");
      if (isNeeded(digest)) continue;
      unneeded.push(digest);
      if (unneeded.length === most) break;
    }
    for (const digest of unneeded) this.#delete.run(digest);
    return unneeded.length;
  }
}
