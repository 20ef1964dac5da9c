// Sessions, refusals and bad input through real gRPC, on both stores.

import { randomBytes, randomUUID } from "node:crypto";
import { toProtoSigned } from "@godwit/lineage";
import { Outcome } from "@godwit/proto/godwit/registry/v1/directory";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { done, expectRefused, incarnationOf, TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { type Ground, layGround, storeKinds } from "./fixtures/stores.ts";

describe.each(storeKinds)("sessions on the %s store", (kind) => {
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

  test("§2: opening is signed with the host's own key, under the present incarnation", async () => {
    const host = new TestHost();
    const open = (opening: ReturnType<TestHost["opening"]>) =>
      registry.sessions.openSession({ opening: toProtoSigned(opening) });
    const incarnation = await incarnationOf(registry);
    await expect(open(host.opening(incarnation, new TestHost().signer))).rejects.toMatchObject({
      code: "SIGNATURE_INVALID",
    });
    await expect(open(host.opening("another"))).rejects.toMatchObject({
      code: "STALE_INCARNATION",
      detail: { current: incarnation },
    });
    const opened = await open(host.opening(incarnation));
    expect(opened.secret).toHaveLength(32);
    expect(opened.rules).toMatchObject({ durationMs: 300_000, graceMs: 2_000, renewEveryMs: 3_000 });
    await expect(open(host.opening(incarnation))).rejects.toMatchObject({ code: "SESSION_EXISTS" });
  });

  test("SL-1: every renewal adds one; a renewal after the end is refused", async () => {
    const host = await TestHost.open(registry);
    expect([await host.renew(registry), await host.renew(registry)]).toEqual([1n, 2n]);
    await registry.sessions.closeSession(host.named);
    await expect(host.renew(registry)).rejects.toMatchObject({ code: "SESSION_VOID" });
    await expect(registry.sessions.closeSession(host.named)).rejects.toMatchObject({ code: "SESSION_VOID" });
  });

  test("a renewal without the secret, of an unknown session or under another incarnation is refused", async () => {
    const host = await TestHost.open(registry);
    const renew = (changes: object) => registry.sessions.renewSession({ ...host.named, generation: 0n, ...changes });
    const wrong = { session: host.session, secret: new Uint8Array(randomBytes(32)) };
    await expect(renew({ caller: wrong })).rejects.toMatchObject({ code: "BAD_SECRET" });
    const unknown = { session: { ...host.session, bootId: "never" }, secret: host.secret };
    await expect(renew({ caller: unknown })).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    await expect(renew({ incarnation: "another" })).rejects.toMatchObject({ code: "STALE_INCARNATION" });
    expect(await host.renew(registry)).toBe(1n);
  });

  test("GA-5: a host closes an earlier session of its own, and of nobody else", async () => {
    const host = await TestHost.open(registry);
    const held = await host.acquire(registry);
    const earlier = host.bootId;
    await host.open(registry);
    expectRefused(
      await host.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision),
      "OWNER_ALIVE",
    );
    await registry.sessions.closeSession({ ...host.named, earlierBootId: earlier });
    const record = done(await host.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision));
    expect(record).toMatchObject({ major: 1n, owner: host.session });
    // The boot id of another host's session is no session of this host.
    const other = await TestHost.open(registry);
    await registry.sessions.closeSession({ ...host.named, earlierBootId: other.bootId });
    expect(await other.renew(registry)).toBe(1n);
  });

  test("§4: commands of a void session, without the secret, of nobody, under another incarnation: the first reason that holds", async () => {
    const host = await TestHost.open(registry);
    const held = await host.acquire(registry);
    const revert = (changes: object) =>
      registry.authority.revertHandoff({ command: { ...host.command(held.agentId, 1n), ...changes } });
    const wrong = { session: host.session, secret: new Uint8Array(32) };
    expectRefused(await revert({ caller: wrong }), "BAD_SECRET");
    expectRefused(await revert({ caller: wrong, incarnation: "another" }), "STALE_INCARNATION");
    const nobody = { session: { ...host.session, bootId: "never" }, secret: host.secret };
    expectRefused(await revert({ caller: nobody }), "SESSION_UNKNOWN");
    expectRefused(await revert({ agentId: "0".repeat(64) }), "NO_RECORD");
    await registry.sessions.closeSession(host.named);
    const answer = await revert({});
    expectRefused(answer, "SESSION_VOID");
    expect(answer.record?.revision).toBe(1n);
    expect(answer.incarnation).toBe(host.incarnation);
  });

  test("§2: an agent is made once, by the host in its genesis, under the present incarnation", async () => {
    const [host, other] = [await TestHost.open(registry), await TestHost.open(registry)];
    const { agentId, checkpoint } = host.conceive();
    const head = toProtoSigned(checkpoint.signed);
    const acquire = (by: TestHost, id = agentId, shown = head) =>
      registry.authority.acquire({ command: by.command(id), head: shown });
    expectRefused(await acquire(other), "BAD_GENESIS");
    expectRefused(await acquire(host, "1".repeat(64)), "BAD_GENESIS");
    const foreign = host.conceive({ incarnation: "another" });
    expectRefused(await acquire(host, foreign.agentId, toProtoSigned(foreign.checkpoint.signed)), "BAD_GENESIS");
    const forged = { ...head, signature: new Uint8Array(64) };
    await expect(acquire(host, agentId, forged)).rejects.toMatchObject({ code: "CHECKPOINT_INVALID" });
    done(await acquire(host));
    expectRefused(await acquire(host), "EXISTS");
  });

  test("a token that is forged, for another host or another checkpoint claims nothing", async () => {
    const [source, target, thief] = [
      await TestHost.open(registry),
      await TestHost.open(registry),
      await TestHost.open(registry),
    ];
    const held = await source.acquire(registry);
    const handoffId = await source.begin(registry, held, target);
    const right = source.token(held, target, handoffId);
    expectRefused(await thief.claim(registry, held.agentId, right), "BAD_TOKEN");
    const forged = thief.token(held, target, handoffId);
    expectRefused(await target.claim(registry, held.agentId, forged), "BAD_TOKEN");
    const redirected = source.token(held, thief, handoffId);
    expectRefused(await thief.claim(registry, held.agentId, redirected), "BAD_TOKEN");
    const frozen = held.checkpoint;
    source.tick(held);
    const later = source.token(held, target, handoffId);
    expectRefused(await target.claim(registry, held.agentId, later), "BAD_TOKEN");
    held.checkpoint = frozen;
    expectRefused(
      await target.claim(registry, held.agentId, source.token(held, target, "another")),
      "HANDOFF_SUPERSEDED",
    );
    const { record } = await registry.authority.getAgent({ agentId: held.agentId });
    expect(record?.revision).toBe(held.record.revision);
    done(await target.claim(registry, held.agentId, right));
  });

  test("bad input is a typed refusal that names the field", async () => {
    const host = await TestHost.open(registry);
    const held = await host.acquire(registry);
    const { authority, directory, sessions } = registry;
    const header = host.command(held.agentId, 1n);
    const head = toProtoSigned(held.checkpoint.signed);
    const begin = { command: header, handoffId: "h", targetHostId: host.hostId, head };
    const bad: readonly [string, () => Promise<unknown>][] = [
      ["opening", () => sessions.openSession({})],
      [
        "opening",
        () => sessions.openSession({ opening: { payload: new Uint8Array(3), signature: new Uint8Array(64) } }),
      ],
      ["caller", () => sessions.renewSession({ incarnation: "i" })],
      ["caller.secret", () => sessions.renewSession({ caller: { session: host.session }, incarnation: "i" })],
      [
        "caller.session.boot_id",
        () => sessions.renewSession({ caller: { session: { hostId: host.hostId, bootId: "a/b" } } }),
      ],
      ["caller.session.host_id", () => sessions.renewSession({ caller: { session: { hostId: "me", bootId: "b" } } })],
      ["incarnation", () => sessions.renewSession({ caller: host.caller })],
      ["earlier_boot_id", () => sessions.closeSession({ ...host.named, earlierBootId: "a b" })],
      ["command", () => authority.terminate({})],
      ["agent_id", () => authority.terminate({ command: { ...header, agentId: "zz" } })],
      ["command_id", () => authority.terminate({ command: { ...header, commandId: "" } })],
      ["head", () => authority.recover({ command: header })],
      ["head", () => authority.recover({ command: header, head: { ...head, signature: new Uint8Array(3) } })],
      ["head", () => authority.recover({ command: header, head: { ...head, payload: new Uint8Array(70_000) } })],
      ["handoff_id", () => authority.beginHandoff({ ...begin, handoffId: "" })],
      ["target_host_id", () => authority.beginHandoff({ ...begin, targetHostId: "someone" })],
      ["reason", () => authority.release({ command: header })],
      ["reason", () => authority.declareRecovery({ command: header, reason: "a\u001b[31m" })],
      ["token", () => authority.claim({ command: header })],
      ["agent_id", () => authority.getAgent({ agentId: "" })],
      ["agent_id", () => authority.getAgentHistory({ agentId: "x" })],
      ["page_size", () => authority.listAgents({ pageSize: 1_001 })],
      ["page_token", () => authority.listAgents({ pageToken: "?" })],
      ["owner_host_id", () => authority.listAgents({ ownerHostId: "me" })],
      ["reports", () => authority.reportHeads({ ...host.named, reports: Array.from({ length: 1_001 }, () => ({})) })],
      ["withdrawn_agent_ids[0]", () => authority.announce({ ...host.named, withdrawnAgentIds: ["x"] })],
      ["held[0]", () => authority.announce({ ...host.named, held: [{}] })],
      ["info", () => directory.registerHost(host.named)],
      ["info.host_id", () => directory.registerHost({ ...host.named, info: { hostId: new TestHost().hostId } })],
      ["info.name", () => directory.registerHost({ ...host.named, info: { hostId: host.hostId, name: "\n" } })],
      [
        "info.capabilities",
        () => directory.registerHost({ ...host.named, info: { hostId: host.hostId, capabilities: [""] } }),
      ],
      ["limit", () => directory.selectCandidates({ limit: 101 })],
      ["outcome", () => directory.reportOutcome({ ...host.named, hostId: host.hostId })],
      ["host_id", () => directory.reportOutcome({ ...host.named, hostId: "me", outcome: Outcome.FAILURE })],
    ];
    for (const [field, call] of bad) {
      await expect(call(), field).rejects.toMatchObject({ code: "INVALID_ARGUMENT", detail: { field } });
    }
    const cut = { payload: head.payload.subarray(0, 40), signature: head.signature };
    await expect(authority.recover({ command: header, head: cut })).rejects.toMatchObject({
      code: "CHECKPOINT_INVALID",
    });
    const { record } = await authority.getAgent({ agentId: held.agentId });
    expect(record).toEqual(held.record);
  });

  test("an announcement counts only for checkpoints that verify", async () => {
    const [owner, holder] = [await TestHost.open(registry), await TestHost.open(registry)];
    const [good, bad] = [await owner.acquire(registry), await owner.acquire(registry)];
    const forged = { payload: bad.checkpoint.signed.payload, signature: good.checkpoint.signed.signature };
    const refused = await holder.announce(registry, forged, good.checkpoint.signed);
    expect(Object.keys(refused)).toEqual([bad.agentId]);
    const holders = async (agentId: string) => (await registry.authority.getAgent({ agentId })).holders.length;
    expect([await holders(good.agentId), await holders(bad.agentId)]).toEqual([1, 0]);
    await registry.authority.announce({ ...holder.named, withdrawnAgentIds: [good.agentId] });
    expect(await holders(good.agentId)).toBe(0);
    const wrong = { ...holder.named, caller: { session: holder.session, secret: new Uint8Array(32) } };
    await expect(registry.authority.announce(wrong)).rejects.toMatchObject({ code: "BAD_SECRET" });
  });

  test("a stream of offers needs a session, and ends with it", async () => {
    const host = await TestHost.open(registry);
    const wrong = { ...host.named, caller: { session: host.session, secret: new Uint8Array(32) } };
    const first = (request: typeof host.named) =>
      registry.authority.watchOffers(request, { timeoutMs: 40_000 })[Symbol.asyncIterator]().next();
    await expect(first(wrong)).rejects.toMatchObject({ code: "BAD_SECRET" });
    const waiting = first(host.named);
    waiting.catch(() => {});
    await expect.poll(() => registry.graph.offers.listening).toBe(1);
    await registry.sessions.closeSession(host.named);
    await expect(waiting).rejects.toMatchObject({ code: "SESSION_VOID" });
  });

  describe("the directory", () => {
    test("T-51, GH-7: candidates by price, then failures, then when they were seen; drained, dead and failing ones are none", async () => {
      const names = ["cheap", "same", "dear", "unknown", "draining", "dead", "failing", "bare"];
      const hosts = new Map<string, TestHost>();
      for (const name of names) hosts.set(name, await TestHost.open(registry));
      const host = (name: string) => hosts.get(name) ?? new TestHost();
      const mine = `cap-${randomUUID()}`;
      const prices: Record<string, bigint> = {
        cheap: 5n,
        same: 5n,
        dear: 50n,
        draining: 1n,
        dead: 1n,
        failing: 1n,
        bare: 1n,
      };
      for (const name of names) {
        const capabilities = name === "bare" ? ["clock"] : ["clock", mine];
        await host(name).register(registry, { name, capabilities, pricePerSecond: prices[name] ?? 0n });
      }
      await registry.directory.drainHost({ hostId: host("draining").hostId, draining: true });
      await registry.sessions.closeSession(host("dead").named);
      const report = (name: string, outcome: Outcome) =>
        registry.directory.reportOutcome({ ...host("cheap").named, hostId: host(name).hostId, outcome });
      for (let n = 1; n <= 4; n++) expect((await report("failing", Outcome.FAILURE)).consecutiveFailures).toBe(n);
      await report("same", Outcome.FAILURE);

      const select = async (wishes: object) => {
        const wanted = { requiredCapabilities: [mine], ...wishes };
        const { hosts: found } = await registry.directory.selectCandidates(wanted);
        return found.map(({ info }) => info?.name);
      };
      expect(await select({})).toEqual(["cheap", "same", "dear", "unknown"]);
      expect(await select({ maxPricePerSecond: 5n })).toEqual(["cheap", "same", "unknown"]);
      expect(await select({ excludedHostIds: [host("cheap").hostId] })).toEqual(["same", "dear", "unknown"]);
      expect(await select({ maxFailures: 0 })).toEqual(["cheap", "dear", "unknown"]);
      expect(await select({ maxFailures: 4, limit: 1 })).toEqual(["failing"]);
      expect((await report("failing", Outcome.SUCCESS)).consecutiveFailures).toBe(0);
      expect(await select({ limit: 1 })).toEqual(["failing"]);
      await registry.directory.drainHost({ hostId: "draining", draining: false });
      expect(await select({ limit: 2 })).toContain("draining");
    });

    test("a host is found by id, by the beginning of its id, and by its name", async () => {
      const host = await TestHost.open(registry);
      const name = `host-${randomUUID()}`;
      await host.register(registry, { name, addresses: ["/ip4/127.0.0.1/tcp/1"], grpcAddress: "127.0.0.1:1" });
      const get = async (hostId: string) => (await registry.directory.getHost({ hostId })).host;
      const found = await get(host.hostId);
      expect(found).toMatchObject({ live: true, draining: false, consecutiveFailures: 0, info: { name } });
      expect(await get(name)).toEqual(found);
      expect(await get(host.hostId.slice(0, 30))).toEqual(found);
      await expect(get("nobody")).rejects.toMatchObject({ code: "HOST_UNKNOWN" });
      await expect(get("12D3Koo")).rejects.toMatchObject({ code: "AMBIGUOUS_ID" });
      const { hosts, nextPageToken } = await registry.directory.listHosts({ pageSize: 1 });
      const rest = await registry.directory.listHosts({ pageToken: nextPageToken });
      const ids = [...hosts, ...rest.hosts].map(({ info }) => info?.hostId ?? "");
      expect(ids).toContain(host.hostId);
      expect(ids).toEqual(ids.toSorted());
    });
  });
});
