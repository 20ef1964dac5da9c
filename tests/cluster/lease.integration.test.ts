// Who is cut off from the registry, or from time itself, stops before its lease ends (SL-3, SL-4, GA-2).

import { readHeader } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import {
  clusterOf,
  doneOf,
  headersOf,
  leaseMs,
  logOf,
  move,
  settlesOnOneOwner,
  startSurvivor,
  ticksOn,
} from "./stage.ts";

test("SL-4: while the registry is away the agent stops before its lease ends, and goes on by itself in the same session", async () => {
  await using cluster = await clusterOf({ name: "a" });
  const a = cluster.host("a");
  const agentId = await startSurvivor(cluster, a);
  const before = await a.host.describeHost({});

  const pausedAt = performance.now();
  cluster.registry.pause();
  // Every change of the tick, with the last time at which it was not there yet, until it has stood still for half a lease.
  let last = { tick: 0n, after: pausedAt, seen: pausedAt };
  let askedBefore = pausedAt;
  const still = await cluster.waitFor(
    async (signal) => {
      const asked = performance.now();
      const status = await a.agent(agentId, signal);
      const seen = performance.now();
      if (status !== undefined && status.tick > last.tick) last = { tick: status.tick, after: askedBefore, seen };
      askedBefore = asked;
      return seen - last.seen > leaseMs.duration / 2 ? status : undefined;
    },
    { what: "the agent stands still" },
  );
  expect(still.lastOutcome).toBe("recovering");
  expect(last.after - pausedAt).toBeLessThan(leaseMs.duration);
  // Longer than duration and grace: for a registry that has seen nothing, nobody was silent (SL-2).
  await cluster.waitFor(() => performance.now() - pausedAt > leaseMs.duration + leaseMs.grace + 500, {
    what: "the lease is over for everybody",
  });
  expect((await a.agent(agentId))?.tick).toBe(last.tick);
  expect((await a.host.describeHost({})).leaseValid).toBe(false);

  cluster.registry.resume();
  const status = await ticksOn(cluster, a, agentId, { after: last.tick });
  const after = await a.host.describeHost({});
  expect(after.bootId).toBe(before.bootId);
  const { lineage } = await settlesOnOneOwner(cluster, agentId);
  expect(lineage.orphans).toEqual([]);
  expect(status.era).toBe(0n);
});

describe("SIGSTOP of a host for longer than its lease, then SIGCONT", () => {
  test.each([
    { name: "alone, it takes the agent back under a higher major", hosts: ["a"] },
    { name: "of one that came in, with a replica elsewhere, the other host has it by then", hosts: ["a", "b"] },
  ])("T-03, GA-2: not one tick is committed under the old lease; $name", async ({ hosts }) => {
    await using cluster = await clusterOf(...hosts.map((name) => ({ name })));
    const a = cluster.host("a");
    const agentId = await startSurvivor(cluster, hosts.includes("b") ? cluster.host("b") : a);
    if (hosts.includes("b")) {
      doneOf(await move(cluster.host("b"), agentId, { to: a }));
      await cluster.waitFor(async (signal) => (await cluster.host("b").agent(agentId, signal)) !== undefined, {
        what: "b holds a replica",
      });
    }
    await ticksOn(cluster, a, agentId);
    const frozen = await cluster.waitFor(
      async (signal) => {
        const status = await a.agent(agentId, signal);
        return status !== undefined && status.checkpoint?.major === status.major ? status : undefined;
      },
      { what: "a has a checkpoint of its own" },
    );
    a.pause();
    const pausedAtNs = BigInt(Date.now()) * 1_000_000n;
    await cluster.waitFor(
      async (signal) => {
        const { ownerSessionVoid, record } = await cluster.registry.authority.getAgent({ agentId }, { signal });
        return ownerSessionVoid || record?.major !== frozen.major;
      },
      { what: "the registry has closed the session of the paused host" },
    );
    if (hosts.includes("b")) await ticksOn(cluster, cluster.host("b"), agentId);

    a.resume();
    const { status, lineage } = await settlesOnOneOwner(cluster, agentId, { minMajor: frozen.major + 1n });
    expect(status.major).toBeGreaterThan(frozen.major);
    if (hosts.length > 1) expect(lineage.owners.at(-1)?.hostId).toBe(cluster.host("b").hostId);

    // What it committed under the old major, it had written before it was paused; a line of the log is an effect of a tick too.
    const headers = (await headersOf(a, agentId)).map(({ payload }) => readHeader(payload));
    const old = headers.filter((header) => header.major === frozen.major);
    expect(old.length).toBeGreaterThan(0);
    for (const { writtenAtNs } of old) expect(writtenAtNs).toBeLessThanOrEqual(pausedAtNs + 50_000_000n);
    for (const { origin, major, atUnixNs } of await logOf(a, agentId)) {
      if (origin === "agent" && major === frozen.major) expect(atUnixNs).toBeLessThanOrEqual(pausedAtNs + 50_000_000n);
    }
  });
});
