// Rows of the database as typed values, and the seal that tells a damaged one from a good one: SQLite itself checks
// structure, not content.

import { hash } from "node:crypto";
import type { SQLOutputValue } from "node:sqlite";
import { Fault } from "@godwit/common/fault";

export type Row = Readonly<Record<string, SQLOutputValue>>;
export type Cell = string | bigint | Uint8Array | null;

/** SHA-256 over cells with their kinds and lengths, so that no two lists of cells look alike. */
export function sealOf(cells: readonly Cell[]): Uint8Array {
  const parts = cells.map((cell) => {
    if (cell === null) return Buffer.from("n;");
    if (cell instanceof Uint8Array) return Buffer.concat([Buffer.from(`b${cell.length};`), cell]);
    const text = cell.toString();
    return Buffer.from(`${typeof cell === "bigint" ? "i" : "t"}${Buffer.byteLength(text)};${text}`);
  });
  return new Uint8Array(hash("sha256", Buffer.concat(parts), "buffer"));
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Reads cells of rows. A cell of another kind than asked for means a damaged database: Fault DATA_CORRUPT. */
export class CellReader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  text(row: Row, column: string): string {
    const value = row[column];
    return typeof value === "string" ? value : this.#complain(column);
  }

  whole(row: Row, column: string): bigint {
    const value = row[column];
    return typeof value === "bigint" ? value : this.#complain(column);
  }

  bytes(row: Row, column: string): Uint8Array {
    const value = row[column];
    return value instanceof Uint8Array ? value : this.#complain(column);
  }

  /** Checks the cells of a row against its `seal` column; `what` names the row for people. */
  checkSeal(row: Row, cells: readonly Cell[], what: string): void {
    if (!sameBytes(this.bytes(row, "seal"), sealOf(cells))) throw this.damaged(`${what} does not match its checksum`);
  }

  damaged(reason: string, cause?: unknown): Fault<"DATA_CORRUPT"> {
    return new Fault({ code: "DATA_CORRUPT", path: this.#path, reason }, { cause });
  }

  #complain(column: string): never {
    throw this.damaged(`a row has no valid ${column}`);
  }
}

/** Byte strings in one cell: each with its length in front. */
export function pack(list: readonly Uint8Array[]): Uint8Array {
  const packed = new Uint8Array(list.reduce((sum, bytes) => sum + 4 + bytes.length, 0));
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const bytes of list) {
    view.setUint32(at, bytes.length, true);
    packed.set(bytes, at + 4);
    at += 4 + bytes.length;
  }
  return packed;
}

/** Total: `undefined` for bytes that `pack` cannot have made. */
export function unpack(packed: Uint8Array): Uint8Array[] | undefined {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const list: Uint8Array[] = [];
  let at = 0;
  while (at < packed.length) {
    if (packed.length - at < 4) return undefined;
    const length = view.getUint32(at, true);
    at += 4;
    if (packed.length - at < length) return undefined;
    list.push(packed.slice(at, at + length));
    at += length;
  }
  return list;
}
