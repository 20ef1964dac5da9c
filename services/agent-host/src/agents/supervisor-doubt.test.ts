import { Fault } from "@godwit/common/fault";
import { refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { next } from "../../test/storage-story.ts";
import { type AgentPlace, ada, bob } from "../../test/support/agent-place.ts";
import { textOf } from "../../test/support/fake-sandbox.ts";
import { patient, ticking } from "../../test/support/ticking.ts";

function heldSession({ session }: AgentPlace) {
  if (session.current === undefined) throw new Error("no session is open");
  return session.current;
}

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
      err: { message: "a bug", stack: expect.stringContaining("supervisor-doubt.test.ts") },
    });
  });
});
