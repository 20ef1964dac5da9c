// When a registry may close a session (SL-2).
//
// It must itself have seen, on its own monotonic clock and under one incarnation, the same generation for that session's
// duration + grace. A registry that has just started, was paused, or could not reach its store has to see that long anew:
// a look that comes later than `maxGapMs` after the one before starts every watch afresh.

import type { SessionId } from "./record.ts";

/** One open session as the store has it at the moment of a look. */
export interface SessionSighting extends SessionId {
  readonly generation: bigint;
  readonly durationMs: number;
  readonly graceMs: number;
}

interface Watch {
  readonly generation: bigint;
  readonly sinceMs: number;
}

/** What a registry remembers between two looks. */
export interface SilenceState {
  readonly incarnation: string;
  readonly lookedAtMs: number;
  readonly watches: ReadonlyMap<string, Watch>;
}

export interface Look {
  readonly incarnation: string;
  /** Before the store was asked, so that a slow answer never makes a silence longer than it was. */
  readonly askedAtMs: number;
  /** After the store answered: a watch starts here. */
  readonly answeredAtMs: number;
  readonly sessions: readonly SessionSighting[];
}

export interface Silence {
  readonly session: SessionId;
  /** The closing step compares it (SL-2). */
  readonly generation: bigint;
}

export function look(
  before: SilenceState | undefined,
  { incarnation, askedAtMs, answeredAtMs, sessions }: Look,
  { maxGapMs }: { readonly maxGapMs: number },
): { readonly state: SilenceState; readonly silent: readonly Silence[] } {
  const continues =
    before !== undefined && before.incarnation === incarnation && answeredAtMs - before.lookedAtMs <= maxGapMs;
  const watches = new Map<string, Watch>();
  const silent: Silence[] = [];
  for (const session of sessions) {
    const key = `${session.hostId}/${session.bootId}`;
    const known = continues ? before.watches.get(key) : undefined;
    if (known === undefined || known.generation !== session.generation) {
      watches.set(key, { generation: session.generation, sinceMs: answeredAtMs });
      continue;
    }
    watches.set(key, known);
    if (askedAtMs - known.sinceMs >= session.durationMs + session.graceMs) {
      silent.push({
        session: { hostId: session.hostId, bootId: session.bootId },
        generation: session.generation,
      });
    }
  }
  return { state: { incarnation, lookedAtMs: answeredAtMs, watches }, silent };
}
