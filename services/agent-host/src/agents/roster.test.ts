import { readFileSync, writeFileSync } from "node:fs";
import { isFault } from "@godwit/common/fault";
import { refOf } from "@godwit/lineage";
import { digestOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { AgentPlace, ada, bobSession } from "../../test/support/agent-place.ts";
import { textBytes } from "../../test/support/fake-sandbox.ts";
import type { Roster, RunSpec } from "./roster.ts";

const patient = { timeout: 60_000 };
const never = new AbortController().signal;
const spec: RunSpec = {
  name: "survivor",
  manifest: textBytes('{"capabilities":{"log":{"version":1}}}'),
  module: textBytes("module"),
  budget: 1_000_000n,
};

async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (cause: unknown) => (isFault(cause) ? cause.code : String(cause)),
  );
}

function flip(file: string, needle: string): void {
  const bytes = readFileSync(file);
  const at = bytes.indexOf(needle);
  expect(at).toBeGreaterThan(0);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(file, bytes);
}

/** Two agents that were begun here and ticked once. */
async function two(): Promise<{ place: AgentPlace; roster: Roster; first: string; second: string }> {
  const place = await AgentPlace.create("empty");
  const roster = place.roster();
  await roster.start();
  const first = await roster.run(spec, never);
  const second = await roster.run({ ...spec, name: "other" }, never);
  await place.sleeping(2);
  return { place, roster, first, second };
}

describe("a new agent", patient, () => {
  test("is the registry's before it ticks, and its tick 0 is on the disk before it is asked for", async () => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    let held = 0;
    place.registry.onArrival = () => {
      held = place.storage.agents().filter(({ journal }) => journal.phase === "acquiring").length;
      expect(place.sandbox.ticks).toBe(0);
    };
    const agentId = await roster.run(spec, never);
    expect(held).toBe(1);
    expect(place.registry.record(agentId)).toMatchObject({ state: "ACTIVE_OWNER", owner: { hostId: ada.hostId } });
    expect(place.sandbox.ticks).toBe(1);
    expect(roster.supervisor(agentId)?.tick).toBe(1n);
  });

  test.each([
    ["a name that is none", { name: "no spaces" }, "INVALID_ARGUMENT"],
    ["T-36: no name", { name: "" }, "INVALID_ARGUMENT"],
    ["T-36: a name that is a path", { name: "../survivor" }, "INVALID_ARGUMENT"],
    ["a budget that no number holds", { budget: 2n ** 63n }, "BUDGET_INVALID"],
    ["a budget below nothing", { budget: -1n }, "BUDGET_INVALID"],
    ["a manifest that is none", { manifest: textBytes("{") }, "MANIFEST_INVALID"],
    [
      "a capability that is not here",
      { manifest: textBytes('{"capabilities":{"rand":{"version":1}}}') },
      "CAPABILITY_MISSING",
    ],
    [
      "more memory than there is",
      { manifest: textBytes('{"resource_limits":{"max_memory_bytes":134217728}}') },
      "MEMORY_TOO_LARGE",
    ],
  ])("is refused with %s, and nothing of it is kept", async (_what, wrong, code) => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    expect(await faultOf(roster.run({ ...spec, ...wrong }, never))).toBe(code);
    expect(place.storage.agents()).toEqual([]);
    expect(place.registry.sent).toEqual([]);
    expect(roster.size).toBe(0);
  });

  test("T-25: its module is not collected before the agent is on the disk, and leaves with an agent that is deleted", async () => {
    const place = await AgentPlace.create("empty");
    const { storage } = place;
    const putBlob = storage.putBlob.bind(storage);
    storage.putBlob = async (bytes) => {
      const digest = await putBlob(bytes);
      await storage.collectBlobs();
      return digest;
    };
    const roster = place.roster();
    const kept = () => [spec.module, spec.manifest].map((bytes) => storage.hasBlob(digestOf(bytes)));
    const running = roster.run(spec, never);
    await place.until(() => storage.agents().length > 0);
    expect(kept()).toEqual([true, true]);
    const agentId = await running;
    await place.sleeping(1);
    await storage.collectBlobs();
    expect(kept()).toEqual([true, true]);
    await roster.supervisor(agentId)?.stop("terminated");
    await storage.collectBlobs();
    expect(kept()).toEqual([false, false]);
  });

  test("GA-1: is not begun without a session", async () => {
    const place = await AgentPlace.create("empty");
    place.session.close();
    expect(await faultOf(place.roster().run(spec, never))).toBe("SESSION_NOT_OPEN");
    expect(place.storage.agents()).toEqual([]);
  });

  test("GA-4: that the registry does not answer for is answered for in time, and waits", async () => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    place.registry.reachable = false;
    const agentId = await place.clock.run(roster.run(spec, never));
    expect(roster.supervisor(agentId)?.tenancy.tenure.kind).toBe("RECOVERY_REQUIRED");
    expect(place.sandbox.ticks).toBe(0);
    place.registry.reachable = true;
    await place.sleeping(1);
    await place.clock.advance(5_000);
    await place.sleeping(1);
    expect(place.sandbox.ticks).toBeGreaterThan(0);
  });
});

describe("a start", patient, () => {
  test("GA-5: looks through the registry at each agent that it may own, ticks none before, and leaves replicas alone", async () => {
    const { place, first, second } = await two();
    await place.storage.commit({ agentId: second, journal: { phase: "replica" } });
    const { ticks } = place.sandbox;
    await place.restart("boot-2");
    const reads = place.registry.reads;
    const roster = place.roster();
    await roster.start();
    await place.sleeping(1);
    expect([...roster.supervisors].map(({ identity }) => identity.agentId)).toEqual([first]);
    expect(place.registry.reads).toBe(reads + 1);
    expect(place.sandbox.ticks).toBe(ticks);
  });

  test("an agent that is damaged costs itself, not the others", async () => {
    const place = await AgentPlace.create(); // its manifest is not there
    const roster = place.roster();
    const whole = await roster.run(spec, never);
    await place.restart("boot-2");
    const later = place.roster();
    await later.start();
    expect([...later.supervisors].map(({ identity }) => identity.agentId)).toEqual([whole]);
    expect(place.lines.find(({ msg }) => msg === "agent cannot be run here")).toMatchObject({ agentId: place.agentId });
    expect(await place.held()).toEqual([0n]);
  });
});

describe("a damaged checkpoint", patient, () => {
  test("T-33: the agent waits with its reason: it begins neither from zero nor from an older one, and what is on the disk stays", async () => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    const agentId = await roster.run({ ...spec, name: "other" }, never);
    await place.sleeping(1);
    await roster.stop();
    const { storage } = place;
    const held = await storage.checkpoints(agentId);
    expect(held.map(({ tick }) => tick)).toEqual([1n, 0n]);
    await storage.close();
    flip(`${storage.path}/host.db`, "tick 1");

    await place.restart("boot-2");
    const { ticks, instances } = place.sandbox;
    const before = instances.length;
    const later = place.roster({ trustDataLock: true });
    await later.start();
    await place.sleeping(1);
    await place.clock.advance(60_000);
    await place.sleeping(1);
    expect(place.sandbox.ticks).toBe(ticks);
    expect(instances.length).toBe(before);
    expect(later.supervisor(agentId)?.reason).toContain("is damaged");
    expect(await place.storage.checkpoints(agentId)).toEqual(held);
    expect(await faultOf(place.storage.latestCheckpoint(agentId))).toBe("DATA_CORRUPT");
  });
});

describe("sessions", patient, () => {
  test("SL-4: one that is void stops every agent; under the next each is recovered, none before", async () => {
    const { place, roster } = await two();
    const { ticks } = place.sandbox;
    place.session.lose();
    for (const { tenancy } of roster.supervisors) expect(tenancy.tenure.kind).toBe("RECOVERY_REQUIRED");
    await place.sleeping(2);
    await place.clock.advance(60_000);
    expect(place.sandbox.ticks).toBe(ticks);
    await place.openSession("boot-2");
    for (const supervisor of roster.supervisors) {
      await expect(supervisor.untilSettled(never)).resolves.toMatchObject({
        kind: "ACTIVE_OWNER",
        grant: { major: 1n },
      });
    }
  });

  test("SL-4: one that is live again lets them go on at once, under the same major", async () => {
    const { place, roster, first } = await two();
    place.session.lapse();
    await place.clock.advance(10_000);
    const { ticks } = place.sandbox;
    await place.sleeping(2);
    place.session.renew();
    await place.sleeping(2);
    expect(place.sandbox.ticks).toBe(ticks + 2);
    expect(roster.supervisor(first)?.tenancy.ground?.major).toBe(0n);
  });
});

describe("recovering", patient, () => {
  test("an agent that another host owns and runs is not taken, and stays a replica here", async () => {
    const { place, roster, first } = await two();
    await roster.supervisor(first)?.stop("stopped");
    await place.until(() => place.left.includes(first));
    const base = await place.storage.latestCheckpoint(first);
    const { revision } = place.registry.record(first);
    if (base === undefined) throw new Error("nothing is held");
    await place.registry.recover(bobSession, { commandId: "bob", agentId: first, revision }, base.signed);
    const { ticks } = place.sandbox;
    expect(await faultOf(roster.recover(first, never))).toBe("OWNER_ALIVE");
    expect(place.sandbox.ticks).toBe(ticks);
    expect(roster.supervisor(first)).toBeUndefined();
    expect(place.registry.record(first).owner).toEqual(bobSession.id);
  });

  test("§11: an operator's word is the asking that a stopped agent waits for", async () => {
    const { place, roster, first } = await two();
    await roster.supervisor(first)?.stop("stopped");
    await place.until(() => place.left.includes(first));
    expect(place.left).toEqual([first]);
    expect(place.heldChanged.at(-1)).toBe(first);
    await roster.recover(first, never);
    expect(roster.supervisor(first)?.tenancy.ground).toMatchObject({ major: 1n, base: { tick: 1n } });
  });

  test("one that is terminated, or not held, is not recovered", async () => {
    const { place, roster, first } = await two();
    await roster.supervisor(first)?.stop("terminated");
    await place.until(() => place.left.includes(first));
    expect(await faultOf(roster.recover(first, never))).toBe("TERMINATED");
    expect(await faultOf(roster.recover("0".repeat(64), never))).toBe("AGENT_UNKNOWN");
    expect(place.registry.sentOf("recover")).toEqual([]);
  });

  test("FS-3: an agent that runs here is not put under a second supervisor", async () => {
    const { place, roster, first } = await two();
    const supervisor = roster.supervisor(first);
    const agent = place.storage.agent(first);
    if (supervisor === undefined || agent === undefined) throw new Error("it does not run");
    const { tenancy, identity, latest } = supervisor;
    const instance = place.sandbox.newest;
    const ready = { checkpoint: latest ?? place.first, instance, receipts: [] };
    expect(() => roster.adopt({ tenancy, identity }, ready)).toThrow(/already/);
    roster.superviseStored(first);
    await roster.recover(first, never);
    expect(roster.size).toBe(2);
    expect(roster.supervisor(first)).toBe(supervisor);
  });
});

describe("a stop", patient, () => {
  test("every agent's last checkpoint is on the disk, and nothing ticks afterwards", async () => {
    const { place, roster, first, second } = await two();
    await roster.stop();
    const { ticks } = place.sandbox;
    expect(roster.size).toBe(0);
    expect(place.clock.sleeping).toBe(0);
    for (const agentId of [first, second]) {
      const last = await place.storage.latestCheckpoint(agentId);
      expect(last && refOf(last)).toMatchObject({ tick: 1n, major: 0n });
      expect(place.registry.record(agentId).state).toBe("ACTIVE_OWNER");
    }
    place.session.renew();
    await place.clock.advance(60_000);
    expect(place.sandbox.ticks).toBe(ticks);
    for (const instance of place.sandbox.instances) expect(instance.stopped).toBe(true);
  });

  test("GA-4: of an agent that is in doubt no last checkpoint is made", async () => {
    const { place, roster, first, second } = await two();
    place.registry.reachable = false;
    roster.supervisor(first)?.inDoubt("lost-grant");
    await roster.stop();
    expect((await place.storage.checkpoints(first)).map(({ tick }) => tick)).toEqual([0n]);
    expect((await place.storage.checkpoints(second)).map(({ tick }) => tick)).toEqual([1n, 0n]);
  });
});

describe("names", patient, () => {
  test("T-36: are labels: two agents of one name are two agents", async () => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    const ids = [await roster.run(spec, never), await roster.run(spec, never)];
    expect(new Set(ids).size).toBe(2);
    expect(place.storage.agents().map(({ name }) => name)).toEqual([spec.name, spec.name]);
  });

  test("an id is found by a prefix that only it has", async () => {
    const { roster, first, second } = await two();
    expect(roster.find(first)).toBe(first);
    const length = first.split("").findIndex((letter, index) => letter !== second[index]) + 1;
    expect(roster.find(first.slice(0, length))).toBe(first);
    expect(() => roster.find("")).toThrow();
    expect(() => roster.find("zz")).toThrow();
  });
});
