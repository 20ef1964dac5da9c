// What a host does about its agents when the registry's store has forgotten (§9).

import { Fault } from "@godwit/common/fault";
import { readGrant, readHeader, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { createAgent, next } from "../../test/storage-story.ts";
import { AgentPlace, ada, bob } from "../../test/support/agent-place.ts";
import { textBytes, textOf } from "../../test/support/fake-sandbox.ts";
import type { Answer, ShownItem } from "../registry/ports.ts";
import { AfterLoss } from "./after-loss.ts";
import type { Tenancy } from "./tenancy.ts";

const second = "incarnation-2";
const counter = 100n;
const may = { kind: "may" };
const lapsed = { kind: "may-not", because: "lease-lapsed" };
const handoff = { handoffId: "handoff-1", targetHostId: bob.hostId };
const patient = { timeout: 60_000 };

/** What the tenancy shows, and what the registry says of it. */
async function shown(place: AgentPlace, tenancy: Tenancy): Promise<ShownItem | undefined> {
  return tenancy.broughtBack(place.registry.mark.incarnation, await tenancy.kept());
}

function answerTo(place: AgentPlace, item: ShownItem | undefined): Answer | undefined {
  const session = place.session.current;
  const { lease } = place.session;
  if (item === undefined || session === undefined || lease.kind !== "open" || lease.from === undefined)
    return undefined;
  return place.registry.reassert(session.id, lease.from, item);
}

async function broughtBack(place: AgentPlace, tenancy: Tenancy): Promise<void> {
  const answer = answerTo(place, await shown(place, tenancy));
  if (place.session.current === undefined) throw new Error("no session");
  await tenancy.reasserted(place.session.current, answer);
}

/** An agent that is granted, the store that forgot it, and the session that was brought over. */
async function forgotten(wipe = true): Promise<{ place: AgentPlace; tenancy: Tenancy }> {
  const place = await AgentPlace.create();
  const tenancy = await place.granted();
  lose(place, wipe);
  return { place, tenancy };
}

function lose(place: AgentPlace, wipe = true): void {
  if (wipe) place.registry.forget(second, counter);
  else place.registry.loseTrust(second, counter);
  place.session.bringOver();
}

describe("an agent that is brought back", patient, () => {
  test("GA-1: a lease of the new incarnation gives a grant nothing until it was confirmed under it", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.registry.forget(second, counter);
    expect(tenancy.mayTick()).toEqual(may); // the same incarnation of lease and grant, before the deadline
    place.session.bringOver();
    expect(tenancy.mayTick()).toEqual(lapsed);
    await broughtBack(place, tenancy);
    expect(tenancy.mayTick()).toEqual(may);
    expect(tenancy.tenure).toMatchObject({ kind: "ACTIVE_OWNER", grant: { incarnation: second, era: 0n, major: 0n } });
  });

  test("GA-7: it has its major, its newest checkpoint and its bases as before, and its grant is given anew", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    const checkpoint = next(place.first, { host: ada });
    await place.storage.commit({ agentId: place.agentId, checkpoint });
    const before = place.record;
    lose(place);
    await broughtBack(place, tenancy);
    const { head, bases, era, major, owner, incarnation, revision } = place.record;
    expect({ bases, era, major, owner }).toEqual({ bases: before.bases, era: 0n, major: 0n, owner: before.owner });
    expect(head).toEqual(refOf(checkpoint));
    expect(incarnation).toBe(second);
    expect(revision).toBeGreaterThan(before.revision);
    expect(tenancy.ground?.grant).toEqual(place.record.grant);
  });

  test("GA-7: the new grant is on the disk before anything ticks under it", async () => {
    const { place, tenancy } = await forgotten();
    const answer = answerTo(place, await shown(place, tenancy));
    if (place.session.current === undefined) throw new Error("no session");
    const noted = tenancy.reasserted(place.session.current, answer);
    expect(tenancy.mayTick()).toEqual(lapsed);
    await noted;
    const journal = place.storage.agent(place.agentId)?.journal;
    if (journal?.phase !== "owner") throw new Error("it is not the owner's");
    expect(readGrant(journal.grant, new Uint8Array(place.registry.publicKey)).incarnation).toBe(second);
  });

  test("GA-7: a base that was not confirmed is brought back as one, and confirmed before the first tick", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    place.registry.endSession({ hostId: ada.hostId, bootId: ada.bootId });
    const tenancy = place.tenancy();
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    lose(place);
    await broughtBack(place, tenancy);
    expect(place.record).toMatchObject({ major: 1n, unconfirmed: refOf(place.first) });
    expect(tenancy.mayTick()).toEqual({ kind: "may-not", because: "base-unconfirmed" });
    expect(await tenancy.confirmBase()).toBe(false); // quarantine: neither confirmed nor in doubt
    expect(tenancy.tenure.kind).toBe("ACTIVE_OWNER");
    place.registry.endQuarantine();
    expect(await tenancy.confirmBase()).toBe(true);
    expect(tenancy.mayTick()).toEqual(may);
  });

  test.each([
    ["an owner", false],
    ["one that was frozen", true],
  ])("GA-7: a confirmation that is lost is not counted on: %s recovers", async (_, frozen) => {
    const { place, tenancy } = await forgotten();
    if (frozen) tenancy.freeze(handoff.handoffId);
    const answer = answerTo(place, await shown(place, tenancy));
    if (answer?.kind !== "applied" || place.session.current === undefined) throw new Error("not brought back");
    await tenancy.reasserted(place.session.current, {
      ...answer,
      record: { ...answer.record, unconfirmed: refOf(place.first) },
    });
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "lost-grant" });
  });

  test("GA-7: a handoff that was begun is dead, and the agent ticks on", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.freeze(handoff.handoffId);
    await tenancy.beginHandoff({ ...handoff, head: place.first.signed });
    lose(place, false);
    await broughtBack(place, tenancy);
    expect(place.record).toMatchObject({ state: "ACTIVE_OWNER", handoff: undefined });
    expect(tenancy.mayTick()).toEqual(may);
    place.registry.endQuarantine();
    expect(await tenancy.beginHandoff({ ...handoff, head: place.first.signed })).toMatchObject({ kind: "refused" });
    expect(place.registry.sentOf("begin_handoff")).toHaveLength(1);
    await expect(tenancy.relinquish(handoff, place.first)).rejects.toThrow("not in ACTIVE_OWNER");
  });

  test("GA-1: what is refused for the store's sake is no doubt about the grant", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    for (const code of ["STALE_INCARNATION", "QUARANTINE"] as const) {
      tenancy.reported({ era: 0n, major: 0n }, { kind: "refused", code, record: undefined });
      expect(tenancy.mayTick()).toEqual(may);
    }
    expect(place.session.suspicions).toBe(1); // of another incarnation the session hears at once
    tenancy.reported({ era: 0n, major: 0n }, { kind: "refused", code: "NOT_OWNER", record: undefined });
    expect(tenancy.tenure.kind).toBe("RECOVERY_REQUIRED");
  });

  test("EI-7: what contradicts the record stops the agent", async () => {
    const { place, tenancy } = await forgotten();
    const item = await shown(place, tenancy);
    if (item?.kind !== "grant") throw new Error("no grant");
    answerTo(place, item);
    place.registry.rewrite(place.agentId, { owner: { hostId: bob.hostId, bootId: bob.bootId } });
    await broughtBack(place, tenancy);
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "lost-grant" });
    expect(tenancy.mayTick().kind).toBe("may-not");
  });
});

describe("what is never brought back", patient, () => {
  test("GA-8: what was signed away", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.freeze(handoff.handoffId);
    await tenancy.beginHandoff({ ...handoff, head: place.first.signed });
    const signing = tenancy.relinquish(handoff, place.first);
    lose(place);
    expect(await shown(place, tenancy)).toBeUndefined(); // before the journal is written, too
    await signing;
    expect(await shown(place, tenancy)).toBeUndefined();
    tenancy.doubt("ambiguous-handoff");
    expect(await shown(place, tenancy)).toBeUndefined();
  });

  test.each(["release", "terminate"] as const)(
    "GA-8: what a %s was sent for, whatever became of it",
    async (command) => {
      const place = await AgentPlace.create();
      const tenancy = await place.granted();
      place.registry.disturb(command, "lost-before");
      const giving = command === "release" ? tenancy.release("stopped", place.first) : tenancy.terminate();
      lose(place);
      expect(await shown(place, tenancy)).toBeUndefined();
      await giving;
      expect(await shown(place, tenancy)).toBeUndefined();
    },
  );

  test("GA-8: what a recover was sent for", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.doubt("lost-grant");
    place.registry.disturb("recover", "lost-before");
    await tenancy.settle();
    lose(place);
    expect(await shown(place, tenancy)).toBeUndefined();
  });

  test("GA-8: what a recover is about to be sent for, before the journal says so", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.doubt("lost-grant");
    const kept = await tenancy.kept();
    const commit = place.storage.commit.bind(place.storage);
    const seen: unknown[] = [];
    place.storage.commit = async (unit) => {
      if (unit.journal?.phase === "recovering") {
        lose(place, false);
        seen.push(tenancy.broughtBack(second, kept));
      }
      await commit(unit);
    };
    await tenancy.settle();
    expect(seen).toEqual([undefined]);
  });

  test("GA-8: what an answer comes for after it was given up", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.freeze(handoff.handoffId);
    await tenancy.beginHandoff({ ...handoff, head: place.first.signed });
    lose(place, false);
    const answer = answerTo(place, await shown(place, tenancy));
    await tenancy.relinquish(handoff, place.first);
    if (place.session.current === undefined) throw new Error("no session");
    await tenancy.reasserted(place.session.current, answer);
    expect(tenancy.tenure.kind).toBe("HANDOFF_PENDING");
    expect(place.storage.agent(place.agentId)?.journal.phase).toBe("relinquished");
  });

  test("GA-8: what the host had before it was started again", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    const tenancy = place.tenancy();
    lose(place);
    expect(await shown(place, tenancy)).toBeUndefined();
  });

  test("GA-8: what outlived two losses of the store", async () => {
    const { place, tenancy } = await forgotten();
    place.registry.forget("incarnation-3", 200n);
    place.session.bringOver();
    expect(await shown(place, tenancy)).toBeUndefined();
  });

  test("GA-8: anything, once the deadline has passed at any moment", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.session.lapse();
    lose(place);
    expect(await shown(place, tenancy)).toBeUndefined();
  });

  test("GA-8: a grant that arrives for another incarnation than the lease's is not taken", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.doubt("session-void");
    place.registry.onDone = () => lose(place, false);
    await tenancy.settle();
    place.registry.onDone = () => {};
    expect(tenancy.tenure.kind).toBe("RECOVERY_REQUIRED");
    expect(await shown(place, tenancy)).toBeUndefined();
  });

  test("GA-7: a conflict that is known is brought back alone", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    const conflict = { era: 0n, major: 0n, tick: 5n, known: "0".repeat(64), offered: "1".repeat(64) };
    place.registry.rewrite(place.agentId, { conflict, state: "RECOVERY_REQUIRED" });
    tenancy.doubt("divergent-lineage");
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "divergent-lineage" });
    lose(place);
    expect(await shown(place, tenancy)).toEqual({
      kind: "conflict",
      agentId: place.agentId,
      term: { era: 0n, major: 0n },
      conflict,
    });
    await broughtBack(place, tenancy);
    expect(place.record).toMatchObject({ conflict, state: "RECOVERY_REQUIRED" });
  });
});

describe("after the quarantine", patient, () => {
  test("GA-9: what was left behind is recovered with its spine, under the new era, and confirmed before its first tick", async () => {
    const { place, tenancy } = await forgotten();
    if (place.session.current === undefined) throw new Error("no session");
    await tenancy.reasserted(place.session.current, undefined);
    expect(tenancy.tenure.kind).toBe("RECOVERY_REQUIRED");
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "quarantine" });
    place.registry.endQuarantine();
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground).toMatchObject({ era: counter, major: 0n, origin: "recovered-after-store-loss" });
    expect(tenancy.mayTick()).toEqual({ kind: "may-not", because: "base-unconfirmed" });
    expect(await tenancy.confirmBase()).toBe(true);
    expect(tenancy.mayTick()).toEqual(may);
    expect(place.record).toMatchObject({ era: counter, major: 0n, incarnation: second, unconfirmed: undefined });
    expect(place.record.bases.map(({ startedFrom }) => startedFrom.digest)).toContain(place.first.digest);
  });

  test("GA-9: a record that nobody confirmed is recovered, whoever owns it", async () => {
    const { place, tenancy } = await forgotten(false);
    if (place.session.current === undefined) throw new Error("no session");
    await tenancy.reasserted(place.session.current, undefined);
    place.registry.rewrite(place.agentId, { owner: { hostId: bob.hostId, bootId: bob.bootId } });
    place.registry.endQuarantine();
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground).toMatchObject({ era: counter, major: 0n });
  });

  test("GA-9: a recovery after a loss whose answer was lost is asked about, not taken for lost again", async () => {
    const { place, tenancy } = await forgotten();
    if (place.session.current === undefined) throw new Error("no session");
    await tenancy.reasserted(place.session.current, undefined);
    place.registry.endQuarantine();
    place.registry.disturb("recover", "lost-after");
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "unknown" });
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(place.record).toMatchObject({ era: counter, major: 0n });
    expect(tenancy.ground?.origin).toBe("recovered-after-store-loss");
  });

  test("GA-9: an agent that was only acquired under the incarnation before is recovered from its tick 0", async () => {
    const place = await AgentPlace.create();
    const tenancy = place.tenancy();
    place.registry.disturb("acquire", "lost-before");
    await tenancy.settle();
    lose(place);
    place.registry.endQuarantine();
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(place.registry.sentOf("acquire")).toHaveLength(1);
    expect(tenancy.ground).toMatchObject({ era: counter, base: refOf(place.first) });
  });
});

describe("an agent that ticks while the store forgets", patient, () => {
  async function ticking() {
    const place = await AgentPlace.create();
    const supervisor = await place.supervise();
    await place.turns(2);
    return { place, supervisor };
  }

  async function carriedBack(place: AgentPlace): Promise<void> {
    let ended = false;
    const carried = await place.supervisor.carried(() => {
      ended = true;
    });
    const item = carried.item(second);
    if (place.session.current === undefined) throw new Error("no session");
    carried.answered(place.session.current, answerTo(place, item));
    await place.until(() => ended);
    await place.idle();
  }

  test("GA-1: nothing is run between the new lease and the confirmation; then it goes on where it was", async () => {
    const { place, supervisor } = await ticking();
    const ticks = supervisor.tick;
    place.registry.forget(second, counter);
    await place.turn();
    expect(supervisor.tick).toBe(ticks + 1n);
    place.session.bringOver();
    place.session.quarantine = "the registry's store forgot: waiting for the end of its quarantine, 1 s by now";
    await place.turns(5);
    expect(supervisor.tick).toBe(ticks + 1n);
    expect(supervisor.outcome).toEqual({ kind: "recovering" });
    expect(supervisor.reason).toContain("the registry's store forgot");
    await carriedBack(place);
    expect(supervisor.tick).toBe(ticks + 2n);
    expect(textOf(supervisor.state)).toBe(`tick ${ticks + 2n}`);
    expect(place.sandbox.instances).toHaveLength(1);
    expect(supervisor.tenancy.ground?.major).toBe(0n);
  });

  test("GA-2: a tick that ran while the session was brought over is thrown away", async () => {
    const { place, supervisor } = await ticking();
    const before = supervisor.tick;
    place.sandbox.next.push({ during: () => lose(place) });
    await place.turn();
    expect(supervisor.tick).toBe(before);
    expect(place.sandbox.newest.restored).toHaveLength(1);
  });

  test.each([
    ["that was looked into", true],
    ["that nobody has looked into yet", false],
  ])(
    "EI-2: brought back out of a doubt %s it goes on from the newest checkpoint of its major, not from its base or from memory",
    async (_, looked) => {
      const { place, supervisor } = await ticking();
      await supervisor.lastCheckpoint();
      const checkpoint = supervisor.latest;
      await place.turns(2);
      supervisor.tenancy.doubt("lost-grant");
      lose(place);
      if (looked) await place.nudged();
      await carriedBack(place);
      expect(supervisor.tenancy.tenure.kind).toBe("ACTIVE_OWNER");
      await place.nudged();
      expect(place.sandbox.instances).toHaveLength(2);
      expect(supervisor.latest?.digest).toBe(checkpoint?.digest);
      expect(supervisor.tick).toBe((checkpoint?.header.tick ?? 0n) + 1n);
      expect(supervisor.tenancy.ground?.base).toEqual(refOf(place.first));
    },
  );

  test("GA-9: the header of what is recovered after a loss says so", async () => {
    const { place, supervisor } = await ticking();
    await supervisor.lastCheckpoint();
    place.session.lose();
    supervisor.sessionVoid();
    place.registry.forget(second, counter);
    await place.openSession("boot-2");
    await place.nudged();
    expect(supervisor.reason).toContain("quarantine");
    place.registry.endQuarantine();
    await place.nudged();
    await supervisor.lastCheckpoint();
    const header = await place.storage.newestHeader(place.agentId);
    expect(header && readHeader(header.payload)).toMatchObject({ era: counter, origin: "recovered-after-store-loss" });
  });
});

describe("a host and what it holds", patient, () => {
  async function lost(place: AgentPlace): Promise<readonly string[]> {
    const recovered: string[] = [];
    const parts = { authority: place.registry, session: place.session, storage: place.storage, clock: place.clock };
    const look = new AfterLoss({
      ...parts,
      random: () => 0,
      logger: place.logger,
      runsHere: () => false,
      recover: (agentId) => void recovered.push(agentId),
    });
    await look.start();
    for (let n = 0; n < 4; n++) {
      await place.sleeping(1);
      await place.clock.advance(1_000);
    }
    await place.clock.run(look.stop());
    return recovered;
  }

  async function replica(): Promise<AgentPlace> {
    const place = await AgentPlace.create();
    await place.storage.commit({ agentId: place.agentId, journal: { phase: "replica" } });
    return place;
  }

  test("GA-5, GA-9: a replica whose record is gone is recovered from, when the quarantine is over", async () => {
    const place = await replica();
    expect(await lost(place)).toEqual([]); // a store that never forgot
    place.registry.forget(second, counter);
    place.session.bringOver();
    place.session.quarantine = "the registry's store forgot";
    expect(await lost(place)).toEqual([]);
    place.session.quarantine = undefined;
    expect(await lost(place)).toEqual([]); // the registry says that it is not over
    place.registry.endQuarantine();
    expect(await lost(place)).toEqual([place.agentId]);
  });

  test("GA-9: an agent whose checkpoints are damaged does not keep the next ones from being recovered", async () => {
    const place = await replica();
    const { storage } = place;
    const other = createAgent(bob);
    const { agentId, moduleDigest, manifestDigest } = other.header;
    const agent = { name: "other", moduleDigest, manifestDigest };
    await storage.commit({ agentId, agent, journal: { phase: "replica" }, checkpoint: other });
    expect(storage.agents().map((held) => held.agentId)).toEqual([place.agentId, agentId]);
    const checkpoints = storage.checkpoints.bind(storage);
    storage.checkpoints = async (asked) => {
      if (asked === place.agentId) throw new Fault({ code: "DATA_CORRUPT", path: storage.path, reason: "torn" });
      return await checkpoints(asked);
    };
    place.registry.forget(second, counter);
    place.session.bringOver();
    place.registry.endQuarantine();
    expect(await lost(place)).toEqual([agentId]);
  });

  test("GA-5: a replica whose owner brought its agent back stays one", async () => {
    const { place, tenancy } = await forgotten();
    await broughtBack(place, tenancy);
    await place.storage.commit({ agentId: place.agentId, journal: { phase: "replica" } });
    place.registry.endQuarantine();
    expect(await lost(place)).toEqual([]);
  });

  test.each(["stopped", "failed", "unfunded"])(
    "GA-5: what was %s waits to be asked, with a record and without",
    async (why) => {
      const place = await AgentPlace.create();
      await place.granted();
      await place.storage.commit({ agentId: place.agentId, journal: { phase: "retired", why, era: 0n, major: 0n } });
      place.registry.rewrite(place.agentId, { state: "RETIRED", reason: why as "stopped" });
      place.registry.loseTrust(second, counter);
      place.session.bringOver();
      place.registry.endQuarantine();
      expect(await lost(place)).toEqual([]);
      place.registry.records.clear();
      expect(await lost(place)).toEqual([]);
    },
  );

  test("GA-9: what went to another host and is forgotten there is recovered from here", async () => {
    const place = await AgentPlace.create();
    const journal = { phase: "retired", why: "migrated", era: 0n, major: 0n, targetHostId: bob.hostId } as const;
    await place.storage.commit({ agentId: place.agentId, journal });
    place.registry.forget(second, counter);
    place.session.bringOver();
    place.registry.endQuarantine();
    expect(await lost(place)).toEqual([place.agentId]);
  });

  test("GA-7: every agent that runs and every termination that is known is brought back, and all that is held announced", async () => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    await roster.start();
    const manifest = textBytes('{"capabilities":{"log":{"version":1}}}');
    const spec = { name: "survivor", manifest, module: textBytes("module"), budget: 1_000_000n };
    const agentId = await roster.run(spec, new AbortController().signal);
    await place.sleeping(1);
    const terminations = async () => {
      const items: (ShownItem | undefined)[] = [];
      for await (const batch of roster.carried()) items.push(...batch.map((carried) => carried.item(second)));
      return items;
    };
    place.heldChanged.splice(0);
    lose(place);
    expect(place.heldChanged).toEqual([agentId]);
    expect(await terminations()).toMatchObject([{ kind: "grant", agentId }]);
    await roster.stop();

    const termination = { payload: new Uint8Array(1), signature: new Uint8Array(64) };
    await place.storage.commit({ agentId, journal: { phase: "terminated", termination } });
    expect(await terminations()).toMatchObject([{ kind: "termination", agentId }]);
  });
});
