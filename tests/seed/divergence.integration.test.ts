// T-49: what comes out differently when it is run again leads somewhere.

import { at, counterAgent, noMoreWork, op } from "@godwit/sandbox/testing";
import { expect, test } from "vitest";
import { clusterWith, logOf, settlesOnOneOwner, ticksOn } from "../cluster/stage.ts";
import { calmLease, runModule } from "./scene.ts";

/** In no checkpoint: who takes the agent up from one does not have it. */
const hidden = 2_048;
const plusOne = (address: number) => op.store64(address, [...op.load64(address), ...op.const64(1), ...op.add64]);
const plusHidden = op.store64(at.count, [...op.load64(at.count), ...op.load64(hidden), ...op.add64]);
const isThirty = [...op.load64(at.count), ...op.const64(30), ...op.equal64];

/** Counts its ticks, and once adds what only its memory knows. */
const forgetful = counterAgent({
  parts: {
    agent_tick: { code: [...plusOne(at.count), ...plusOne(hidden), ...isThirty, ...op.if(plusHidden), ...noMoreWork] },
  },
});

test("T-49: a divergence on a host leads to the agent ticking on the cheapest other one that fits", async () => {
  const env = {
    GODWIT_TICK_EVERY: "50ms",
    GODWIT_CHECKPOINT_EVERY: "200ms",
    GODWIT_VERIFY_INTERVAL: "1",
    GODWIT_REPLAY_ON_DIVERGENCE: "migrate",
  };
  await using cluster = await clusterWith(
    calmLease,
    { name: "a", price: 1_000n, env },
    { name: "dear", price: 9_000n, env },
    { name: "cheap", price: 2_000n, env },
    { name: "unfit", price: 1n, capabilities: ["log"], env },
  );
  const [a, cheap] = [cluster.host("a"), cluster.host("cheap")];
  const agentId = await runModule(cluster, a, forgetful, "forgetful", { clock: { version: 1 } });
  const arrived = await ticksOn(cluster, cheap, agentId);
  expect(arrived.tick).toBeGreaterThan(29n);
  const remarks = (await logOf(a, agentId)).filter(({ line }) => line.includes("came out differently"));
  expect(remarks).toMatchObject([{ origin: "host" }]);
  expect(remarks[0]?.line).toContain("(policy migrate)");
  const { owner, lineage } = await settlesOnOneOwner(cluster, agentId);
  expect(owner).toBe(cheap);
  expect(lineage.owners).toHaveLength(2);
});
