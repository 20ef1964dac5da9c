// T-01, T-02, T-14, T-16: leases that end while nobody answers, and a data directory that is there twice.

import { cp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "@godwit/lineage";
import type { Cluster, HostNode } from "@godwit/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  clusterWith,
  headersOf,
  type Lease,
  move,
  settlesOnOneOwner,
  startSurvivor,
  ticksOn,
} from "../cluster/stage.ts";
import { alone } from "./scene.ts";

const lease: Lease = { duration: 5_000, grace: 1_000 };

let cluster: Cluster;
beforeAll(async () => {
  const env = { ...alone, GODWIT_REGISTRY_TIMEOUT: "1s" };
  cluster = await clusterWith(
    lease,
    { name: "a", env: { ...env, GODWIT_TRUST_DATA_LOCK: "true" } },
    { name: "b", env },
  );
});
afterAll(() => cluster?.stop());

/** Until the lease of every session has ended, on whatever clock: whoever ticks afterwards does it without one. */
async function lapsed(host: HostNode): Promise<void> {
  await cluster.waitFor(async (signal) => !(await host.host.describeHost({}, { signal })).leaseValid, {
    what: `the lease of ${host.name} has ended`,
  });
}

/** Stands still where it is, and is not its owner, for some time. */
async function expectStill(host: HostNode, agentId: string): Promise<void> {
  const before = await host.agent(agentId);
  const until = performance.now() + 1_200;
  while (performance.now() < until) {
    const now = await host.agent(agentId);
    expect([now?.tick, now?.checkpoint]).toEqual([before?.tick, before?.checkpoint]);
  }
}

const isStopped = async (node: { readonly pid: number | undefined }) => {
  const stat = await readFile(`/proc/${node.pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
};

test("T-01: the confirmation and the registry are both away: the source stands still, and only the registry's word ends it", async () => {
  const [a, b] = [cluster.host("a"), cluster.host("b")];
  const { registry } = cluster;
  const agentId = await startSurvivor(cluster, a, "doubtful");
  await registry.armCrashPoint({ point: "claim.after-apply", action: "stop" });
  const moving = move(a, agentId, { to: b, retries: 1 }).catch((error: unknown) => error);
  await cluster.waitFor(() => isStopped(registry), { what: "the claim is done, and nobody hears of it" });
  try {
    await lapsed(a);
    for (const host of [a, b]) await expectStill(host, agentId);
    expect((await a.agent(agentId))?.state).not.toBe("ACTIVE_OWNER");
    expect((await b.agent(agentId))?.state ?? "nothing").not.toBe("ACTIVE_OWNER");
  } finally {
    registry.resume();
  }
  const { owner, status } = await settlesOnOneOwner(cluster, agentId, { minMajor: 1n });
  expect(owner.name).toBe("b");
  await moving;
  // Every major has one owner; whatever is newest is the record's.
  const { entries } = await cluster.registry.authority.getAgentHistory({ agentId });
  const given = entries.filter(({ command }) => ["claim", "recover", "acquire"].includes(command));
  const majors = given.map(({ era, major }) => `${era}.${major}`);
  expect(new Set(majors).size).toBe(majors.length);
  expect(entries.every(({ major }) => major <= status.major)).toBe(true);
});

test("T-14: a handoff that is called back when the lease has ended gives no tick until the registry has answered", async () => {
  const [a, b] = [cluster.host("a"), cluster.host("b")];
  const { registry } = cluster;
  const agentId = await startSurvivor(cluster, a, "called-back");
  await registry.armCrashPoint({ point: "begin.before-apply", action: "stop" });
  const moving = move(a, agentId, { to: b, retries: 2, retryDelayMs: 50 }).catch((error: unknown) => error);
  await cluster.waitFor(() => isStopped(registry), { what: "the registry stands still at begin_handoff" });
  try {
    await lapsed(a);
    await expectStill(a, agentId);
    expect((await b.agent(agentId))?.state ?? "nothing").not.toBe("ACTIVE_OWNER");
  } finally {
    registry.resume();
  }
  await moving;
  const { lineage } = await settlesOnOneOwner(cluster, agentId);
  expect(lineage.orphans).toEqual([]);
});

test("T-16: without a lease nothing is saved, not at the interval and not at the stop", async () => {
  const a = cluster.host("a");
  const { registry } = cluster;
  const agentId = await startSurvivor(cluster, a, "unsaved");
  registry.pause();
  let before: readonly string[];
  try {
    await lapsed(a);
    const digests = async () => (await headersOf(a, agentId)).map(({ payload }) => digestOf(payload));
    before = await digests();
    await expectStill(a, agentId);
    expect(await digests()).toEqual(before);
    await a.stop();
    a.process.start();
    await cluster.waitFor((signal) => a.agent(agentId, signal), { what: "a answers" });
    expect(await digests()).toEqual(before);
  } finally {
    registry.resume();
  }
  await a.process.ready(AbortSignal.timeout(120_000));
  const { lineage } = await settlesOnOneOwner(cluster, agentId);
  expect(lineage.orphans).toEqual([]);
});

test("T-02: of one data directory in two places the second waits for as long as the first lives, and takes over when it is dead", async () => {
  const a = cluster.host("a");
  const agentId = await startSurvivor(cluster, a, "copied");
  const copy = join(cluster.dir, "copy");
  await cp(a.dataDir, copy, { recursive: true });
  const twin = await cluster.startHost({
    name: "twin",
    env: { ...alone, GODWIT_DATA: copy, GODWIT_TICK_EVERY: "100ms", GODWIT_CHECKPOINT_EVERY: "500ms" },
  });
  expect(twin.hostId).toBe(a.hostId);
  const met = await ticksOn(cluster, a, agentId);
  // Longer than duration and grace.
  const until = performance.now() + lease.duration + lease.grace + 1_000;
  while (performance.now() < until) {
    const status = await twin.agent(agentId);
    expect(status?.state).not.toBe("ACTIVE_OWNER");
  }
  expect((await ticksOn(cluster, a, agentId, { after: met.tick + 5n })).major).toBe(met.major);
  await a.kill();
  const { owner, status } = await settlesOnOneOwner(cluster, agentId, { minMajor: met.major + 1n });
  expect(owner).toBe(twin);
  expect(status.major).toBe(met.major + 1n);
  await twin.stop();
  await rm(copy, { recursive: true });
});
