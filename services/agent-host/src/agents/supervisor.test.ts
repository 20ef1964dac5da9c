import { Fault, isFault } from "@godwit/common/fault";
import { tickCost } from "@godwit/common/money";
import { readHeader, readReceipt, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { next } from "../../test/storage-story.ts";
import { AgentPlace, ada, bob } from "../../test/support/agent-place.ts";
import { textOf } from "../../test/support/fake-sandbox.ts";

const patient = { timeout: 60_000 };
const handoff = { handoffId: "handoff-1", targetHostId: bob.hostId };

async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (cause: unknown) => (isFault(cause) ? cause.code : String(cause)),
  );
}

function heldSession({ session }: AgentPlace) {
  if (session.current === undefined) throw new Error("no session is open");
  return session.current;
}

/** Ticks once at the start, when the registry grants it at once. */
async function ticking(...args: Parameters<AgentPlace["supervise"]>) {
  const place = await AgentPlace.create();
  const supervisor = await place.supervise(...args);
  expect(supervisor.tick).toBe(1n);
  return { place, supervisor };
}

/** Frozen, begun and signed away to bob. */
async function handedOver() {
  const { place, supervisor } = await ticking();
  const frozen = await supervisor.freeze(handoff.handoffId);
  await supervisor.tenancy.beginHandoff({ ...handoff, head: frozen.signed });
  const token = await supervisor.tenancy.relinquish(handoff, frozen);
  return { place, supervisor, frozen, token };
}

describe("a tick", patient, () => {
  test("a granted agent ticks at its pace, one tick after the other", async () => {
    const { place, supervisor } = await ticking();
    expect(await place.turns(3)).toEqual([1_000, 1_000, 1_000]);
    expect(supervisor.tick).toBe(4n);
    expect(textOf(supervisor.state)).toBe("tick 4");
    place.sandbox.next.push({ moreWork: true });
    expect(await place.turns(2)).toEqual([1_000, 10]);
    expect(supervisor.outcome).toEqual({ kind: "normal" });
    await place.nudged();
    expect(supervisor.tick).toBe(6n);
  });

  test("GA-2: the right is asked for before a tick: after the deadline nothing is run", async () => {
    const { place, supervisor } = await ticking();
    place.session.lapse();
    await place.turns(5);
    expect(place.sandbox.ticks).toBe(1);
    expect(supervisor.outcome).toEqual({ kind: "recovering" });
    expect(await place.held()).toEqual([0n]);
    place.session.renew();
    await place.nudged();
    expect(supervisor.tick).toBe(2n);
  });

  test("T-48, GA-2: a tick whose lease lapsed while it ran is thrown away, and the state before it is restored", async () => {
    const { place, supervisor } = await ticking({ checkpointEveryMs: 0 });
    const { budget } = supervisor;
    const held = await place.held();
    place.sandbox.next.push({ during: () => place.session.lapse(), logs: ["from a tick that never was"] });
    await place.turn();
    const instance = place.sandbox.newest;
    expect(place.sandbox.ticks).toBe(2);
    expect(instance.restored).toEqual(["tick 1"]);
    expect(instance.text).toBe("tick 1");
    expect(textOf(supervisor.state)).toBe("tick 1");
    expect(supervisor).toMatchObject({ tick: 1n, budget });
    expect(place.outcomes).toContain("discarded");
    expect(await place.held()).toEqual(held);
    expect(place.logs.tail(100).map(({ line }) => line)).not.toContain("from a tick that never was");
    place.session.renew();
    await place.nudged();
    expect(textOf(supervisor.state)).toBe("tick 2");
  });

  test("SL-6: a tick under a session that is closed while it runs never happened", async () => {
    const { place, supervisor } = await ticking();
    place.sandbox.next.push({ during: () => place.session.close() });
    await place.turn();
    expect(supervisor.tick).toBe(1n);
    expect(place.sandbox.newest.restored).toEqual(["tick 1"]);
    await place.turns(3);
    expect(place.sandbox.ticks).toBe(2);
    await supervisor.lastCheckpoint();
    expect(await place.held()).toEqual([0n]);
  });

  test("SL-4: a session that is lost while a tick runs takes the tick along", async () => {
    const { place, supervisor } = await ticking();
    place.sandbox.next.push({
      during: () => {
        place.session.lose();
        supervisor.sessionVoid();
      },
    });
    await place.turn();
    expect(supervisor.shown.tick).toBe(0n);
    expect(await place.held()).toEqual([0n]);
    await place.openSession("boot-2");
    await place.nudged();
    expect(place.sandbox.newest.initialState).toEqual(place.first.state);
  });

  test("T-48: what an agent says is its log once its tick is committed", async () => {
    const { place } = await ticking();
    let early: readonly string[] = [];
    place.sandbox.next.push({
      logs: ["hello"],
      during: () => {
        early = place.logs.tail(100).map(({ line }) => line);
      },
    });
    await place.turn();
    expect(early).not.toContain("hello");
    expect(place.logs.tail(1)).toMatchObject([{ line: "hello", tick: 2n, origin: "agent" }]);
  });

  test("a host that stops in the middle of a tick leaves no trace of it", async () => {
    const { place, supervisor } = await ticking();
    const inTick = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    place.sandbox.next.push({
      during: async () => {
        inTick.resolve();
        await held.promise;
      },
    });
    await place.clock.advanceToNext();
    await inTick.promise;
    const ended = supervisor.end();
    held.resolve();
    await ended;
    expect(supervisor.tick).toBe(1n);
    expect(place.sandbox.newest.stopped).toBe(true);
    expect(await place.held()).toEqual([0n]);
  });
});

describe("in doubt", patient, () => {
  test("GA-4: no tick, no checkpoint, and the registry is asked for ever, with back-off", async () => {
    const { place, supervisor } = await ticking({ checkpointEveryMs: 0 });
    const held = await place.held();
    const ticks = place.sandbox.ticks;
    place.registry.reachable = false;
    supervisor.inDoubt("lost-grant");
    await place.idle();
    const before = place.registry.reads;
    const waits = await place.turns(30);
    expect(waits.slice(0, 6)).toEqual([125, 250, 500, 1_000, 2_000, 2_500]);
    expect(new Set(waits.slice(6))).toEqual(new Set([2_500]));
    expect(place.registry.reads).toBe(before + 30);
    expect(place.sandbox.ticks).toBe(ticks);
    await supervisor.lastCheckpoint();
    expect(await place.held()).toEqual(held);
    expect(place.sandbox.newest.stopped).toBe(true);
    expect(supervisor.reason).toContain("registry does not answer");

    place.registry.reachable = true;
    await place.turn();
    expect(supervisor.tenancy.ground?.major).toBe(1n);
    expect(place.sandbox.ticks).toBe(ticks + 1);
  });

  test("GA-4: a look that fails on this side is followed by another one", async () => {
    const { place, supervisor } = await ticking();
    place.sandbox.startFails = new Error("no memory");
    supervisor.inDoubt("lost-grant");
    await place.idle();
    expect(await place.turns(2)).toEqual([125, 250]);
    place.sandbox.startFails = undefined;
    await place.turn();
    expect(place.sandbox.ticks).toBe(2);
  });

  test("EI-2: after a recovery it goes on from the committed base, not from what it had in memory", async () => {
    const { place, supervisor } = await ticking();
    await place.turns(3);
    await supervisor.lastCheckpoint();
    expect(await place.held()).toEqual([4n, 0n]);
    await place.turns(2);
    expect(textOf(supervisor.state)).toBe("tick 6");
    const { budget } = supervisor.latest?.header ?? { budget: 0n };
    supervisor.inDoubt("lost-grant");
    let ticksFrom = "";
    place.sandbox.next.push({
      during: () => {
        ticksFrom = `${place.sandbox.newest.text}, ${supervisor.budget === budget}`;
      },
    });
    await place.idle();
    expect(place.sandbox.instances).toHaveLength(2);
    expect(textOf(place.sandbox.newest.initialState)).toBe("tick 4");
    expect(ticksFrom).toBe("tick 4, true");
    expect(supervisor.tick).toBe(5n);
    expect(supervisor.tenancy.ground?.base.tick).toBe(4n);
    await supervisor.lastCheckpoint();
    expect((await place.storage.latestCheckpoint(place.agentId))?.header).toMatchObject({ tick: 5n, major: 1n });
  });

  test("EI-2, GA-2: the first tick after a recovery is thrown away: the base is restored, not what was in memory", async () => {
    const { place, supervisor } = await ticking();
    await supervisor.lastCheckpoint();
    await place.turns(2);
    expect(textOf(supervisor.state)).toBe("tick 3");
    place.sandbox.next.push({ during: () => place.session.lapse() });
    supervisor.inDoubt("lost-grant");
    await place.idle();
    expect(place.sandbox.newest.restored).toEqual(["tick 1"]);
    expect(textOf(supervisor.state)).toBe("tick 1");
    expect(supervisor.tick).toBe(1n);
  });

  test("EI-2, §10: a newer checkpoint that the lineage has passed over is not gone on from", async () => {
    const { place, supervisor } = await ticking();
    await supervisor.lastCheckpoint();
    const shared = supervisor.latest ?? place.first;
    await place.turn();
    await supervisor.lastCheckpoint();
    expect(await place.held()).toEqual([2n, 1n, 0n]);
    place.registry.endSession(ada);
    await place.asBob({ recover: shared });
    place.registry.endSession({ hostId: bob.hostId, bootId: bob.bootId });
    await place.restart("boot-2");
    const tenancy = place.tenancy();
    tenancy.asked = true;
    await place.supervise({}, { tenancy });
    expect(textOf(place.sandbox.newest.initialState)).toBe("tick 1");
  });

  test("GA-5: after a restart nothing is run before the registry has granted it", async () => {
    const { place } = await ticking();
    await place.restart("boot-2");
    await place.supervise();
    await place.turns(4);
    expect(place.sandbox.ticks).toBe(1);
    expect(place.sandbox.instances).toHaveLength(1);
    place.registry.endSession(ada);
    await place.turn();
    expect(place.sandbox.ticks).toBe(2);
    expect(place.supervisor.tenancy.ground?.major).toBe(1n);
  });

  test("GA-5: another host has it: the loop ends, and what is held is a replica", async () => {
    const { place } = await ticking();
    await place.restart("boot-2");
    place.registry.endSession(ada);
    await place.asBob({ recover: place.first });
    const supervisor = await place.supervise();
    expect(place.left).toEqual([place.agentId]);
    expect(supervisor.tenancy.tenure.kind).toBe("RETIRED");
    expect(place.sandbox.ticks).toBe(1);
    expect(await place.held()).toEqual([0n]);
  });

  test("§4: an unconfirmed base is confirmed, and that answered, before the first tick", async () => {
    const { place } = await ticking();
    place.registry.endSession(ada);
    await place.restart("boot-2");
    place.registry.disturb("report_head", "lost-after", "lost-before", "lost-before");
    await place.supervise();
    await place.turns(2);
    expect(place.registry.sentOf("report_head")).toHaveLength(3);
    expect(place.sandbox.ticks).toBe(1);
    expect(place.sandbox.instances).toHaveLength(1);
    let answered = false;
    place.registry.onDone = (kind) => {
      answered ||= kind === "report_head";
    };
    place.sandbox.next.push({ during: () => expect(answered).toBe(true) });
    await place.turn();
    expect(place.sandbox.ticks).toBe(2);
    expect(place.record).toMatchObject({ major: 1n, unconfirmed: undefined });
  });

  test("§4: a base that is not in the data directory is given back: this host cannot run it", async () => {
    const { place } = await ticking();
    place.registry.endSession(ada);
    await place.restart("boot-2");
    const tenancy = place.tenancy();
    await tenancy.settle();
    await tenancy.confirmBase();
    const missing = next(place.first, { host: ada, term: { era: 0n, major: 1n } });
    tenancy.claimed(heldSession(place), {
      ...place.record,
      unconfirmed: undefined,
      bases: [{ era: 0n, major: 1n, startedFrom: refOf(missing) }],
    });
    await place.supervise({}, { tenancy });
    expect(place.record).toMatchObject({ state: "RETIRED", reason: "cannot-run" });
    expect(place.sandbox.ticks).toBe(1);
  });

  test("whoever waits is told when it ticks here again, and when it does not any more", async () => {
    const { place, supervisor } = await ticking();
    place.registry.reachable = false;
    supervisor.inDoubt("ambiguous-handoff");
    await place.idle();
    const settled = supervisor.untilSettled(new AbortController().signal);
    const given = new AbortController();
    const tooLate = supervisor.untilSettled(given.signal);
    given.abort(new Error("enough"));
    await expect(tooLate).rejects.toThrow("enough");
    place.registry.reachable = true;
    await place.turn();
    await expect(settled).resolves.toMatchObject({ kind: "ACTIVE_OWNER", grant: { major: 1n } });
    await supervisor.stop("stopped");
    await expect(supervisor.untilSettled(new AbortController().signal)).resolves.toMatchObject({ kind: "RETIRED" });
  });

  test("GH-3: granted is not settled yet: it is when an instance stands and the lease is live", async () => {
    const { place, supervisor } = await ticking();
    let settled = 0;
    const wait = () => void supervisor.untilSettled(new AbortController().signal).then(() => settled++);
    place.sandbox.startFails = new Error("not yet");
    supervisor.inDoubt("ambiguous-handoff");
    wait();
    await place.idle();
    await place.turn();
    expect(supervisor.tenancy.tenure.kind).toBe("ACTIVE_OWNER");
    expect(settled).toBe(0);
    place.sandbox.startFails = undefined;
    await place.turn();
    expect(settled).toBe(1);
    place.session.lapse();
    wait();
    await place.turns(2);
    expect(settled).toBe(1);
    place.session.renew();
    await place.nudged();
    expect(settled).toBe(2);
  });

  test("§3: people are shown what is on the disk until more is known", async () => {
    const { place, supervisor } = await ticking();
    await place.turns(3);
    await supervisor.lastCheckpoint();
    const last = supervisor.latest ?? place.first;
    await place.restart("boot-2");
    const later = await place.supervise();
    const onDisk = {
      tick: 4n,
      budget: last.header.budget,
      stateBytes: last.header.stateBytes,
      checkpoint: refOf(last),
    };
    expect(later.shown).toEqual(onDisk);
    place.registry.endSession(ada);
    place.sandbox.startFails = new Error("not yet");
    await place.turn();
    expect(later.tenancy.tenure.kind).toBe("ACTIVE_OWNER");
    expect(later.shown).toEqual(onDisk);
    place.sandbox.startFails = undefined;
    await place.turn();
    expect(later.shown).toMatchObject({ tick: 5n, checkpoint: refOf(last) });
  });

  test("expected failures are logged by code and message, bugs with their stack", async () => {
    const { place, supervisor } = await ticking();
    place.registry.disturb("recover", "lost-before");
    supervisor.inDoubt("lost-grant");
    await place.idle();
    expect(place.lines.find(({ msg }) => msg === "outcome unknown, asking again")).toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      reason: expect.stringContaining("no answer"),
    });
    place.sandbox.startFails = new Fault({ code: "MODULE_INVALID", reason: "as told" });
    await place.turn();
    place.sandbox.startFails = new RangeError("a bug");
    await place.turn();
    const failed = place.lines.filter(({ msg }) => msg === "turn failed");
    expect(failed).toHaveLength(2);
    expect(failed[0]).toMatchObject({ code: "MODULE_INVALID" });
    expect(failed[0]).not.toHaveProperty("err");
    expect(failed[1]).toMatchObject({
      err: { message: "a bug", stack: expect.stringContaining("supervisor.test.ts") },
    });
  });
});

describe("checkpoints", patient, () => {
  test("§2: one for a major and tick: freeze, stop and the last one before the host stops use it again", async () => {
    const { place, supervisor } = await ticking();
    await supervisor.lastCheckpoint();
    const latest = supervisor.latest;
    expect(latest?.header.tick).toBe(1n);
    await place.clock.advance(500);
    await supervisor.lastCheckpoint();
    const frozen = await supervisor.freeze(handoff.handoffId);
    expect(frozen).toBe(latest);
    supervisor.thaw();
    await place.idle();
    await supervisor.stop("stopped");
    expect(supervisor.latest).toBe(latest);
    expect(place.record.head).toEqual(refOf(frozen));
    expect(await place.held()).toEqual([1n, 0n]);
  });

  test("§2: one is made when it is due, and told to registry and holders once", async () => {
    const { place } = await ticking({ checkpointEveryMs: 2_500 });
    await place.turns(6);
    expect(await place.held()).toEqual([7n, 4n, 0n]);
    expect(place.committed.map(({ header }) => header.tick)).toEqual([4n, 7n]);
  });

  test("EI-3: each names the one before it, and the ground of its major", async () => {
    const { place } = await ticking({ checkpointEveryMs: 0 });
    await place.turns(2);
    const [first, second, third] = place.committed;
    expect(first?.header).toMatchObject({
      previous: place.first.digest,
      base: refOf(place.first),
      tick: 1n,
      major: 0n,
    });
    expect(second?.header.previous).toBe(first?.digest);
    expect(third?.header).toMatchObject({ previous: second?.digest, tick: 3n, grant: place.record.grant });
  });

  test("GA-4: the last one before the host stops is only made with the right to tick", async () => {
    const { place, supervisor } = await ticking();
    place.session.lapse();
    await supervisor.lastCheckpoint();
    expect(await place.held()).toEqual([0n]);
  });
});

describe("handing over", patient, () => {
  test("GH-1: after it was relinquished nothing ticks, whoever wakes it and whatever is asked of it", async () => {
    const { place, supervisor } = await handedOver();
    const ticks = place.sandbox.ticks;
    supervisor.thaw();
    for (let i = 0; i < 5; i++) await place.nudged();
    await supervisor.lastCheckpoint();
    expect(await faultOf(supervisor.freeze("handoff-2"))).toBe("MIGRATION_IN_PROGRESS");
    expect(await faultOf(supervisor.stop("stopped"))).toBe("MIGRATION_IN_PROGRESS");
    expect(place.sandbox.ticks).toBe(ticks);
    expect(await place.held()).toEqual([1n, 0n]);
    expect(place.storage.agent(place.agentId)?.journal.phase).toBe("relinquished");
  });

  test("GH-1: nor after a restart: only under the next major, from the frozen checkpoint", async () => {
    const { place, frozen } = await handedOver();
    const ticks = place.sandbox.ticks;
    await place.restart("boot-2");
    const supervisor = await place.supervise();
    await place.turns(3);
    expect(place.sandbox.ticks).toBe(ticks);
    place.registry.endSession(ada);
    await place.turn();
    expect(place.sandbox.ticks).toBe(ticks + 1);
    expect(supervisor.tenancy.ground).toMatchObject({ major: 1n, base: refOf(frozen) });
  });

  test("GH-1: nor once the target has had it and the agent came to rest here", async () => {
    const { place, supervisor, token } = await handedOver();
    const ticks = place.sandbox.ticks;
    await place.asBob({ claim: token });
    await supervisor.retireTo(bob.hostId);
    await place.idle();
    expect(place.left).toEqual([place.agentId]);
    await place.restart("boot-2");
    await place.supervise();
    expect(place.left).toHaveLength(2);
    expect(place.sandbox.ticks).toBe(ticks);
  });

  test("FS-3: one handoff at a time: a second freeze is refused, and so is a stop", async () => {
    const { place, supervisor } = await ticking();
    const frozen = await supervisor.freeze(handoff.handoffId);
    expect(await faultOf(supervisor.freeze("handoff-2"))).toBe("MIGRATION_IN_PROGRESS");
    expect(await faultOf(supervisor.stop("stopped"))).toBe("MIGRATION_IN_PROGRESS");
    expect(supervisor.tenancy.tenure).toMatchObject({ kind: "HANDOFF_INITIATED", handoffId: handoff.handoffId });
    const ticks = place.sandbox.ticks;
    for (let i = 0; i < 3; i++) await place.nudged();
    expect(place.sandbox.ticks).toBe(ticks);
    expect(supervisor.latest).toBe(frozen);
  });

  test("§6: a freeze waits for the tick under way, and nothing follows it", async () => {
    const { place, supervisor } = await ticking();
    const held = Promise.withResolvers<void>();
    const inTick = Promise.withResolvers<void>();
    place.sandbox.next.push({
      during: async () => {
        inTick.resolve();
        await held.promise;
      },
    });
    await place.clock.advanceToNext();
    await inTick.promise;
    const freezing = supervisor.freeze(handoff.handoffId);
    held.resolve();
    expect((await freezing).header.tick).toBe(2n);
    expect(supervisor.tick).toBe(2n);
  });

  test("§6: registry and holders are told of the frozen checkpoint only after a revert", async () => {
    const { place, supervisor } = await ticking();
    const frozen = await supervisor.freeze(handoff.handoffId);
    expect(place.committed).toEqual([]);
    await supervisor.tenancy.beginHandoff({ ...handoff, head: frozen.signed });
    await supervisor.tenancy.revert();
    supervisor.thaw();
    await place.idle();
    expect(place.committed).toEqual([frozen]);
    await place.turn();
    expect(supervisor.tick).toBe(2n);
  });

  test("EI-10: a major that has not ticked yet ticks once before it is frozen, so that its last checkpoint is its own", async () => {
    const { place } = await ticking();
    place.registry.endSession(ada);
    await place.restart("boot-2");
    const tenancy = place.tenancy();
    await tenancy.settle();
    await tenancy.confirmBase();
    const instance = await place.sandbox.start({
      agentId: place.agentId,
      module: await place.sandbox.compile(new Uint8Array(1)),
      capabilities: new Set(),
      state: place.first.state,
      signal: new AbortController().signal,
    });
    let freezing: Promise<unknown> = Promise.resolve();
    place.onStanding = () => {
      freezing = place.supervisor.freeze(handoff.handoffId);
    };
    const supervisor = await place.supervise(
      {},
      { tenancy, ready: { checkpoint: place.first, instance, receipts: [] } },
    );
    await freezing;
    expect(supervisor.latest?.header).toMatchObject({ tick: 1n, major: 1n, base: refOf(place.first) });
  });

  test("GA-1: nothing is frozen after the deadline", async () => {
    const { place, supervisor } = await ticking();
    place.session.lapse();
    expect(await faultOf(supervisor.freeze(handoff.handoffId))).toBe("LEASE_EXPIRED");
    expect(supervisor.tenancy.tenure.kind).toBe("ACTIVE_OWNER");
    expect(await place.held()).toEqual([0n]);
  });
});

describe("a checkpoint that the disk does not take", patient, () => {
  test("T-32, EI-3: the next one names the newest that is there, and the agent goes on", async () => {
    const { place, supervisor } = await ticking();
    const { storage } = place;
    const commit = storage.commit.bind(storage);
    storage.commit = async () => {
      throw new Fault({ code: "DISK_FAILED", path: "host.db", reason: "it is full" });
    };
    expect(await faultOf(supervisor.lastCheckpoint())).toBe("DISK_FAILED");
    storage.commit = commit;
    await place.turn();
    await supervisor.lastCheckpoint();
    expect(await place.held()).toEqual([2n, 0n]);
    const kept = await storage.latestCheckpoint(place.agentId);
    expect(kept?.header.previous).toBe(place.first.digest);
  });

  test("T-32, I6: whatever saves fail, the chain goes back to tick 0 and its receipts have no gap", async () => {
    const { place, supervisor } = await ticking({ checkpointEveryMs: 1_000 });
    const { storage } = place;
    const commit = storage.commit.bind(storage);
    let saves = 0;
    let failed = 0;
    storage.commit = async (unit) => {
      if (unit.checkpoint === undefined || saves++ % 3 === 0) return await commit(unit);
      failed++;
      throw new Fault({ code: "DISK_FAILED", path: "host.db", reason: "it is full" });
    };
    await place.turns(20);
    storage.commit = commit;
    await place.turns(2);
    expect(failed).toBeGreaterThan(5);
    const [newest, ...older] = (await storage.headers(place.agentId)).map(({ payload }) => readHeader(payload));
    let above = newest;
    let charged = 0n;
    let expectedTick = (newest?.tick ?? 0n) + 1n;
    for (const header of [newest, ...older]) {
      for (const { firstTick, lastTick, cost } of header?.receipts.toReversed() ?? []) {
        expect(lastTick).toBe(expectedTick - 1n);
        expectedTick = firstTick;
        charged += cost;
      }
      if (header === newest) continue;
      const digests = (await storage.checkpoints(place.agentId)).filter(({ tick }) => tick === header?.tick);
      expect(digests.map(({ digest }) => digest)).toEqual([above?.previous]);
      above = header;
    }
    expect([above?.tick, expectedTick]).toEqual([0n, 1n]);
    expect(charged).toBe(place.first.header.budget - (newest?.budget ?? 0n));
    expect(supervisor.tick).toBeGreaterThan(10n);
  });
});

describe("giving up", patient, () => {
  test("§4: a stop whose release was not answered: nothing ticks until it was", async () => {
    const { place, supervisor } = await ticking();
    place.registry.disturb("release", "lost-before", "lost-before", "lost-before");
    await supervisor.stop("stopped");
    expect(supervisor.reason).toContain("not answered yet");
    await place.idle();
    const ticks = place.sandbox.ticks;
    await place.turn();
    expect(place.sandbox.ticks).toBe(ticks);
    await place.turn();
    expect(place.left).toEqual([place.agentId]);
    expect(place.sandbox.ticks).toBe(ticks);
    expect(place.record).toMatchObject({ state: "RETIRED", reason: "stopped", head: { tick: 1n } });
  });

  test("§4: after a restart the release is asked for again once the agent is ours, before any tick", async () => {
    const { place, supervisor } = await ticking();
    place.registry.disturb("release", "lost-before");
    await supervisor.stop("stopped");
    const ticks = place.sandbox.ticks;
    place.registry.endSession(ada);
    await place.restart("boot-2");
    await place.supervise();
    expect(place.left).toEqual([place.agentId]);
    expect(place.sandbox.ticks).toBe(ticks);
    expect(place.record).toMatchObject({ state: "RETIRED", reason: "stopped", major: 1n });
  });

  test("§4: a stopped agent keeps its checkpoint, a terminated one nothing", async () => {
    const { place, supervisor } = await ticking();
    await supervisor.stop("stopped");
    await place.idle();
    expect(supervisor.outcome).toEqual({ kind: "stopped", reason: "stopped" });
    expect(await place.held()).toEqual([1n, 0n]);
    expect(place.sandbox.newest.stopped).toBe(true);

    const other = await ticking();
    await other.supervisor.stop("terminated");
    await other.place.idle();
    expect(await other.place.held()).toEqual([]);
    expect(other.place.record.terminated).toBeDefined();
  });

  test("GA-4: giving up writes its last checkpoint, and sends its release, only while the lease lives", async () => {
    const { place, supervisor } = await ticking();
    await place.turns(2);
    const held = await place.held();
    for (let failed = 1; failed <= 5; failed++) {
      place.sandbox.next.push({ fails: "trap", ...(failed === 5 ? { during: () => place.session.lapse() } : {}) });
    }
    await place.turns(8);
    expect(supervisor.outcome).toEqual({ kind: "recovering" });
    expect(await place.held()).toEqual(held);
    expect(place.registry.sentOf("release")).toEqual([]);
    place.session.renew();
    await place.nudged();
    expect(place.left).toEqual([place.agentId]);
    expect(place.record).toMatchObject({ state: "RETIRED", reason: "failed", head: { tick: 3n } });
  });

  test("nothing that this host does not own can be stopped", async () => {
    const { place, supervisor } = await ticking();
    place.registry.reachable = false;
    supervisor.inDoubt("lost-grant");
    expect(await faultOf(supervisor.stop("terminated"))).toBe("AGENT_NOT_RUNNING");
    expect(place.registry.sentOf("terminate")).toEqual([]);
  });
});

describe("failed ticks", patient, () => {
  test.each(["trap", "time-out"] as const)(
    "T-37, T-38, §11: five in a row (%s), with back-off between them: RETIRED (failed), with the state before them intact",
    async (fails) => {
      const { place, supervisor } = await ticking();
      const { budget } = supervisor;
      place.sandbox.otherwise = { fails, logs: ["about to fail"] };
      const waits = await place.turns(5);
      expect(waits).toEqual([1_000, 1_000, 2_000, 4_000, 8_000]);
      expect(place.left).toEqual([place.agentId]);
      expect(place.sandbox.ticks).toBe(6);
      expect(place.record).toMatchObject({ state: "RETIRED", reason: "failed", head: { tick: 1n } });
      expect(supervisor.tenancy.tenure.kind).toBe("RETIRED");
      expect(supervisor.outcome).toEqual({ kind: "stopped", reason: "failed" });
      const kept = await place.storage.latestCheckpoint(place.agentId);
      expect(textOf(kept?.state ?? new Uint8Array(0))).toBe("tick 1");
      expect(kept?.header.budget).toBe(budget);
      expect(place.logs.tail(100).map(({ line }) => line)).not.toContain("about to fail");
    },
  );

  test("§11: one that goes well begins the count anew", async () => {
    const { place, supervisor } = await ticking();
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 4; j++) place.sandbox.next.push({ fails: "time-out" });
      place.sandbox.next.push({});
    }
    await place.turns(15);
    expect(supervisor).toMatchObject({ tick: 4n, failures: 0 });
    expect(place.record.state).toBe("ACTIVE_OWNER");
  });
});

describe("money", patient, () => {
  const second = 1_000_000_000n;

  test("I6: every tick is charged once, to the last fraction, and what was charged is what is missing", async () => {
    const { place, supervisor } = await ticking({ checkpointEveryMs: 3_000 });
    for (let i = 1n; i <= 40n; i++) {
      place.sandbox.next.push({ elapsedNs: 1_234_567n * i, ...(i % 7n === 0n ? { fails: "trap" as const } : {}) });
      if (i % 11n === 0n) place.sandbox.next.push({ during: () => place.session.lapse(), elapsedNs: second });
    }
    for (let i = 0; i < 60; i++) {
      place.price = BigInt(1_000 + Math.floor(i / 5) * 17);
      place.session.renew();
      await place.turn();
    }
    await supervisor.lastCheckpoint();
    const headers = place.committed.map(({ header }) => header);
    const receipts = headers.flatMap((header) => header.receipts);
    const fractions = 1_000_000_000n;
    const exact = receipts.reduce((sum, { elapsedNs, pricePerSecond }) => sum + elapsedNs * pricePerSecond, 0n);
    const last = headers.at(-1);
    expect(place.first.header.budget * fractions - exact).toBe(
      (last?.budget ?? 0n) * fractions - (last?.remainder ?? 0n),
    );
    expect(receipts.reduce((sum, { cost }) => sum + cost, 0n)).toBe(place.first.header.budget - supervisor.budget);
    let expected = 1n;
    for (const { firstTick, lastTick } of receipts) {
      expect(firstTick).toBe(expected);
      expected = lastTick + 1n;
    }
    expect(expected).toBe(supervisor.tick + 1n);
    expect(supervisor.receipts.map((bytes) => readReceipt(bytes))).toEqual(receipts);
  });

  test("§11: a tick that costs more than is left is thrown away; exhaustion takes the next number and what is left", async () => {
    const { place, supervisor } = await ticking();
    await place.turns(2);
    const { budget } = supervisor;
    place.price = 10_000_000n;
    place.sandbox.next.push({ elapsedNs: second, logs: ["never paid for"] });
    await place.turn();
    expect(place.left).toEqual([place.agentId]);
    expect(place.sandbox.newest.restored).toEqual(["tick 3"]);
    const last = await place.storage.latestCheckpoint(place.agentId);
    expect(last?.header).toMatchObject({ tick: 4n, budget: 0n, remainder: 0n, major: 0n });
    expect(textOf(last?.state ?? new Uint8Array(0))).toBe("tick 3");
    expect(last?.header.receipts.at(-1)).toMatchObject({ firstTick: 4n, lastTick: 4n, cost: budget, budgetAfter: 0n });
    expect(last?.header.receipts.reduce((sum, { cost }) => sum + cost, 0n)).toBe(place.first.header.budget);
    expect(place.record).toMatchObject({ state: "RETIRED", reason: "unfunded", head: { tick: 4n } });
    expect(supervisor.outcome).toEqual({ kind: "stopped", reason: "unfunded" });
    expect(place.logs.tail(100).map(({ line }) => line)).not.toContain("never paid for");
  });

  test("§11: exhaustion is a tick for every rule: after the deadline it does not happen either", async () => {
    const { place, supervisor } = await ticking();
    const { budget } = supervisor;
    place.price = 10_000_000n;
    place.sandbox.next.push({ elapsedNs: second, during: () => place.session.lapse() });
    await place.turn();
    expect(supervisor).toMatchObject({ tick: 1n, budget });
    expect(place.sandbox.newest.restored).toEqual(["tick 1"]);
    expect(place.registry.sentOf("release")).toEqual([]);
    expect(await place.held()).toEqual([0n]);
  });

  test("§2: an agent sees its balance, the price and its receipts as of the checkpoint before", async () => {
    const { place, supervisor } = await ticking({ checkpointEveryMs: 0 });
    await place.turn();
    const { cost } = tickCost({ elapsedNs: 1_000_000n, pricePerSecond: 1_000n, remainder: 0n });
    expect(place.sandbox.inputs.at(-1)).toEqual({
      balanceMicrocents: place.first.header.budget - cost,
      pricePerSecond: 1_000n,
      receipts: supervisor.receipts.slice(0, 1),
    });
  });

  test("I6: a price that changes often makes a checkpoint before its receipts are too many", async () => {
    const { place } = await ticking();
    for (let i = 0; i < 15; i++) {
      place.price += 1n;
      await place.turn();
    }
    expect(await place.held()).toEqual([12n, 0n]);
    expect(place.committed[0]?.header.receipts).toHaveLength(12);
  });
});
