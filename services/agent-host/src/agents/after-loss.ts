// What this host holds and does not run, after the registry's store has forgotten (GA-5, GA-9).
//
// 1. When a quarantine is over, and at each start on a store that ever forgot, the registry is asked about every agent that is
//    held and not run. Where a record was lost nobody would be offered the agent: a holder recovers it unasked.
// 2. What a record, or without one this host's own tombstone, shows as stopped, failed or unfunded waits to be asked.
// 3. Owners look first: theirs is as a rule the newest checkpoint.
// 4. An agent of which the disk gives nothing readable keeps none of the others waiting.

import type { Clock, Random } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { isToBeTakenUp, type RetiredReason } from "@godwit/common/lease";
import type { Logger } from "pino";
import type { Authority, HeldSession } from "../registry/ports.ts";
import type { DataDirectory, JournalEntry } from "../storage/index.ts";
import { causeFields } from "./cause-fields.ts";
import { judgeLostAgent } from "./lost-agent.ts";
import type { HostSession } from "./supervisor-parts.ts";

export interface AfterLossParts {
  readonly authority: Pick<Authority, "read">;
  readonly session: HostSession;
  readonly storage: DataDirectory;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly runsHere: (agentId: string) => boolean;
  /** Puts the agent under a supervisor, which recovers it, or finds out who was quicker. */
  readonly recover: (agentId: string) => void;
}

const lookEveryMs = 500;
/** What owners are ahead of those that only hold something. */
const behindOwnersMs = 1_000;

export class AfterLoss {
  readonly #parts: AfterLossParts;
  /** The incarnation under which everything was looked at. */
  #done: string | undefined;
  #running = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: AfterLossParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    this.#running = new AbortController();
    this.#loop = this.#run(this.#running.signal);
  }

  async stop(): Promise<void> {
    this.#running.abort();
    await this.#loop;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#parts;
    while (!signal.aborted) {
      const session = this.#due();
      await clock.sleep(session === undefined ? lookEveryMs : behindOwnersMs * (1 + random()), signal).catch(() => {});
      if (signal.aborted || session === undefined) continue;
      try {
        if (await this.#look(session, signal)) this.#done = session.incarnation;
      } catch (cause) {
        logger.warn(causeFields(cause), "what is held was not all looked at after the loss of the store: again");
      }
    }
  }

  /** The session under which there is something to look at. */
  #due(): HeldSession | undefined {
    const { current, quarantine } = this.#parts.session;
    if (current === undefined || quarantine !== undefined) return undefined;
    if (current.counter === 0n || current.incarnation === this.#done) return undefined; // a store that never forgot
    return current;
  }

  /** Whether everything was looked at. */
  async #look(session: HeldSession, signal: AbortSignal): Promise<boolean> {
    const { storage, authority, session: keeper, runsHere, recover, logger } = this.#parts;
    for (const { agentId, journal } of storage.agents()) {
      if (signal.aborted || keeper.current !== session) return false;
      if ((journal.phase !== "replica" && journal.phase !== "retired") || runsHere(agentId)) continue;
      const reading = await authority.read(agentId);
      if (reading.kind === "unreachable") return false;
      const record = reading.kind === "record" ? reading.record : undefined;
      if (record?.incarnation === session.incarnation) continue;
      const isRetired = record === undefined ? journal.phase === "retired" : record.state === "RETIRED";
      if (isRetired && waitsToBeAsked(record === undefined ? whyOf(journal) : record.reason)) continue;
      const verdict = await judgeLostAgent(storage, session, { agentId, journal, reading }).catch((cause: unknown) => {
        if (!isFault(cause, "DATA_CORRUPT")) throw cause;
        logger.error({ agentId, ...causeFields(cause) }, "what is held of it cannot be read: not recovered here");
      });
      if (verdict?.kind !== "recover" || runsHere(agentId)) continue;
      logger.info({ agentId }, "the registry's store forgot it: recovering it from what is held here");
      recover(agentId);
    }
    return true;
  }
}

function waitsToBeAsked(why: string | undefined): boolean {
  const reasons: readonly RetiredReason[] = ["drained", "cannot-run", "forced", "stopped", "failed", "unfunded"];
  const reason = reasons.find((known) => known === why);
  return reason !== undefined && !isToBeTakenUp(reason);
}

function whyOf(journal: JournalEntry): string | undefined {
  return journal.phase === "retired" ? journal.why : undefined;
}
