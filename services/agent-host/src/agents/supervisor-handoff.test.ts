import { refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { ada, bob } from "../../test/support/agent-place.ts";
import { faultOf, heldInTick, patient, ticking } from "../../test/support/ticking.ts";

const handoff = { handoffId: "handoff-1", targetHostId: bob.hostId };

/** Frozen, begun and signed away to bob. */
async function handedOver() {
  const { place, supervisor } = await ticking();
  const frozen = await supervisor.freeze(handoff.handoffId);
  await supervisor.tenancy.beginHandoff({ ...handoff, head: frozen.signed });
  const token = await supervisor.tenancy.relinquish(handoff, frozen);
  return { place, supervisor, frozen, token };
}

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
    const release = await heldInTick(place);
    const freezing = supervisor.freeze(handoff.handoffId);
    release();
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
