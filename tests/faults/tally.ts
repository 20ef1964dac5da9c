// What was done to migrations and how they ended, for people: a row for each kind of fault.

import type { Outcome } from "./judge.ts";

export interface Row {
  /** Faults that fired; one that did not proves nothing and is not counted. */
  fired: number;
  moved: number;
  recovered: number;
  reverted: number;
  done: number;
  failed: number;
}

export interface Failure {
  readonly what: string;
  readonly error: unknown;
}

export class Tally {
  readonly #rows = new Map<string, Row>();
  readonly #failures: Failure[] = [];
  readonly #notes: string[] = [];

  /** `kind`: the row, as in "frames: cut". */
  fired(kind: string, outcome: Outcome): void {
    const row = this.#row(kind);
    row.fired++;
    row[outcome]++;
  }

  failed(kind: string, what: string, error: unknown): void {
    this.#row(kind).failed++;
    this.#failures.push({ what, error });
  }

  /** Figures of one fault, below the table. */
  note(line: string): void {
    this.#notes.push(line);
  }

  get rows(): ReadonlyMap<string, Readonly<Row>> {
    return this.#rows;
  }

  get failures(): readonly Failure[] {
    return this.#failures;
  }

  /** Of all rows whose name begins so. */
  firedOf(prefix: string): number {
    return [...this.#rows].reduce((sum, [kind, { fired }]) => sum + (kind.startsWith(prefix) ? fired : 0), 0);
  }

  lines(): readonly string[] {
    const cells = [...this.#rows].map(([kind, row]) => [kind, ...columns.map((column) => row[column])] as const);
    const sums = columns.map((_, index) => cells.reduce((sum, row) => sum + Number(row[index + 1]), 0));
    const rows = [["FAULT", ...columns.map((column) => column.toUpperCase())], ...cells, ["all", ...sums]];
    const widths = rows[0]?.map((_, index) => Math.max(...rows.map((row) => String(row[index]).length))) ?? [];
    const table = rows.map((row) =>
      row
        .map((cell, index) =>
          index === 0 ? String(cell).padEnd(widths[0] ?? 0) : String(cell).padStart(widths[index] ?? 0),
        )
        .join("  "),
    );
    return [...table, ...this.#notes];
  }

  /** What went wrong after the first `seen`, each with the way to do it again. */
  failureLines(seen = 0): readonly string[] {
    return this.#failures.slice(seen).map(({ what, error }) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return `✗ ${what}\n${text.replace(/^/gm, "    ")}`;
    });
  }

  #row(kind: string): Row {
    const row = this.#rows.get(kind) ?? { fired: 0, moved: 0, recovered: 0, reverted: 0, done: 0, failed: 0 };
    this.#rows.set(kind, row);
    return row;
  }
}

const columns = ["fired", "moved", "recovered", "reverted", "done", "failed"] as const;
