// What was paid in, by whoever pays and by what hosts committed: each funding once along a lineage, for as much as was sent,
// and none that was answered is on no disk.

import { type Checkpoint, isFunding } from "@godwit/lineage";

export interface SentFunding {
  readonly id: string;
  readonly amount: bigint;
}

interface Seen {
  /** By id. */
  readonly sent: Map<string, bigint>;
  /** By checkpoint: all that its lineage was funded with. */
  readonly upTo: Map<string, ReadonlySet<string>>;
  /** Of all checkpoints, orphans too: by id, the ticks that it took. */
  readonly ticks: Map<string, Set<bigint>>;
}

const NONE: ReadonlySet<string> = new Set();

export class Fundings {
  readonly #agents = new Map<string, Seen>();

  sent(agentId: string, { id, amount }: SentFunding): void {
    this.#seen(agentId).sent.set(id, amount);
  }

  /** What is wrong with the fundings of a checkpoint that was committed on top of `previous`. */
  committed(agentId: string, previous: string, { digest, header }: Checkpoint): readonly string[] {
    const { sent, upTo, ticks } = this.#seen(agentId);
    const before = upTo.get(previous) ?? NONE;
    const fundings = header.receipts.filter(isFunding);
    upTo.set(digest, fundings.length === 0 ? before : new Set([...before, ...fundings.map((one) => one.fundingId)]));
    const problems: string[] = [];
    for (const { fundingId, funded, lastTick } of fundings) {
      const name = `funding ${fundingId.slice(0, 8)}`;
      if (before.has(fundingId)) problems.push(`${name} was applied before`);
      if (sent.get(fundingId) !== funded) problems.push(`${name} of ${funded} was not sent`);
      const at = ticks.get(fundingId) ?? new Set();
      ticks.set(fundingId, at.add(lastTick));
    }
    return problems;
  }

  /** Why a host must not have said that it was applied. */
  answered(
    agentId: string,
    { id, tick }: { readonly id: string; readonly tick: bigint | undefined },
  ): string | undefined {
    const at = this.#seen(agentId).ticks.get(id);
    if (at === undefined) return "is in no checkpoint";
    return tick === undefined || at.has(tick) ? undefined : `is in none as tick ${tick}`;
  }

  #seen(agentId: string): Seen {
    const known = this.#agents.get(agentId);
    if (known !== undefined) return known;
    const seen = { sent: new Map(), upTo: new Map(), ticks: new Map() };
    this.#agents.set(agentId, seen);
    return seen;
  }
}
