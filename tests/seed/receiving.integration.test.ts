// T-21 … T-23, T-26 … T-28: what a host lets in. Real hosts and a real registry; who speaks to them is none of them (docs/seed-holes.md).

import { digestOf } from "@godwit/lineage";
import { AuthorityState, RetiredReason } from "@godwit/proto/godwit/registry/v1/authority";
import { counterAgent, op } from "@godwit/sandbox/testing";
import type { Cluster } from "@godwit/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clusterWith, doneOf, headersOf, move, settlesOnOneOwner, startSurvivor, ticksOn } from "../cluster/stage.ts";
import { Outlaw } from "./outlaw.ts";
import { alone, calmLease, credulous, sendTo } from "./scene.ts";
import { code, stillAgent } from "./still-agent.ts";

let cluster: Cluster;
let outlaw: Outlaw;
beforeAll(async () => {
  cluster = await clusterWith(calmLease, ...["b", "c", "d"].map((name) => ({ name, env: { ...alone, ...credulous } })));
  outlaw = await Outlaw.open(cluster, "outlaw");
});
afterAll(async () => {
  await outlaw?.[Symbol.asyncDispose]();
  await cluster?.stop();
});

describe.concurrent("what a host lets in", () => {
  test("T-21: a package for an agent that lives here is refused, and nothing of it is touched", async ({ expect }) => {
    const b = cluster.host("b");
    const agentId = await startSurvivor(cluster, b, "resident");
    const before = await headersOf(b, agentId);
    // Another agent's package under its name; what is in it would do.
    const owned = await outlaw.create({ module: stillAgent({ salt: "t21" }) });
    const handoff = await outlaw.begin(owned, b);
    const forged = { ...handoff, offer: { ...handoff.offer, agentId } };
    expect(await sendTo(outlaw, b, forged)).toBe("AGENT_EXISTS");
    // Its own, as it was told long ago: the same agent, an older state.
    expect(await sendTo(outlaw, b, handoff)).toBe("STARTED");
    await ticksOn(cluster, b, owned.agentId, { after: 3n });
    expect(await sendTo(outlaw, b, handoff)).toBe("AGENT_EXISTS");

    for (const id of [agentId, owned.agentId]) {
      const status = await b.agent(id);
      await ticksOn(cluster, b, id, { after: (status?.tick ?? 0n) + 2n });
    }
    const after = new Set((await headersOf(b, agentId)).map(({ payload }) => digestOf(payload)));
    expect(before.every(({ payload }) => after.has(digestOf(payload)))).toBe(true);
    expect((await settlesOnOneOwner(cluster, owned.agentId)).lineage.owners).toHaveLength(2);
    expect((await settlesOnOneOwner(cluster, agentId)).lineage.owners).toHaveLength(1);
  });

  test("T-22: a transfer that was recorded and is played again starts nothing, at its target or elsewhere", async ({
    expect,
  }) => {
    const [b, c, d] = [cluster.host("b"), cluster.host("c"), cluster.host("d")];
    const owned = await outlaw.create({ module: stillAgent({ salt: "t22" }) });
    const { agentId } = owned;
    const recording = await outlaw.begin(owned, b);
    expect(await sendTo(outlaw, b, recording)).toBe("STARTED");
    await ticksOn(cluster, b, agentId);
    expect(doneOf(await move(b, agentId, { to: c })).targetHostId).toBe(c.hostId);

    // To whom it was meant for, to whom has the agent now, to whom never heard of it; and newly signed for that one.
    expect(["STALE_CHECKPOINT", "HANDOFF_SUPERSEDED"]).toContain(await sendTo(outlaw, b, recording));
    expect(await sendTo(outlaw, c, recording)).toBe("AGENT_EXISTS");
    expect(await sendTo(outlaw, d, recording)).toBe("TOKEN_INVALID");
    const frozen = outlaw.after(owned.created, owned);
    const again = outlaw.prepared(owned, d.hostId, frozen);
    expect(await sendTo(outlaw, d, again)).toBe("HANDOFF_SUPERSEDED");

    const { owner, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect(owner.name).toBe("c");
    expect(lineage.owners.map(({ hostId }) => hostId)).toEqual([outlaw.hostId, b.hostId, c.hostId]);
  });

  test("T-23: what is refused leaves nothing behind, and what traps later is released, not kept as if it lived", async ({
    expect,
  }) => {
    const d = cluster.host("d");
    const { agents: before } = await d.host.listAgents({ includeReplicas: true });
    const broken = stillAgent({ salt: "t23" }).subarray(0, 90);
    const refused = await outlaw.create({ module: broken });
    expect(await sendTo(outlaw, d, await outlaw.begin(refused, d))).toBe("MODULE_INVALID");
    expect(await d.agent(refused.agentId)).toBeUndefined();
    expect(before.every(({ agentId }) => agentId !== refused.agentId)).toBe(true);
    await outlaw.revert(refused); // it is still the outlaw's, as if nothing had been (FS-1)

    // A state that cannot be resumed is found after the claim: the target has it then, and gives it up in the open.
    const trapping = await outlaw.create({ module: stillAgent({ salt: "t23", init: code.trap, resume: code.trap }) });
    await sendTo(outlaw, d, await outlaw.begin(trapping, d));
    const { agentId } = trapping;
    const record = await cluster.waitFor(
      async (signal) => {
        const answer = await cluster.registry.authority.getAgent({ agentId }, { signal });
        return answer.record?.state === AuthorityState.RETIRED ? answer.record : undefined;
      },
      { what: "what cannot run is released" },
    );
    expect([RetiredReason.CANNOT_RUN, RetiredReason.FAILED]).toContain(record.reason);
    expect((await d.agent(agentId))?.state ?? "nothing").not.toBe("ACTIVE_OWNER");
    expect(record.head?.tick).toBe(trapping.created.header.tick + 5n);
  });

  test("T-26, T-27, T-28: agents that are broken, reach out or never end are refused or given up, and the others tick on", async ({
    expect,
  }) => {
    const c = cluster.host("c");
    const neighbour = await startSurvivor(cluster, c, "neighbour");
    const began = (await ticksOn(cluster, c, neighbour)).tick;
    const parts = (name: string, part: object) => counterAgent({ parts: { [name]: part } });
    const refused: readonly (readonly [string, Uint8Array])[] = [
      ["T-26: a checkpoint without a size", parts("agent_checkpoint", { results: [], code: [] })],
      ["T-26: malloc of 64 bits", parts("malloc", { results: ["i64"], code: op.const64(0) })],
      ["T-26: no memory", counterAgent({ memories: [], memoryExport: undefined })],
      ["T-26: no exports", Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00)],
      ["T-27: another's memory", counterAgent({ extra: [{ id: 2, body: [1, 1, 0x61, 1, 0x62, 0x02, 0, 1] }] })],
    ];
    for (const [what, module] of refused) {
      const owned = await outlaw.create({ module });
      expect(await sendTo(outlaw, c, await outlaw.begin(owned, c)), what).toBe("MODULE_INVALID");
      expect(await c.agent(owned.agentId), what).toBeUndefined();
    }
    // What never ends is found by running it: the host that has claimed it ends it each time, and gives it up in the open.
    const endless = ["_initialize", "agent_init", "agent_resume"].map((name) => parts(name, { code: op.forever }));
    const ended = endless.map(async (module) => {
      const owned = await outlaw.create({ module });
      await sendTo(outlaw, c, await outlaw.begin(owned, c));
      return await cluster.waitFor(
        async (signal) => {
          const { record } = await cluster.registry.authority.getAgent({ agentId: owned.agentId }, { signal });
          return record?.state === AuthorityState.RETIRED ? record : undefined;
        },
        { what: "what never ends is released" },
      );
    });
    for (const { reason } of await Promise.all(ended)) expect(reason).toBe(RetiredReason.FAILED);
    await ticksOn(cluster, c, neighbour, { after: began + 3n });
    const { status, lineage } = await settlesOnOneOwner(cluster, neighbour);
    expect([status.major, lineage.gaps, lineage.orphans]).toEqual([0n, 0, []]);
  });
});

test("every host still has its first session: what was sent has killed nobody", async () => {
  for (const host of cluster.hosts) {
    expect(host.pid).toBeDefined();
    expect((await host.host.describeHost({})).leaseValid).toBe(true);
  }
});
