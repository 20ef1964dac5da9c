// T-40, T-41, T-42: what an agent has, gets and pays, over hosts with different prices, a move and a death.

import { randomBytes } from "node:crypto";
import { isFault } from "@godwit/common/fault";
import { digestOf, type LineageReport, type Receipt, readHeader } from "@godwit/lineage";
import type { Cluster, HostNode } from "@godwit/testing";
import { afterAll, beforeAll, describe, test } from "vitest";
import {
  budget,
  clusterOf,
  doneOf,
  headersOf,
  logOf,
  move,
  settlesOnOneOwner,
  startSurvivor,
  survivor,
  survivorWasm,
  ticksOn,
  verifiedLineage,
} from "../cluster/stage.ts";

let cluster: Cluster;
const copies = { GODWIT_REPLICAS: "2" };

beforeAll(async () => {
  cluster = await clusterOf(
    { name: "a", price: 1_000n, env: copies },
    { name: "b", price: 3_000n, env: copies },
    { name: "c", price: 700n, env: copies },
    { name: "dear", price: 1_000_000_000n, env: copies },
  );
});
afterAll(() => cluster?.stop());

const newId = () => new Uint8Array(randomBytes(16));

async function fund(host: HostNode, agentId: string, fundingId: Uint8Array, amount = 5_000n) {
  return await host.host.fundAgent({ agentId, fundingId, amount }, { timeoutMs: 30_000 });
}

/** Waits until its budget has ended there. */
async function ended(host: HostNode, agentId: string) {
  return await cluster.waitFor(
    async (signal) => {
      const agent = await host.agent(agentId, signal);
      return agent?.state === "RETIRED" && agent.reason === "unfunded" ? agent : undefined;
    },
    { what: `the budget of ${agentId.slice(0, 8)} ends`, timeoutMs: 90_000 },
  );
}

describe.concurrent("money", () => {
  test("T-40, T-41: an agent whose budget ends is read back as it was, and goes on when it is funded", async ({
    expect,
  }) => {
    const dear = cluster.host("dear");
    const small = 500_000n;
    const { agentId } = await cluster.runAgent(dear, survivorWasm, { ...(await survivor("poor")), budget: small });
    const poor = await ended(dear, agentId);
    expect(poor.budget).toBe(0n);
    expect(await verifiedLineage(cluster, agentId)).toMatchObject({ gaps: 0, receipts: { cost: small, funded: 0n } });
    const { record } = await cluster.registry.authority.getAgent({ agentId });
    expect(record?.head?.tick).toBe(poor.tick);

    // T-40: read by another process, it is what it was.
    await dear.kill();
    await dear.start();
    expect(await ended(dear, agentId)).toMatchObject({ budget: 0n, tick: poor.tick, stateBytes: poor.stateBytes });

    // T-41: nobody else is asked for by money, and it is applied before the first tick.
    const id = newId();
    const funded = await fund(dear, agentId, id, 10n * budget);
    expect(funded).toMatchObject({ repeated: false, tick: poor.tick + 1n });
    const again = await ticksOn(cluster, dear, agentId, { after: poor.tick + 13n });
    expect(again.major).toBe(1n);
    expect(await fund(dear, agentId, id, budget)).toMatchObject({ repeated: true, tick: funded.tick });
    await dear.host.stopAgent({ agentId });
    const lineage = await verifiedLineage(cluster, agentId);
    expect(lineage.receipts).toMatchObject({ fundings: 1, funded: 10n * budget });
    expect((await dear.agent(agentId))?.budget).toBe(small + 10n * budget - lineage.receipts.cost);
    // Its state counts the ticks that ran: the end of its budget and the funding have numbers, and ran nothing.
    const milestone = (await logOf(dear, agentId)).findLast(
      ({ line, major }) => major === 1n && /^tick \d+:/.test(line),
    );
    expect(BigInt(milestone?.line.match(/\d+/)?.[0] ?? 0)).toBe((milestone?.tick ?? 0n) - 2n);
    const refused = await fund(dear, agentId, newId()).catch((error: unknown) => error);
    expect(isFault(refused, "AGENT_NOT_RUNNING") && refused.detail.reason).toBe("stopped");
  });

  test("T-41, T-42: over three hosts, a move and a death each funding counts once, and every tick is in one receipt", async ({
    expect,
  }) => {
    const [a, b, c] = [cluster.host("a"), cluster.host("b"), cluster.host("c")];
    const agentId = await startSurvivor(cluster, a, "payer");
    const [first, second] = [newId(), newId()];
    const one = await fund(a, agentId, first);
    expect(one.repeated).toBe(false);
    expect(await fund(a, agentId, first)).toMatchObject({ repeated: true, tick: one.tick });

    const moved = doneOf(await move(a, agentId, { to: b }));
    await ticksOn(cluster, b, agentId, { after: moved.tick });
    const elsewhere = await fund(a, agentId, second).catch((error: unknown) => error);
    expect(isFault(elsewhere, "AGENT_NOT_HERE")).toBe(true);
    expect(await fund(b, agentId, first)).toMatchObject({ repeated: true, tick: one.tick });
    await cluster.waitFor(
      async () => {
        const { holders } = await cluster.registry.authority.getAgent({ agentId });
        return holders.some(({ checkpoint }) => checkpoint?.major === 1n);
      },
      { what: "a copy of what b has done", timeoutMs: 60_000 },
    );
    const two = await fund(b, agentId, second, 700n);
    expect(two).toMatchObject({ repeated: false });

    // Whether a copy of it had left by then, the id tells.
    await b.kill();
    const { owner } = await settlesOnOneOwner(cluster, agentId, { minMajor: 2n });
    expect(owner.name).not.toBe("b");
    const repeated = await fund(owner, agentId, second, 700n);
    if (repeated.repeated) expect(repeated.tick).toBe(two.tick);
    await b.start();
    const to = owner === a ? c : a;
    const last = doneOf(await move(owner, agentId, { to }));
    await ticksOn(cluster, to, agentId, { after: last.tick + 2n });
    expect(await fund(to, agentId, second, 700n)).toMatchObject({ repeated: true });
    await to.host.stopAgent({ agentId });

    const lineage = await verifiedLineage(cluster, agentId);
    expect(lineage.receipts).toMatchObject({ fundings: 2, funded: 5_700n });
    const left = (await to.agent(agentId))?.budget ?? 0n;
    expect(left).toBe(budget + 5_700n - lineage.receipts.cost);
    // T-42: from the first tick to the last, by three hosts, in receipts that meet.
    expect(lineage.gaps).toBe(0);
    expect(new Set(lineage.owners.map(({ hostId }) => hostId))).toEqual(new Set([a.hostId, b.hostId, c.hostId]));
    const receipts = await receiptsOn(lineage, agentId);
    let tick = 0n;
    for (const { firstTick, lastTick } of receipts) {
      expect(firstTick).toBe(tick + 1n);
      tick = lastTick;
    }
    expect(tick).toBe(lineage.head?.tick);
    for (const { hostId, pricePerSecond } of receipts) {
      expect(pricePerSecond).toBe({ [a.hostId]: 1_000n, [b.hostId]: 3_000n, [c.hostId]: 700n }[hostId]);
    }
  });
});

/** All that were charged and paid in along the lineage, as any host shows them. */
async function receiptsOn({ orphans, head }: LineageReport, agentId: string): Promise<readonly Receipt[]> {
  const off = new Set(orphans.map(({ digest }) => digest));
  const receipts = new Map<bigint, Receipt>();
  for (const host of cluster.hosts) {
    if ((await host.agent(agentId)) === undefined) continue;
    for (const { payload } of await headersOf(host, agentId)) {
      if (off.has(digestOf(payload))) continue;
      for (const receipt of readHeader(payload).receipts) receipts.set(receipt.firstTick, receipt);
    }
  }
  return [...receipts.values()].filter(({ lastTick }) => lastTick <= (head?.tick ?? 0n)).sort(byTick);
}

function byTick(a: Receipt, b: Receipt): number {
  return a.firstTick < b.firstTick ? -1 : 1;
}
