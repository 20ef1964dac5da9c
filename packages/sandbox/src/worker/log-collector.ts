const text = new TextDecoder("utf-8", { ignoreBOM: true });
/** Even an empty message takes room. */
const overheadBytes = 16;

/** The log messages of one request, within a bound: what does not fit is dropped and counted. */
export class LogCollector {
  readonly #maxBytes: number;
  #leftBytes = 0;
  #messages: string[] = [];
  #dropped = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  open(): void {
    this.#leftBytes = this.#maxBytes;
    this.#messages = [];
    this.#dropped = 0;
  }

  add(message: Uint8Array): void {
    const costBytes = message.length + overheadBytes;
    if (costBytes > this.#leftBytes) {
      this.#dropped += 1;
      return;
    }
    this.#leftBytes -= costBytes;
    this.#messages.push(text.decode(message)); // bytes that are not UTF-8 are shown as U+FFFD
  }

  drop(): void {
    this.#dropped += 1;
  }

  collected(): { readonly logs: readonly string[]; readonly logsDropped: number } {
    return { logs: this.#messages, logsDropped: this.#dropped };
  }
}
