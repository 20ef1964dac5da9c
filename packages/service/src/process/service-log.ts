import { stripVTControlCharacters } from "node:util";

// The lines that a process has printed, newest last, and whoever waits for one.

const MAX_LINES = 20_000;
/** A longer line is cut into several, so that a process that prints no line end fills no memory. */
const MAX_LINE_CHARS = 64 * 1024;

export class ServiceLog {
  readonly #lines: string[] = [];
  #dropped = 0;
  #arrived = Promise.withResolvers<void>();
  readonly #onLine: ((line: string) => void) | undefined;

  constructor(onLine?: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** How many lines there have ever been: the number that the next one gets. */
  get count(): number {
    return this.#dropped + this.#lines.length;
  }

  /** Lines from number `from` on, as far as they are still kept. */
  lines(from = 0): readonly string[] {
    return this.#lines.slice(Math.max(0, from - this.#dropped));
  }

  tail(lines: number): string {
    return this.#lines.slice(-lines).join("\n");
  }

  append(line: string): void {
    const plain = stripVTControlCharacters(line);
    this.#lines.push(plain);
    if (this.#lines.length > MAX_LINES) this.#dropped += this.#lines.splice(0, this.#lines.length - MAX_LINES).length;
    this.#onLine?.(plain);
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
  }

  /** Resolves when a line is appended. */
  arrived(): Promise<void> {
    return this.#arrived.promise;
  }

  /** Takes what a stream prints, in lines; an unfinished one is a line when the stream ends. */
  async follow(stream: AsyncIterable<Buffer | string>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const data of stream) {
      const pieces = (rest + (typeof data === "string" ? data : decoder.decode(data, { stream: true }))).split("\n");
      rest = pieces.pop() ?? "";
      for (const piece of pieces) this.append(piece);
      for (; rest.length > MAX_LINE_CHARS; rest = rest.slice(MAX_LINE_CHARS))
        this.append(rest.slice(0, MAX_LINE_CHARS));
    }
    if (rest !== "") this.append(rest);
  }
}
