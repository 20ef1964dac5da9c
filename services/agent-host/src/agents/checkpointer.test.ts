import { Fault } from "@godwit/common/fault";
import { tickCost } from "@godwit/common/money";
import { readHeader, readReceipt, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { bob } from "../../test/support/agent-place.ts";
import { textOf } from "../../test/support/fake-sandbox.ts";
import { faultOf, patient, ticking } from "../../test/support/ticking.ts";

const handoff = { handoffId: "handoff-1", targetHostId: bob.hostId };

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
