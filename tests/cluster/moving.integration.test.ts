// An agent moves between real hosts over real libp2p, and comes through moves that fail on the way (protocol §6, §7).

import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import {
  ballastWasm,
  budget,
  clusterOf,
  clusterWith,
  doneOf,
  failuresOf,
  leaseMs,
  logOf,
  move,
  settlesOnOneOwner,
  startSurvivor,
  ticksOn,
  verifiedLineage,
} from "./stage.ts";

describe("a planned move", () => {
  test("T-24, EI-10: the first tick on the target is the source's last plus one, and the budget is right to the microcent", async () => {
    await using cluster = await clusterOf({ name: "a", price: 1_000n }, { name: "b", price: 2_000n });
    const [a, b] = [cluster.host("a"), cluster.host("b")];
    const agentId = await startSurvivor(cluster, a);

    const done = doneOf(await move(a, agentId, { to: b }));
    expect(done).toMatchObject({ targetHostId: b.hostId, major: 1n });
    expect(done.blackoutMs).toBeLessThan(leaseMs.duration); // how short it is, the benchmark says
    const { owner, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect(owner).toBe(b);

    const [created, migrated] = lineage.owners;
    expect(lineage.owners).toHaveLength(2);
    expect(created).toMatchObject({ hostId: a.hostId, origin: "created", lastTickSeen: done.tick });
    expect(migrated).toMatchObject({ hostId: b.hostId, origin: "migrated", firstTick: done.tick + 1n });
    // The agent's own word: it counts its ticks in its state, and names the first one at another price.
    const arrival = (await logOf(b, agentId)).find(({ line }) => line.startsWith("moved before tick"));
    expect(arrival).toMatchObject({ tick: done.tick + 1n, major: 1n });
    expect(arrival?.line).toContain(`moved before tick ${done.tick + 1n}: price 1000 -> 2000`);

    expect({ gaps: lineage.gaps, orphans: lineage.orphans }).toEqual({ gaps: 0, orphans: [] });
    // What the target charges is its own price, from the first tick on; a fraction of a microcent is carried over.
    const { elapsedNs, cost } = migrated?.receipts ?? { elapsedNs: 0n, cost: 0n };
    expect(elapsedNs).toBeGreaterThan(0n);
    expect(Math.abs(Number(cost) - Number(elapsedNs * 2_000n) / 1e9)).toBeLessThanOrEqual(1);
    // Stopped, its newest checkpoint is its last tick, and the receipts of all hosts are what it ever cost.
    await b.host.stopAgent({ agentId });
    const stopped = await b.agent(agentId);
    const whole = await verifiedLineage(cluster, agentId);
    expect(whole.head?.tick).toBe(stopped?.tick);
    expect(whole.receipts.cost).toBeGreaterThan(0n);
    expect(stopped?.budget).toBe(budget - whole.receipts.cost);
  });

  test("T-10, FS-3: a second request while the agent moves is refused, and the first goes on", async () => {
    await using cluster = await clusterOf(
      { name: "a", env: { GODWIT_STREAM_FAULTS: "send:offer:delay=5000" } },
      { name: "b" },
    );
    const [a, b] = [cluster.host("a"), cluster.host("b")];
    const agentId = await startSurvivor(cluster, a);
    let second: Promise<unknown> | undefined;
    const story = await move(a, agentId, {
      to: b,
      onEvent: () => {
        second ??= move(a, agentId, { to: b }).then(
          () => "moved",
          (error: unknown) => error,
        );
      },
    });
    expect(await second).toMatchObject({ code: "MIGRATION_IN_PROGRESS" });
    expect(doneOf(story).targetHostId).toBe(b.hostId);
    await settlesOnOneOwner(cluster, agentId);
  });
});

describe("the connection is cut between the last byte of HANDOFF and STARTED (GH-3)", () => {
  test.concurrent.each([
    // The target claimed: the registry says so, and the source lets go.
    { name: "T-01: STARTED is lost in a cut", side: "target", fault: "send:started:cut-before", ends: "b" },
    // The target never saw the end: the source takes the agent back under a higher major.
    { name: "HANDOFF is lost in a cut", side: "target", fault: "receive:handoff-end:cut-before", ends: "a" },
    {
      name: "the source loses the line after the last byte",
      side: "source",
      fault: "send:handoff-end:cut-after",
      ends: undefined,
    },
  ])("$name: the registry settles it, and exactly one host ticks", async ({ side, fault, ends }) => {
    const env = { GODWIT_STREAM_FAULTS: fault };
    await using cluster = await clusterOf(
      { name: "a", ...(side === "source" ? { env } : {}) },
      { name: "b", ...(side === "target" ? { env } : {}) },
    );
    const [a, b] = [cluster.host("a"), cluster.host("b")];
    const agentId = await startSurvivor(cluster, a);
    // One attempt: what is asked is how this one ends.
    const story = await move(a, agentId, { to: b, retries: 1 });
    expect(story.some((event) => event.case === "step" && event.value.step === "resolving")).toBe(true);
    const { owner, lineage } = await settlesOnOneOwner(cluster, agentId, { minMajor: 1n });
    if (ends !== undefined) expect(owner.name).toBe(ends);
    expect(story.at(-1)?.case).toBe(owner === b ? "done" : "givenUp");
    expect(lineage.owners.at(-1)?.origin).toBe(owner === b ? "migrated" : "recovered");
    expect(lineage.orphans).toEqual([]);
  });
});

test("GH-2: a target that refuses by price, one that is down, one that is busy twice: the agent ends on the last", async () => {
  // Who stands still in between keeps its session.
  await using cluster = await clusterWith(
    { duration: 30_000, grace: 2_000 },
    { name: "a" },
    { name: "dear", price: 600n },
    { name: "down", price: 500n },
    { name: "busy", price: 900n, env: { GODWIT_MAX_INCOMING_MIGRATIONS: "1" } },
    { name: "slow", price: 9_000n },
  );
  const [a, busy, dear, down, slow] = ["a", "busy", "dear", "down", "slow"].map((name) => cluster.host(name));
  if (!a || !busy || !dear || !down || !slow) throw new Error("a host is missing");
  const agentId = await startSurvivor(cluster, a);
  const { agentId: other } = await cluster.runAgent(slow, ballastWasm, { name: "ballast", budget, manifest: movable });
  await ticksOn(cluster, slow, other);

  // Another handoff stands still in the middle and keeps the only place that `busy` has.
  await slow.armCrashPoint({ point: "source.before-begin", action: "stop" });
  const otherMove = move(slow, other, { to: busy }).catch((error: unknown) => error);
  await cluster.waitFor(() => isStopped(slow.pid), { what: "the slow handoff stands still" });
  await dear.host.setPrice({ pricePerSecond: 20_000n });
  await down.kill();

  let refusals = 0;
  const story = await move(a, agentId, {
    to: dear,
    allowFallback: true,
    // The delays are drawn by lot, from 0 on: so many of them that busy has noticed the death below before the last one is over.
    retries: 6,
    retryDelayMs: 200,
    onEvent: async (event) => {
      if (event.case !== "attemptFailed" || event.value.code !== "TARGET_BUSY") return;
      if (++refusals === 2) await slow.kill(); // what it had offered is gone with its connection, at once
    },
  });
  expect(doneOf(story).targetHostId).toBe(busy.hostId);
  const failures = failuresOf(story).map(({ targetHostId, failureClass, code }) => ({
    targetHostId,
    failureClass,
    code,
  }));
  const at = (host: typeof a) => failures.filter(({ targetHostId }) => targetHostId === host.hostId);
  expect(at(dear)).toEqual([{ targetHostId: dear.hostId, failureClass: "fatal-target", code: "PRICE_TOO_HIGH" }]);
  expect(at(down)).toHaveLength(6);
  expect(new Set(at(down).map((failure) => failure.failureClass))).toEqual(new Set(["retriable"]));
  expect(at(busy).length).toBeGreaterThanOrEqual(2);
  expect(new Set(at(busy).map(({ failureClass, code }) => `${failureClass} ${code}`))).toEqual(
    new Set(["retriable TARGET_BUSY"]),
  );
  expect((await settlesOnOneOwner(cluster, agentId)).owner).toBe(busy);
  await otherMove;
  await slow.restart();
  await settlesOnOneOwner(cluster, other, { minMajor: 1n });
});

const movable = { migration_policy: { enabled: true } };

async function isStopped(pid: number | undefined): Promise<boolean> {
  if (pid === undefined) return false;
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
}
