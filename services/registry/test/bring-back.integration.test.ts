// What hosts bring back in quarantine (GA-7), what nobody brought back (GA-9), and an operator's choice (§4), through real gRPC
// on both stores. Time moves only as the test says, so a quarantine ends when the test has seen enough of it.

import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import {
  digestOf,
  digestToBytes,
  fromProtoSigned,
  issueGrant,
  issueTermination,
  readGrant,
  refOf,
  type Signer,
  seal,
  signerFromSeed,
  toProtoRef,
  toProtoSigned,
} from "@godwit/lineage";
import {
  type CommandResponse,
  type ReassertItemSchema,
  ReassertItemsSchema,
  ReassertionSchema,
} from "@godwit/proto/godwit/registry/v1/authority";
import { FakeClock } from "@godwit/testing";
import { describe, expect, test } from "vitest";
import { findKey } from "../src/mark/key-file.ts";
import { done, expectRefused, type Held, incarnationOf, nameOf, TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { type Ground, layGround, type StoreKind, storeKinds } from "./fixtures/stores.ts";

type Item = MessageInitShape<typeof ReassertItemSchema>;

const choices = { leaseDurationMs: 10_000, leaseGraceMs: 2_000, lookEveryMs: 500 };

class World implements AsyncDisposable {
  readonly ground: Ground;
  readonly clock: FakeClock;
  readonly registry: TestRegistry;
  readonly key: Signer;
  readonly hosts: TestHost[] = [];

  static async start(kind: StoreKind): Promise<World> {
    const ground = await layGround(kind);
    const clock = new FakeClock();
    const registry = await TestRegistry.start(ground, { ...choices, clock });
    const key = await findKey(join(ground.directory, "registry.key"));
    if (key === undefined) throw new Error("no key");
    return new World(ground, { clock, registry, key: key.signer });
  }

  private constructor(ground: Ground, { clock, registry, key }: Pick<World, "clock" | "registry" | "key">) {
    this.ground = ground;
    this.clock = clock;
    this.registry = registry;
    this.key = key;
  }

  async host(): Promise<TestHost> {
    const host = await TestHost.open(this.registry);
    this.hosts.push(host);
    return host;
  }

  /** A host shows a generation that the store does not know: it forgot. The new incarnation. */
  async lose(): Promise<string> {
    const witness = await TestHost.open(this.registry);
    witness.generation = 1_000n;
    await expect(witness.renew(this.registry)).rejects.toMatchObject({ code: "STALE_INCARNATION" });
    return await incarnationOf(this.registry);
  }

  /** Until everything is served; the hosts that are back renew meanwhile. */
  async endQuarantine(): Promise<void> {
    const { keeper } = this.registry.graph;
    const { incarnation } = (await keeper.underAny(async (standing) => standing)).mark;
    for (let looks = 0; keeper.trouble() !== undefined; looks++) {
      expect(looks, keeper.trouble()).toBeLessThan(60);
      await this.clock.advance(500);
      await keeper.check();
      for (const host of this.hosts) if (host.incarnation === incarnation) await host.renew(this.registry);
    }
  }

  /** The host says what it brings; its session is the registry's again. */
  async reassert(host: TestHost, items: readonly Item[], changes: Partial<Reassertion> = {}) {
    const answer = await this.registry.authority.reassert(await this.request(host, items, changes));
    host.incarnation = await incarnationOf(this.registry);
    host.secret = answer.secret;
    host.generation = answer.generation;
    return answer;
  }

  async request(host: TestHost, items: readonly Item[], changes: Partial<Reassertion> = {}) {
    const bytes = toBinary(ReassertItemsSchema, create(ReassertItemsSchema, { items: [...items] }));
    const statement = {
      session: host.session,
      incarnation: await incarnationOf(this.registry),
      fromIncarnation: host.incarnation,
      generation: host.generation,
      itemsDigest: digestToBytes(digestOf(bytes)),
    };
    const { signer = host.signer, items: sent = bytes, ...said } = changes;
    const payload = toBinary(ReassertionSchema, create(ReassertionSchema, { ...statement, ...said }));
    return { reassertion: toProtoSigned(seal("reassertion", payload, signer)), items: sent };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registry.stop();
    await this.ground[Symbol.asyncDispose]();
  }
}

interface Reassertion {
  readonly signer: Signer;
  readonly items: Uint8Array<ArrayBuffer>;
  readonly fromIncarnation: string;
  readonly incarnation: string;
  readonly generation: bigint;
}

/** What the host of a running agent brings back. */
function itemOf(held: Held, genesis: Uint8Array): Item {
  const { grant, bases, unconfirmed, revision } = held.record;
  if (grant === undefined) throw new Error("no grant");
  const head = toProtoRef(refOf(held.checkpoint));
  return {
    agentId: held.agentId,
    genesis,
    what: { case: "grant", value: { grant, head, bases, revision, ...(unconfirmed && { unconfirmed }) } },
  };
}

async function running(world: World, host: TestHost) {
  const held = await host.acquire(world.registry, { name: "runs" });
  const { genesis } = held.checkpoint.header;
  if (genesis === undefined) throw new Error("no genesis");
  const first = held.checkpoint;
  return { held, genesis, first, item: () => itemOf(held, genesis) };
}

/** With the grant of somebody else, or a broken one. */
function withGrant(item: Item, grant: SignedBytes): Item {
  if (item.what?.case !== "grant") throw new Error("no grant");
  return { ...item, what: { case: "grant", value: { ...item.what.value, grant: toProtoSigned(grant) } } } as Item;
}

const only = <T>(results: readonly T[]): T => {
  const [one, ...others] = results;
  if (one === undefined || others.length > 0) throw new Error(`${results.length} results`);
  return one;
};

describe.each(storeKinds)("what comes back on the %s store", (kind) => {
  test("GA-7: a session and thousands of agents, with one signature a batch; afterwards they go on as before", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const host = await world.host();
    const { held, item, genesis } = await running(world, host);
    const before = host.incarnation;
    // Agents of which the store has nothing at all.
    const lost = Array.from({ length: 700 }, () => {
      const { agentId, checkpoint } = host.conceive();
      const base = { era: 0n, major: 0n, startedFrom: toProtoRef(refOf(checkpoint)) };
      const grant = issueGrant(
        { agentId, era: 0n, major: 0n, session: host.session, incarnation: before, issuedAtNs: 0n },
        world.key,
      );
      const value = { grant: toProtoSigned(grant), head: base.startedFrom, bases: [base] };
      return { agentId, genesis: checkpoint.header.genesis ?? genesis, what: { case: "grant" as const, value } };
    });
    host.tick(held, 5n);
    const mine = item();
    const now = await world.lose();
    const { results, generation } = await world.reassert(host, [mine, ...lost]);
    expect(generation).toBe(1n);
    expect(results.map(({ refusal }) => nameOf(refusal))).toEqual(results.map(() => "UNSPECIFIED"));
    expect(results).toHaveLength(701);
    for (const answer of results) {
      const { grant, agentId, incarnation, owner, state } = done(answer);
      expect(grant && readGrant(fromProtoSigned(grant), world.key.publicKey)).toMatchObject({
        agentId,
        incarnation: now,
      });
      expect({ incarnation, owner, state }).toMatchObject({ incarnation: now, owner: host.session, state: 1 });
    }
    held.record = done(results[0] as CommandResponse);
    expect(held.record.head?.tick).toBe(5n);

    // The same again, and other calls in quarantine.
    const again = await world.reassert(host, [mine, ...lost.slice(0, 3)], { fromIncarnation: before });
    expect(again.results).toEqual(results.slice(0, 4));
    expect(again.generation).toBe(2n);
    await host.renew(registry);
    expect(await host.announce(registry, held.checkpoint.signed)).toEqual({});
    await world.endQuarantine();

    host.tick(held, 2n);
    expect(done(await host.report(registry, held)).head?.tick).toBe(7n);
    const { entries } = await registry.authority.getAgentHistory({ agentId: held.agentId });
    expect(entries.map(({ command, afterStoreLoss }) => [command, afterStoreLoss])).toEqual([
      ["reassert", true],
      ["acquire", false],
    ]);
  });

  test("GA-7, GA-8: what proves nothing is refused with its reason, item by item, and nothing changes", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const [host, thief] = [await world.host(), await world.host()];
    const { held, item, genesis } = await running(world, host);
    const moved = await running(world, host);
    const handoffId = await host.begin(registry, moved.held, thief);
    const relinquished = moved.item();
    done(await thief.claim(registry, moved.held.agentId, host.token(moved.held, thief, handoffId)));
    const released = await running(world, host);
    const givenUp = released.item();
    done(await host.release(registry, released.held, 1, released.held.checkpoint.signed));

    await world.lose();
    const read = async () => {
      const { mark } = await registry.graph.keeper.underAny(async (standing) => standing);
      const agentIds = [held.agentId, moved.held.agentId, released.held.agentId];
      return (await registry.graph.store.readAgents(mark.bytes, { agentIds, withHolders: false })).agents;
    };
    const stored = await read();
    const { agentId } = held;
    const grantLike = (changes: object, signer = world.key) =>
      issueGrant(
        {
          agentId,
          era: 0n,
          major: 0n,
          session: host.session,
          incarnation: host.incarnation,
          issuedAtNs: 0n,
          ...changes,
        },
        signer,
      );
    const stranger = signerFromSeed(new Uint8Array(randomBytes(32)));
    const broken = grantLike({});
    const items: readonly (readonly [Item, string])[] = [
      [relinquished, "NOT_OWNER"],
      [givenUp, "RECOVERY_REQUIRED"],
      [withGrant(item(), { ...broken, signature: broken.signature.map((byte) => byte ^ 1) }), "BAD_GRANT"],
      [withGrant(item(), grantLike({}, stranger)), "BAD_GRANT"],
      [withGrant(item(), grantLike({ agentId: moved.held.agentId })), "BAD_GRANT"],
      [withGrant(item(), grantLike({ incarnation: "long-ago" })), "STALE_INCARNATION"],
      [withGrant(item(), grantLike({ session: { ...host.session, bootId: "earlier" } })), "NOT_OWNER"],
      [{ ...item(), genesis: moved.genesis }, "BAD_GENESIS"],
      [{ ...item(), genesis: new Uint8Array() }, "BAD_GENESIS"],
      [{ agentId, what: { case: "termination", value: toProtoSigned(broken) } }, "BAD_GRANT"],
    ];
    const { results } = await world.reassert(
      host,
      items.map(([one]) => one),
    );
    for (const [at, [, code]] of items.entries()) expectRefused(results[at] as CommandResponse, code as "NOT_OWNER");
    const theirs = await world.reassert(thief, [item()]);
    expectRefused(only(theirs.results), "NOT_OWNER");
    expect(await read()).toEqual(stored);
    expect(genesis.length).toBeGreaterThan(0);
  });

  test("§2, GA-7: a batch is the host's own, whole, for this quarantine, and of a session that did not end", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const host = await world.host();
    const { item } = await running(world, host);
    const attempt = async (changes: Partial<Reassertion> = {}, items = [item()]) =>
      await registry.authority.reassert(await world.request(host, items, changes)).then(
        () => "done",
        (error: unknown) => (isFault(error) ? error.code : String(error)),
      );
    expect(await attempt({ fromIncarnation: "another" })).toBe("QUARANTINE_OVER");
    await world.lose();
    const garbage = Uint8Array.from([255, 255, 255, 1]);
    expect(await attempt({ signer: signerFromSeed(new Uint8Array(randomBytes(32))) })).toBe("SIGNATURE_INVALID");
    expect(await attempt({ items: new Uint8Array() })).toBe("SIGNATURE_INVALID");
    expect(await attempt({ items: garbage })).toBe("SIGNATURE_INVALID");
    expect(await attempt({ incarnation: "another" })).toBe("STALE_INCARNATION");
    expect(await attempt({ fromIncarnation: await incarnationOf(registry) })).toBe("INVALID_ARGUMENT");
    expect(await attempt({ generation: 2n ** 60n })).toBe("INVALID_ARGUMENT");
    const malformed: Item = { agentId: "no id", what: { case: "termination", value: {} } };
    expect(await attempt({}, [malformed])).toBe("INVALID_ARGUMENT");
    expect(await attempt({}, [{ agentId: "0".repeat(64) }])).toBe("INVALID_ARGUMENT");
    expect(
      await attempt(
        {},
        Array.from({ length: 4_097 }, () => ({ agentId: "" })),
      ),
    ).toBe("INVALID_ARGUMENT");
    await world.reassert(host, []);
    await registry.sessions.closeSession(host.named);
    expect(await attempt({ fromIncarnation: "another" })).toBe("SESSION_VOID");
    await expect(world.reassert(host, [item()], { fromIncarnation: "another" })).rejects.toMatchObject({
      code: "SESSION_VOID",
    });
  });

  test("EI-7: what contradicts a confirmed record stops its agent, and only an operator gets it out", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const [host, other] = [await world.host(), await world.host()];
    const { held, item, genesis, first } = await running(world, host);
    const before = host.incarnation;
    await world.lose();
    held.record = done(only((await world.reassert(host, [item()])).results));
    const grant = issueGrant(
      { agentId: held.agentId, era: 0n, major: 3n, session: other.session, incarnation: before, issuedAtNs: 0n },
      world.key,
    );
    const startedFrom = toProtoRef(refOf(first));
    const bases = [{ era: 0n, major: 3n, startedFrom }];
    const head = { era: 0n, major: 3n, tick: 9n, digest: new Uint8Array(32) };
    const value = { grant: toProtoSigned(grant), head, bases };
    const higher: Item = { agentId: held.agentId, genesis, what: { case: "grant", value } };
    const stopped = only((await world.reassert(other, [higher])).results);
    expectRefused(stopped, "DIVERGENT_LINEAGE");
    expect(stopped.record).toMatchObject({ state: 4, major: 4n, owner: host.session });
    await world.endQuarantine();
    host.tick(held);
    expectRefused(await host.report(registry, held), "NOT_OWNER");
    const revision = stopped.record?.revision ?? 0n;
    expectRefused(await host.recover(registry, held.agentId, first.signed, revision), "DIVERGENT_LINEAGE");

    const choice = () => ({
      ...{ incarnation: host.incarnation, commandId: randomUUID(), agentId: held.agentId },
      ...{ head: toProtoSigned(first.signed), spine: [], operator: "ann", reason: "it contradicts itself" },
    });
    expectRefused(await registry.authority.forceRecover({ ...choice(), revision }), "OWNER_ALIVE");
    await registry.sessions.closeSession(host.named);
    const chosen = done(await registry.authority.forceRecover({ ...choice(), revision }));
    expect(chosen).toMatchObject({ major: 5n, state: 5, reason: 3 });
    expect(chosen.owner).toBeUndefined();
    const taken = done(await other.recover(registry, held.agentId, first.signed, chosen.revision));
    expect(taken).toMatchObject({ major: 6n, owner: other.session });
    const { entries } = await registry.authority.getAgentHistory({ agentId: held.agentId });
    expect(entries.map(({ command, operator, note }) => [command, operator, note])).toContainEqual([
      "force_recover",
      "ann",
      expect.stringContaining("it contradicts itself"),
    ]);
  });

  test("GA-7: a conflict and a termination come back alone", async () => {
    await using world = await World.start(kind);
    const host = await world.host();
    const { held, item } = await running(world, host);
    const gone = await running(world, host);
    const termination = issueTermination(
      { agentId: gone.held.agentId, era: 0n, major: 0n, incarnation: host.incarnation, issuedAtNs: 0n },
      world.key,
    );
    const conflict = {
      era: 0n,
      major: 0n,
      tick: 0n,
      knownDigest: new Uint8Array(32),
      offeredDigest: new Uint8Array(32).fill(1),
    };
    await world.lose();
    const { results } = await world.reassert(host, [
      { agentId: held.agentId, what: { case: "conflict", value: { term: { era: 0n, major: 0n }, conflict } } },
      item(),
      gone.item(),
      { agentId: gone.held.agentId, what: { case: "termination", value: toProtoSigned(termination) } },
      gone.item(),
    ]);
    expect(results.map(({ refusal }) => nameOf(refusal))).toEqual([
      ...["UNSPECIFIED", "DIVERGENT_LINEAGE", "UNSPECIFIED", "UNSPECIFIED", "TERMINATED"],
    ]);
    expect(results[1]?.record?.state).toBe(4);
    await world.endQuarantine();
    const { record } = await world.registry.authority.getAgent({ agentId: gone.held.agentId });
    expect(record?.terminated).toEqual(toProtoSigned(termination));
  });
});

describe.each(storeKinds)("what did not come back on the %s store", (kind) => {
  test("GA-9: is recovered with its whole spine, under (counter, 0), and the spine becomes the bases", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const [host, other] = [await world.host(), await world.host()];
    const { held, first } = await running(world, host);
    const middle = host.tick(held, 3n);
    done(await host.report(registry, held));
    // Of a major that the store has forgotten: granted, ticked, and nothing of it is left.
    const grant = issueGrant(
      {
        agentId: held.agentId,
        era: 0n,
        major: 4n,
        session: host.session,
        incarnation: host.incarnation,
        issuedAtNs: 0n,
      },
      world.key,
    );
    const forgotten: Held = {
      ...held,
      base: refOf(middle),
      record: { ...held.record, major: 4n, grant: toProtoSigned(grant) },
    };
    const newest = host.tick(forgotten, 2n);
    await world.lose();
    await world.reassert(other, []);
    await world.endQuarantine();

    const recover = async (spine: readonly SignedBytes[]) =>
      await registry.authority.recover({
        command: other.command(held.agentId, held.record.revision),
        head: toProtoSigned(newest.signed),
        spine: spine.map(toProtoSigned),
      });
    expectRefused(await recover([]), "RECOVERY_REQUIRED");
    await expect(recover([first.signed])).rejects.toMatchObject({ code: "LINEAGE_INVALID" });
    await expect(recover([middle.signed])).rejects.toMatchObject({ code: "LINEAGE_INVALID" });
    const { counter } = (await registry.graph.keeper.under(async (standing) => standing)).mark;
    const record = done(await recover([middle.signed, first.signed]));
    expect(record).toMatchObject({ era: counter, major: 0n, owner: other.session, name: "runs" });
    expect(record.afterLoss).toMatchObject({ above: { era: 0n, major: 0n }, era: counter });
    const mine: Held = { ...held, record, checkpoint: newest, base: refOf(newest) };
    const confirmed = done(await other.report(registry, mine));
    expect(confirmed.afterLoss).toBeUndefined();
    expect(confirmed.bases.map(({ major, startedFrom }) => [major, startedFrom?.tick])).toEqual([
      ...[
        [0n, 5n],
        [4n, 3n],
        [0n, 0n],
      ],
    ]);
    const { entries } = await registry.authority.getAgentHistory({ agentId: held.agentId });
    expect(entries.slice(0, 2).map(({ command, afterStoreLoss }) => [command, afterStoreLoss])).toEqual([
      ["report_head", true],
      ["recover", true],
    ]);
  });

  test("GA-9: an agent without a record is made again by whoever holds a checkpoint of it; what was never acquired is not", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const [host, other] = [await world.host(), await world.host()];
    const { agentId, checkpoint } = host.conceive({ name: "lost", recoveryPolicy: "strict" });
    const head = checkpoint.signed;
    expectRefused(await other.recover(registry, agentId, head, 0n), "NO_RECORD");
    await world.lose();
    await world.reassert(other, []);
    await world.endQuarantine();
    expectRefused(await other.recover(registry, agentId, head, 4n), "NO_RECORD");
    const record = done(await other.recover(registry, agentId, head, 0n));
    expect(record).toMatchObject({ major: 0n, name: "lost", recoveryPolicy: 2, owner: other.session });
    expect(record.era).toBeGreaterThan(0n);
  });

  test("GA-6: a command that names a revision above the stored one shows that the store forgot", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const host = await world.host();
    const { held } = await running(world, host);
    const wrong = { session: host.session, secret: new Uint8Array(32) };
    const revert = (caller = host.caller) =>
      registry.authority.revertHandoff({ command: { ...host.command(held.agentId, 9n), caller } });
    expectRefused(await revert(wrong), "BAD_SECRET");
    expect(await incarnationOf(registry), "not on the word of somebody without the secret").toBe(host.incarnation);
    expectRefused(await revert(), "QUARANTINE");
    expect(await incarnationOf(registry)).not.toBe(host.incarnation);
  });
});

describe.each(storeKinds)("an operator's choice on the %s store", (kind) => {
  test("EI-11, §4: decides a conflict; what it gives up is refused as an orphan, and is no conflict again", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const [host, other] = [await world.host(), await world.host()];
    const { held, first } = await running(world, host);
    const left = host.tick({ ...held }, 4n, "left");
    const right = host.tick(held, 4n, "right");
    done(await host.report(registry, held));
    const forked = await host.report(registry, held, left.signed);
    expectRefused(forked, "DIVERGENT_LINEAGE");
    const revision = forked.record?.revision ?? 0n;
    const command = { incarnation: host.incarnation, commandId: randomUUID(), agentId: held.agentId, revision };
    const choice = {
      ...command,
      ...{
        head: toProtoSigned(left.signed),
        spine: [toProtoSigned(first.signed)],
        operator: "ann",
        reason: "left is right",
      },
    };
    const bad: readonly (readonly [object, string])[] = [
      [{ reason: " " }, "INVALID_ARGUMENT"],
      [{ operator: "" }, "INVALID_ARGUMENT"],
      [{ commandId: "" }, "INVALID_ARGUMENT"],
      [{ spine: [] }, "LINEAGE_INVALID"],
      [{ spine: [toProtoSigned(right.signed)] }, "LINEAGE_INVALID"],
      [{ head: toProtoSigned({ ...left.signed, signature: new Uint8Array(64) }) }, "CHECKPOINT_INVALID"],
      [{ agentId: "0".repeat(64) }, "CHECKPOINT_INVALID"],
    ];
    for (const [changes, code] of bad) {
      await expect(registry.authority.forceRecover({ ...choice, ...changes }), code).rejects.toMatchObject({ code });
    }
    expectRefused(await registry.authority.forceRecover(choice), "OWNER_ALIVE");
    await registry.sessions.closeSession(host.named);
    const stale = await registry.authority.forceRecover({ ...choice, revision: revision + 5n });
    expectRefused(stale, "STALE_REVISION");
    const chosen = done(await registry.authority.forceRecover(choice));
    expect(chosen).toMatchObject({ major: 1n, state: 5, reason: 3, forced: { era: 0n, major: 1n } });
    expect(done(await registry.authority.forceRecover(choice)), "repeated").toEqual(chosen);

    expectRefused(await other.recover(registry, held.agentId, right.signed, chosen.revision), "STALE_CHECKPOINT");
    const taken = done(await other.recover(registry, held.agentId, left.signed, chosen.revision));
    expect(taken).toMatchObject({ major: 2n, owner: other.session });
    expect(taken.conflict).toBeUndefined();
  });

  test("§4: where no checkpoint is acceptable, it says so, and chooses one that is an orphan", async () => {
    await using world = await World.start(kind);
    const { registry } = world;
    const host = await world.host();
    const { held, first } = await running(world, host);
    const orphan = host.tick({ ...held }, 2n);
    const choice = {
      ...{ incarnation: host.incarnation, commandId: randomUUID(), agentId: held.agentId, revision: 1n },
      ...{
        head: toProtoSigned(orphan.signed),
        spine: [toProtoSigned(first.signed)],
        operator: "ann",
        reason: "it is all that is left",
      },
    };
    await registry.sessions.closeSession(host.named);
    expectRefused(await registry.authority.forceRecover(choice), "RECOVERY_REQUIRED");
    const chosen = done(await registry.authority.forceRecover({ ...choice, noneAcceptable: true }));
    expect(chosen.head?.tick).toBe(2n);
  });
});
