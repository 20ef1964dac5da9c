import { expect, test } from "vitest";
import { defaultAgentDirectory } from "../src/agent-directory.ts";
import { runSeed } from "../src/run-seed.ts";
import { ignoreEndedProcesses } from "../src/unhandled.ts";

ignoreEndedProcesses();

const shape = { hosts: 3, registries: 2, agents: 3, tickEveryMs: 1_000 };
const agentDirectory = defaultAgentDirectory;

async function timelineOf(seed: number): Promise<{ readonly lines: readonly string[]; readonly migrations: number }> {
  const lines: string[] = [];
  const report = await runSeed({
    seed,
    agentDirectory,
    print: (line) => void lines.push(line),
    shape,
    lengthMs: 40_000,
  });
  expect(report.violations).toEqual([]);
  expect(report.bugs).toEqual([]);
  return { lines, migrations: report.migrations };
}

test("a seed is the same timeline every time, and another seed is another one", { timeout: 300_000 }, async () => {
  const first = await timelineOf(11);
  expect(first.migrations).toBeGreaterThan(0);
  expect(await timelineOf(11)).toEqual(first);
  expect((await timelineOf(12)).lines).not.toEqual(first.lines);
});

test("a cluster without faults loses nothing: no tick, no recovery, no migration that fails", {
  timeout: 300_000,
}, async () => {
  const report = await runSeed({ seed: 1, agentDirectory, shape, lengthMs: 60_000, calm: true });
  expect([report.violations, report.bugs, report.fired]).toEqual([[], [], {}]);
  expect(report.counts).toMatchObject({ discarded: 0, lostTicks: 0, recoveries: 0 });
  expect(report.counts.ticks).toBeGreaterThan(3 * 50);
});
