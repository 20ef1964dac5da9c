// A store that forgets under hosts that tick: who is there brings its agents back, who was away is followed (GA-7, GA-8, GA-9).

import { fromBinary } from "@bufbuild/protobuf";
import { MarkSchema } from "@godwit/proto/godwit/registry/v1/session";
import { Cluster, type RedisServer, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { hostEnv, leaseMs, registryEnv, settlesOnOneOwner, startSurvivor } from "./stage.ts";

async function clusterOn(redis: RedisServer | undefined, ...names: readonly string[]): Promise<Cluster> {
  const cluster = await Cluster.create(redis === undefined ? {} : { redisUrl: redis.url });
  try {
    await cluster.startRegistry({ env: registryEnv(leaseMs) });
    await Promise.all(names.map((name) => cluster.startHost({ name, env: hostEnv })));
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

async function flush({ url }: RedisServer): Promise<void> {
  const client = new Redis(url);
  await client.flushall();
  client.disconnect();
}

/** The registry has noticed, and the quarantine is over. */
async function forgotAndRecovered(cluster: Cluster): Promise<void> {
  let sawQuarantine = false;
  await cluster.waitFor(
    async () => {
      const { mark } = await cluster.registry.sessions.describeRegistry({});
      if (mark === undefined) return undefined;
      const { counter, quarantine } = fromBinary(MarkSchema, mark.payload);
      sawQuarantine ||= quarantine;
      return counter > 0n && !quarantine;
    },
    { what: "the quarantine is over", timeoutMs: 90_000 },
  );
  expect(sawQuarantine).toBe(true);
}

test("FLUSHALL while three hosts tick: every agent goes on where it was, under the same major; GA-9 for whose host was down", async () => {
  await using redis = await startRedis({ aof: true });
  await using cluster = await clusterOn(redis, "a", "b", "c");
  const [a, b, c] = [cluster.host("a"), cluster.host("b"), cluster.host("c")];
  const agents = await Promise.all([a, b, c].map((host) => startSurvivor(cluster, host, `of-${host.name}`)));
  const [ofA = "", ofB = "", ofC = ""] = agents;
  const boots = await Promise.all([a, b].map(async ({ host }) => (await host.describeHost({})).bootId));
  await cluster.waitFor(
    async (signal) =>
      (await Promise.all([a, b].map((host) => host.agent(ofC, signal)))).some((held) => held !== undefined),
    { what: "somebody holds a replica of c's agent" },
  );

  await c.kill();
  await flush(redis);
  await forgotAndRecovered(cluster);

  for (const [host, agentId] of [
    [a, ofA],
    [b, ofB],
  ] as const) {
    const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect(owner.name).toBe(host.name);
    expect({ era: status.era, major: status.major }).toEqual({ era: 0n, major: 0n });
    expect(lineage.orphans).toEqual([]);
  }
  expect(await Promise.all([a, b].map(async ({ host }) => (await host.describeHost({})).bootId))).toEqual(boots);
  const { owner, status, lineage } = await settlesOnOneOwner(cluster, ofC);
  expect(owner).not.toBe(c);
  expect(status.era).toBeGreaterThan(0n);
  expect(lineage.owners.some(({ origin }) => origin === "recovered-after-store-loss")).toBe(true);

  await c.start();
  const settled = await settlesOnOneOwner(cluster, ofC);
  expect(settled.owner).toBe(owner);
  expect(settled.status.era).toBe(status.era);
});
