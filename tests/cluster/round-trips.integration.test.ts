// Issue 5, acceptance 4: an agent that never comes to rest loses no tick and no microcent. `npm test` makes a few round
// trips; GODWIT_ROUND_TRIPS=100 makes as many as one wants.

import { expect, test } from "vitest";
import { ballastWasm, budget, clusterOf, doneOf, move, ticksOn, verifiedLineage } from "./stage.ts";

const roundTrips = Number(process.env["GODWIT_ROUND_TRIPS"] ?? 8);
/** Ticks follow each other closely, so that each move meets one, and checkpoints come between them. */
const env = {
  GODWIT_TICK_EVERY: "5ms",
  GODWIT_MORE_WORK_EVERY: "1ms",
  GODWIT_CHECKPOINT_EVERY: "50ms",
  GODWIT_HISTORY: "100000",
  GODWIT_REPLAY_MODE: "full",
  GODWIT_VERIFY_INTERVAL: "1",
};

test(`I4, I6: ${roundTrips} round trips A, B, C, A under fast ticks: ticks, receipts and budget add up to the microcent`, async () => {
  await using cluster = await clusterOf(
    { name: "a", price: 1_000n, env },
    { name: "b", price: 3_333n, env },
    { name: "c", price: 7_001n, env },
  );
  const [a, b, c] = [cluster.host("a"), cluster.host("b"), cluster.host("c")];
  const { agentId } = await cluster.runAgent(a, ballastWasm, { name: "traveller", budget });
  await ticksOn(cluster, a, agentId, { after: 2n });

  let moves = 0n;
  for (let trip = 0; trip < roundTrips; trip++) {
    for (const [from, to] of [
      [a, b],
      [b, c],
      [c, a],
    ] as const) {
      const done = doneOf(await move(from, agentId, { to }));
      moves++;
      expect({ host: done.targetHostId, major: done.major }).toEqual({ host: to.hostId, major: moves });
      // The next move meets an agent that ticks, not one that has just been put down.
      await ticksOn(cluster, to, agentId, { after: done.tick });
    }
  }

  await a.host.stopAgent({ agentId });
  const stopped = await a.agent(agentId);
  const lineage = await verifiedLineage(cluster, agentId);
  expect(lineage.owners).toHaveLength(Number(moves) + 1);
  // EI-10: no tick was left out or repeated between two owners.
  for (const [index, owner] of lineage.owners.entries()) {
    const before = lineage.owners[index - 1];
    if (before !== undefined) expect(owner.firstTick).toBe(before.lastTickSeen + 1n);
  }
  expect({ gaps: lineage.gaps, orphans: lineage.orphans }).toEqual({ gaps: 0, orphans: [] });
  expect(lineage.head?.tick).toBe(stopped?.tick);
  expect(stopped?.budget).toBe(budget - lineage.receipts.cost);
  const divergences = await Promise.all([a, b, c].map(async (host) => (await host.agent(agentId))?.divergences ?? 0));
  expect(divergences).toEqual([0, 0, 0]);
});
