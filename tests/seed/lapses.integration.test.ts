// T-01, T-14, T-16: leases that end while the registry does not answer.

import { readFile } from "node:fs/promises";
import { digestOf } from "@godwit/lineage";
import type { Cluster, HostNode } from "@godwit/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clusterWith, doneOf, headersOf, leaseMs, move, settlesOnOneOwner, startSurvivor } from "../cluster/stage.ts";
import { alone } from "./scene.ts";

let cluster: Cluster;
beforeAll(async () => {
  const env = { ...alone, GODWIT_REGISTRY_TIMEOUT: "1s" };
  cluster = await clusterWith(
    leaseMs,
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
  const moving = move(a, agentId, { to: b, retries: 5, retryDelayMs: 200 }).catch((error: unknown) => error);
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

test("T-14, T-16: a handoff that cannot be called back gives no tick, and nothing is saved, until the registry has answered", async () => {
  const [a, b] = [cluster.host("a"), cluster.host("b")];
  const { registry } = cluster;
  const idle = await startSurvivor(cluster, b, "unsaved");
  doneOf(await move(b, idle, { to: a })); // what came in is no different
  const agentId = await startSurvivor(cluster, a, "called-back");
  await registry.armCrashPoint({ point: "begin.before-apply", action: "stop" });
  const moving = move(a, agentId, { to: b, retries: 5, retryDelayMs: 200 }).catch((error: unknown) => error);
  await cluster.waitFor(() => isStopped(registry), { what: "the registry stands still at begin_handoff" });
  const held = async () =>
    (await Promise.all([agentId, idle].map((id) => headersOf(a, id)))).flat().map(({ payload }) => digestOf(payload));
  try {
    await lapsed(a);
    const before = await held();
    for (const id of [agentId, idle]) await expectStill(a, id);
    expect((await b.agent(agentId))?.state ?? "nothing").not.toBe("ACTIVE_OWNER");
    // T-16: not at the interval, not at the stop, not at the start.
    expect(await held()).toEqual(before);
    await a.stop();
    a.process.start();
    await cluster.waitFor((signal) => a.agent(idle, signal), { what: "a answers" });
    for (const id of [agentId, idle]) await expectStill(a, id);
    expect(await held()).toEqual(before);
  } finally {
    registry.resume();
  }
  await moving;
  await a.process.ready(AbortSignal.timeout(120_000));
  for (const id of [agentId, idle]) {
    expect((await settlesOnOneOwner(cluster, id)).lineage.orphans).toEqual([]);
  }
});
