// Tells the registry what this host holds and does not run (§3, holders): all of it when a session opens, and each change
// after that, in batches. Only announced checkpoints are offered when an owner dies (§8).

import type { Clock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import type { Logger } from "pino";
import type { Authority, SessionView } from "../registry/ports.ts";
import { causeFields } from "./cause-fields.ts";
import { Exclusive } from "./exclusive.ts";

export interface AnnouncementsParts {
  readonly authority: Authority;
  readonly session: SessionView;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Newest header of the agent that is held here and not run, if there is one. */
  readonly held: (agentId: string) => Promise<SignedBytes | undefined>;
}

const collectMs = 200;
const retryMs = 1_000;
const maxAnnounced = 500;

export class Announcements {
  readonly #parts: AnnouncementsParts;
  readonly #changed = new Set<string>();
  /** One announcement at a time, so that who waits for the last one has waited for all. */
  readonly #turns = new Exclusive();
  #running = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: AnnouncementsParts) {
    this.#parts = parts;
  }

  /** What is held of the agent changed: a newer checkpoint, none any more, or it runs here now. */
  changed(agentId: string): void {
    this.#changed.add(agentId);
  }

  /** Announces what is waiting to be; false when the registry does not answer. */
  async caughtUp(): Promise<boolean> {
    do {
      if (this.#parts.session.current === undefined || !(await this.#flush())) return false;
    } while (this.#changed.size > 0);
    return true;
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
    while (!signal.aborted) {
      const done = await this.#flush();
      await this.#parts.clock.sleep(done ? collectMs : retryMs, signal).catch(() => {});
    }
  }

  #flush(): Promise<boolean> {
    return this.#turns.run(() => this.#announce());
  }

  async #announce(): Promise<boolean> {
    const session = this.#parts.session.current;
    if (session === undefined || this.#changed.size === 0) return true;
    const batch = [...this.#changed].slice(0, maxAnnounced);
    for (const agentId of batch) this.#changed.delete(agentId);
    try {
      const held: SignedBytes[] = [];
      const withdrawn: string[] = [];
      for (const agentId of batch) {
        const header = await this.#held(agentId);
        if (header === undefined) withdrawn.push(agentId);
        else held.push(header);
      }
      await this.#parts.authority.announce(session, {
        held,
        withdrawn,
        markSeen: this.#parts.session.newestMark,
      });
      return true;
    } catch (cause) {
      for (const agentId of batch) this.#changed.add(agentId);
      this.#parts.logger.debug(causeFields(cause), "announcement not answered, sent again");
      return false;
    }
  }

  /** What the disk cannot give back is no checkpoint for anybody, and must not keep what else is held from being announced. */
  async #held(agentId: string): Promise<SignedBytes | undefined> {
    try {
      return await this.#parts.held(agentId);
    } catch (cause) {
      if (!isFault(cause, "DATA_CORRUPT")) throw cause;
      this.#parts.logger.error({ agentId, ...causeFields(cause) }, "what is held of it cannot be read: not announced");
      return undefined;
    }
  }
}
