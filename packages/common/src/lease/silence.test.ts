import { describe, expect, test } from "vitest";
import { type Look, look, type SessionSighting, type SilenceState } from "./silence.ts";

const durationMs = 10_000;
const graceMs = 2_000;
const enoughMs = durationMs + graceMs;
const rules = { maxGapMs: 1_000 };
const everyMs = 500;

const session = (hostId: string, generation: bigint): SessionSighting => ({
  hostId,
  bootId: "boot",
  generation,
  durationMs,
  graceMs,
});

/** A registry that looks as told; remembers which sessions were silent at its latest look. */
function watcher(incarnation = "inc") {
  let state: SilenceState | undefined;
  let now = incarnation;
  const at = (ms: number, sessions: readonly SessionSighting[], changes: Partial<Look> = {}): readonly string[] => {
    const seen = look(state, { incarnation: now, askedAtMs: ms, answeredAtMs: ms, sessions, ...changes }, rules);
    state = seen.state;
    return seen.silent.map((silence) => `${silence.session.hostId}@${silence.generation}`);
  };
  return {
    at,
    /** Every 500 ms, the first and the last moment included. */
    between: (from: number, to: number, sessionsAt: (ms: number) => readonly SessionSighting[]): readonly string[] => {
      const silent = new Set<string>();
      for (let ms = from; ms <= to; ms += everyMs) for (const one of at(ms, sessionsAt(ms))) silent.add(one);
      return [...silent];
    },
    becomes: (other: string) => {
      now = other;
    },
  };
}

const mute = () => [session("a", 4n)];

describe("a registry closes a session", () => {
  test("SL-2: when it has itself seen one generation for duration and grace, not a moment before", () => {
    const registry = watcher();
    expect(registry.between(0, enoughMs - everyMs, mute)).toEqual([]);
    expect(registry.at(enoughMs - 1, mute())).toEqual([]);
    expect(registry.at(enoughMs, mute())).toEqual(["a@4"]);
  });

  test("SL-2: naming the generation that it saw, for the step that closes to compare", () => {
    const registry = watcher();
    registry.between(0, enoughMs - everyMs, mute);
    const later = [session("a", 4n), session("b", 9n)];
    expect(registry.at(enoughMs, later)).toEqual(["a@4"]);
    expect(registry.at(enoughMs + everyMs, later)).toEqual(["a@4"]); // still open: it is named again
  });

  test("SL-2: by that session's own duration and grace", () => {
    const registry = watcher();
    const patient = { ...session("b", 1n), durationMs: 30_000, graceMs: 5_000 };
    expect(registry.between(0, 34_500, () => [session("a", 4n), patient])).toEqual(["a@4"]);
    expect(registry.at(35_000, [patient])).toEqual(["b@1"]);
  });

  test("SL-2: telling one host's boots apart", () => {
    const registry = watcher();
    const next = { ...session("a", 0n), bootId: "next boot" };
    registry.between(0, 6_000, mute);
    expect(registry.between(6_500, enoughMs - everyMs, () => [session("a", 4n), next])).toEqual([]);
    expect(registry.at(enoughMs, [session("a", 4n), next])).toEqual(["a@4"]);
  });
});

describe("a registry starts counting anew", () => {
  test("SL-2: when it has just started, whatever the store says of how old the generation is", () => {
    const registry = watcher();
    expect(registry.at(50_000_000, mute())).toEqual([]);
    expect(registry.between(50_000_500, 50_000_000 + enoughMs - everyMs, mute)).toEqual([]);
    expect(registry.at(50_000_000 + enoughMs, mute())).toEqual(["a@4"]);
  });

  test("SL-2: when the generation moved, even at the last moment", () => {
    const registry = watcher();
    const renewedLate = (ms: number) => [session("a", ms < 11_500 ? 4n : 5n)];
    expect(registry.between(0, 11_500 + enoughMs - everyMs, renewedLate)).toEqual([]);
    expect(registry.at(11_500 + enoughMs, [session("a", 5n)])).toEqual(["a@5"]);
  });

  test("SL-2: when the generation fell, since then the store forgot", () => {
    const registry = watcher();
    registry.between(0, enoughMs - everyMs, mute);
    expect(registry.at(enoughMs, [session("a", 3n)])).toEqual([]);
  });

  test("SL-2: when it was paused: a look that comes too late sees nobody silent, and every watch starts there", () => {
    const registry = watcher();
    registry.between(0, 6_000, mute);
    expect(registry.at(60_000, mute())).toEqual([]);
    expect(registry.between(60_500, 60_000 + enoughMs - everyMs, mute)).toEqual([]);
    expect(registry.at(60_000 + enoughMs, mute())).toEqual(["a@4"]);
  });

  test("SL-2: when the gap is above the bound, and not when it just fits", () => {
    const fits = watcher();
    fits.between(0, 11_000, mute);
    expect(fits.at(11_000 + rules.maxGapMs, mute())).toEqual(["a@4"]);
    const tooLate = watcher();
    tooLate.between(0, 11_000, mute);
    expect(tooLate.at(11_000 + rules.maxGapMs + 1, mute())).toEqual([]);
  });

  test("SL-2: when it could not reach its store: a slow answer ends the watch as a pause does", () => {
    const registry = watcher();
    registry.between(0, 11_500, mute);
    expect(registry.at(enoughMs, mute(), { answeredAtMs: 30_000 })).toEqual([]);
    expect(registry.at(30_500, mute())).toEqual([]);
  });

  test("SL-2: when the incarnation is another", () => {
    const registry = watcher();
    registry.between(0, enoughMs - everyMs, mute);
    registry.becomes("after the loss");
    expect(registry.at(enoughMs, mute())).toEqual([]);
    expect(registry.between(enoughMs + everyMs, 2 * enoughMs - everyMs, mute)).toEqual([]);
    expect(registry.at(2 * enoughMs, mute())).toEqual(["a@4"]);
  });

  test("SL-2: for a session that was away for a look", () => {
    const registry = watcher();
    registry.between(0, 11_000, mute);
    registry.at(11_500, []);
    expect(registry.at(enoughMs, mute())).toEqual([]);
  });

  test("SL-2: for everybody, so that the silence of everybody is not the death of everybody", () => {
    const registry = watcher();
    const hosts = (generation: bigint) => Array.from({ length: 50 }, (_, i) => session(`host-${i}`, generation));
    registry.between(0, 11_000, () => hosts(7n));
    // The store was away for a minute; nobody could renew, and the first looks after it find all as they were.
    expect(registry.between(71_000, 80_000, () => hosts(7n))).toEqual([]);
    expect(registry.between(80_500, 91_500, () => hosts(8n))).toEqual([]);
  });
});

describe("how long a silence was", () => {
  test("SL-2: counts from the answer of the first look to the question of the last, never longer than it was", () => {
    const registry = watcher();
    registry.at(0, mute(), { answeredAtMs: 400 });
    registry.between(500, enoughMs - everyMs, mute);
    expect(registry.at(enoughMs - 100, mute(), { answeredAtMs: enoughMs + 399 })).toEqual([]);
    expect(registry.at(enoughMs + 399, mute(), { answeredAtMs: enoughMs + 450 })).toEqual([]);
    expect(registry.at(enoughMs + 450, mute())).toEqual(["a@4"]);
  });
});
