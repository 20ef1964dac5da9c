// The log books of this host's agents: of all that run, and of some that do not, so that people can read why.

import type { Clock } from "@godwit/common/clock";
import { LogBook } from "./log-book.ts";

export class LogBooks {
  readonly #clock: Clock;
  readonly #keptResting: number;
  readonly #running = new Map<string, LogBook>();
  /** The one that came to rest last comes last. */
  readonly #resting = new Map<string, LogBook>();

  /** `keptResting`: of so many agents that do not run here books are kept. */
  constructor(clock: Clock, { keptResting }: { readonly keptResting: number }) {
    this.#clock = clock;
    this.#keptResting = keptResting;
  }

  /** An empty one when there is none yet. */
  of(agentId: string): LogBook {
    const known = this.#running.get(agentId) ?? this.#resting.get(agentId);
    if (known !== undefined) return known;
    const book = new LogBook(this.#clock);
    this.#rest(agentId, book);
    return book;
  }

  /** The agent runs here: its book is kept. */
  begun(agentId: string): void {
    this.#running.set(agentId, this.of(agentId));
    this.#resting.delete(agentId);
  }

  /** It does not run here any more. */
  ended(agentId: string): void {
    const book = this.of(agentId);
    this.#running.delete(agentId);
    this.#rest(agentId, book);
  }

  #rest(agentId: string, book: LogBook): void {
    this.#resting.delete(agentId);
    this.#resting.set(agentId, book);
    const [oldest] = this.#resting.keys();
    if (this.#resting.size > this.#keptResting && oldest !== undefined) this.#resting.delete(oldest);
  }
}
