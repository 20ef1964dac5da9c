// Issue 4, acceptance 3: the share of `pnpm faults store` that every test run has time for; its figures are printed.

import { systemRandom } from "@godwit/common/clock";
import { afterAll, expect, test } from "vitest";
import { storeRounds } from "./store-losses.ts";
import { runSuite } from "./suites.ts";
import { Tally } from "./tally.ts";
import { type Sighting, TickWatch } from "./tick-watch.ts";

/** For what hangs, not for what is slow. */
const timeoutMs = 900_000;
const seed = Math.floor(systemRandom() * 2 ** 31);
const tally = new Tally();

afterAll(() => console.log(`losses of the store, seed ${seed}\n${tally.lines().join("\n")}`));

test(
  "GA-6 to GA-9: a store that forgets under load: one incarnation, one end of quarantine, no double tick, everybody ticks again in time",
  async ({ signal }) => {
    await runSuite("store", { tally, seed, offsets: 0, share: "bounded", signal, say: () => {} });
    expect(tally.failureLines().join("\n"), `pnpm faults store --bounded --seed ${seed}`).toBe("");
    expect(tally.firedOf("store")).toBe(storeRounds("bounded").length);
  },
  timeoutMs,
);

/** Host, major, tick, and when it was asked; the answer came 10 ms later. */
type Seen = readonly [hostId: string, major: bigint, tick: bigint, askedAtMs: number];

function watchOf(...all: readonly Seen[]): TickWatch {
  const watch = new TickWatch();
  for (const [hostId, major, tick, askedAtMs] of all) {
    const sighting: Sighting = { agentId: "x", hostId, era: 0n, major, tick, askedAtMs, answeredAtMs: askedAtMs + 10 };
    watch.see(sighting);
  }
  return watch;
}

test.for<[string, readonly Seen[], RegExp | undefined]>([
  [
    "who ticks on after another had a higher major",
    [
      ["a", 0n, 5n, 0],
      ["b", 1n, 6n, 100],
      ["a", 0n, 6n, 200],
      ["a", 0n, 7n, 300],
    ],
    /ticks on a after b had it/,
  ],
  [
    "two hosts of one major",
    [
      ["a", 0n, 5n, 0],
      ["b", 0n, 5n, 100],
    ],
    /ticks on a and on b/,
  ],
  [
    "a tick that is taken back",
    [
      ["a", 0n, 5n, 0],
      ["a", 0n, 4n, 100],
    ],
    /tick 4 after tick 5/,
  ],
  [
    "no offence: it ticked once more before it was asked again",
    [
      ["a", 0n, 5n, 0],
      ["b", 1n, 6n, 100],
      ["a", 0n, 6n, 200],
      ["b", 1n, 7n, 300],
    ],
    undefined,
  ],
])("EI-1 as it is watched: %s", ([, seen, offence]) => {
  const { offences } = watchOf(...seen);
  if (offence === undefined) expect(offences).toEqual([]);
  else expect(offences.join("\n")).toMatch(offence);
});

test("a standstill counts from the last tick before the moment", () => {
  const watch = watchOf(
    ["a", 0n, 1n, 0],
    ["a", 0n, 2n, 100],
    ["a", 0n, 3n, 200],
    ["a", 0n, 3n, 900],
    ["a", 0n, 4n, 1_000],
  );
  expect(watch.longestStandstill("x", 500)).toEqual({ fromMs: 210, toMs: 1_010 });
  expect(watch.tickedAfter("x", 1_000)).toBe(true);
  expect(watch.longestStandstill("x", 1_010)).toBeUndefined();
});
