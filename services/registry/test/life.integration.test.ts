// Whole lives through real gRPC, on both stores.

import { randomUUID } from "node:crypto";
import { fromProtoSigned, readGrant, readTermination, refOf, toProtoSigned } from "@godwit/lineage";
import { AuthorityState, RetiredReason } from "@godwit/proto/godwit/registry/v1/authority";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { done, expectRefused, refIn, TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { type Ground, layGround, storeKinds } from "./fixtures/stores.ts";

describe.each(storeKinds)("an agent's life on the %s store", (kind) => {
  let ground: Ground;
  let registry: TestRegistry;
  let publicKey: Uint8Array;

  beforeAll(async () => {
    ground = await layGround(kind);
    registry = await TestRegistry.start(ground, { nextHolderAfterMs: 100, offerScanEveryMs: 200 });
    ({ publicKey } = await registry.sessions.describeRegistry({}));
  });
  afterAll(async () => {
    try {
      await registry.stop();
    } finally {
      await ground[Symbol.asyncDispose](); // also when it did not start
    }
  });

  const closeSession = (host: TestHost) => registry.sessions.closeSession(host.named);

  test("acquire gives major 0 and a grant that names agent, session and incarnation", async () => {
    const host = await TestHost.open(registry);
    const held = await host.acquire(registry, { name: "first" });
    expect(held.record).toMatchObject({ state: AuthorityState.ACTIVE_OWNER, revision: 1n, major: 0n, name: "first" });
    expect(refIn(held.record, "head")).toEqual(refOf(held.checkpoint));
    if (held.record.grant === undefined) throw new Error("no grant");
    expect(readGrant(fromProtoSigned(held.record.grant), publicKey)).toMatchObject({
      agentId: held.agentId,
      era: 0n,
      major: 0n,
      session: host.session,
      incarnation: host.incarnation,
    });
  });

  test("an agent moves: begin, claim by the target, ticks on under major 1; then terminated", async () => {
    const [source, target] = [await TestHost.open(registry), await TestHost.open(registry)];
    const held = await source.acquire(registry, { name: "mover" });
    const frozen = source.tick(held, 3n);
    const handoffId = await source.begin(registry, held, target);
    expect(held.record).toMatchObject({ state: AuthorityState.HANDOFF_INITIATED, revision: 2n });
    expect(refIn(held.record, "head")).toEqual(refOf(frozen));

    const token = source.token(held, target, handoffId);
    const commandId = randomUUID();
    const claimed = done(await target.claim(registry, held.agentId, token, commandId));
    expect(claimed).toMatchObject({ state: AuthorityState.ACTIVE_OWNER, major: 1n, revision: 3n });
    expect(claimed.owner).toMatchObject(target.session);

    // A claim whose answer was lost is repeated, and answered the same.
    expect(done(await target.claim(registry, held.agentId, token, commandId))).toEqual(claimed);
    // Another command with the same token comes too late.
    expectRefused(await target.claim(registry, held.agentId, token), "HANDOFF_SUPERSEDED");

    held.record = claimed;
    held.base = refOf(frozen);
    target.tick(held);
    done(await target.report(registry, held));
    const { record } = await registry.authority.getAgent({ agentId: held.agentId });
    expect(refIn(record, "head")).toEqual(refOf(held.checkpoint));
    expect(record?.revision).toBe(3n);

    const terminated = done(
      await registry.authority.terminate({ command: target.command(held.agentId, claimed.revision) }),
    );
    if (terminated.terminated === undefined) throw new Error("no termination");
    expect(readTermination(fromProtoSigned(terminated.terminated), publicKey)).toMatchObject({
      agentId: held.agentId,
      major: 1n,
    });
    expectRefused(
      await target.recover(registry, held.agentId, held.checkpoint.signed, terminated.revision),
      "TERMINATED",
    );

    const { entries } = await registry.authority.getAgentHistory({ agentId: held.agentId });
    expect(entries.map(({ command, note }) => [command, note])).toEqual([
      ["terminate", "gone for good"],
      ["claim", `handoff ${handoffId} from host ${source.hostId}`],
      ["begin_handoff", `to host ${target.hostId}, handoff ${handoffId}`],
      ["acquire", "created as mover"],
    ]);
  });

  test("a begun handoff is reverted; its token is dead, and so is a repeated begin", async () => {
    const [source, target] = [await TestHost.open(registry), await TestHost.open(registry)];
    const held = await source.acquire(registry);
    const before = held.record.revision;
    const handoffId = await source.begin(registry, held, target);
    const token = source.token(held, target, handoffId);
    held.record = done(
      await registry.authority.revertHandoff({ command: source.command(held.agentId, held.record.revision) }),
    );
    expect(held.record).toMatchObject({ state: AuthorityState.ACTIVE_OWNER, major: 0n });
    expect(held.record.handoff).toBeUndefined();
    expectRefused(await target.claim(registry, held.agentId, token), "HANDOFF_SUPERSEDED");
    const late = await registry.authority.beginHandoff({
      command: source.command(held.agentId, before),
      handoffId,
      targetHostId: target.hostId,
      head: toProtoSigned(held.checkpoint.signed),
    });
    expectRefused(late, "STALE_REVISION");
  });

  test("FS-2: the owner recovers after an unknown handoff, and the token that is still out there is dead", async () => {
    const [source, target] = [await TestHost.open(registry), await TestHost.open(registry)];
    const held = await source.acquire(registry);
    const handoffId = await source.begin(registry, held, target);
    const token = source.token(held, target, handoffId);
    held.record = done(await source.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision));
    expect(held.record).toMatchObject({ state: AuthorityState.ACTIVE_OWNER, major: 1n });
    expect(held.record.unconfirmed).toBeUndefined();
    expectRefused(await target.claim(registry, held.agentId, token), "HANDOFF_SUPERSEDED");
  });

  test("§8: the agents of a closed session are offered to who holds the newest checkpoint, who recovers and confirms", async () => {
    const [owner, near, far] = [
      await TestHost.open(registry),
      await TestHost.open(registry),
      await TestHost.open(registry),
    ];
    const held = await owner.acquire(registry);
    const old = owner.tick(held);
    const fresh = owner.tick(held);
    const lost = owner.tick(held);
    done(await owner.report(registry, held));
    await near.announce(registry, fresh.signed);
    await far.announce(registry, old.signed);
    const offers = nextOffers(registry, near, far);
    const early = await near.recover(registry, held.agentId, fresh.signed, held.record.revision);
    expectRefused(early, "OWNER_ALIVE");

    await closeSession(owner);
    const [offered] = await offers.first(near);
    expect(offered?.agentId).toBe(held.agentId);
    expectRefused(await far.recover(registry, held.agentId, old.signed, held.record.revision), "STALE_CHECKPOINT");

    const taken = done(await near.recover(registry, held.agentId, fresh.signed, offered?.revision ?? 0n));
    expect(taken).toMatchObject({ major: 1n, state: AuthorityState.ACTIVE_OWNER });
    expect(refIn(taken, "unconfirmed")).toEqual(refOf(fresh));
    expect(refIn(taken, "head")).toEqual(refOf(lost));

    const mine = { ...held, record: taken, checkpoint: fresh, base: refOf(fresh) };
    const tooEarly = await registry.authority.beginHandoff({
      command: near.command(held.agentId, taken.revision),
      handoffId: "h-1",
      targetHostId: far.hostId,
      head: toProtoSigned(fresh.signed),
    });
    expectRefused(tooEarly, "BASE_UNCONFIRMED");
    const confirmed = done(await near.report(registry, mine, fresh.signed));
    expect(confirmed.revision).toBe(taken.revision + 1n);
    expect(confirmed.unconfirmed).toBeUndefined();
    expect(refIn(confirmed, "head")).toEqual(refOf(fresh));

    const { entries } = await registry.authority.getAgentHistory({ agentId: held.agentId });
    expect(entries.map(({ command }) => command)).toEqual(["report_head", "recover", "acquire"]);
    expect(entries[1]?.note).toBe(`from host ${owner.hostId}, from tick 2, rolled back from tick 3`);
    offers.stop();
  });

  test("§8: what was drained is offered although its owner lives; what was stopped is not, but may be asked for", async () => {
    const [owner, holder] = [await TestHost.open(registry), await TestHost.open(registry)];
    const [drained, stopped] = [await owner.acquire(registry), await owner.acquire(registry)];
    await holder.announce(registry, drained.checkpoint.signed, stopped.checkpoint.signed);
    const offers = nextOffers(registry, holder);
    stopped.record = done(await owner.release(registry, stopped, RetiredReason.STOPPED, stopped.checkpoint.signed));
    done(await owner.release(registry, drained, RetiredReason.DRAINED, drained.checkpoint.signed));
    const [offered] = await offers.first(holder);
    expect(offered?.agentId).toBe(drained.agentId);
    offers.stop();
    // An operator's word on the holder's side.
    const taken = done(
      await holder.recover(registry, stopped.agentId, stopped.checkpoint.signed, stopped.record.revision),
    );
    expect(taken.owner).toMatchObject(holder.session);
    const { entries } = await registry.authority.getAgentHistory({ agentId: stopped.agentId });
    expect(entries.map(({ note }) => note).slice(1)).toEqual(["stopped", "created"]);
  });

  test("§8: a deaf holder does not block the others: the next one is offered the agent a while later", async () => {
    const [owner, deaf, ready] = [
      await TestHost.open(registry),
      await TestHost.open(registry),
      await TestHost.open(registry),
    ];
    const held = await owner.acquire(registry);
    await deaf.announce(registry, held.checkpoint.signed);
    await ready.announce(registry, held.checkpoint.signed);
    const offers = nextOffers(registry, ready);
    await closeSession(owner);
    const [offered] = await offers.first(ready);
    expect(offered?.agentId).toBe(held.agentId);
    offers.stop();
  });

  test("EI-11: two checkpoints of one tick are a conflict that only an operator ends", async () => {
    const owner = await TestHost.open(registry);
    const held = await owner.acquire(registry);
    const before = held.checkpoint;
    const one = owner.tick(held, 1n, "one");
    done(await owner.report(registry, held));
    held.checkpoint = before;
    const two = owner.tick(held, 1n, "two");
    const answer = await owner.report(registry, held, two.signed);
    expectRefused(answer, "DIVERGENT_LINEAGE");
    expect(answer.record).toMatchObject({ state: AuthorityState.RECOVERY_REQUIRED, revision: 2n });
    expect(answer.record?.conflict).toMatchObject({ tick: 1n, major: 0n });
    const again = await owner.recover(registry, held.agentId, one.signed, 2n);
    expectRefused(again, "DIVERGENT_LINEAGE");
    const { entries } = await registry.authority.getAgentHistory({ agentId: held.agentId });
    expect(entries[0]?.command).toBe("conflict");
  });

  test("EI-11: a forged checkpoint makes no conflict", async () => {
    const owner = await TestHost.open(registry);
    const held = await owner.acquire(registry);
    const before = held.checkpoint;
    owner.tick(held, 1n, "one");
    done(await owner.report(registry, held));
    const good = held.checkpoint;
    held.checkpoint = before;
    const two = owner.tick(held, 1n, "two");
    const forged = { payload: two.signed.payload, signature: good.signed.signature };
    const answer = await owner.report(registry, held, forged);
    expectRefused(answer, "STALE_CHECKPOINT");
    expect(answer.message).toContain("signature");
    const { record } = await registry.authority.getAgent({ agentId: held.agentId });
    expect(record).toMatchObject({ state: AuthorityState.ACTIVE_OWNER, revision: 1n });
    expect(record?.conflict).toBeUndefined();
    await expect(owner.recover(registry, held.agentId, forged, held.record.revision)).rejects.toMatchObject({
      code: "CHECKPOINT_INVALID",
    });
  });

  test("many clients claim at once: one owner per major", async () => {
    const source = await TestHost.open(registry);
    const target = new TestHost();
    await target.open(registry);
    const held = await source.acquire(registry);
    const handoffId = await source.begin(registry, held, target);
    const token = source.token(held, target, handoffId);
    const claims = Array.from({ length: 16 }, () => target.claim(registry, held.agentId, token));
    const recoveries = Array.from({ length: 4 }, () =>
      source.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision),
    );
    const answers = await Promise.all([...claims, ...recoveries]);
    expect(answers.filter(({ refusal }) => refusal === 0)).toHaveLength(1);
    const { record } = await registry.authority.getAgent({ agentId: held.agentId });
    expect(record?.major).toBe(1n);
  });

  test("a batch of reports is answered one by one, in order", async () => {
    const [owner, other] = [await TestHost.open(registry), await TestHost.open(registry)];
    const mine = [];
    for (let n = 0; n < 150; n++) mine.push(await owner.acquire(registry));
    const foreign = await other.acquire(registry);
    const all = [...mine, foreign];
    for (const held of mine) owner.tick(held);
    const reports = all.map((held) => ({
      commandId: randomUUID(),
      agentId: held.agentId,
      era: 0n,
      major: 0n,
      head: toProtoSigned(held.checkpoint.signed),
    }));
    const first = reports[0];
    if (first === undefined) throw new Error("no report");
    const { results } = await registry.authority.reportHeads({ ...owner.named, reports: [...reports, first] });
    expect(results).toHaveLength(152);
    for (const result of [...results.slice(0, 150), results[151]]) expect(result?.refusal).toBe(0);
    if (results[150] === undefined) throw new Error("no answer");
    expectRefused(results[150], "NOT_OWNER");
    const last = mine.at(-1);
    const { record } = await registry.authority.getAgent({ agentId: last?.agentId ?? "" });
    expect(refIn(record, "head")?.tick).toBe(1n);
  });

  test("agents are listed in pages, of one host, and found by a prefix that only one has", async () => {
    const owner = await TestHost.open(registry);
    const ids = [];
    for (let n = 0; n < 5; n++) ids.push((await owner.acquire(registry)).agentId);
    ids.sort();
    const { authority } = registry;
    const first = await authority.listAgents({ pageSize: 2, ownerHostId: owner.hostId });
    const second = await authority.listAgents({
      pageSize: 3,
      pageToken: first.nextPageToken,
      ownerHostId: owner.hostId,
    });
    expect([...first.records, ...second.records].map(({ agentId }) => agentId)).toEqual(ids);
    const [id = ""] = ids;
    expect((await authority.getAgent({ agentId: id.slice(0, 30) })).record?.agentId).toBe(id);
    await expect(authority.getAgent({ agentId: "0".repeat(63) })).rejects.toMatchObject({ code: "AGENT_UNKNOWN" });
    // A hundred and more agents cannot all begin with different digits.
    const all = (await authority.listAgents({ pageSize: 1_000 })).records.map(({ agentId }) => agentId);
    const twice = all.map((agentId) => agentId.slice(0, 1)).find((digit, at, digits) => digits.indexOf(digit) !== at);
    await expect(authority.getAgent({ agentId: twice ?? "" })).rejects.toMatchObject({ code: "AMBIGUOUS_ID" });
  });
});

/** Listens for offers on behalf of hosts. */
function nextOffers(registry: TestRegistry, ...hosts: readonly TestHost[]) {
  const stopping = new AbortController();
  const streams = new Map(
    hosts.map((host) => [
      host,
      registry.authority
        .watchOffers(host.named, { signal: stopping.signal, timeoutMs: 60_000 })
        [Symbol.asyncIterator](),
    ]),
  );
  const pending = new Map([...streams].map(([host, stream]) => [host, stream.next()]));
  for (const answer of pending.values()) answer.catch(() => {});
  return {
    first: async (host: TestHost) => {
      const answer = await pending.get(host);
      return answer?.done === false ? [answer.value.record] : [];
    },
    stop: () => stopping.abort(),
  };
}
