import { isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { type Checkpoint, issueToken, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { next } from "../../test/storage-story.ts";
import { AgentPlace, ada, bob, bobSession } from "../../test/support/agent-place.ts";
import type { Tenancy } from "./tenancy.ts";

const may = { kind: "may" };
const notOwner = { kind: "may-not", because: "not-owner" };
const lapsed = { kind: "may-not", because: "lease-lapsed" };
const handoff = { handoffId: "handoff-1", targetHostId: bob.hostId };
const patient = { timeout: 60_000 };

/** Frozen, begun and signed away to bob; the token is out. */
async function relinquished(place: AgentPlace): Promise<{ tenancy: Tenancy; token: SignedBytes; frozen: Checkpoint }> {
  const tenancy = await place.granted();
  const frozen = await another(place, tenancy);
  tenancy.freeze(handoff.handoffId);
  await tenancy.beginHandoff({ ...handoff, head: frozen.signed });
  return { tenancy, token: await tenancy.relinquish(handoff, frozen), frozen };
}

/** The next checkpoint under the present major, committed. */
async function another(place: AgentPlace, tenancy: Tenancy, from = place.first): Promise<Checkpoint> {
  const { era, major } = tenancy.ground ?? { era: 0n, major: 0n };
  const checkpoint = next(from, { host: ada, term: { era, major } });
  await place.storage.commit({ agentId: place.agentId, checkpoint });
  return checkpoint;
}

async function fails(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => {
      throw new Error("it went well");
    },
    (cause: unknown) => cause,
  );
}

describe("the right to tick", patient, () => {
  test("GA-1: only as the active owner", async () => {
    const place = await AgentPlace.create();
    const tenancy = place.tenancy();
    expect(tenancy.mayTick()).toEqual(notOwner);
    await tenancy.settle();
    expect(tenancy.mayTick()).toEqual(may);
    tenancy.freeze("handoff-1");
    expect(tenancy.mayTick()).toEqual(notOwner);
    tenancy.thaw();
    expect(tenancy.mayTick()).toEqual(may);
    tenancy.doubt("lost-grant");
    expect(tenancy.mayTick()).toEqual(notOwner);
  });

  test("GA-1: only under a grant of this very session", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.session.open("another-boot");
    expect(tenancy.mayTick()).toEqual(notOwner);
  });

  test("GA-1: only before the local deadline; SL-4: an answered late renewal makes it good again", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.session.lapseIn(1_000);
    await place.clock.advance(999);
    expect(tenancy.mayTick()).toEqual(may);
    await place.clock.advance(1);
    expect(tenancy.mayTick()).toEqual(lapsed);
    place.session.renew();
    expect(tenancy.mayTick()).toEqual(may);
  });

  test("SL-3: a jump of the wall clock counts as the deadline having passed", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.clock.jumpWall(100_000);
    expect(tenancy.mayTick()).toEqual(lapsed);
  });

  test("GA-1: a lease of another incarnation lends the grant nothing", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.session.renew("incarnation-2");
    expect(tenancy.mayTick()).toEqual(lapsed);
  });

  test("SL-6: nothing under a session that is being closed", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.session.close();
    expect(tenancy.mayTick()).toEqual(notOwner);
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "no-session" });
  });

  test("SL-4: a session that is void takes the right along, and a new one does not bring it back", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.session.lose();
    tenancy.sessionVoid();
    await place.openSession("boot-2");
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "session-void" });
    expect(tenancy.mayTick()).toEqual(notOwner);
    await expect(tenancy.revert()).resolves.toMatchObject({ kind: "refused", code: "NOT_OWNER" });
    expect(tenancy.mayTick()).toEqual(notOwner);
  });

  test("EI-7: a head that is refused under the present major ends the right; an older major's says nothing", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    const refusal = { kind: "refused", code: "NOT_OWNER", record: undefined } as const;
    tenancy.reported({ era: 0n, major: 7n }, refusal);
    expect(tenancy.mayTick()).toEqual(may);
    tenancy.reported({ era: 0n, major: 0n }, { kind: "unknown", cause: new Error("lost") });
    expect(tenancy.mayTick()).toEqual(may);
    tenancy.reported({ era: 0n, major: 0n }, refusal);
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "lost-grant" });
  });

  test("GH-1: a report that a handoff overtook, and that is answered after its revert, is no doubt", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    const frozen = next(place.first, { host: ada, term: { era: 0n, major: 0n } });
    tenancy.freeze(handoff.handoffId);
    await tenancy.beginHandoff({ ...handoff, head: frozen.signed });
    await tenancy.revert();
    const session = place.session.current;
    if (session === undefined) throw new Error("there is no session");
    const { era, major } = place.first.header;
    const late = { commandId: "late", agentId: place.agentId, era, major, ref: refOf(place.first) };
    const [answer] = await place.registry.reportHeads(session, [{ ...late, head: place.first.signed }]);
    expect(answer).toMatchObject({ kind: "refused", code: "STALE_CHECKPOINT" });
    if (answer !== undefined) tenancy.reported({ era, major }, answer);
    expect(tenancy.mayTick()).toEqual(may);
    // Somebody else's record is another matter, whatever the reason that it gives.
    tenancy.reported({ era, major }, { kind: "refused", code: "STALE_CHECKPOINT", record: undefined });
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "lost-grant" });
  });

  test("EI-11: a head that diverges says so", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.reported({ era: 0n, major: 0n }, { kind: "refused", code: "DIVERGENT_LINEAGE", record: undefined });
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "divergent-lineage" });
  });
});

describe("acquiring", patient, () => {
  test.each(["lost-before", "lost-after"] as const)(
    "§4: an answer that was %s: the same command again",
    async (how) => {
      const place = await AgentPlace.create();
      place.registry.disturb("acquire", how);
      const tenancy = place.tenancy();
      expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "unknown" });
      expect(tenancy.mayTick()).toEqual(notOwner);
      expect(await tenancy.settle()).toEqual({ kind: "granted" });
      expect(place.registry.deliverLate().map(({ kind }) => kind)).toEqual(how === "lost-before" ? ["applied"] : []);
      expect(new Set(place.registry.sentOf("acquire").map(({ id }) => id)).size).toBe(1);
      expect(place.record).toMatchObject({ major: 0n, revision: 1n });
      expect(place.storage.agent(place.agentId)?.journal).toMatchObject({
        phase: "owner",
        bootId: ada.bootId,
        major: 0n,
      });
    },
  );
});

describe("after a restart", patient, () => {
  test("GA-5, FS-4: nothing from the disk alone", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    place.registry.reachable = false;
    const tenancy = place.tenancy();
    expect(tenancy.journal.phase).toBe("owner");
    expect(tenancy.mayTick()).toEqual(notOwner);
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "registry-unreachable" });
    expect(tenancy.mayTick()).toEqual(notOwner);
  });

  test("GA-5: its own earlier session is waited for until it is void, then the agent is recovered", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    const tenancy = place.tenancy();
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "earlier-session-not-void" });
    expect(place.session.closedEarlier).toEqual([]);
    expect(place.registry.sentOf("recover")).toEqual([]);
    place.registry.endSession(ada);
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground).toMatchObject({ major: 1n, origin: "recovered", base: refOf(place.first) });
  });

  test("GA-5: with --trust-data-lock a session that is in the data directory is closed, and no other", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    const tenancy = place.tenancy({ trustDataLock: true });
    place.registry.rewrite(place.agentId, { owner: { hostId: ada.hostId, bootId: "of-a-copied-directory" } });
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "earlier-session-not-void" });
    expect(place.session.closedEarlier).toEqual([]);
    place.registry.rewrite(place.agentId, { owner: { hostId: ada.hostId, bootId: ada.bootId } });
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "earlier-session-not-void" });
    expect(place.session.closedEarlier).toEqual([ada.bootId]);
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
  });

  test("§4, GA-5: it is closed only once the registry has heard of what is held here, else an older replica could win", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    const tenancy = place.tenancy({ trustDataLock: true });
    place.announced = false;
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "earlier-session-not-void" });
    expect(place.session.closedEarlier).toEqual([]);
    place.announced = true;
    await tenancy.settle();
    expect(place.session.closedEarlier).toEqual([ada.bootId]);
  });

  test("GA-5: another host is the owner: what is held here is a replica", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    place.registry.endSession(ada);
    await place.asBob({ recover: place.first });
    const tenancy = place.tenancy();
    expect(await tenancy.settle()).toMatchObject({ kind: "retired" });
    expect(tenancy.tenure).toMatchObject({ kind: "RETIRED", why: "superseded" });
    expect(tenancy.journal).toMatchObject({ phase: "retired", targetHostId: bob.hostId });
    expect(place.registry.sentOf("recover").filter(({ by }) => by.hostId === ada.hostId)).toEqual([]);
  });

  test("§4: what an operator's choice gave up is set aside once the record says so, and is a replica no longer", async () => {
    const place = await AgentPlace.create();
    const given = await another(place, await place.granted());
    await place.restart("boot-2");
    const bases = [{ era: 0n, major: 1n, startedFrom: refOf(place.first) }];
    const choice = { era: 0n, major: 2n, owner: bobSession.id, forced: { era: 0n, major: 1n }, bases };
    place.registry.rewrite(place.agentId, { ...choice, head: refOf(place.first) });
    expect(await place.tenancy().settle()).toMatchObject({ kind: "retired" });
    expect(await place.storage.orphans(place.agentId)).toEqual([given.signed]);
    expect(await place.storage.latestCheckpoint(place.agentId)).toEqual(place.first);
    const spine = next(place.first, { host: ada, text: "the other one of that tick" });
    await place.storage.commit({ agentId: place.agentId, spine: [spine.signed] });
  });

  test.each(["stopped", "failed", "unfunded"] as const)(
    "GA-5: RETIRED (%s) waits until it is asked for",
    async (reason) => {
      const place = await AgentPlace.create();
      const before = await place.granted();
      await before.release(reason, place.first);
      await place.restart("boot-2");
      const tenancy = place.tenancy();
      expect(await tenancy.settle()).toMatchObject({ kind: "retired" });
      expect(tenancy.mayTick()).toEqual(notOwner);
      const asked = place.tenancy();
      asked.asked = true;
      expect(await asked.settle()).toEqual({ kind: "granted" });
      expect(asked.asked).toBe(false);
    },
  );

  test("EI-11: a conflict stops everything", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    await place.restart("boot-2");
    place.registry.endSession(ada);
    const conflict = { era: 0n, major: 0n, tick: 5n, known: "00", offered: "11" };
    place.registry.rewrite(place.agentId, { conflict });
    const tenancy = place.tenancy();
    tenancy.asked = true;
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "divergent-lineage" });
    expect(tenancy.mayTick()).toEqual(notOwner);
  });

  test("§10: what the lineage has passed over is never recovered from", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    const shared = await another(place, tenancy);
    const orphan = await another(place, tenancy, shared);
    place.registry.endSession(ada);
    await place.asBob({ recover: shared });
    place.registry.endSession(bobSession.id);
    await place.restart("boot-2");
    const asked = place.tenancy();
    asked.asked = true;
    expect(await asked.settle()).toEqual({ kind: "granted" });
    expect((await place.storage.latestCheckpoint(place.agentId))?.digest).toBe(orphan.digest);
    expect(asked.ground?.base).toEqual(refOf(shared));
  });

  test("§4: a recovery from what is older than the head is marked as a rollback", async () => {
    const place = await AgentPlace.create();
    await place.granted();
    place.registry.rewrite(place.agentId, { head: { era: 0n, major: 0n, tick: 9n, digest: "99" } });
    place.registry.endSession(ada);
    await place.restart("boot-2");
    const tenancy = place.tenancy();
    await tenancy.settle();
    expect(tenancy.ground).toMatchObject({ base: refOf(place.first), rolledBackFromTick: 9n });
  });
});

describe("an unconfirmed base", patient, () => {
  async function recovered(): Promise<{ place: AgentPlace; tenancy: Tenancy }> {
    const place = await AgentPlace.create();
    await place.granted();
    place.registry.endSession(ada);
    await place.restart("boot-2");
    const tenancy = place.tenancy();
    await tenancy.settle();
    return { place, tenancy };
  }
  const unconfirmed = { kind: "may-not", because: "base-unconfirmed" };

  test("§4: nothing ticks before the registry has answered for it", async () => {
    const { place, tenancy } = await recovered();
    expect(tenancy.mayTick()).toEqual(unconfirmed);
    expect(place.storage.agent(place.agentId)?.journal).toMatchObject({ unconfirmedBase: refOf(place.first) });
    place.registry.disturb("report_head", "lost-after", "lost-before");
    expect(await tenancy.confirmBase()).toBe(false);
    expect(await tenancy.confirmBase()).toBe(false);
    expect(tenancy.mayTick()).toEqual(unconfirmed);
    expect(await tenancy.confirmBase()).toBe(true);
    expect(tenancy.mayTick()).toEqual(may);
    expect(place.record.unconfirmed).toBeUndefined();
    expect(place.storage.agent(place.agentId)?.journal).not.toHaveProperty("unconfirmedBase");
  });

  test("SL-4: an answer that finds its session over confirms nothing", async () => {
    const { place, tenancy } = await recovered();
    place.registry.onDone = () => {
      place.session.lose();
      tenancy.sessionVoid();
    };
    expect(await tenancy.confirmBase()).toBe(false);
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "session-void" });
  });

  test("GA-4: a base that is refused is a doubt", async () => {
    const { place, tenancy } = await recovered();
    place.registry.endSession({ hostId: ada.hostId, bootId: "boot-2" });
    expect(await tenancy.confirmBase()).toBe(false);
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "lost-grant", revertible: undefined });
  });

  test("§4: after a restart a base that was recovered and never confirmed is recovered anew", async () => {
    const { place } = await recovered();
    place.registry.endSession({ hostId: ada.hostId, bootId: "boot-2" });
    await place.restart("boot-3");
    const tenancy = place.tenancy();
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground).toMatchObject({ major: 2n, base: refOf(place.first) });
    expect(tenancy.mayTick()).toEqual(unconfirmed);
  });
});

describe("handing over", patient, () => {
  test("GH-1: relinquished is on the disk before the token leaves, and from the first moment nothing ticks", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.freeze(handoff.handoffId);
    await tenancy.beginHandoff({ ...handoff, head: place.first.signed });
    const leaving = tenancy.relinquish(handoff, place.first);
    expect(tenancy.tenure.kind).toBe("HANDOFF_PENDING");
    const token = await leaving;
    expect(place.storage.agent(place.agentId)).toMatchObject({
      journal: { phase: "relinquished", ...handoff, token, major: 0n, checkpointDigest: place.first.digest },
      newestRelinquished: { era: 0n, major: 0n },
    });
  });

  test("GH-1: a journal that fails lets no token out, and counts as written all the same", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.freeze(handoff.handoffId);
    await tenancy.beginHandoff({ ...handoff, head: place.first.signed });
    await place.storage.close();
    expect(await fails(tenancy.relinquish(handoff, place.first))).toSatisfy((cause) => isFault(cause, "SHUTTING_DOWN"));
    expect(tenancy.tenure).toMatchObject({ kind: "HANDOFF_PENDING", relinquished: { era: 0n, major: 0n } });
    expect(tenancy.mayTick()).toEqual(notOwner);
  });

  test("GH-1: no revert after it, whatever the registry would answer", async () => {
    const place = await AgentPlace.create();
    const { tenancy } = await relinquished(place);
    expect(() => tenancy.thaw()).toThrow("reverted");
    await expect(tenancy.revert()).rejects.toThrow("reverted");
    expect(tenancy.mayTick()).toEqual(notOwner);
    tenancy.doubt("outcome-unknown");
    expect(() => tenancy.thaw()).toThrow("reverted");
    expect(tenancy.mayTick()).toEqual(notOwner);
  });

  test("GH-3: in doubt about a handoff the owner recovers, under the next major", async () => {
    const place = await AgentPlace.create();
    const { tenancy, token, frozen } = await relinquished(place);
    tenancy.doubt("ambiguous-handoff");
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground).toMatchObject({ major: 1n, base: refOf(frozen) });
    expect(tenancy.mayTick()).toEqual(may);
    await expect(place.asBob({ claim: token })).rejects.toThrow("refused");
  });

  test("GH-3: the target has claimed: the local copy is a replica", async () => {
    const place = await AgentPlace.create();
    const { tenancy, token } = await relinquished(place);
    await place.asBob({ claim: token });
    tenancy.doubt("ambiguous-handoff");
    expect(await tenancy.settle()).toMatchObject({ kind: "retired" });
    expect(tenancy.journal).toMatchObject({ phase: "retired", why: "migrated", targetHostId: bob.hostId });
  });

  test("GH-1: a relinquished major is never taken up, not even when the record names it again", async () => {
    const place = await AgentPlace.create();
    const { tenancy } = await relinquished(place);
    tenancy.doubt("ambiguous-handoff");
    place.registry.disturb("recover", "lost-before");
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "unknown" });
    // A revert of earlier that came late: the very major, owned by this session and active.
    place.registry.rewrite(place.agentId, { state: "ACTIVE_OWNER", handoff: undefined });
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground?.major).toBe(1n);
    expect(place.registry.deliverLate()).toMatchObject([{ kind: "refused", code: "STALE_REVISION" }]);
  });

  test("GH-1: nor after a restart, nor once the agent is retired here", async () => {
    const place = await AgentPlace.create();
    const { tenancy, token } = await relinquished(place);
    await place.restart("boot-2");
    expect(place.tenancy().tenure.relinquished).toEqual({ era: 0n, major: 0n });
    await place.asBob({ claim: token });
    const retired = place.tenancy();
    await retired.settle();
    expect(retired.tenure.kind).toBe("RETIRED");
    expect(tenancy.tenure.kind).toBe("HANDOFF_PENDING");

    await place.restart("boot-3");
    const later = place.tenancy();
    expect(later.journal.phase).toBe("retired");
    expect(later.tenure.relinquished).toEqual({ era: 0n, major: 0n });
    // Even if the registry's word and a journal that says "recovering" spoke for it.
    const owner = { hostId: ada.hostId, bootId: "boot-3" };
    place.registry.rewrite(place.agentId, { owner, major: 0n, state: "ACTIVE_OWNER", handoff: undefined });
    later.asked = true;
    place.registry.disturb("recover", "lost-before");
    await later.settle();
    expect(later.journal.phase).toBe("recovering");
    expect(await later.settle()).toEqual({ kind: "granted" });
    expect(later.ground?.major).toBe(1n);
  });

  test("GH-1: a revert that was answered brings the same major back; one that was not brings nothing", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.freeze(handoff.handoffId);
    place.registry.disturb("begin_handoff", "lost-before");
    expect(await tenancy.beginHandoff({ ...handoff, head: place.first.signed })).toMatchObject({ kind: "unknown" });
    place.registry.disturb("revert_handoff", "lost-after");
    expect(await tenancy.revert()).toMatchObject({ kind: "unknown" });
    expect(tenancy.mayTick()).toEqual(notOwner);
    expect(await tenancy.revert()).toMatchObject({ kind: "applied" });
    expect(tenancy.mayTick()).toEqual(may);
    expect(tenancy.ground?.major).toBe(0n);
    expect(place.registry.deliverLate()).toMatchObject([{ kind: "refused", code: "STALE_REVISION" }]);
  });

  test("§6: STARTED came: a tombstone that names the target; it is written once", async () => {
    const place = await AgentPlace.create();
    const { tenancy, token } = await relinquished(place);
    await place.asBob({ claim: token });
    await tenancy.retireTo(bob.hostId);
    expect(place.storage.agent(place.agentId)?.journal).toMatchObject({
      phase: "retired",
      why: "migrated",
      major: 0n,
      targetHostId: bob.hostId,
    });
    const writes = place.storage.counters.units;
    await tenancy.retireTo(bob.hostId);
    expect(place.storage.counters.units).toBe(writes);
  });

  test("GH-3: a STARTED that comes after a doubt retires nothing: only the registry knows by then", async () => {
    const place = await AgentPlace.create();
    const { tenancy } = await relinquished(place);
    tenancy.doubt("session-void");
    await tenancy.retireTo(bob.hostId);
    expect(tenancy.tenure.kind).toBe("RECOVERY_REQUIRED");
    expect(place.storage.agent(place.agentId)?.journal.phase).toBe("relinquished");
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    await tenancy.retireTo(bob.hostId);
    expect(tenancy.tenure.kind).toBe("ACTIVE_OWNER");
  });
});

describe("recovering as the owner", patient, () => {
  async function inDoubt(): Promise<{ place: AgentPlace; tenancy: Tenancy }> {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    tenancy.doubt("ambiguous-handoff");
    return { place, tenancy };
  }

  test("§4: an answer that was lost: what was done is taken up, not done again", async () => {
    const { place, tenancy } = await inDoubt();
    place.registry.disturb("recover", "lost-after");
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "unknown" });
    expect(tenancy.mayTick()).toEqual(notOwner);
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(place.registry.sentOf("recover")).toHaveLength(1);
    expect(tenancy.ground).toMatchObject({ major: 1n, base: refOf(place.first) });
    expect(tenancy.mayTick()).toEqual(may);
  });

  test("§4: what was sent is in the journal before it is sent", async () => {
    const { place, tenancy } = await inDoubt();
    const written: unknown[] = [];
    place.registry.onArrival = () => void written.push(place.storage.agent(place.agentId)?.journal);
    await tenancy.settle();
    expect(written).toEqual([
      {
        phase: "recovering",
        bootId: ada.bootId,
        commandId: place.record.lastCommand,
        base: refOf(place.first),
        on: { era: 0n, major: 0n },
      },
    ]);
  });

  test("§4: a recover that may still arrive is not answered by the record as it was: the old term is not taken up", async () => {
    const { place, tenancy } = await inDoubt();
    place.registry.disturb("recover", "lost-before");
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "unknown" });
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground?.major).toBe(1n);
    expect(place.registry.deliverLate()).toMatchObject([{ kind: "refused", code: "STALE_REVISION" }]);
  });

  test("§4: a command that was overtaken can do no harm", async () => {
    const { place, tenancy } = await inDoubt();
    place.registry.disturb("recover", "lost-before");
    await tenancy.settle();
    place.registry.rewrite(place.agentId, { state: "RECOVERY_REQUIRED", revision: 2n });
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(place.registry.deliverLate()).toMatchObject([{ kind: "refused", code: "STALE_REVISION" }]);
    expect(place.record.major).toBe(1n);
  });

  test("SL-4: a grant that arrives when its session is over is recovered anew under the next", async () => {
    const { place, tenancy } = await inDoubt();
    place.registry.onDone = () => place.session.lose();
    await tenancy.settle();
    place.registry.onDone = () => {};
    expect(tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "session-void" });
    await place.openSession("boot-2");
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground?.major).toBe(2n);
  });

  test("GA-4: a refusal is waited out, and gives nothing", async () => {
    const { place, tenancy } = await inDoubt();
    place.registry.disturb("recover", { refuse: "QUARANTINE" });
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "QUARANTINE" });
    expect(tenancy.mayTick()).toEqual(notOwner);
  });
});

describe("giving up", patient, () => {
  test("§4: a release whose answer was lost gives no tick, and is sent again with the same id", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.registry.disturb("release", "lost-before", "lost-before");
    expect(await tenancy.release("stopped", place.first)).toMatchObject({ kind: "unknown" });
    expect(tenancy.mayTick()).toEqual(notOwner);
    // A read that shows the record unchanged is not enough: the command may still arrive.
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "unknown" });
    expect(tenancy.mayTick()).toEqual(notOwner);
    expect(await tenancy.settle()).toMatchObject({ kind: "retired" });
    expect(new Set(place.registry.sentOf("release").map(({ id }) => id)).size).toBe(1);
    expect(place.record).toMatchObject({ state: "RETIRED", reason: "stopped" });
  });

  test("§4: a release that was done and not answered is not undone", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.registry.disturb("release", "lost-after");
    await tenancy.release("stopped", place.first);
    expect(await tenancy.settle()).toMatchObject({ kind: "retired" });
    expect(place.registry.sentOf("release")).toHaveLength(1);
    expect(tenancy.tenure).toMatchObject({ kind: "RETIRED", why: "stopped" });
  });

  test("§4: only an answered revert lets it tick again, and makes the release stale", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.registry.disturb("release", "lost-before");
    await tenancy.release("stopped", place.first);
    place.registry.disturb("revert_handoff", "lost-before");
    expect(await tenancy.revert()).toMatchObject({ kind: "unknown" });
    expect(tenancy.mayTick()).toEqual(notOwner);
    expect(await tenancy.revert()).toMatchObject({ kind: "applied" });
    expect(tenancy.mayTick()).toEqual(may);
    for (const late of place.registry.deliverLate()) expect(late).toMatchObject({ code: "STALE_REVISION" });
    expect(place.record.state).toBe("ACTIVE_OWNER");
    // And it is the owner on the disk too: what it ticks can be kept.
    await expect(another(place, tenancy)).resolves.toBeDefined();
  });

  test("§4: after a restart a release that may have been sent is no right either", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    place.registry.disturb("release", "lost-before");
    await tenancy.release("stopped", place.first);
    await place.restart("boot-2");
    const later = place.tenancy();
    expect(later.journal.phase).toBe("giving-up");
    expect(await later.settle()).toEqual({ kind: "waiting", why: "earlier-session-not-void" });
    place.registry.endSession(ada);
    expect(await later.settle()).toEqual({ kind: "granted" });
    expect(later.ground?.major).toBe(1n);
    expect(place.registry.deliverLate()).toMatchObject([{ kind: "refused", code: "SESSION_VOID" }]);
  });

  test("GA-8: that it gives up is in the journal before it is sent", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    const phases: unknown[] = [];
    place.registry.onArrival = () => void phases.push(place.storage.agent(place.agentId)?.journal.phase);
    await tenancy.release("stopped", place.first);
    expect(phases).toEqual(["giving-up"]);
  });

  test("§4: a termination leaves its statement and nothing else", async () => {
    const place = await AgentPlace.create();
    const tenancy = await place.granted();
    expect(await tenancy.terminate()).toMatchObject({ kind: "applied" });
    expect(place.storage.agent(place.agentId)?.journal).toEqual({
      phase: "terminated",
      termination: place.record.terminated,
    });
    expect(await place.held()).toEqual([]);
    expect(tenancy.tenure).toMatchObject({ kind: "RETIRED", why: "terminated" });
    const later = place.tenancy();
    later.asked = true;
    expect(await later.settle()).toEqual({ kind: "terminated" });
  });
});

describe("coming in", patient, () => {
  /** The agent that this host has handed to bob comes back: staged, and the claim may have been sent. */
  async function staged(): Promise<{ place: AgentPlace; tenancy: Tenancy; frozen: Checkpoint }> {
    const place = await AgentPlace.create();
    const { tenancy: away, token } = await relinquished(place);
    await place.asBob({ claim: token });
    await away.retireTo(bob.hostId);
    const { agentId, registry, storage } = place;
    const last = (await storage.latestCheckpoint(agentId)) ?? place.first;
    const frozen = next(last, { host: bob, term: { era: 0n, major: 1n } });
    const claims = { agentId, era: 0n, major: 1n, handoffId: "back", targetHostId: ada.hostId };
    const back = issueToken({ ...claims, checkpointDigest: frozen.digest, tick: frozen.header.tick }, bob.signer);
    await registry.beginHandoff(
      bobSession,
      { commandId: "begin-back", agentId, revision: place.record.revision },
      { handoffId: "back", targetHostId: ada.hostId, head: frozen.signed },
    );
    const agent = storage.agent(agentId);
    if (agent === undefined) throw new Error("the agent is not here");
    const { name, moduleDigest, manifestDigest } = agent;
    await storage.commit({
      agentId,
      stage: {
        handoffId: "back",
        agent: { name, moduleDigest, manifestDigest },
        sourceHostId: bob.hostId,
        token: back,
        checkpoint: frozen,
        receipts: [],
        spine: await storage.spineFrom(agentId, refOf(last)),
      },
      journal: {
        phase: "claiming",
        bootId: ada.bootId,
        commandId: "claim-1",
        handoffId: "back",
        sourceHostId: bob.hostId,
        era: 0n,
        major: 1n,
        token: back,
        checkpointDigest: frozen.digest,
      },
    });
    return { place, tenancy: place.tenancy(), frozen };
  }

  test("GH-4: a claim whose answer was lost is repeated as it was, and what was staged is the base", async () => {
    const { place, tenancy, frozen } = await staged();
    place.registry.disturb("claim", "lost-before");
    expect(await tenancy.settle()).toEqual({ kind: "waiting", why: "unknown" });
    expect(tenancy.mayTick()).toEqual(notOwner);
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(
      place.registry
        .sentOf("claim")
        .slice(-2)
        .map(({ id }) => id),
    ).toEqual(["claim-1", "claim-1"]);
    expect(tenancy.ground).toMatchObject({ major: 2n, origin: "migrated", base: refOf(frozen) });
    expect(tenancy.mayTick()).toEqual(may);
    expect(await place.storage.checkpoint(place.agentId, frozen.digest)).toBeDefined();
    expect(place.storage.staged()).toEqual([]);
  });

  test("GH-5: a claim that was done and not answered is taken up", async () => {
    const { place, tenancy, frozen } = await staged();
    place.registry.disturb("claim", "lost-after");
    await tenancy.settle();
    expect(await tenancy.settle()).toEqual({ kind: "granted" });
    expect(tenancy.ground).toMatchObject({ major: 2n, base: refOf(frozen) });
    expect(place.registry.sentOf("recover")).toEqual([]);
  });

  test("GH-5: a claim that was done before the host stopped is recovered from, under the next major", async () => {
    const { place, tenancy, frozen } = await staged();
    place.registry.disturb("claim", "lost-after");
    await tenancy.settle();
    await place.restart("boot-2");
    const later = place.tenancy();
    expect(await later.settle()).toEqual({ kind: "waiting", why: "earlier-session-not-void" });
    expect(place.storage.staged()).toHaveLength(1);
    place.registry.endSession(ada);
    expect(await later.settle()).toEqual({ kind: "granted" });
    expect(later.ground).toMatchObject({ major: 3n, base: refOf(frozen) });
  });

  test("GH-4: what was staged is kept until the handoff is dead, and then becomes a replica", async () => {
    const { place, tenancy, frozen } = await staged();
    place.registry.reachable = false;
    await tenancy.settle();
    expect(place.storage.staged()).toHaveLength(1);
    place.registry.reachable = true;
    await place.registry.recover(
      bobSession,
      { commandId: "bob-takes-it-back", agentId: place.agentId, revision: place.record.revision },
      frozen.signed,
    );
    expect(await tenancy.settle()).toMatchObject({ kind: "retired" });
    expect(place.storage.staged()).toEqual([]);
    expect(await place.held()).toContain(frozen.header.tick);
    expect(tenancy.mayTick()).toEqual(notOwner);
  });
});
