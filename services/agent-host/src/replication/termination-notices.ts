// Tells holders that an agent is gone for good, until each has heard it or the time for that is over. Who does not hear it
// here hears it from the registry as soon as it asks.

import type { Clock, Random } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import type { Logger } from "pino";
import type { ReplicaTarget } from "./ports.ts";
import { type Conversation, pushTermination } from "./push.ts";
import { Slots } from "./slots.ts";

export interface TerminationNoticesParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** `undefined` while the host does not live. */
  readonly addressOf: (hostId: string) => ReplicaTarget | undefined;
  readonly converse: (
    host: ReplicaTarget,
    signal: AbortSignal,
    work: (talk: Conversation) => Promise<void>,
  ) => Promise<void>;
}

export interface TerminationNoticesRules {
  readonly forMs: number;
  readonly firstMs: number;
  readonly longestMs: number;
}

export interface Notice {
  readonly agentId: string;
  readonly termination: SignedBytes;
}

const MAX_AT_ONCE = 4;

export class TerminationNotices {
  readonly #parts: TerminationNoticesParts;
  readonly #rules: TerminationNoticesRules;
  readonly #slots = new Slots(MAX_AT_ONCE);
  readonly #telling = new Set<Promise<void>>();
  #running: AbortController | undefined;

  constructor(parts: TerminationNoticesParts, rules: TerminationNoticesRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  start(): void {
    this.#running = new AbortController();
  }

  async stop(): Promise<void> {
    this.#running?.abort(new Fault({ code: "SHUTTING_DOWN" }));
    this.#running = undefined;
    await Promise.all(this.#telling);
  }

  tell(notice: Notice, hostIds: readonly string[]): void {
    const signal = this.#running?.signal;
    if (signal === undefined) return;
    for (const hostId of hostIds) {
      const telling = this.#tell(notice, hostId, signal).finally(() => this.#telling.delete(telling));
      this.#telling.add(telling);
    }
  }

  async #tell(notice: Notice, hostId: string, signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#parts;
    const { forMs, firstMs, longestMs } = this.#rules;
    const untilMs = clock.monotonicMs() + forMs;
    for (let attempt = 0; !signal.aborted && clock.monotonicMs() < untilMs; attempt++) {
      try {
        if (await this.#attempt(notice, hostId, signal)) return;
      } catch (err) {
        if (signal.aborted) return;
        logger.debug({ err, agentId: notice.agentId, hostId }, "termination not taken, told again");
      }
      const delayMs = Math.min(longestMs, firstMs * 2 ** Math.min(attempt, 30));
      await clock.sleep(delayMs * (0.5 + random() / 2), signal).catch(() => {});
    }
    if (!signal.aborted) logger.info({ agentId: notice.agentId, hostId }, "holder was not told of the termination");
  }

  async #attempt(notice: Notice, hostId: string, signal: AbortSignal): Promise<boolean> {
    return await this.#slots.run(signal, async () => {
      const host = this.#parts.addressOf(hostId);
      if (host === undefined) return false;
      await this.#parts.converse(host, signal, (talk) => pushTermination(notice, talk));
      return true;
    });
  }
}
