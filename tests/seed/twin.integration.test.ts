// T-02: one data directory in two places.

import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { clusterOf, leaseMs, settlesOnOneOwner, startSurvivor, ticksOn } from "../cluster/stage.ts";
import { alone } from "./scene.ts";

test("T-02: the second waits for as long as the first lives, and takes over when it is dead", async () => {
  await using cluster = await clusterOf({ name: "a", env: alone });
  const a = cluster.host("a");
  const agentId = await startSurvivor(cluster, a, "copied");
  const copy = join(cluster.dir, "copy");
  await cp(a.dataDir, copy, { recursive: true });
  const quick = { GODWIT_TICK_EVERY: "100ms", GODWIT_CHECKPOINT_EVERY: "500ms", GODWIT_TICK_TIMEOUT: "1s" };
  const twin = await cluster.startHost({ name: "twin", env: { ...alone, ...quick, GODWIT_DATA: copy } });
  expect(twin.hostId).toBe(a.hostId);
  const before = await a.host.describeHost({});
  const met = await ticksOn(cluster, a, agentId);
  let owned = false;
  const until = performance.now() + leaseMs.duration + leaseMs.grace + 1_000;
  while (performance.now() < until) owned ||= (await twin.agent(agentId))?.state === "ACTIVE_OWNER";
  const after = await a.host.describeHost({});
  // A session that ended because the machine stood still ended for the first as well.
  if (after.bootId === before.bootId) {
    expect(owned).toBe(false);
    expect((await ticksOn(cluster, a, agentId, { after: met.tick + 5n })).major).toBe(met.major);
  }
  await a.kill();
  const { owner, status } = await settlesOnOneOwner(cluster, agentId, { minMajor: met.major + 1n });
  expect(owner).toBe(twin);
  expect(status.major).toBeGreaterThan(met.major);
  await twin.stop();
  await rm(copy, { recursive: true });
});
