// T-06, T-07, T-10 … T-13, T-17: moves between hosts that nobody kills, side by side. No host here checkpoints by the clock,
// so that what arrives is what the handoff itself brought along.

import { readHeader } from "@godwit/lineage";
import type { Cluster } from "@godwit/testing";
import { afterAll, beforeAll, describe, test } from "vitest";
import {
  budget,
  clusterWith,
  doneOf,
  failuresOf,
  headersOf,
  logOf,
  move,
  settlesOnOneOwner,
  startSurvivor,
  ticksOn,
  verifiedLineage,
} from "../cluster/stage.ts";
import { alone, calmLease, runModule } from "./scene.ts";
import { code, stillAgent } from "./still-agent.ts";

let cluster: Cluster;
// Who falls back takes the cheapest: never one whose fault, which comes once, another test is waiting for.
const price = 2_000n;
const seldom = { ...alone, GODWIT_CHECKPOINT_EVERY: "1h", GODWIT_TICK_TIMEOUT: "60s" };

beforeAll(async () => {
  cluster = await clusterWith(
    calmLease,
    { name: "a", env: seldom },
    { name: "b", env: seldom },
    { name: "c", env: seldom },
    { name: "dear", price: 20_000n, env: seldom },
    { name: "tardy", price, env: { ...seldom, GODWIT_STREAM_FAULTS: "send:started:delay=2500" } },
    { name: "cutter", price, env: { ...seldom, GODWIT_STREAM_FAULTS: "send:handoff-end:cut-after" } },
    {
      name: "eager",
      price,
      env: {
        ...seldom,
        GODWIT_TICK_EVERY: "1ms", // hardly ever between two ticks
        GODWIT_CHECKPOINT_EVERY: "10ms",
        GODWIT_STREAM_FAULTS: "send:handoff:delay=2500",
      },
    },
  );
});
afterAll(() => cluster?.stop());

describe.concurrent("a move", () => {
  test("T-06: at no moment do two hosts say that they have the agent, however late the confirmation is", async ({
    expect,
  }) => {
    const [a, tardy] = [cluster.host("a"), cluster.host("tardy")];
    const agentId = await startSurvivor(cluster, a, "late");
    const moving = new AbortController();
    const moved = move(a, agentId, { to: tardy }).finally(() => moving.abort());
    const owns = async (host: typeof a) => (await host.agent(agentId))?.state === "ACTIVE_OWNER";
    let both = 0;
    while (!moving.signal.aborted) {
      // The source before and after: whoever says so at both ends said so in between.
      const [before, there, after] = [await owns(a), await owns(tardy), await owns(a)];
      if (before && there && after) both++;
    }
    const done = doneOf(await moved);
    expect(done.targetHostId).toBe(tardy.hostId);
    expect(done.blackoutMs).toBeGreaterThanOrEqual(2_500); // the confirmation was as late as that
    expect(both).toBe(0);
    await settlesOnOneOwner(cluster, agentId);
  });

  test("T-07: a line that breaks after the last byte is no refusal: nobody else is asked before the registry has spoken", async ({
    expect,
  }) => {
    const [cutter, b] = [cluster.host("cutter"), cluster.host("b")];
    const agentId = await startSurvivor(cluster, cutter, "cut");
    const story = await move(cutter, agentId, { to: b, allowFallback: true, retries: 3, retryDelayMs: 1 });
    const told = story.map((event) => (event.case === "step" ? event.value.step : event.case));
    expect(told).toContain("resolving");
    const second = told.indexOf("attempt", told.indexOf("relinquished"));
    if (second !== -1) {
      expect(told.indexOf("recovered")).toBeLessThan(second);
      expect(failuresOf(story).at(0)).toMatchObject({ failureClass: "ambiguous" });
    }
    const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect(doneOf(story)).toMatchObject({ targetHostId: owner.hostId, major: status.major });
    // One major for each who was given it, and none that two had.
    const { entries } = await cluster.registry.authority.getAgentHistory({ agentId });
    const owners = new Map(entries.map(({ major }) => [major, new Set<string>()]));
    for (const { major, owner: by } of entries) if (by !== undefined) owners.get(major)?.add(by.hostId);
    for (const [, who] of owners) expect(who.size).toBeLessThanOrEqual(1);
    expect(lineage.orphans).toEqual([]);
  });

  test("T-10: of two at once, to two hosts, one is begun", async ({ expect }) => {
    const [a, b, c] = [cluster.host("a"), cluster.host("b"), cluster.host("c")];
    const agentId = await startSurvivor(cluster, a, "twice");
    const results = await Promise.allSettled([b, c].map((to) => move(a, agentId, { to })));
    const done = results.flatMap((result) => (result.status === "fulfilled" ? [doneOf(result.value)] : []));
    const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    expect(done).toHaveLength(1);
    expect(refused).toMatchObject([
      { code: expect.stringMatching(/^(MIGRATION_IN_PROGRESS|AGENT_NOT_HERE|AGENT_NOT_RUNNING)$/) },
    ]);
    const { owner, status } = await settlesOnOneOwner(cluster, agentId);
    expect([owner.hostId, status.major]).toEqual([done[0]?.targetHostId, 1n]);
  });

  test("T-11: the tick under way ends first, and nothing is written after the checkpoint that is handed over", async ({
    expect,
  }) => {
    const [eager, b] = [cluster.host("eager"), cluster.host("b")];
    const agentId = await runModule(cluster, eager, stillAgent({ tick: code.slow }), "slow");
    await ticksOn(cluster, eager, agentId, { after: 1n });
    const done = doneOf(await move(eager, agentId, { to: b }));
    await ticksOn(cluster, b, agentId, { after: done.tick });
    await b.host.stopAgent({ agentId });
    const lineage = await verifiedLineage(cluster, agentId);
    expect(lineage).toMatchObject({ orphans: [], gaps: 0 });
    expect(lineage.owners).toMatchObject([{ lastTickSeen: done.tick }, { firstTick: done.tick + 1n }]);
    const left = (await headersOf(eager, agentId)).map(({ payload }) => readHeader(payload));
    const latest = left.filter(({ major }) => major === 0n).map(({ tick }) => tick);
    expect(latest.toSorted((x, y) => Number(x - y)).at(-1)).toBe(done.tick);
    expect((await eager.agent(agentId))?.state).not.toBe("ACTIVE_OWNER");
    // No work was thrown away that the agent had done by then.
    const metrics = await (await fetch(`${eager.opsUrl}/metrics`)).text();
    expect(metrics).toMatch(/agent_host_ticks_total\{outcome="normal"\} [1-9]/);
    expect(metrics).not.toMatch(/agent_host_ticks_total\{outcome="discarded"\} [1-9]/);
  });

  test("T-12, T-17: the target goes on from the very last tick, with what is left, and by itself", async ({
    expect,
  }) => {
    const [a, c] = [cluster.host("a"), cluster.host("c")];
    const agentId = await startSurvivor(cluster, a, "present");
    // Nothing but tick 0 was ever stored of it here.
    expect((await a.agent(agentId))?.checkpoint?.tick).toBe(0n);
    const done = doneOf(await move(a, agentId, { to: c }));
    expect(done.tick).toBeGreaterThanOrEqual(3n);
    const said = (await logOf(a, agentId)).filter(({ origin }) => origin === "agent").map(({ tick }) => tick);
    expect(said.every((tick) => tick <= done.tick)).toBe(true);
    // T-17: nobody here calls it to tick.
    await ticksOn(cluster, c, agentId, { after: done.tick + 3n });
    await c.host.stopAgent({ agentId });
    const { owners, receipts } = await verifiedLineage(cluster, agentId);
    expect(owners).toMatchObject([{ lastTickSeen: done.tick }, { firstTick: done.tick + 1n, origin: "migrated" }]);
    expect((await c.agent(agentId))?.budget).toBe(budget - receipts.cost);
  });

  test("T-13: one that is refused leaves the agent ticking where it is, ready for another", async ({ expect }) => {
    const [a, b, dear] = [cluster.host("a"), cluster.host("b"), cluster.host("dear")];
    const agentId = await startSurvivor(cluster, a, "refused");
    const story = await move(a, agentId, { to: dear });
    expect(failuresOf(story).at(-1)).toMatchObject({ failureClass: "fatal-target", code: "PRICE_TOO_HIGH" });
    const { owner, status } = await settlesOnOneOwner(cluster, agentId);
    expect([owner.name, status.major]).toEqual(["a", 0n]);
    expect(await dear.agent(agentId)).toBeUndefined();
    expect(doneOf(await move(a, agentId, { to: b })).major).toBe(1n);
  });
});
