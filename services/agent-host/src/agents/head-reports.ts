// Tells the registry the newest checkpoint of each agent that this host runs, many in one call. Only the newest of an agent
// matters; one whose answer was lost is sent again unless a newer one came.

import type { Clock, Entropy } from "@godwit/common/clock";
import type { Term } from "@godwit/common/lease";
import { type Checkpoint, refOf } from "@godwit/lineage";
import type { Logger } from "pino";
import type { Answer, Authority, SessionView } from "../registry/ports.ts";
import { isOfTheStore } from "./store-trouble.ts";

export interface HeadReportsParts {
  readonly authority: Pick<Authority, "reportHeads">;
  readonly session: Pick<SessionView, "current">;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly onAnswer: (agentId: string, term: Term, answer: Answer) => void;
}

/** Before the next call. */
const waitMs = { done: 100, more: 0, again: 1_000 } as const;
/** A call with more of them holds up the event loop for longer than a tick should wait. */
const maxReports = 250;

export class HeadReports {
  readonly #parts: HeadReportsParts;
  readonly #waiting = new Map<string, Checkpoint>();
  #running = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #flushing: Promise<keyof typeof waitMs> = Promise.resolve("done");

  constructor(parts: HeadReportsParts) {
    this.#parts = parts;
  }

  committed(agentId: string, checkpoint: Checkpoint): void {
    this.#waiting.set(agentId, checkpoint);
  }

  /** Sends what is known of this agent at once. Resolves when it was sent, whatever became of it. */
  async reported(agentId: string): Promise<void> {
    const checkpoint = this.#waiting.get(agentId);
    if (checkpoint !== undefined) this.#flushing = this.#flush([agentId, checkpoint]);
    await this.#flushing;
  }

  async start(): Promise<void> {
    this.#running = new AbortController();
    this.#loop = this.#run(this.#running.signal);
  }

  async stop(): Promise<void> {
    this.#running.abort();
    await this.#loop;
    let came: keyof typeof waitMs = "more";
    while (came === "more") came = await this.#flush(); // what was committed last is what another host would recover from
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#flushing = this.#flush();
      const came = await this.#flushing;
      await this.#parts.clock.sleep(waitMs[came], signal).catch(() => {});
    }
  }

  /** One call, in which `first` is: `again` when something of it has to be sent once more, `more` when it went well and not all has been sent. */
  async #flush(first?: readonly [string, Checkpoint]): Promise<keyof typeof waitMs> {
    const session = this.#parts.session.current;
    if (session === undefined || this.#waiting.size === 0) return "done";
    const others = [...this.#waiting].filter(([agentId]) => agentId !== first?.[0]);
    const batch = [...(first === undefined ? [] : [first]), ...others].slice(0, maxReports);
    for (const [agentId] of batch) this.#waiting.delete(agentId);
    const answers = await this.#parts.authority.reportHeads(
      session,
      batch.map(([agentId, checkpoint]) => {
        const { era, major } = ownTerm(checkpoint);
        return {
          commandId: this.#parts.entropy.uuid(),
          agentId,
          era,
          major,
          ref: refOf(checkpoint),
          head: checkpoint.signed,
        };
      }),
    );
    let done = true;
    batch.forEach(([agentId, checkpoint], index) => {
      const answer = answers[index];
      const again = answer?.kind === "refused" && isOfTheStore(answer.code);
      if (answer === undefined || answer.kind === "unknown" || again) {
        if (!this.#waiting.has(agentId)) this.#waiting.set(agentId, checkpoint);
        done = false;
      }
      if (answer !== undefined && answer.kind !== "unknown") this.#parts.onAnswer(agentId, ownTerm(checkpoint), answer);
    });
    return !done ? "again" : batch.length === maxReports ? "more" : "done";
  }
}

/** A checkpoint that is reported as a head was written under the reporter's own major. */
function ownTerm({ header }: Checkpoint): Term {
  return { era: header.era, major: header.major };
}
