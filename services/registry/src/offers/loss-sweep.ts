// After a loss of the store: the agents whose owners did not bring them back (GA-9).
//
// Nobody closes the sessions that a new incarnation does not know, so nothing lists their agents as to be offered. Once the
// quarantine is over, all records are gone through for those that nobody has confirmed; and again, less and less often, until
// none is left. A store that never forgot is never gone through.

import type { Clock } from "@godwit/common/clock";
import { decodeRecord } from "../authority/record-codec.ts";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import type { AuthorityStore } from "../store/registry-store.ts";
import { isOfferable } from "./ranking.ts";

export interface LossSweepParts {
  readonly store: AuthorityStore;
  readonly keeper: MarkKeeper;
  readonly clock: Clock;
}

const PAGE = 500;

export class LossSweep {
  readonly #parts: LossSweepParts;
  readonly #firstDelayMs: number;
  #incarnation: string | undefined;
  /** Undefined: nothing is left. */
  #dueMs: number | undefined;
  #delayMs: number;

  constructor(parts: LossSweepParts, { delayMs }: { readonly delayMs: number }) {
    this.#parts = parts;
    this.#firstDelayMs = delayMs;
    this.#delayMs = delayMs;
  }

  /** The agents to offer, in pages; none when it is not yet time. Throws the faults of the keeper and the store. */
  async *due(): AsyncGenerator<readonly string[]> {
    const { keeper, clock } = this.#parts;
    const mark = await keeper.under(async (standing) => standing.mark);
    if (mark.counter === 0n) return;
    if (this.#incarnation !== mark.incarnation) {
      this.#incarnation = mark.incarnation;
      this.#dueMs = clock.monotonicMs();
      this.#delayMs = this.#firstDelayMs;
    }
    if (this.#dueMs === undefined || clock.monotonicMs() < this.#dueMs) return;

    let found = 0;
    let after: string | undefined;
    do {
      const page = await this.#page(after);
      found += page.unconfirmed.length;
      if (page.unconfirmed.length > 0) yield page.unconfirmed;
      after = page.next;
    } while (after !== undefined);
    this.#dueMs = found === 0 ? undefined : clock.monotonicMs() + this.#delayMs;
    this.#delayMs *= 2;
  }

  async #page(
    after: string | undefined,
  ): Promise<{ readonly unconfirmed: readonly string[]; readonly next: string | undefined }> {
    const { keeper, store } = this.#parts;
    return await keeper.under(async ({ mark }) => {
      const agentIds = await store.findAgents(mark.bytes, { after, limit: PAGE });
      const { agents } = await store.readAgents(mark.bytes, { agentIds, withHolders: false });
      const unconfirmed = agents.flatMap(({ record: bytes }) => {
        if (bytes === undefined) return [];
        const { record } = decodeRecord(bytes);
        const lost = record.incarnation !== mark.incarnation && isOfferable(record, { ownerVoid: false, mark });
        return lost ? [record.agentId] : [];
      });
      return { unconfirmed, next: agentIds.length === PAGE ? agentIds.at(-1) : undefined };
    });
  }
}
