import { Fault, isFault } from "@godwit/common/fault";
import { MAX_MICROCENTS } from "@godwit/common/money";
import { readReceipt, verifyLineage } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { AgentPlace, ada, bob } from "../../test/support/agent-place.ts";
import { textOf } from "../../test/support/fake-sandbox.ts";
import { AwaitedFundings, checkFunding, type Funding } from "./funding.ts";

const patient = { timeout: 60_000 };
const funding: Funding = { id: "ab".repeat(16), amount: 500n };
const other: Funding = { id: "cd".repeat(16), amount: 7n };
const handoff = { handoffId: "handoff-1", targetHostId: bob.hostId };

async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (cause: unknown) => (isFault(cause) ? cause.code : String(cause)),
  );
}

/** Ticks once at the start, when the registry grants it at once. */
async function ticking(...args: Parameters<AgentPlace["supervise"]>) {
  const place = await AgentPlace.create();
  const supervisor = await place.supervise(...args);
  expect(supervisor.tick).toBe(1n);
  return { place, supervisor };
}

/** Everything that is on the disk. */
async function lineage({ storage, agentId, registry }: AgentPlace) {
  return verifyLineage(await storage.headers(agentId), registry.publicKey);
}

describe("funding an agent that runs", patient, () => {
  test("T-41: takes the next number, and is on the disk and told to others once it is answered", async () => {
    const { place, supervisor } = await ticking();
    await place.turn();
    const { budget } = supervisor;
    expect(await supervisor.fund(funding)).toEqual({ tick: 3n, repeated: false });
    expect(supervisor).toMatchObject({ tick: 3n, budget: budget + 500n });
    expect(await place.held()).toEqual([3n, 0n]);
    expect(place.committed.at(-1)?.header).toMatchObject({ tick: 3n, budget: budget + 500n, fundingIds: [funding.id] });
    expect(supervisor.receipts.map(readReceipt).at(-1)).toMatchObject({ firstTick: 3n, funded: 500n, cost: 0n });
    expect(textOf(supervisor.state)).toBe("tick 2");

    await place.turn();
    expect(supervisor.tick).toBe(4n);
    await supervisor.lastCheckpoint();
    expect(await lineage(place)).toMatchObject({ ok: true, receipts: { fundings: 1, funded: 500n } });
    expect(place.sandbox.inputs.at(-1)?.balanceMicrocents).toBe(budget + 500n);
  });

  test("T-41: the same id again changes nothing, here and after a restart", async () => {
    const { place, supervisor } = await ticking();
    place.sandbox.otherwise = { elapsedNs: 1_234_567n }; // never a whole microcent
    const first = await supervisor.fund(funding);
    await place.turn();
    const { budget, tick } = supervisor;
    const committed = place.committed.length;
    expect(await supervisor.fund({ ...funding, amount: 9_999n })).toEqual({ ...first, repeated: true });
    expect(supervisor).toMatchObject({ budget, tick });
    expect(place.committed).toHaveLength(committed);
    await supervisor.fund(other);

    place.registry.endSession(ada);
    await place.restart("boot-2");
    const later = await place.supervise();
    const { budget: left, tick: at } = later;
    expect(await later.fund(funding)).toEqual({ ...first, repeated: true });
    expect(later).toMatchObject({ budget: left, tick: at });
    await later.lastCheckpoint();
    expect(await lineage(place)).toMatchObject({ ok: true, receipts: { fundings: 2, funded: 507n } });
  });

  test("T-41: one that was applied beyond all receipts is still known, only not when", async () => {
    const { place, supervisor } = await ticking({ checkpointEveryMs: 0 });
    await supervisor.fund(funding);
    for (let tick = 0; tick < 256; tick++) await place.turn();
    expect(supervisor.receipts).toHaveLength(256);
    const { budget } = supervisor;
    expect(await supervisor.fund(funding)).toEqual({ tick: undefined, repeated: true });
    expect(supervisor.budget).toBe(budget);
  });

  test("T-41: one that the disk did not take is answered as failed, and on the disk once it is given again", async () => {
    const { place, supervisor } = await ticking();
    const { storage } = place;
    const commit = storage.commit.bind(storage);
    storage.commit = async () => {
      throw new Fault({ code: "DISK_FAILED", path: "host.db", reason: "it is full" });
    };
    const { budget } = supervisor;
    expect(await faultOf(supervisor.fund(funding))).toBe("DISK_FAILED");
    expect(await place.held()).toEqual([0n]);
    storage.commit = commit;
    expect(await supervisor.fund(funding)).toEqual({ tick: 2n, repeated: true });
    expect(await place.held()).toEqual([2n, 0n]);
    expect(supervisor.budget).toBe(budget + 500n);
    expect((await lineage(place)).ok).toBe(true);
  });

  test("T-41: more than there may be is refused, and how much may come is said", async () => {
    const { place, supervisor } = await ticking();
    const room = MAX_MICROCENTS - supervisor.budget;
    const refused = supervisor.fund({ ...funding, amount: room + 1n });
    await expect(refused).rejects.toThrow(`give at most ${room}`);
    expect(await faultOf(refused)).toBe("BUDGET_INVALID");
    expect(await place.held()).toEqual([0n]);
    expect(await supervisor.fund({ ...funding, amount: room })).toEqual({ tick: 2n, repeated: false });
    expect(supervisor.budget).toBe(MAX_MICROCENTS);
  });

  test("I6: however many fundings come between two ticks, each checkpoint has room for its receipts", async () => {
    const { place, supervisor } = await ticking();
    for (let count = 0; count < 20; count++) {
      place.price += 1n;
      await supervisor.fund({ id: `${count}`.padStart(32, "0"), amount: 1n });
    }
    expect((await lineage(place)).receipts.fundings).toBe(20);
  });

  test("GA-2: after the deadline nothing is taken in", async () => {
    const { place, supervisor } = await ticking();
    place.session.lapse();
    expect(await faultOf(supervisor.fund(funding))).toBe("LEASE_EXPIRED");
    place.session.renew();
    expect(await supervisor.fund(funding)).toEqual({ tick: 2n, repeated: false });
  });

  test("§6: what is being handed over, is in doubt, or is about to be stopped, takes nothing in and says why", async () => {
    const { place, supervisor } = await ticking();
    await supervisor.freeze(handoff.handoffId);
    expect(await faultOf(supervisor.fund(funding))).toBe("MIGRATION_IN_PROGRESS");
    supervisor.thaw();
    await place.idle();
    place.registry.reachable = false;
    supervisor.inDoubt("lost-grant");
    expect(await faultOf(supervisor.fund(funding))).toBe("AGENT_NOT_RUNNING");

    const stopping = await ticking();
    stopping.place.sandbox.otherwise = { fails: "trap" };
    for (let failed = 1; failed < 5; failed++) await stopping.place.turn();
    stopping.place.sandbox.otherwise = { fails: "trap", during: () => stopping.place.session.lapse() };
    await stopping.place.turn();
    stopping.place.session.renew();
    await expect(stopping.supervisor.fund(funding)).rejects.toThrow("is not running (failed)");
  });
});

describe("an agent whose budget ends", patient, () => {
  const second = 1_000_000_000n;

  test("T-40: is read back with its state intact, a budget of 0, and why it does not run", async () => {
    const { place } = await ticking();
    await place.turns(2);
    place.price = 10_000_000n;
    place.sandbox.next.push({ elapsedNs: second });
    await place.turn();
    expect(place.record).toMatchObject({ state: "RETIRED", reason: "unfunded", head: { tick: 4n } });
    await place.restart("boot-2");
    const kept = await place.storage.latestCheckpoint(place.agentId);
    expect(kept?.header).toMatchObject({ tick: 4n, budget: 0n });
    expect(textOf(kept?.state ?? new Uint8Array(0))).toBe("tick 3");
    expect(place.storage.agent(place.agentId)?.journal).toMatchObject({ phase: "retired", why: "unfunded" });
    expect(await lineage(place)).toMatchObject({ ok: true, receipts: { cost: place.first.header.budget } });
  });

  test("T-41: and is funded before the registry could be told, goes on", async () => {
    const { place, supervisor } = await ticking();
    place.price = 10_000_000n;
    place.sandbox.next.push({ elapsedNs: second });
    place.sandbox.otherwise = { elapsedNs: 1n };
    const { tenancy } = supervisor;
    const mayTick = tenancy.mayTick.bind(tenancy);
    let questions = 0;
    tenancy.mayTick = () => {
      if (++questions === 3) place.session.lapse(); // after the tick was judged, before its checkpoint
      return mayTick();
    };
    await place.turn();
    tenancy.mayTick = mayTick;
    expect(supervisor).toMatchObject({ tick: 2n, budget: 0n });
    expect(place.registry.sentOf("release")).toEqual([]);
    place.session.renew();
    expect(await supervisor.fund(funding)).toEqual({ tick: 3n, repeated: false });
    await place.turn();
    expect(place.record.state).toBe("ACTIVE_OWNER");
    expect(supervisor.tick).toBe(4n);
    expect(await lineage(place)).toMatchObject({ ok: true });
  });
});

describe("fundings that wait for a recovery", () => {
  test("the same id is one funding; each is told what became of it, and nobody waits for ever", async () => {
    const awaited = new AwaitedFundings();
    const [one, again, two] = [awaited.add(funding), awaited.add(funding), awaited.add(other)];
    expect(again).toBe(one);
    const applied: string[] = [];
    await awaited.settle(async ({ id }) => {
      applied.push(id);
      if (id === other.id) throw new Fault({ code: "BUDGET_INVALID", reason: "as told" });
      return { tick: 5n, repeated: false };
    });
    expect(applied).toEqual([funding.id, other.id]);
    expect(await one).toEqual({ tick: 5n, repeated: false });
    expect(await faultOf(two)).toBe("BUDGET_INVALID");
    const three = awaited.add(other);
    await expect(awaited.settle(() => Promise.reject(new TypeError("a bug")))).rejects.toThrow("a bug");
    await expect(three).rejects.toThrow("a bug");
    const last = awaited.add(other);
    awaited.refuse(new Fault({ code: "SHUTTING_DOWN" }));
    expect(await faultOf(last)).toBe("SHUTTING_DOWN");
    expect(awaited.size).toBe(0);
  });

  test.each([
    [{ ...funding, id: "" }, "INVALID_ARGUMENT"],
    [{ ...funding, id: "ab".repeat(15) }, "INVALID_ARGUMENT"],
    [{ ...funding, amount: 0n }, "BUDGET_INVALID"],
    [{ ...funding, amount: -1n }, "BUDGET_INVALID"],
    [{ ...funding, amount: MAX_MICROCENTS + 1n }, "BUDGET_INVALID"],
  ])("what is none is refused: %o", (wrong, code) => {
    expect(() => checkFunding(wrong)).toThrow(expect.objectContaining({ code }));
  });
});
