// What an agent said, and what its host says about it: the newest lines, and whoever follows them. Lines of a tick come in
// only when the tick is committed, since they are what leaves the host.

import type { Clock } from "@godwit/common/clock";

export interface LogLine {
  readonly at: Date;
  readonly major: bigint;
  readonly tick: bigint;
  readonly origin: "agent" | "host";
  readonly line: string;
}

const keptLines = 1_000;
/** A follower that does not read is dropped beyond this, so that it costs bounded memory. */
const maxBehind = 10_000;

export class LogBook {
  readonly #clock: Clock;
  readonly #lines: LogLine[] = [];
  readonly #followers = new Set<(line: LogLine) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  write(line: Omit<LogLine, "at">): void {
    const entry = { at: this.#clock.now(), ...line };
    this.#lines.push(entry);
    if (this.#lines.length > keptLines) this.#lines.splice(0, this.#lines.length - keptLines);
    for (const follower of this.#followers) follower(entry);
  }

  tail(lines: number): readonly LogLine[] {
    return lines <= 0 ? [] : this.#lines.slice(-lines);
  }

  /** The newest `tail` lines, then each new one until the signal aborts. */
  async *follow(tail: number, signal: AbortSignal): AsyncGenerator<LogLine> {
    const waiting: LogLine[] = [...this.tail(tail)];
    let wake = Promise.withResolvers<void>();
    const take = (line: LogLine): void => {
      if (waiting.length < maxBehind) waiting.push(line);
      wake.resolve();
    };
    const onAbort = (): void => wake.resolve();
    this.#followers.add(take);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const next = waiting.shift();
        if (next !== undefined) {
          yield next;
        } else {
          await wake.promise;
          wake = Promise.withResolvers<void>();
        }
      }
    } finally {
      this.#followers.delete(take);
      signal.removeEventListener("abort", onAbort);
    }
  }
}
