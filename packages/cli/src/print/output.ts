import type { Terminal } from "../terminal.ts";
import { toJson } from "./json.ts";
import { type Column, table } from "./table.ts";

/** Prints the result of a command for people, or the same as JSON for programs. */
export class Output {
  readonly format: "text" | "json";
  readonly #terminal: Terminal;

  constructor(terminal: Terminal, format: "text" | "json") {
    this.#terminal = terminal;
    this.format = format;
  }

  /** A value for programs; for people, the lines that `text` makes of it. */
  result(value: unknown, text: () => readonly string[]): void {
    const lines = this.format === "json" ? [toJson(value)] : text();
    this.#terminal.out(lines.map((line) => `${line}\n`).join(""));
  }

  /** A list: a table for people, one array for programs. `none` is said when there is nothing. */
  list<Row>(rows: readonly Row[], columns: readonly Column<Row>[], none: string): void {
    this.result(rows, () => (rows.length === 0 ? [none] : table(columns, rows)));
  }

  /** Something beside the result, for people only: on the error stream, so that a pipe gets the result alone. */
  note(text: string): void {
    if (this.format === "text") this.#terminal.err(`note: ${text}\n`);
  }
}
