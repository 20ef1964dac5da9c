// Who was seen to tick, and when: what hosts say of themselves, asked over and over by one process with one clock.
//
// Checkpoints tell of a second owner only when he has lived long enough to write one. Here it shows when a host counts on
// under a major after another one was seen under a higher one: whoever has signed an agent away, or lost it, is not to tick
// once more (EI-1).

import { compareTerms, formatTerm, type Term } from "@godwit/common/lease";

/** A host says that it owns the agent, and how far it has come. */
export interface Sighting {
  readonly agentId: string;
  readonly hostId: string;
  readonly era: bigint;
  readonly major: bigint;
  readonly tick: bigint;
  /** What it says was true at some moment between these two, on the clock of the one who asked. */
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
}

/** From the last tick that was seen before to the first one after it. */
export interface Standstill {
  readonly fromMs: number;
  readonly toMs: number;
}

interface SeenTerm {
  readonly term: Term;
  readonly hostId: string;
  /** It was held at the latest then. */
  readonly sinceMs: number;
  tick: bigint;
  /** It had not come further than `tick` at the earliest then. */
  atMs: number;
}

interface SeenAgent {
  readonly terms: Map<string, SeenTerm>;
  readonly tickedAtMs: number[];
}

export class TickWatch {
  readonly #agents = new Map<string, SeenAgent>();
  readonly #offences = new Set<string>();

  /** Every offence in words. */
  get offences(): readonly string[] {
    return [...this.#offences];
  }

  see({ agentId, hostId, era, major, tick, askedAtMs, answeredAtMs }: Sighting): void {
    const agent = this.#agents.get(agentId) ?? { terms: new Map<string, SeenTerm>(), tickedAtMs: [] };
    this.#agents.set(agentId, agent);
    const term = { era, major };
    const key = formatTerm(term);
    const seen = agent.terms.get(key);
    if (seen === undefined) {
      agent.terms.set(key, { term, hostId, sinceMs: answeredAtMs, tick, atMs: askedAtMs });
      return;
    }
    const what = `agent ${agentId}, era ${era}, major ${major}`;
    if (seen.hostId !== hostId) this.#offences.add(`${what}: ticks on ${seen.hostId} and on ${hostId}`);
    if (tick < seen.tick) this.#offences.add(`${what}: tick ${tick} after tick ${seen.tick}`);
    if (tick > seen.tick) {
      agent.tickedAtMs.push(answeredAtMs);
      const later = [...agent.terms.values()].find(
        (other) => compareTerms(other.term, term) > 0 && other.sinceMs <= seen.atMs,
      );
      if (later !== undefined) {
        // Once for all its ticks: without their numbers it is the same text.
        this.#offences.add(`${what}: ticks on ${hostId} after ${later.hostId} had it as ${formatTerm(later.term)}`);
      }
    }
    seen.tick = tick;
    seen.atMs = askedAtMs;
  }

  /** The host of the highest major that was seen. */
  ownerOf(agentId: string): string | undefined {
    const terms = [...(this.#agents.get(agentId)?.terms.values() ?? [])];
    return terms.reduce<SeenTerm | undefined>(
      (highest, seen) => (highest === undefined || compareTerms(seen.term, highest.term) > 0 ? seen : highest),
      undefined,
    )?.hostId;
  }

  /** A tick was seen after this moment. */
  tickedAfter(agentId: string, momentMs: number): boolean {
    return (this.#agents.get(agentId)?.tickedAtMs.at(-1) ?? Number.NEGATIVE_INFINITY) > momentMs;
  }

  /** The longest one that ended after this moment; undefined when it has not ticked since. */
  longestStandstill(agentId: string, sinceMs: number): Standstill | undefined {
    const ticks = this.#agents.get(agentId)?.tickedAtMs ?? [];
    let longest: Standstill | undefined;
    for (const [index, toMs] of ticks.entries()) {
      const fromMs = ticks[index - 1] ?? sinceMs;
      if (toMs <= sinceMs) continue;
      if (longest === undefined || toMs - fromMs > longest.toMs - longest.fromMs) longest = { fromMs, toMs };
    }
    return longest;
  }
}
