import { isFault } from "@godwit/common/fault";
import { type Checkpoint, digestOf, issueToken, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { createAgent, next } from "../../test/storage-story.ts";
import { AgentPlace, ada, bob, bobSession } from "../../test/support/agent-place.ts";
import { textBytes, textOf } from "../../test/support/fake-sandbox.ts";
import type { HostFacts, IncomingAgent } from "../migration/ports.ts";
import type { VerifiedHandoff } from "../migration/verify-handoff.ts";
import { Incoming } from "./incoming.ts";
import type { Roster } from "./roster.ts";

const patient = { timeout: 60_000 };
const never = new AbortController().signal;
const manifest = textBytes("{}");
const module = textBytes("module");
const facts: HostFacts = {
  hostId: ada.hostId,
  pricePerSecond: 1_000n,
  capabilities: [],
  maxMemoryBytes: 1,
  maxModuleBytes: 1,
  maxStateBytes: 1,
  notNow: undefined,
  verifiesReplays: false,
  registryKey: undefined,
};

/** An agent of bob's that is frozen, begun and signed away to this host. */
async function offered() {
  const place = await AgentPlace.create("empty");
  const roster = place.roster();
  const { registry, session: keeper, storage, sandbox, logger, entropy } = place;
  const incoming = new Incoming({
    roster,
    storage,
    sandbox,
    authority: registry,
    keeper,
    entropy,
    logger,
    facts: () => facts,
  });
  const created = createAgent(bob);
  const frozen = next(created, { host: bob });
  const { agentId, moduleDigest } = created.header;
  await registry.acquire(bobSession, { commandId: "acquire", agentId }, created.signed);
  const handoff = { handoffId: "handoff-1", targetHostId: ada.hostId };
  await registry.beginHandoff(
    bobSession,
    { commandId: "begin", agentId, revision: 1n },
    { ...handoff, head: frozen.signed },
  );
  const token = { agentId, era: 0n, major: 0n, ...handoff, checkpointDigest: frozen.digest, tick: frozen.header.tick };
  const verified: VerifiedHandoff = {
    handoffId: handoff.handoffId,
    sourceHostId: bob.hostId,
    token,
    signedToken: issueToken(token, bob.signer),
    checkpoint: frozen,
    receipts: [],
    spine: [created.signed],
  };
  const offer = {
    kind: "offer",
    handoffId: handoff.handoffId,
    agentId,
    era: 0n,
    major: 0n,
    name: "survivor",
    tick: 5n,
    stateBytes: frozen.state.length,
    budget: 1n,
    manifest,
    moduleDigest,
    moduleBytes: module.length,
  } as const;
  return { place, roster, incoming, offer, verified, frozen, created, agentId };
}

async function staged() {
  const all = await offered();
  const arrival = await all.incoming.admit(all.offer, bob.hostId);
  await arrival.prepare(module, never);
  await arrival.stage(all.verified);
  return { ...all, arrival };
}

async function started(arrival: IncomingAgent): Promise<void> {
  const answer = await arrival.claim();
  if (answer.kind !== "granted") throw new Error(`not granted: ${answer.kind}`);
  await arrival.start(answer.record);
  arrival.ended();
}

async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (cause: unknown) => (isFault(cause) ? cause.code : String(cause)),
  );
}

/** The agent's supervisor has nothing to do but to wait for the clock. */
async function ticked({ place, roster, agentId }: { place: AgentPlace; roster: Roster; agentId: string }) {
  await place.until(() => roster.supervisor(agentId) !== undefined);
  await place.sleeping(1);
}

async function checkpointsOf(place: AgentPlace, { header }: Checkpoint): Promise<readonly bigint[]> {
  return (await place.storage.checkpoints(header.agentId)).map(({ tick }) => tick);
}

describe("an agent that comes in", patient, () => {
  test("GH-4: before PREPARED nothing of it is written but its module", async () => {
    const { place, incoming, offer, agentId, verified } = await offered();
    const arrival = await incoming.admit(offer, bob.hostId);
    expect(arrival.needModule).toBe(true);
    await arrival.prepare(module, never);
    arrival.expect(verified.checkpoint);
    expect(place.storage.agent(agentId)).toBeUndefined();
    expect(place.storage.staged()).toEqual([]);
    expect(place.sandbox.ticks).toBe(0);
  });

  test("GH-4, GH-5: before its claim is granted it is in the staging area, with a journal that says claiming, and does not tick", async () => {
    const { place, agentId, frozen, arrival } = await staged();
    expect(place.storage.agent(agentId)?.journal).toMatchObject({
      phase: "claiming",
      handoffId: "handoff-1",
      major: 0n,
    });
    expect(place.storage.staged()).toMatchObject([{ handoffId: "handoff-1", ref: refOf(frozen) }]);
    expect(await checkpointsOf(place, frozen)).toEqual([]);
    await place.clock.advance(60_000);
    expect(place.sandbox.ticks).toBe(0);
    await arrival.drop();
  });

  test("EI-10, §6: granted, it ticks from the frozen checkpoint under the next major, and is this host's on the disk", async () => {
    const { place, roster, agentId, frozen, arrival } = await staged();
    await started(arrival);
    await ticked({ place, roster, agentId });
    const supervisor = roster.supervisor(agentId);
    expect(supervisor?.tick).toBe(frozen.header.tick + 1n);
    expect(textOf(place.sandbox.newest.initialState)).toBe("tick 5");
    expect(place.sandbox.instances).toHaveLength(1);
    expect(supervisor?.tenancy.ground).toMatchObject({ major: 1n, origin: "migrated", base: refOf(frozen) });
    await place.until(() => place.storage.agent(agentId)?.journal.phase === "owner");
    expect(place.storage.staged()).toEqual([]);
    expect(await checkpointsOf(place, frozen)).toEqual([frozen.header.tick]);
  });

  test("T-25: its module stays from the answer to the offer to the end of the handoff, whatever is collected meanwhile", async () => {
    for (const isThere of [true, false]) {
      const { place, incoming, offer, verified, agentId } = await offered();
      const { storage } = place;
      if (isThere) await storage.putBlob(module);
      const arrival = await incoming.admit(offer, bob.hostId);
      expect(arrival.needModule).toBe(!isThere);
      await storage.collectBlobs();
      await arrival.prepare(isThere ? undefined : module, never);
      await storage.collectBlobs();
      await arrival.stage(verified);
      await storage.collectBlobs();
      await arrival.drop();
      await storage.collectBlobs();
      expect([storage.agent(agentId), storage.hasBlob(offer.moduleDigest)]).toEqual([undefined, true]);
      arrival.ended();
      expect(await storage.collectBlobs()).toBe(2); // and its manifest
      expect(storage.hasBlob(offer.moduleDigest)).toBe(false);
    }
  });

  test("T-25: of a thousand modules that one peer offers and never hands over only so many are here at any time", async () => {
    const { place, incoming, offer } = await offered();
    const digests: string[] = [];
    const kept = () => digests.filter((digest) => place.storage.hasBlob(digest)).length;
    let most = 0;
    for (let round = 0; round < 50; round++) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const bytes = textBytes(`module ${round}.${index}`);
          const moduleDigest = digestOf(bytes);
          const agentId = digestOf(textBytes(`agent ${index}`));
          const arrival = await incoming.admit({ ...offer, agentId, moduleDigest }, bob.hostId);
          await arrival.prepare(bytes, never);
          digests.push(moduleDigest);
          arrival.ended();
        }),
      );
      most = Math.max(most, kept());
    }
    expect(digests).toHaveLength(1_000);
    expect(most).toBeLessThan(100);
  });

  test("T-24: from its first tick on it is charged, and told, what this host takes now, whatever it cost before", async () => {
    const { place, roster, agentId, arrival } = await staged();
    place.price = 7_000n; // it was offered at 1,000, and its source took 1,000
    await started(arrival);
    await ticked({ place, roster, agentId });
    expect(place.sandbox.inputs.map(({ pricePerSecond }) => pricePerSecond)).toEqual([7_000n]);
    await roster.supervisor(agentId)?.lastCheckpoint();
    const receipts = place.committed.at(-1)?.header.receipts;
    expect(receipts).toMatchObject([{ hostId: ada.hostId, pricePerSecond: 7_000n, elapsedNs: 1_000_000n, cost: 7n }]);
  });

  test("GH-4: dropped before any claim it leaves nothing", async () => {
    const { place, roster, agentId, arrival } = await staged();
    await arrival.drop();
    arrival.ended();
    expect(place.storage.agent(agentId)).toBeUndefined();
    expect(roster.size).toBe(0);
    await place.until(() => place.sandbox.newest.stopped);
  });

  test("GH-4: a large state is written ahead, and forgotten with the handoff unless that was staged", async () => {
    const { place, incoming, offer, verified, created, frozen } = await offered();
    const { storage } = place;
    const large = next(created, { host: bob, text: "x".repeat(65 * 1024) });
    const written: string[] = [];
    const putStateAhead = storage.putStateAhead.bind(storage);
    const dropStateAhead = storage.dropStateAhead.bind(storage);
    storage.putStateAhead = async (agentId, checkpoint) => {
      written.push(`put ${checkpoint.header.stateDigest}`);
      await putStateAhead(agentId, checkpoint);
    };
    storage.dropStateAhead = async (agentId, stateDigest) => {
      written.push(`drop ${stateDigest}`);
      await dropStateAhead(agentId, stateDigest);
    };
    const { stateDigest } = large.header;
    const ahead = async (checkpoint: Checkpoint) => {
      const arrival = await incoming.admit(offer, bob.hostId);
      await arrival.prepare(module, never);
      arrival.expect(checkpoint);
      return arrival;
    };

    (await ahead(frozen)).ended(); // small: it is written with the rest
    expect(written).toEqual([]);
    (await ahead(large)).ended();
    expect(written).toEqual([`put ${stateDigest}`, `drop ${stateDigest}`]);
    const staged = await ahead(large);
    await staged.stage({ ...verified, checkpoint: large });
    await staged.abandon();
    staged.ended();
    expect(written.slice(2)).toEqual([`put ${stateDigest}`]);
    expect(await storage.latestCheckpoint(large.header.agentId)).toEqual(large);
  });

  test("GH-4: a claim that was not answered is repeated as the same command", async () => {
    const { place, arrival } = await staged();
    place.registry.disturb("claim", "lost-after");
    expect(await arrival.claim()).toEqual({ kind: "unknown" });
    expect(place.sandbox.ticks).toBe(0);
    expect(await arrival.claim()).toMatchObject({ kind: "granted", record: { major: 1n } });
    expect(new Set(place.registry.sentOf("claim").map(({ id }) => id)).size).toBe(1);
    await arrival.abandon();
  });

  test("GA-5: under another session it is not claimed from here: the journal has what the next look asks about", async () => {
    const { place, roster, agentId, arrival, frozen } = await staged();
    await place.openSession("boot-2");
    expect(await arrival.claim()).toMatchObject({ kind: "refused", session: { bootId: ada.bootId } });
    expect(place.registry.sentOf("claim")).toEqual([]);
    arrival.ended();
    await ticked({ place, roster, agentId });
    expect(roster.supervisor(agentId)?.tenancy.ground).toMatchObject({ major: 1n, base: refOf(frozen) });
  });

  test("GH-5: left with a claim that may have been done, it is the registry's to say", async () => {
    const { place, roster, agentId, arrival, frozen } = await staged();
    place.registry.disturb("claim", "lost-after");
    await arrival.claim();
    arrival.ended();
    await ticked({ place, roster, agentId });
    expect(roster.supervisor(agentId)?.tenancy.ground).toMatchObject({ major: 1n, base: refOf(frozen) });
    expect(roster.supervisor(agentId)?.tick).toBe(frozen.header.tick + 1n);
  });

  test("SL-4: granted under a session that is over it does not tick, and is recovered under the next", async () => {
    const { place, roster, agentId, arrival } = await staged();
    const answer = await arrival.claim();
    if (answer.kind !== "granted") throw new Error("not granted");
    place.session.lose();
    await arrival.start(answer.record);
    arrival.ended();
    await ticked({ place, roster, agentId });
    await place.clock.advance(60_000);
    expect(place.sandbox.ticks).toBe(0);
    await place.openSession("boot-2");
    await expect(roster.supervisor(agentId)?.untilSettled(never)).resolves.toMatchObject({ grant: { major: 2n } });
  });

  test("GH-4: once the handoff is dead what was staged becomes a replica", async () => {
    const { place, roster, agentId, arrival, frozen } = await staged();
    await arrival.abandon();
    arrival.ended();
    expect(place.storage.agent(agentId)?.journal).toEqual({ phase: "replica" });
    expect(await checkpointsOf(place, frozen)).toEqual([frozen.header.tick]);
    expect(place.heldChanged).toContain(agentId);
    expect(roster.size).toBe(0);
  });
});

describe("an agent that is not let in", patient, () => {
  test("GH-4: one that runs here is refused before anything is written", async () => {
    const { place, roster, incoming, offer, agentId, arrival } = await staged();
    expect(await faultOf(incoming.admit(offer, bob.hostId))).toBe("MIGRATION_IN_PROGRESS");
    await started(arrival);
    await ticked({ place, roster, agentId });
    expect(await faultOf(incoming.admit(offer, bob.hostId))).toBe("AGENT_EXISTS");
  });

  test("GH-4: one of which something newer is held is refused, and nothing is staged", async () => {
    const { place, incoming, offer, verified, frozen, created, agentId } = await offered();
    const { moduleDigest, manifestDigest } = created.header;
    const agent = { name: "survivor", moduleDigest, manifestDigest };
    const newer = next(frozen, { host: bob });
    await place.storage.commit({
      agentId,
      agent,
      journal: { phase: "replica" },
      spine: [created.signed],
      checkpoint: newer,
    });
    const arrival = await incoming.admit(offer, bob.hostId);
    await arrival.prepare(module, never);
    expect(await faultOf(arrival.stage(verified))).toBe("STALE_CHECKPOINT");
    arrival.ended();
    expect(place.storage.staged()).toEqual([]);
    expect(place.storage.agent(agentId)?.journal).toEqual({ phase: "replica" });
  });

  test("a module other than the one that was offered is refused", async () => {
    const { incoming, offer } = await offered();
    const arrival = await incoming.admit(offer, bob.hostId);
    expect(await faultOf(arrival.prepare(textBytes("another"), never))).toBe("MODULE_INVALID");
    arrival.ended();
  });

  test("GA-1: nothing is staged without a session", async () => {
    const { place, incoming, offer, verified } = await offered();
    const arrival = await incoming.admit(offer, bob.hostId);
    await arrival.prepare(module, never);
    place.session.close();
    expect(await faultOf(arrival.stage(verified))).toBe("SESSION_NOT_OPEN");
    expect(place.storage.staged()).toEqual([]);
    arrival.ended();
  });
});
