// Closes sessions that have fallen silent (SL-2), and notices those that others have closed.
//
// SL-2  Silence is what this process has seen itself, look by look, on its monotonic clock (`look` in common/lease). The step
//       that closes compares the generation with the one that was seen, so a renewal that comes in between saves the session.
//       With a new incarnation every watch begins anew. Sessions that it does not know have ended only when quarantine is over.

import type { Clock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { look, type SessionId, type SessionSighting, type SilenceState } from "@godwit/common/lease";
import type { Logger } from "pino";
import type { Mark } from "../mark/mark.ts";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import type { RegistryMetrics } from "../metrics.ts";
import type { SessionStore } from "../store/registry-store.ts";

export interface SessionWatchParts {
  readonly store: SessionStore;
  readonly keeper: MarkKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RegistryMetrics;
  /** Told once of each session that was open at one look and is closed now, whoever closed it. */
  readonly onClosed: (session: SessionId) => void;
}

export interface SessionWatchRules {
  readonly lookEveryMs: number;
}

/** Looks that come further apart than this many times the interval start every watch anew. */
const LOOKS_IN_GAP = 4;

export class SessionWatch {
  readonly #parts: SessionWatchParts;
  readonly #rules: SessionWatchRules;
  #silence: SilenceState | undefined;
  #open: ReadonlyMap<string, SessionId> = new Map();

  constructor(parts: SessionWatchParts, rules: SessionWatchRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  /** Whether the session was open at the last look, or, in quarantine, may come back. */
  isOpen(session: SessionId): boolean {
    return this.#open.has(nameOf(session));
  }

  /** Looks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#parts;
    while (!signal.aborted) {
      try {
        await this.lookOnce();
      } catch (error) {
        // While the store cannot be reached nobody is closed, and afterwards the watch begins anew.
        if (isFault(error)) logger.debug({ reason: error.message }, "the sessions could not be looked at");
        else logger.error({ err: error }, "the sessions could not be looked at");
      }
      await clock.sleep(this.#rules.lookEveryMs, signal).catch(() => {});
    }
  }

  /** One look, and the closing of whoever has been silent for too long. */
  async lookOnce(): Promise<void> {
    const { store, keeper, clock, logger, metrics } = this.#parts;
    await keeper.watching(async ({ mark }) => {
      const askedAtMs = clock.monotonicMs();
      const sessions = await store.readOpenSessions(mark.bytes);
      const answeredAtMs = clock.monotonicMs();
      const { state, silent } = look(
        this.#silence,
        { incarnation: mark.incarnation, askedAtMs, answeredAtMs, sessions },
        { maxGapMs: LOOKS_IN_GAP * this.#rules.lookEveryMs },
      );
      this.#silence = state;
      this.#notice(mark, sessions);
      metrics.openSessions.set(sessions.length);

      for (const { session, generation } of silent) {
        const outcome = await store.closeSession(mark.bytes, { session, generation, caller: undefined });
        if (outcome !== "closed") continue;
        metrics.sessionsClosed.inc({ because: "silent" });
        logger.warn({ ...session, generation: String(generation) }, "session closed: silent for duration + grace");
      }
      if (silent.length === 0) return sessions;
      const left = await store.readOpenSessions(mark.bytes);
      this.#notice(mark, left);
      return left;
    });
  }

  #notice({ quarantine }: Mark, sessions: readonly SessionSighting[]): void {
    const before = this.#open;
    const now = sessions.map(({ hostId, bootId }) => [`${hostId}/${bootId}`, { hostId, bootId }] as const);
    if (quarantine) {
      this.#open = new Map([...before, ...now]); // who was open before may still come back
      return;
    }
    this.#open = new Map(now);
    for (const [name, session] of before) if (!this.#open.has(name)) this.#parts.onClosed(session);
  }
}

function nameOf({ hostId, bootId }: SessionId): string {
  return `${hostId}/${bootId}`;
}
