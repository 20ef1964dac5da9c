import type { LogCollector } from "./log-collector.ts";

const newline = 0x0a;
/** A line that never ends is cut. */
const longestLineBytes = 65_536;

/** What an agent writes to its standard output, as lines of its log. One that has not ended ends with the call. */
export class Output {
  readonly #logs: LogCollector;
  #line: number[] = [];

  constructor(logs: LogCollector) {
    this.#logs = logs;
  }

  write(content: Uint8Array): void {
    for (const byte of content) {
      if (byte !== newline) this.#line.push(byte);
      if (byte === newline || this.#line.length === longestLineBytes) this.flush();
    }
  }

  flush(): void {
    if (this.#line.length === 0) return;
    const line = Uint8Array.from(this.#line);
    this.#line = [];
    this.#logs.add(line);
  }
}
