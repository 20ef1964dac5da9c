import { isFault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { AgentPlace, ada, bobSession } from "../../test/support/agent-place.ts";
import { textBytes } from "../../test/support/fake-sandbox.ts";
import { Funder } from "./funder.ts";
import type { Funding } from "./funding.ts";
import type { Roster } from "./roster.ts";

const patient = { timeout: 60_000 };
const never = new AbortController().signal;
const funding: Funding = { id: "ab".repeat(16), amount: 500_000n };

async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (cause: unknown) => (isFault(cause) ? cause.code : String(cause)),
  );
}

function funderOf(place: AgentPlace, roster: Roster): { funder: Funder; reported: string[] } {
  const { registry: authority, storage, clock } = place;
  const reported: string[] = [];
  const funder = new Funder(
    { agents: roster, authority, storage, clock, reported: async (agentId) => void reported.push(agentId) },
    { withinMs: 5_000 },
  );
  return { funder, reported };
}

/** An agent that was begun here and ticked once. */
async function running() {
  const place = await AgentPlace.create("empty");
  const roster = place.roster();
  await roster.start();
  const manifest = textBytes("{}");
  const agentId = await roster.run({ name: "survivor", manifest, module: textBytes("module"), budget: 1_000n }, never);
  await place.sleeping(1);
  return { place, roster, agentId, ...funderOf(place, roster) };
}

/** The same, and its budget has ended. */
async function unfunded() {
  const all = await running();
  const { place, agentId } = all;
  place.sandbox.next.push({ elapsedNs: 2_000_000_000n });
  await place.clock.advanceToNext();
  await place.until(() => place.left.includes(agentId));
  expect(place.registry.record(agentId)).toMatchObject({ state: "RETIRED", reason: "unfunded", head: { tick: 2n } });
  return all;
}

describe("FundAgent", patient, () => {
  test("T-41: of an agent that runs here is answered once the registry was told", async () => {
    const { roster, agentId, funder, reported } = await running();
    expect(await funder.fund(agentId, funding, never)).toEqual({ tick: 2n, repeated: false });
    expect(reported).toEqual([agentId]);
    expect(roster.supervisor(agentId)?.budget).toBe(500_999n);
  });

  test("§11, T-41: is the asking that an unfunded agent waits for, and is applied before it ticks", async () => {
    const { place, roster, agentId, funder } = await unfunded();
    const ticks = place.sandbox.ticks;
    expect(await funder.fund(agentId, funding, never)).toEqual({ tick: 3n, repeated: false });
    await place.sleeping(1);
    const supervisor = roster.supervisor(agentId);
    expect(supervisor?.tenancy.ground).toMatchObject({ major: 1n, base: { tick: 2n }, origin: "recovered" });
    expect(place.committed.at(-1)?.header).toMatchObject({ major: 1n, tick: 3n, budget: 500_000n });
    expect(place.sandbox.ticks).toBe(ticks + 1);
    expect(place.sandbox.inputs.at(-1)?.balanceMicrocents).toBe(500_000n);
    expect(place.registry.record(agentId).state).toBe("ACTIVE_OWNER");
  });

  test("T-41: the same id again, when all of it was used up, takes nothing up", async () => {
    const { place, roster, agentId, funder } = await unfunded();
    const first = await funder.fund(agentId, funding, never);
    await place.sleeping(1);
    place.sandbox.next.push({ elapsedNs: 2_000_000_000_000n });
    await place.clock.advanceToNext();
    await place.until(() => roster.supervisor(agentId) === undefined);
    const record = place.registry.record(agentId);
    expect(record).toMatchObject({ state: "RETIRED", reason: "unfunded", major: 1n });
    expect(await funder.fund(agentId, funding, never)).toEqual({ ...first, repeated: true });
    expect(place.registry.record(agentId)).toBe(record);
  });

  test("T-41: two that come at once while it is recovered are both applied, the same one once", async () => {
    const { place, roster, agentId, funder } = await unfunded();
    const more = { id: "cd".repeat(16), amount: 11n };
    const [one, again, two] = await Promise.all([
      funder.fund(agentId, funding, never),
      funder.fund(agentId, funding, never),
      funder.fund(agentId, more, never),
    ]);
    expect([one.tick, again.tick, two.tick]).toEqual([3n, 3n, 4n]);
    await place.sleeping(1);
    expect(roster.supervisor(agentId)?.latest?.header).toMatchObject({
      fundingIds: [funding.id, more.id],
      budget: 500_011n,
    });
  });

  test.each(["stopped", "failed"] as const)("GA-5: money does not ask for an agent that %s", async (reason) => {
    const { place, roster, agentId, funder } = await unfunded();
    place.registry.rewrite(agentId, { reason });
    const refused = funder.fund(agentId, funding, never);
    await expect(refused).rejects.toThrow(`(${reason}): recover it first`);
    expect(await faultOf(refused)).toBe("AGENT_NOT_RUNNING");
    expect(roster.supervisor(agentId)).toBeUndefined();
  });

  test("GA-5: nor for one that was stopped while it was asked for", async () => {
    const { place, roster, agentId, funder } = await unfunded();
    const read = place.registry.read.bind(place.registry);
    place.registry.read = async (id) => {
      const reading = await read(id);
      place.registry.rewrite(agentId, { reason: "stopped" });
      return reading;
    };
    expect(await faultOf(funder.fund(agentId, funding, never))).toBe("AGENT_NOT_HERE");
    expect(roster.supervisor(agentId)).toBeUndefined();
    expect(place.registry.sentOf("recover")).toEqual([]);
  });

  test("§11: what another host has taken up is that host's to fund, found before or meanwhile", async () => {
    for (const when of ["before", "meanwhile"] as const) {
      const { place, agentId, funder } = await unfunded();
      const base = await place.storage.latestCheckpoint(agentId);
      if (base === undefined) throw new Error("nothing is held");
      const takeUp = async () => {
        const { revision } = place.registry.record(agentId);
        await place.registry.recover(bobSession, { commandId: "bob", agentId, revision }, base.signed);
      };
      const read = place.registry.read.bind(place.registry);
      if (when === "before") await takeUp();
      else {
        place.registry.read = async (id) => {
          const reading = await read(id);
          place.registry.read = read;
          await takeUp();
          return reading;
        };
      }
      expect(await faultOf(funder.fund(agentId, funding, never))).toBe("AGENT_NOT_HERE");
      expect(place.registry.record(agentId).owner).toEqual(bobSession.id);
    }
  });

  test("GA-4: while the registry is away nothing is promised; what was asked of it already goes on with the funding", async () => {
    const { place, roster, agentId, funder } = await unfunded();
    place.registry.reachable = false;
    expect(await faultOf(funder.fund(agentId, funding, never))).toBe("REGISTRY_UNAVAILABLE");
    expect(roster.supervisor(agentId)).toBeUndefined();
    place.registry.reachable = true;

    place.registry.disturb("recover", "lost-after");
    const read = place.registry.read.bind(place.registry);
    let reads = 0;
    place.registry.read = async (id) => {
      place.registry.reachable = ++reads <= 2;
      return await read(id);
    };
    const late = faultOf(funder.fund(agentId, funding, never));
    for (let waited = 0; waited < 5_000; waited += 250) {
      await place.sleeping(2);
      await place.clock.advance(250);
    }
    expect(await late).toBe("DEADLINE_EXCEEDED");
    place.registry.read = read;
    place.registry.reachable = true;
    const again = funder.fund(agentId, funding, never);
    roster.supervisor(agentId)?.nudge();
    expect(await again).toEqual({ tick: 3n, repeated: false });
    expect(roster.supervisor(agentId)?.latest?.header.fundingIds).toEqual([funding.id]);
  });

  test("T-41: whoever did not hear the answer before the host died gives the same id to the next process", async () => {
    const { place, agentId, funder } = await unfunded();
    await funder.fund(agentId, funding, never);
    place.registry.endSession(ada);
    await place.restart("boot-2");
    const later = place.roster();
    await later.start();
    await place.until(() => later.supervisor(agentId)?.tenancy.tenure.kind === "ACTIVE_OWNER");
    await place.sleeping(1);
    const again = await funderOf(place, later).funder.fund(agentId, funding, never);
    expect(again).toEqual({ tick: 3n, repeated: true });
    expect(later.supervisor(agentId)?.latest?.header.fundingIds).toEqual([funding.id]);
  });

  test("nothing is funded that is not here, is gone, or was no funding", async () => {
    const { place, roster, agentId, funder } = await running();
    expect(await faultOf(funder.fund("0".repeat(64), funding, never))).toBe("NO_RECORD");
    expect(await faultOf(funder.fund(agentId, { ...funding, amount: 0n }, never))).toBe("BUDGET_INVALID");
    await roster.supervisor(agentId)?.stop("terminated");
    await place.until(() => place.left.includes(agentId));
    expect(await faultOf(funder.fund(agentId, funding, never))).toBe("TERMINATED");
  });
});
