// The share of `pnpm faults` that every test run has time for. After each fault exactly one host ticks, its first tick is
// the last plus one or a marked rollback, nothing is staged, and the lineage verifies; the counts are printed.

import { SOURCE_CRASH_POINTS, TARGET_CRASH_POINTS } from "@godwit/agent-host/parts";
import { systemRandom } from "@godwit/common/clock";
import { afterAll, expect, test } from "vitest";
import { frameCases } from "./frames.ts";
import { partitionCases } from "./partition.ts";
import { registryPoints } from "./registry-crashes.ts";
import { runSuite, type Suite } from "./suites.ts";
import { Tally } from "./tally.ts";

/** For what hangs, not for what is slow. */
const timeoutMs = 900_000;
const offsets = 20;
const seed = Math.floor(systemRandom() * 2 ** 31);
const tally = new Tally();

afterAll(() => console.log(`faults of seed ${seed}\n${tally.lines().join("\n")}`));

async function faults(suite: Suite, signal: AbortSignal): Promise<void> {
  const seen = tally.failures.length;
  await runSuite(suite, { tally, seed, offsets, share: "bounded", signal, say: () => {} });
  expect(
    tally.failureLines(seen).join("\n"),
    `pnpm faults ${suite} --bounded --seed ${seed} --offsets ${offsets}`,
  ).toBe("");
}

test(
  "EI-1, EI-10, I8: a migration is cut, swallowed and delayed at every boundary of its frames",
  async ({ signal }) => {
    await faults("frames", signal);
    expect(tally.firedOf("frames")).toBe(frameCases().length);
  },
  timeoutMs,
);

test(
  "EI-1, EI-10, I8: it is cut at random bytes of its ciphertext, half-open and slow",
  async ({ signal }) => {
    await faults("bytes", signal);
    expect(tally.firedOf("bytes: cut")).toBe(offsets);
  },
  timeoutMs,
);

test(
  "FS-1, FS-2, GH-5: source, target and registry are killed with -9 at every point that a migration passes",
  async ({ signal }) => {
    await faults("crash", signal);
    const points = SOURCE_CRASH_POINTS.length + TARGET_CRASH_POINTS.length + registryPoints("bounded").length;
    expect(tally.firedOf("crash")).toBe(points);
  },
  timeoutMs,
);

test(
  "GH-3, SL-4: source, target and registry lose whom they ask in the middle of it",
  async ({ signal }) => {
    await faults("partition", signal);
    expect(tally.firedOf("partition")).toBe(partitionCases("bounded").length);
  },
  timeoutMs,
);
