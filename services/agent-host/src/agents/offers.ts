// Listens for agents that this host may take up: their owner's session is void, or they were released to be taken up (§8).

import type { Clock, Random } from "@godwit/common/clock";
import type { AuthorityRecord } from "@godwit/common/lease";
import type { Logger } from "pino";
import type { Authority, HeldSession } from "../registry/ports.ts";
import { causeFields } from "./cause-fields.ts";
import type { HostSession } from "./supervisor-parts.ts";

export interface OffersParts {
  readonly authority: Authority;
  readonly session: Pick<HostSession, "current" | "on">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onOffer: (record: AuthorityRecord) => void;
}

const retryMs = 1_000;

export class Offers {
  readonly #parts: OffersParts;
  #running = new AbortController();
  #listening = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: OffersParts) {
    this.#parts = parts;
    // A stream of the incarnation before would go on, and what it brings would not be heard.
    parts.session.on("brought-over", () => this.#listening.abort());
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
    const { clock, random } = this.#parts;
    while (!signal.aborted) {
      const session = this.#parts.session.current;
      if (session !== undefined) await this.#listen(session, signal);
      await clock.sleep(retryMs * (0.5 + random()), signal).catch(() => {});
    }
  }

  async #listen(session: HeldSession, signal: AbortSignal): Promise<void> {
    this.#listening = new AbortController();
    const either = AbortSignal.any([signal, this.#listening.signal]);
    try {
      for await (const record of this.#parts.authority.offers(session, either)) {
        if (this.#parts.session.current !== session) return; // another session listens anew
        this.#parts.onOffer(record);
      }
    } catch (cause) {
      if (!signal.aborted) this.#parts.logger.debug(causeFields(cause), "offers interrupted, listening again");
    }
  }
}
