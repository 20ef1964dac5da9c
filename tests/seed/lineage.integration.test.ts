// T-29 … T-31: what proves that a checkpoint is the agent's. A former owner tries with all that it still knows.

import { randomBytes } from "node:crypto";
import { issueGrant, refOf, signerFromSeed, toProtoRef, toProtoSigned, verifyLineage } from "@godwit/lineage";
import { Origin } from "@godwit/proto/godwit/lineage/v1/lineage";
import { AuthorityState } from "@godwit/proto/godwit/registry/v1/authority";
import type { Cluster } from "@godwit/testing";
import { afterAll, beforeAll, describe, test } from "vitest";
import { clusterWith, headersOf, settlesOnOneOwner, ticksOn } from "../cluster/stage.ts";
import { forge, Outlaw } from "./outlaw.ts";
import type { Handoff } from "./peer.ts";
import { alone, calmLease, credulous, sendTo } from "./scene.ts";
import { stillAgent } from "./still-agent.ts";

let cluster: Cluster;
let outlaw: Outlaw;
beforeAll(async () => {
  cluster = await clusterWith(
    calmLease,
    { name: "b", env: { ...alone, ...credulous } },
    { name: "c", env: { ...alone, ...credulous } },
  );
  outlaw = await Outlaw.open(cluster, "outlaw");
});
afterAll(async () => {
  await outlaw?.[Symbol.asyncDispose]();
  await cluster?.stop();
});

const stranger = () => signerFromSeed(new Uint8Array(randomBytes(32)));

describe.concurrent("what proves a checkpoint", () => {
  test("T-29: after it gave the agent away a host signs nothing that anybody takes for the agent's", async ({
    expect,
  }) => {
    const [b, c] = [cluster.host("b"), cluster.host("c")];
    const owned = await outlaw.create({ module: stillAgent({ salt: "t29" }) });
    const { agentId } = owned;
    const frozen = outlaw.after(owned.created, owned);
    expect(await sendTo(outlaw, b, await outlaw.begin(owned, b, frozen))).toBe("STARTED");
    await ticksOn(cluster, b, agentId, { after: frozen.header.tick });
    const { record } = await cluster.registry.authority.getAgent({ agentId });
    if (record?.grant === undefined) throw new Error("no grant in the record");
    const term = { era: record.era, major: record.major };
    expect(term.major).toBe(1n);

    // Under the term that it had: it is overtaken. Under the term of another, with that one's grant, and with its own.
    const overtaken = outlaw.after(frozen, owned);
    expect(await sendTo(outlaw, c, outlaw.prepared(owned, c.hostId, overtaken))).toBe("HANDOFF_SUPERSEDED");
    const base = toProtoRef(refOf(frozen));
    const stolen = forge(overtaken, { ...term, base, origin: Origin.MIGRATED, grant: record.grant }, outlaw.signer);
    const session = { hostId: outlaw.hostId, bootId: outlaw.bootId };
    const { incarnation } = record;
    const made = issueGrant({ agentId, ...term, session, incarnation, issuedAtNs: 1n }, stranger());
    const forged = forge(
      overtaken,
      { ...term, base, origin: Origin.MIGRATED, grant: toProtoSigned(made) },
      outlaw.signer,
    );
    for (const checkpoint of [stolen, forged]) {
      expect(await sendTo(outlaw, c, outlaw.prepared(owned, c.hostId, checkpoint))).toMatch(
        /^(SIGNATURE|GRANT|CHECKPOINT)_INVALID$/,
      );
      expect(await outlaw.report(agentId, checkpoint)).toMatch(
        /^(SIGNATURE|GRANT|CHECKPOINT)_INVALID$|^BAD_GRANT$|^NOT_OWNER$/,
      );
    }
    expect(await outlaw.report(agentId, overtaken)).toBe("NOT_OWNER");
    expect(await outlaw.recover(agentId, record.revision, overtaken)).toBe("OWNER_ALIVE");

    // It ticks where it was, and what the former owner signed is evidence against it, for whoever looks at all that is held.
    const status = await b.agent(agentId);
    expect(status).toMatchObject({ state: "ACTIVE_OWNER", major: 1n });
    await ticksOn(cluster, b, agentId, { after: (status?.tick ?? 0n) + 8n });
    const { publicKey } = await cluster.registry.sessions.describeRegistry({});
    const held = [...(await headersOf(b, agentId)), ...(await headersOf(c, agentId))];
    const lineage = verifyLineage(held, new Uint8Array(publicKey));
    expect(lineage.problems.map(({ kind }) => kind)).toEqual(["ticked-after-handoff"]);
    expect(lineage.owners.at(-1)?.hostId).toBe(b.hostId);
    expect((await c.agent(agentId))?.state).not.toBe("ACTIVE_OWNER");
  });

  test("T-30: signed anew, unsigned, of an older format, another agent's, under another's grant: refused, and the true one is taken", async ({
    expect,
  }) => {
    const c = cluster.host("c");
    const module = stillAgent({ salt: "t30" });
    const [owned, twin] = [await outlaw.create({ module }), await outlaw.create({ module })];
    const frozen = outlaw.after(owned.created, owned);
    const honest = await outlaw.begin(owned, c, frozen);
    const withCheckpoint = (checkpoint: Handoff["checkpoint"]["checkpoint"]): Handoff => ({
      ...honest,
      checkpoint: { ...honest.checkpoint, checkpoint },
    });
    const cases: readonly (readonly [string, Handoff])[] = [
      ["a key of nobody", withCheckpoint(forge(frozen, {}, stranger()).signed)],
      ["no signature", withCheckpoint({ ...frozen.signed, signature: new Uint8Array(64) })],
      ["less than a signature", withCheckpoint({ ...frozen.signed, signature: new Uint8Array(0) })],
      ["an older format", withCheckpoint(forge(frozen, { version: 0 }, outlaw.signer).signed)],
      ["another agent of the same module", withCheckpoint(outlaw.after(twin.created, twin).signed)],
      [
        "the grant of another agent",
        withCheckpoint(forge(frozen, { grant: toProtoSigned(twin.grant) }, outlaw.signer).signed),
      ],
    ];
    for (const [what, handoff] of cases) {
      expect(await sendTo(outlaw, c, handoff), what).toMatch(/^(SIGNATURE|GRANT|CHECKPOINT|LINEAGE|FRAME)_INVALID$/);
      expect(await c.agent(owned.agentId), what).toBeUndefined();
    }
    expect(await sendTo(outlaw, c, honest)).toBe("STARTED");
    expect((await settlesOnOneOwner(cluster, owned.agentId)).owner.name).toBe("c");
  });

  test("T-31: two checkpoints of one tick stop the agent until an operator decides", async ({ expect }) => {
    const owned = await outlaw.create({ module: stillAgent({ salt: "t31" }) });
    const { agentId } = owned;
    const one = outlaw.after(owned.created, owned);
    const other = outlaw.after(owned.created, owned, { writtenAtNs: 1_800_000_000_000_000_000n });
    expect(other.header).toMatchObject({ tick: one.header.tick, previous: one.header.previous });
    expect(await outlaw.report(agentId, one)).toBe("done");
    expect(await outlaw.report(agentId, other)).toBe("DIVERGENT_LINEAGE");
    const { record } = await cluster.registry.authority.getAgent({ agentId });
    expect(record).toMatchObject({ state: AuthorityState.RECOVERY_REQUIRED, major: 0n });
    expect(record?.conflict).toBeDefined();
    // Nothing goes on from either, whoever asks.
    for (const checkpoint of [one, other]) {
      expect(await outlaw.recover(agentId, record?.revision ?? 0n, checkpoint)).toBe("DIVERGENT_LINEAGE");
    }
    owned.revision = record?.revision ?? 0n;
    await expect(outlaw.begin(owned, cluster.host("c"), one)).rejects.toThrow(/RECOVERY_REQUIRED|DIVERGENT_LINEAGE/);
  });
});
