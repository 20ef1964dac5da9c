// What only several hosts, several registries and a whole life show; through real gRPC, on both stores.

import { randomUUID } from "node:crypto";
import { refOf, seal, toProtoSigned } from "@godwit/lineage";
import { AuthorityState, type CommandResponse, RetiredReason } from "@godwit/proto/godwit/registry/v1/authority";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { done, expectRefused, incarnationOf, nameOf, refIn, TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { type Ground, layGround, storeKinds } from "./fixtures/stores.ts";

const CROWD = 32;
const patience = { timeout: 40_000, interval: 50 };

function refusalsOf(answers: readonly CommandResponse[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { refusal } of answers) counts[nameOf(refusal)] = (counts[nameOf(refusal)] ?? 0) + 1;
  return counts;
}

function winnersOf(answers: readonly CommandResponse[]): readonly CommandResponse[] {
  return answers.filter(({ refusal }) => refusal === 0);
}

async function openMany(registry: TestRegistry, count: number): Promise<readonly TestHost[]> {
  return await Promise.all(Array.from({ length: count }, () => TestHost.open(registry)));
}

describe.each(storeKinds)("a registry on the %s store", (kind) => {
  let ground: Ground;
  let registry: TestRegistry;

  beforeAll(async () => {
    ground = await layGround(kind);
    registry = await TestRegistry.start(ground);
  });
  afterAll(async () => {
    try {
      await registry.stop();
    } finally {
      await ground[Symbol.asyncDispose](); // also when it did not start
    }
  });

  test("a whole life: created, moved, released, recovered by a third host, confirmed, terminated", async () => {
    const [first, second, third] = [
      await TestHost.open(registry),
      await TestHost.open(registry),
      await TestHost.open(registry),
    ];
    const held = await first.acquire(registry, { name: "traveller" });
    first.tick(held, 5n);
    done(await first.report(registry, held));
    first.tick(held);
    const handoffId = await first.begin(registry, held, second);
    held.record = done(await second.claim(registry, held.agentId, first.token(held, second, handoffId)));
    held.base = refOf(held.checkpoint);
    expect(refIn(held.record, "head")?.tick).toBe(6n);

    second.tick(held);
    held.record = done(await second.release(registry, held, RetiredReason.DRAINED, held.checkpoint.signed));
    expect(held.record).toMatchObject({ state: AuthorityState.RETIRED, reason: RetiredReason.DRAINED, major: 1n });
    expectRefused(await first.report(registry, held), "NOT_OWNER");
    await registry.sessions.closeSession(second.named);
    expect((await registry.authority.getAgent({ agentId: held.agentId })).ownerSessionVoid).toBe(true);

    const { checkpoint } = held;
    held.record = done(await third.recover(registry, held.agentId, checkpoint.signed, held.record.revision));
    expect(held.record).toMatchObject({ state: AuthorityState.ACTIVE_OWNER, major: 2n, owner: third.session });
    expect(refIn(held.record, "unconfirmed")).toEqual(refOf(checkpoint));
    held.record = done(await third.report(registry, held));
    expect(held.record.unconfirmed).toBeUndefined();

    held.record = done(
      await registry.authority.terminate({ command: third.command(held.agentId, held.record.revision) }),
    );
    expect(held.record).toMatchObject({ state: AuthorityState.RETIRED, major: 2n });
    const { entries } = await registry.authority.getAgentHistory({ agentId: held.agentId });
    expect(entries.map(({ command, major }) => `${command} ${major}`)).toEqual([
      "terminate 2",
      "report_head 2",
      "recover 2",
      "release 1",
      "claim 1",
      "begin_handoff 0",
      "acquire 0",
    ]);
    const listed = await registry.authority.listAgents({ ownerHostId: third.hostId });
    expect(listed.records).toEqual([held.record]);
    expect((await registry.authority.listAgents({ ownerHostId: first.hostId })).records).toEqual([]);
  });

  test("SL-1: of many that open one session with one boot id, one gets a secret, and it is the one that counts", async () => {
    const host = new TestHost();
    host.incarnation = await incarnationOf(registry);
    const opening = toProtoSigned(host.opening(host.incarnation));
    const answers = await Promise.allSettled(
      Array.from({ length: CROWD }, () => registry.sessions.openSession({ opening })),
    );
    const opened = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : []));
    expect(opened).toHaveLength(1);
    for (const error of refused) expect(error).toMatchObject({ code: "SESSION_EXISTS" });
    host.secret = opened[0]?.secret ?? new Uint8Array(32);
    expect(await host.renew(registry)).toBe(1n);
    // Nor does the signed opening open anything once that session has ended.
    await registry.sessions.closeSession(host.named);
    await expect(registry.sessions.openSession({ opening })).rejects.toMatchObject({ code: "SESSION_EXISTS" });
  });

  test("§4: of 32 commands that claim at once, one does, and the others find the handoff superseded", async () => {
    const [source, target] = [await TestHost.open(registry), await TestHost.open(registry)];
    const held = await source.acquire(registry);
    const token = source.token(held, target, await source.begin(registry, held, target));
    const answers = await Promise.all(Array.from({ length: CROWD }, () => target.claim(registry, held.agentId, token)));
    expect(winnersOf(answers)).toHaveLength(1);
    expect(refusalsOf(answers)["HANDOFF_SUPERSEDED"]).toBe(CROWD - 1);
  });

  test("§4: a claim is repeated under its id with the same answer, by its session only, until the record moves on", async () => {
    const [source, target] = [await TestHost.open(registry), await TestHost.open(registry)];
    const held = await source.acquire(registry);
    const token = source.token(held, target, await source.begin(registry, held, target));
    const commandId = randomUUID();
    const answers = await Promise.all(
      Array.from({ length: CROWD }, () => target.claim(registry, held.agentId, token, commandId)),
    );
    const [answer] = answers;
    for (const each of answers) expect(done(each)).toEqual(answer?.record);
    expect(answer?.record?.major).toBe(1n);

    const former = target.session;
    await target.open(registry);
    expect(target.session).not.toEqual(former);
    expectRefused(await target.claim(registry, held.agentId, token, commandId), "HANDOFF_SUPERSEDED");
  });

  test("§4: of 32 hosts that recover at once, one owns the agent under the next major", async () => {
    const [owner, ...takers] = await openMany(registry, CROWD + 1);
    if (owner === undefined) throw new Error("no owner");
    const held = await owner.acquire(registry);
    const recoverAll = () =>
      Promise.all(
        takers.map((taker) => taker.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision)),
      );
    expect(refusalsOf(await recoverAll())).toEqual({ OWNER_ALIVE: CROWD });
    await registry.sessions.closeSession(owner.named);
    const answers = await recoverAll();
    const [winner, ...others] = winnersOf(answers);
    expect(others).toEqual([]);
    const { record } = await registry.authority.getAgent({ agentId: held.agentId });
    expect(record).toEqual(winner?.record);
    expect(record?.major).toBe(1n);
    expect(refusalsOf(answers)["STALE_REVISION"]).toBe(CROWD - 1);
  });

  test("EI-4: a checkpoint that a stranger signed begins, recovers, confirms and announces nothing", async () => {
    const [owner, stranger] = [await TestHost.open(registry), await TestHost.open(registry)];
    const held = await owner.acquire(registry);
    const right = owner.tick(held);
    // Right in all its parts, under the owner's grant, but signed with another key.
    const forged = seal("checkpoint", right.signed.payload, stranger.signer);
    const copy = { ...held, checkpoint: { ...right, signed: forged } };
    const invalid = { code: "CHECKPOINT_INVALID" };
    await expect(owner.begin(registry, copy, stranger)).rejects.toMatchObject(invalid);
    await expect(owner.recover(registry, held.agentId, forged, held.record.revision)).rejects.toMatchObject(invalid);
    expect(Object.keys(await stranger.announce(registry, forged))).toEqual([held.agentId]);
    await registry.sessions.closeSession(owner.named);
    await expect(stranger.recover(registry, held.agentId, forged, held.record.revision)).rejects.toMatchObject(invalid);
    const { record, holders } = await registry.authority.getAgent({ agentId: held.agentId });
    expect(record).toEqual(held.record);
    expect(holders).toEqual([]);
  });
});

describe.each(storeKinds)("silence on the %s store", (kind) => {
  test("SL-2, §8: the agents of a host that fell silent are offered to a holder that renews, and it recovers them", async () => {
    await using ground = await layGround(kind);
    await using registry = await TestRegistry.start(ground, {
      leaseDurationMs: 3_000,
      leaseGraceMs: 1_000,
      renewEveryMs: 100,
      lookEveryMs: 50,
      nextHolderAfterMs: 100,
      offerScanEveryMs: 500,
    });
    const [silent, holder] = [await TestHost.open(registry), await TestHost.open(registry)];
    const held = await silent.acquire(registry);
    await holder.announce(registry, held.checkpoint.signed);
    const stopping = new AbortController();
    const offers = registry.authority
      .watchOffers(holder.named, { signal: stopping.signal, timeoutMs: 60_000 })
      [Symbol.asyncIterator]();
    let offered: string | undefined;
    const waiting = offers.next().then((answer) => {
      offered = answer.done === true ? "" : answer.value.record?.agentId;
    });
    // The holder renews for as long as it takes; the other one says nothing.
    await expect
      .poll(async () => [await holder.renew(registry).then(() => "renewed"), offered], patience)
      .toEqual(["renewed", held.agentId]);
    await waiting;
    stopping.abort();
    await expect(silent.renew(registry)).rejects.toMatchObject({ code: "SESSION_VOID" });
    const command = silent.command(held.agentId, held.record.revision);
    expectRefused(await registry.authority.revertHandoff({ command }), "SESSION_VOID");
    const taken = done(await holder.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision));
    expect(taken).toMatchObject({ major: 1n, owner: holder.session });
  });
});

describe("two registries on one Redis", () => {
  test("§4: claims and recoveries that reach different replicas have one winner", async () => {
    await using ground = await layGround("redis");
    await using one = await TestRegistry.start(ground);
    await using two = await TestRegistry.start(ground);
    const via = (n: number) => (n % 2 === 0 ? one : two);
    for (let round = 0; round < 5; round++) {
      const [source, target] = [await TestHost.open(one), await TestHost.open(two)];
      const held = await source.acquire(two);
      const token = source.token(held, target, await source.begin(one, held, target));
      const { revision } = held.record;
      const answers = await Promise.all(
        Array.from({ length: CROWD }, (_, n) =>
          n % 4 < 2
            ? target.claim(via(n), held.agentId, token)
            : source.recover(via(n), held.agentId, held.checkpoint.signed, revision),
        ),
      );
      const [winner, ...others] = winnersOf(answers);
      expect(others).toEqual([]);
      const seen = await Promise.all([one, two].map(({ authority }) => authority.getAgent({ agentId: held.agentId })));
      for (const { record } of seen) expect(record).toEqual(winner?.record);
      expect(winner?.record?.major).toBe(1n);
    }
  });

  test("SL-2: a session that one replica closes is void at once for the other", async () => {
    await using ground = await layGround("redis");
    await using one = await TestRegistry.start(ground);
    await using two = await TestRegistry.start(ground);
    const [owner, taker] = [await TestHost.open(one), await TestHost.open(two)];
    const held = await owner.acquire(one);
    await two.sessions.closeSession(owner.named);
    expectRefused(await owner.report(one, held), "SESSION_VOID");
    const taken = done(await taker.recover(one, held.agentId, held.checkpoint.signed, held.record.revision));
    expect((await two.authority.getAgent({ agentId: held.agentId })).record).toEqual(taken);
  });

  test("§8: a holder that listens at one replica is offered what was released at the other", async () => {
    await using ground = await layGround("redis");
    const rules = { nextHolderAfterMs: 100, offerScanEveryMs: 100 };
    await using one = await TestRegistry.start(ground, rules);
    await using two = await TestRegistry.start(ground, rules);
    const [owner, holder] = [await TestHost.open(one), await TestHost.open(two)];
    const held = await owner.acquire(one);
    await holder.announce(one, held.checkpoint.signed);
    const stopping = new AbortController();
    const offers = two.authority
      .watchOffers(holder.named, { signal: stopping.signal, timeoutMs: 60_000 })
      [Symbol.asyncIterator]();
    const first = offers.next();
    await expect.poll(() => two.graph.offers.listening, patience).toBe(1);
    done(await owner.release(one, held, RetiredReason.DRAINED, held.checkpoint.signed));
    expect((await first).value?.record?.agentId).toBe(held.agentId);
    stopping.abort();
  });
});

describe("Redis forgets its scripts, not its data", () => {
  test("batches and announcements go on when the scripts were flushed away", async () => {
    await using ground = await layGround("redis");
    await using registry = await TestRegistry.start(ground);
    const [owner, holder] = [await TestHost.open(registry), await TestHost.open(registry)];
    const agents = [await owner.acquire(registry), await owner.acquire(registry)];
    const reportAll = async () => {
      const reports = agents.map((held) => ({
        commandId: randomUUID(),
        agentId: held.agentId,
        era: 0n,
        major: 0n,
        head: toProtoSigned(owner.tick(held).signed),
      }));
      const { results } = await registry.authority.reportHeads({ ...owner.named, reports });
      for (const result of results) done(result);
    };
    await reportAll();
    await holder.announce(registry, ...agents.map(({ checkpoint }) => checkpoint.signed));
    if (ground.redis === undefined) throw new Error("no Redis");
    const redis = new Redis(ground.redis.url);
    await redis.script("FLUSH");
    redis.disconnect();
    await reportAll();
    await holder.announce(registry, ...agents.map(({ checkpoint }) => checkpoint.signed));
    for (const { agentId } of agents) {
      expect((await registry.authority.getAgent({ agentId })).holders).toHaveLength(1);
    }
    expect(await holder.renew(registry)).toBe(1n);
  });

  test("a Redis that stands still ends reads of several commands in time, too", async () => {
    await using ground = await layGround("redis");
    await using registry = await TestRegistry.start(ground);
    const host = await TestHost.open(registry);
    const held = await host.acquire(registry);
    ground.redis?.pause();
    const failed = { code: "STORE_UNAVAILABLE" };
    await expect(registry.authority.getAgent({ agentId: held.agentId })).rejects.toMatchObject(failed);
    host.tick(held);
    await expect(host.report(registry, held)).rejects.toMatchObject(failed);
    ground.redis?.resume();
    await expect.poll(() => registry.graph.store.trouble(), patience).toBeUndefined();
    done(await host.report(registry, held));
  });
});
