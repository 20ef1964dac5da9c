import { describe, expect, test } from "vitest";
import { ada } from "../../test/support/agent-place.ts";
import { textOf } from "../../test/support/fake-sandbox.ts";
import { faultOf, heldInTick, patient, ticking } from "../../test/support/ticking.ts";

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
    const release = await heldInTick(place);
    const ended = supervisor.end();
    release();
    await ended;
    expect(supervisor.tick).toBe(1n);
    expect(place.sandbox.newest.stopped).toBe(true);
    expect(await place.held()).toEqual([0n]);
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
