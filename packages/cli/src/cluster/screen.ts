import { clip } from "../print/table.ts";
import type { Terminal } from "../terminal.ts";

const CLEAR_BELOW = "\x1b[0J";

/** Draws the same lines again and again in the same place, below what was printed before. */
export class Screen {
  readonly #terminal: Terminal;
  #drawn = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  draw(lines: readonly string[]): void {
    // One column and one row less than there are: a full one would make the terminal scroll.
    const columns = this.#terminal.columns() - 1;
    const shown = lines.slice(0, this.#terminal.rows() - 1).map((line) => clip(line, columns));
    const up = this.#drawn === 0 ? "" : `\x1b[${this.#drawn}F`;
    this.#terminal.out(`${up}${CLEAR_BELOW}${shown.map((line) => `${line}\n`).join("")}`);
    this.#drawn = shown.length;
  }

  /** What is drawn stays; the next drawing begins below. */
  leave(): void {
    this.#drawn = 0;
  }
}
