// A store that forgets under hosts that tick: who is there brings its agents back, who was away is followed (GA-7, GA-8, GA-9).

import { cp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { MarkSchema } from "@godwit/proto/godwit/registry/v1/session";
import { Cluster, type RedisServer, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { doneOf, hostEnv, leaseMs, move, registryEnv, settlesOnOneOwner, startSurvivor } from "./stage.ts";

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

async function markOf(cluster: Cluster): Promise<{ readonly counter: bigint; readonly quarantine: boolean }> {
  const { mark } = await cluster.registry.sessions.describeRegistry({});
  if (mark === undefined) throw new Error("the registry shows no mark");
  return fromBinary(MarkSchema, mark.payload);
}

/** The registry has noticed, and the quarantine is over. */
async function forgotAndRecovered(cluster: Cluster, above = 0n): Promise<void> {
  await cluster.waitFor(
    async () => {
      const { counter, quarantine } = await markOf(cluster);
      return counter > above && !quarantine;
    },
    { what: "the quarantine is over", timeoutMs: 90_000 },
  );
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

test("a rollback of Redis to an earlier snapshot: what ran goes on under its own major, and nobody owns it twice", async () => {
  await using redis = await startRedis({ aof: true });
  await using cluster = await clusterOn(redis, "a", "b");
  const [a, b] = [cluster.host("a"), cluster.host("b")];
  const early = await startSurvivor(cluster, a, "early");
  const moved = await startSurvivor(cluster, a, "moved");
  const [kept, copy] = [join(redis.dir, "appendonlydir"), join(redis.dir, "copy")];
  await cp(kept, copy, { recursive: true });

  // All of this is what the store forgets: an agent that went elsewhere, and one that was made.
  expect(doneOf(await move(a, moved, { to: b })).targetHostId).toBe(b.hostId);
  const late = await startSurvivor(cluster, b, "late");
  await redis.kill();
  await rm(kept, { recursive: true });
  await rename(copy, kept);
  await redis.restart();
  await forgotAndRecovered(cluster);

  for (const [host, agentId, major] of [
    [a, early, 0n],
    [b, moved, 1n],
    [b, late, 0n],
  ] as const) {
    const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect(owner.name).toBe(host.name);
    expect({ era: status.era, major: status.major }).toEqual({ era: 0n, major });
    expect(lineage.orphans).toEqual([]);
  }
});

test("an embedded store that was restored (--restored): the same, and a session that lapsed meanwhile recovers under a new era", async () => {
  await using cluster = await clusterOn(undefined, "a");
  const a = cluster.host("a");
  const agentId = await startSurvivor(cluster, a);
  await cluster.registry.stop();
  await cluster.registry.start({ GODWIT_RESTORED: "true" });
  await forgotAndRecovered(cluster);
  const { status, lineage } = await settlesOnOneOwner(cluster, agentId);
  expect({ era: status.era, major: status.major }).toEqual({ era: 0n, major: 0n });
  expect(lineage.orphans).toEqual([]);

  const counter = (await markOf(cluster)).counter;
  await cluster.registry.stop();
  const { tick } = await cluster.waitFor(
    async (signal) => {
      const still = await a.agent(agentId, signal);
      return (await a.host.describeHost({})).leaseValid ? undefined : still;
    },
    { what: "the lease has lapsed" },
  );
  await cluster.registry.start({ GODWIT_RESTORED: "true" });
  await forgotAndRecovered(cluster, counter);
  const later = await settlesOnOneOwner(cluster, agentId);
  expect(later.status.era).toBeGreaterThan(counter);
  expect(later.status.tick).toBeGreaterThan(tick);
  expect(later.lineage.owners.some(({ origin }) => origin === "recovered-after-store-loss")).toBe(true);
});
