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

/** Of lines, and of characters in all of them: an agent may say 64 KiB in a tick. */
interface Room {
  readonly lines: number;
  readonly characters: number;
}

const kept: Room = { lines: 1_000, characters: 256 * 1_024 };
/** A follower that does not read misses what comes beyond this, so that it costs bounded memory. */
const maxBehind: Room = { lines: 10_000, characters: 4 * 1_024 * 1_024 };

export class LogBook {
  readonly #clock: Clock;
  readonly #lines = new Lines();
  readonly #followers = new Set<(line: LogLine) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  write(line: Omit<LogLine, "at">): void {
    const entry = { at: this.#clock.now(), ...line };
    this.#lines.push(entry);
    while (!this.#lines.fit(kept)) this.#lines.shift();
    for (const follower of this.#followers) follower(entry);
  }

  tail(lines: number): readonly LogLine[] {
    return this.#lines.newest(lines);
  }

  /** The newest `tail` lines, then each new one until the signal aborts. */
  async *follow(tail: number, signal: AbortSignal): AsyncGenerator<LogLine> {
    const waiting = new Lines(this.tail(tail));
    let wake = Promise.withResolvers<void>();
    const take = (line: LogLine): void => {
      if (waiting.fit(maxBehind)) waiting.push(line);
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

class Lines {
  readonly #lines: LogLine[] = [];
  #characters = 0;

  constructor(lines: readonly LogLine[] = []) {
    for (const line of lines) this.push(line);
  }

  push(line: LogLine): void {
    this.#lines.push(line);
    this.#characters += line.line.length;
  }

  /** The oldest one. */
  shift(): LogLine | undefined {
    const line = this.#lines.shift();
    this.#characters -= line?.line.length ?? 0;
    return line;
  }

  newest(lines: number): readonly LogLine[] {
    return lines <= 0 ? [] : this.#lines.slice(-lines);
  }

  /** A single one does, however long it is. */
  fit({ lines, characters }: Room): boolean {
    return this.#lines.length <= lines && (this.#characters <= characters || this.#lines.length === 1);
  }
}
