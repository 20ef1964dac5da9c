import { isFault } from "@godwit/common/fault";
import { refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { AgentPlace, bob } from "../../test/support/agent-place.ts";
import { textBytes, textOf } from "../../test/support/fake-sandbox.ts";
import { SupervisedSource } from "./source-agent.ts";

const patient = { timeout: 60_000 };
const handoff = { handoffId: "handoff-1", targetHostId: bob.hostId };
const never = new AbortController().signal;

async function source() {
  const place = await AgentPlace.create();
  const supervisor = await place.supervise();
  const agent = new SupervisedSource(supervisor, place.storage);
  return { place, supervisor, agent };
}

/** Its token is out, and nobody knows whether the target has it. */
async function handedOff() {
  const { place, supervisor, agent } = await source();
  const { checkpoint } = await agent.freeze(handoff.handoffId);
  await agent.begin(handoff);
  const token = await agent.relinquish(handoff);
  return { place, supervisor, agent, token, frozen: checkpoint };
}

function codeOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (cause) {
    return isFault(cause) ? cause.code : String(cause);
  }
}

describe("an agent as its migration sees it", patient, () => {
  test("is described as it is, with its module and its spine", async () => {
    const { place, agent } = await source();
    await agent.load();
    expect(agent.describe()).toMatchObject({ era: 0n, major: 0n, tick: 1n, name: "survivor", moduleBytes: 6 });
    expect(textOf(await agent.module())).toBe("module");
    expect(await agent.spine()).toEqual([place.first.signed]);
  });

  test("GA-1: is not handed over in doubt, nor FS-3: twice", async () => {
    const { place, supervisor, agent } = await source();
    await agent.freeze(handoff.handoffId);
    expect(codeOf(() => agent.describe())).toBe("MIGRATION_IN_PROGRESS");
    place.registry.reachable = false;
    supervisor.inDoubt("ambiguous-handoff");
    expect(codeOf(() => agent.describe())).toBe("AGENT_NOT_RUNNING");
  });

  test("is not handed over against its manifest", async () => {
    const place = await AgentPlace.create();
    place.manifest = textBytes('{"migration_policy":{}}');
    const agent = new SupervisedSource(await place.supervise(), place.storage);
    expect(codeOf(() => agent.describe())).toBe("MIGRATION_DISABLED");
  });

  test("GH-1: a failure before the token is reverted at the registry, and then it ticks on under the same major", async () => {
    const { place, supervisor, agent } = await source();
    await agent.freeze(handoff.handoffId);
    place.registry.disturb("begin_handoff", "lost-before");
    expect(await agent.begin(handoff)).toEqual({ kind: "unknown" });
    expect(await agent.revert()).toEqual({ kind: "applied" });
    expect(place.registry.deliverLate()).toMatchObject([{ kind: "refused", code: "STALE_REVISION" }]);
    agent.thaw();
    await place.idle();
    await place.turn();
    expect(supervisor.tick).toBe(2n);
    expect(place.record).toMatchObject({ state: "ACTIVE_OWNER", major: 0n });
  });

  test("a refusal of the registry is passed on as it is", async () => {
    const { place, agent } = await source();
    await agent.freeze(handoff.handoffId);
    place.registry.disturb("begin_handoff", { refuse: "HANDOFF_IN_PROGRESS" });
    expect(await agent.begin(handoff)).toEqual({ kind: "refused", code: "HANDOFF_IN_PROGRESS" });
  });

  test("EI-7, EI-11: a handoff that is refused for what the registry knows of the agent does not let it tick on", async () => {
    const { place, supervisor, agent } = await source();
    const { checkpoint } = await agent.freeze(handoff.handoffId);
    const { ticks } = place.sandbox;
    place.registry.rewrite(place.agentId, { head: { ...refOf(checkpoint), digest: place.first.digest } });
    expect(await agent.begin(handoff)).toEqual({ kind: "refused", code: "DIVERGENT_LINEAGE" });
    agent.thaw();
    await place.idle();
    await place.turns(5);
    expect(supervisor.tenancy.tenure).toMatchObject({ kind: "RECOVERY_REQUIRED", doubt: "divergent-lineage" });
    expect(place.sandbox.ticks).toBe(ticks);
  });

  test.each(["QUARANTINE", "STALE_REVISION"] as const)(
    "GH-2: a refusal that says nothing about the agent, %s, is no doubt",
    async (code) => {
      const { place, supervisor, agent } = await source();
      await agent.freeze(handoff.handoffId);
      place.registry.disturb("begin_handoff", { refuse: code });
      expect(await agent.begin(handoff)).toEqual({ kind: "refused", code });
      agent.thaw();
      expect(supervisor.tenancy.tenure.kind).toBe("ACTIVE_OWNER");
    },
  );

  test("SL-4: what was frozen under a session that is over is not begun under the next one", async () => {
    const { place, supervisor, agent } = await source();
    await agent.freeze(handoff.handoffId);
    place.registry.reachable = false; // the loop's own look at the registry finds nothing out
    place.session.lose();
    supervisor.sessionVoid();
    await place.openSession("boot-2");
    place.registry.reachable = true;
    expect(await agent.begin(handoff)).toEqual({ kind: "refused", code: "HANDOFF_SUPERSEDED" });
    expect(place.registry.sentOf("begin_handoff")).toEqual([]);
  });

  test("FS-2, GH-3: in doubt it neither ticks nor is answered for until the registry has said whose it is", async () => {
    const { place, agent } = await handedOff();
    place.registry.reachable = false;
    const { ticks } = place.sandbox;
    let known = false;
    const resolving = agent.resolve(never).finally(() => {
      known = true;
    });
    await place.idle();
    await place.turns(10);
    expect({ known, ticks: place.sandbox.ticks }).toEqual({ known: false, ticks });
    place.registry.reachable = true;
    await place.turn();
    await expect(resolving).resolves.toEqual({ kind: "recovered", era: 0n, major: 1n });
  });

  test("GH-3: recovered: it ticks here again, from the frozen checkpoint, and the token is dead", async () => {
    const { place, supervisor, agent, token, frozen } = await handedOff();
    await expect(agent.resolve(never)).resolves.toMatchObject({ kind: "recovered", major: 1n });
    expect(supervisor.tenancy.ground?.base).toEqual(refOf(frozen));
    await expect(place.asBob({ claim: token })).rejects.toThrow("refused");
  });

  test("GH-3: the target had claimed it: moved, and nothing ticks here", async () => {
    const { place, agent, token } = await handedOff();
    const { ticks } = place.sandbox;
    await place.asBob({ claim: token });
    await expect(agent.resolve(never)).resolves.toEqual({ kind: "moved", hostId: bob.hostId, era: 0n, major: 1n });
    await agent.retire({ ownerHostId: bob.hostId });
    await place.idle();
    expect(place.left).toEqual([place.agentId]);
    expect(place.sandbox.ticks).toBe(ticks);
  });

  test("GH-3: it runs nowhere any more: gone", async () => {
    const { place, agent, token } = await handedOff();
    await place.asBob({ claim: token });
    place.registry.rewrite(place.agentId, { state: "RETIRED", reason: "stopped" });
    await expect(agent.resolve(never)).resolves.toEqual({ kind: "gone" });
  });

  test("§7: a host that stops meanwhile knows nothing, and says so by its signal", async () => {
    const { place, agent } = await handedOff();
    place.registry.reachable = false;
    const leaving = new AbortController();
    const resolving = agent.resolve(leaving.signal);
    leaving.abort(new Error("this host stops"));
    await expect(resolving).rejects.toThrow("this host stops");
  });
});
