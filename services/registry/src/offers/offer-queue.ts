// Agents that wait to be offered, each with its next holder and when. Pure data; the loop is in offers.ts.

export interface Waiting {
  readonly agentId: string;
  /** Place of the next holder in the ranking, from 0. */
  readonly rank: number;
  readonly dueMs: number;
}

export class OfferQueue {
  readonly #waiting = new Map<string, Waiting>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Nothing when the agent waits already, or when too many do: a later scan finds it again. */
  add(agentId: string, dueMs: number): void {
    if (this.#waiting.has(agentId) || this.#waiting.size >= this.#max) return;
    this.#waiting.set(agentId, { agentId, rank: 0, dueMs });
  }

  /** Puts an agent back for its next holder. */
  postpone(waiting: Waiting): void {
    this.#waiting.set(waiting.agentId, waiting);
  }

  /** Takes out at most `limit` that are due, in the order in which they were added. */
  takeDue(nowMs: number, limit: number): readonly Waiting[] {
    const due: Waiting[] = [];
    for (const waiting of this.#waiting.values()) {
      if (due.length === limit) break;
      if (waiting.dueMs <= nowMs) due.push(waiting);
    }
    for (const { agentId } of due) this.#waiting.delete(agentId);
    return due;
  }
}
