// Handoffs between real libp2p nodes in one process. The agent and its registry are those of migration-story.ts.

import { FRAME_LIMITS } from "@godwit/migration";
import { assertSingleOwner, waitFor } from "@godwit/testing";
import { describe, expect, type TestContext, test } from "vitest";
import { move, Neighbourhood, only, patient, quick, type StoryPlace } from "./migration-place.ts";
import { type AgentRecipe, Story, StoryAgent, storyHost } from "./migration-story.ts";

interface Setting {
  readonly hood: Neighbourhood;
  readonly a: StoryPlace;
  readonly b: StoryPlace;
  readonly c: StoryPlace;
}

/** The agent ticks on `a`; `b` and `c` could take it. */
async function threeHosts(
  recipe: AgentRecipe = {},
  rules: ConstructorParameters<typeof Neighbourhood>[1] = {},
): Promise<Setting> {
  const story = new Story(storyHost(1), recipe);
  const hood = new Neighbourhood(story, rules);
  const [a, b, c] = [await hood.host(1), await hood.host(2), await hood.host(3)];
  a.agent = StoryAgent.create(story, a.host);
  a.modules.add(story.moduleDigest);
  return { hood, a, b, c };
}

/** One host may tick, nobody ticked that might not, and no tick is missing or doubled. */
function expectOneOwner({ hood }: Setting, where: string): void {
  expect(hood.offences()).toEqual([]);
  expect(hood.ticking()).toEqual([where]);
  assertSingleOwner(hood.story.history);
  expect(hood.nameOf(hood.story.record.owner?.hostId ?? "")).toBe(where);
}

describe("a move that goes well", () => {
  test("§6: the target's first tick is the source's last plus one, and only the last step stands still", async () => {
    const setting = await threeHosts();
    const { a, b } = setting;
    const { done, steps } = await move(a, only(b));
    expect(steps).toEqual([
      "offered",
      "module-sent",
      "accepted",
      "prepared",
      "frozen",
      "begun",
      "relinquished",
      "handed-off",
      "started",
    ]);
    expect(done).toMatchObject({ hostId: b.hostId, era: 0n, major: 1n, tick: 2n });
    expect(done?.blackoutMs).toBeGreaterThan(0);
    expectOneOwner(setting, "1");
    expect(a.agent?.retiredTo).toBe(b.hostId);
    expect(a.reports).toEqual(["1 success"]);
  });

  test("a module travels once, and of the spine only what is new", async () => {
    const setting = await threeHosts({ moduleBytes: 3 * FRAME_LIMITS.chunkBytes + 7 });
    const { a, b } = setting;
    for (let round = 0; round < 4; round++) {
      expect((await move(a, only(b))).done?.major).toBe(BigInt(2 * round + 1));
      expect((await move(b, only(a))).done?.major).toBe(BigInt(2 * round + 2));
    }
    expect(b.modulesTaken).toBe(1);
    expect(a.spineHeld.length).toBe(9);
    expectOneOwner(setting, "0");
  });

  test.each([
    ["4 KiB, in one packet", 4_096],
    ["exactly one chunk", FRAME_LIMITS.chunkBytes],
    ["one byte more than a chunk", FRAME_LIMITS.chunkBytes + 1],
    ["12 MiB, more than any buffer holds", 12 * 2 ** 20],
  ])("a state of %s arrives as it was, for at most 5 % and 4 KiB more", async (_, stateBytes) => {
    const setting = await threeHosts({ stateBytes });
    const { a, b } = setting;
    const { done } = await move(a, only(b));
    expect(done?.bytesAfterFreeze).toBeGreaterThan(stateBytes);
    expect(done?.bytesAfterFreeze).toBeLessThan(stateBytes * 1.05 + 4_096);
    const state = b.agent?.latest.state ?? new Uint8Array();
    expect(Buffer.from(state).equals(setting.hood.story.stateAt(2n))).toBe(true);
    expectOneOwner(setting, "1");
  });

  test("all crash points lie on the way", async () => {
    const setting = await threeHosts();
    await move(setting.a, only(setting.b));
    await waitFor(() => setting.b.reached.includes("target.after-reply"), { what: "the reply" });
    expect(setting.a.reached).toEqual([
      "source.before-begin",
      "source.after-begin",
      "source.before-relinquish",
      "source.after-relinquish",
      "source.before-send-handoff",
      "source.after-send-handoff",
      "source.after-started",
      "source.after-retire",
    ]);
    expect(setting.b.reached).toEqual([
      "target.before-stage",
      "target.after-stage",
      "target.before-claim",
      "target.after-claim",
      "target.before-start",
      "target.before-reply",
      "target.after-reply",
    ]);
  });
});

describe("a target that does not take it", () => {
  test("GH-2: one that is too dear, one that is down, then one that is busy twice and accepts", async () => {
    const setting = await threeHosts();
    const { hood, a, b, c } = setting;
    hood.ghost(9);
    b.knobs.price = 1_001n;
    c.knobs.busy = 2;
    const { tried, failures, done } = await move(a, { kind: "host", hostId: b.hostId, otherwise: "candidates" });
    expect(tried).toEqual(["1", "ghost", "ghost", "ghost", "2", "2", "2"]);
    expect(failures.map((failure) => `${failure.class} ${failure.fault.code}`)).toEqual([
      "fatal-target PRICE_TOO_HIGH",
      "retriable PEER_UNREACHABLE",
      "retriable PEER_UNREACHABLE",
      "retriable PEER_UNREACHABLE",
      "retriable TARGET_BUSY",
      "retriable TARGET_BUSY",
    ]);
    expect(done?.hostId).toBe(c.hostId);
    expect(a.reports).toEqual(["ghost failure", "ghost failure", "ghost failure", "2 success"]);
    expectOneOwner(setting, "2");
  });

  test.each<[string, (place: StoryPlace) => void, string]>([
    [
      "it lacks a capability",
      ({ knobs }) => Object.assign(knobs, { capabilities: ["log"] }),
      "fatal-target CAPABILITY_MISSING",
    ],
    ["it drains", ({ knobs }) => Object.assign(knobs, { notNow: "draining" }), "fatal-target HOST_DRAINING"],
    ["it stops", ({ knobs }) => Object.assign(knobs, { notNow: "stopping" }), "retriable SHUTTING_DOWN"],
    ["it has no session", ({ knobs }) => Object.assign(knobs, { notNow: "no-session" }), "retriable SESSION_NOT_OPEN"],
    [
      "its registry does not answer",
      ({ knobs }) => Object.assign(knobs, { strangers: "unreachable" }),
      "retriable NOT_READY",
    ],
  ])("GH-2: refused with the class that it was born with when %s; nothing was frozen", async (_, arrange, expected) => {
    const setting = await threeHosts();
    arrange(setting.b);
    const { failures, steps } = await move(setting.a, only(setting.b));
    expect(failures.map((failure) => `${failure.class} ${failure.fault.code}`)).toContain(expected);
    expect(steps).not.toContain("frozen");
    expectOneOwner(setting, "0");
  });

  test("T-24: a price that rises above the limit after the offer is refused before the freeze, or at the latest before the claim", async () => {
    const setting = await threeHosts();
    const { a, b, hood } = setting;
    const rises = async () => {
      b.knobs.price = 1_001n;
    };
    b.knobs.beforePrepared = rises;
    const early = await move(a, only(b));
    expect(early.failures).toMatchObject([{ class: "fatal-target", fault: { code: "PRICE_TOO_HIGH" } }]);
    expect(early.steps).not.toContain("frozen");
    expectOneOwner(setting, "0");

    b.knobs.beforePrepared = async () => {};
    b.knobs.price = 1_000n; // the limit itself
    if (a.agent !== undefined) a.agent.knobs.beforeFreeze = rises;
    const late = await move(a, only(b));
    expect(late.failures).toMatchObject([{ class: "fatal-target", fault: { code: "PRICE_TOO_HIGH" } }]);
    expect([b.agent, b.staged, hood.story.record.owner?.hostId]).toEqual([undefined, undefined, a.hostId]);
    expectOneOwner(setting, "0");
  });

  test("a transfer from a host that the registry does not know is refused before anything is looked at", async () => {
    const setting = await threeHosts();
    setting.b.knobs.strangers = new Set([setting.a.hostId]);
    const { failures } = await move(setting.a, only(setting.b));
    expect(failures).toMatchObject([{ class: "fatal-target", fault: { code: "POLICY_REFUSED" } }]);
    expect(setting.b.offers).toBe(0);
  });

  test("a manifest that forbids migration: nobody is asked", async () => {
    const manifest = JSON.stringify({ capabilities: {}, migration_policy: { enabled: false } });
    const setting = await threeHosts({ manifest });
    const { failures, givenUp } = await move(setting.a);
    expect(failures[0]).toMatchObject({ class: "fatal-target", fault: { code: "MIGRATION_DISABLED" } });
    expect(givenUp?.fault.code).toBe("MIGRATION_DISABLED");
    expectOneOwner(setting, "0");
  });

  test("no more than it has room for: TARGET_BUSY, and later it has room again", async () => {
    const setting = await threeHosts({}, { maxIncoming: 1 });
    const { a, b, hood } = setting;
    const other = new Neighbourhood(new Story(storyHost(4), { nonce: 4 }), {});
    const d = await other.host(4);
    d.agent = StoryAgent.create(other.story, d.host);
    other.places.push(b);
    const gate = Promise.withResolvers<void>();
    a.agent = a.agent ?? StoryAgent.create(hood.story, a.host);
    a.agent.knobs.beforeFreeze = () => gate.promise;
    const first = move(a, only(b));
    await waitFor(() => b.coming === 1, { what: "the first handoff" });
    const second = await move(d, only(b));
    expect(second.failures.every(({ fault }) => fault.code === "TARGET_BUSY")).toBe(true);
    gate.resolve();
    expect((await first).done?.hostId).toBe(b.hostId);
    expectOneOwner(setting, "1");
    expect(d.agent.status).toBe("ticking");
  });

  test("a source that goes away while it is let in leaves no place taken", async () => {
    const setting = await threeHosts({}, { maxIncoming: 1, timeouts: quick });
    const { a, b } = setting;
    const gate = Promise.withResolvers<void>();
    b.knobs.beforeAdmitted = () => gate.promise;
    const first = await move(a, only(b)); // ACCEPT never comes
    expect(first.failures.every(({ fault }) => ["DEADLINE_EXCEEDED", "TARGET_BUSY"].includes(fault.code))).toBe(true);
    b.knobs.beforeAdmitted = async () => {};
    gate.resolve();
    await waitFor(() => b.admitted > 0 && b.coming === 0, { what: "the end of what was given up" });
    expect((await move(a, only(b))).done?.hostId).toBe(b.hostId);
    expectOneOwner(setting, "1");
  });
});

/**
 * `refused`: because what the target saw did not fit together, after the token was signed. `meanwhile`: while the registry is
 * asked, so that it is a matter of time how far the source has got; `refused-meanwhile`: both.
 */
type Class = "retriable" | "ambiguous" | "refused" | "meanwhile" | "refused-meanwhile";

/** Faults at each frame, as the source has them: what the attempt comes to, and whether a retry is what follows. */
const boundaries: readonly (readonly [string, Class])[] = [
  ["send:offer:cut-before", "retriable"],
  ["send:offer:cut-after", "retriable"],
  ["send:offer:swallow", "retriable"],
  ["receive:accept:cut-before", "retriable"],
  ["receive:accept:cut-after", "retriable"],
  ["receive:accept:swallow", "retriable"],
  ["send:module:cut-before", "retriable"],
  ["send:module:2:cut-after", "retriable"],
  ["send:spine:cut-before", "retriable"],
  ["send:spine:cut-after", "retriable"],
  ["send:spine:swallow", "retriable"],
  ["receive:prepared:cut-before", "retriable"],
  ["receive:prepared:swallow", "retriable"],
  ["send:checkpoint:cut-before", "meanwhile"],
  ["send:checkpoint:cut-after", "meanwhile"],
  ["send:checkpoint:swallow", "refused-meanwhile"],
  ["send:state:cut-before", "meanwhile"],
  ["send:state:2:swallow", "refused-meanwhile"],
  ["send:state:3:cut-after", "meanwhile"],
  ["send:handoff:cut-before", "ambiguous"],
  ["send:handoff:cut-after", "ambiguous"],
  ["send:handoff:swallow", "refused"],
  ["send:handoff-end:cut-before", "ambiguous"],
  ["send:handoff-end:cut-after", "ambiguous"],
  ["send:handoff-end:swallow", "ambiguous"],
  ["send:handoff-end:swallow-after", "ambiguous"],
  ["receive:started:cut-before", "ambiguous"],
  ["receive:started:swallow", "ambiguous"],
];

/** The same at the target's end. */
const farBoundaries: readonly (readonly [string, Class])[] = [
  ["receive:offer:cut-before", "retriable"],
  ["receive:module:2:cut-before", "retriable"],
  ["receive:spine:swallow", "retriable"],
  ["send:accept:swallow", "retriable"],
  ["send:prepared:cut-after", "retriable"],
  ["receive:checkpoint:cut-before", "meanwhile"],
  ["receive:state:2:cut-after", "meanwhile"],
  ["receive:handoff:cut-before", "ambiguous"],
  ["receive:handoff-end:cut-before", "ambiguous"],
  ["receive:handoff-end:cut-after", "ambiguous"],
  ["receive:handoff-end:swallow-after", "ambiguous"],
  ["send:started:cut-before", "ambiguous"],
  ["send:started:swallow", "ambiguous"],
];

describe("GH-2: a stream that breaks at a frame", () => {
  const recipe: AgentRecipe = { stateBytes: 3 * FRAME_LIMITS.chunkBytes, moduleBytes: 2 * FRAME_LIMITS.chunkBytes };

  async function broken(fault: string, at: "a" | "b", expected: Class, { onTestFinished }: TestContext): Promise<void> {
    // What is swallowed is missed when the time of a step is over; a cut is noticed at once.
    const timeouts = fault.includes("swallow") ? quick : patient;
    const setting = await threeHosts(recipe, { timeouts, atTheEnd: onTestFinished });
    const { hood, a, b } = setting;
    setting[at].faults.arm(fault);
    const { done, failures, tried, steps } = await move(a, { kind: "host", hostId: b.hostId, otherwise: "candidates" });
    expect(setting[at].strikes).toEqual([fault]);
    expect(done).toBeDefined();

    if (failures.length === 0) {
      // The target had it: the registry said so.
      expect(expected).toBe("ambiguous");
      expect(steps).toContain("resolving");
      expect(tried).toEqual(["1"]);
    } else {
      const [failure, ...more] = failures.map((failure) => failure.class);
      expect(more).toEqual([]);
      if (expected === "meanwhile") expect(["retriable", "ambiguous"]).toContain(failure);
      else expect(failure).toBe(expected.startsWith("refused") ? "fatal-target" : expected);
      expect(tried).toEqual(failure === "retriable" ? ["1", "1"] : ["1", "2"]);
      // What was signed away is taken back by the registry's word, and nothing else is.
      const back = steps.includes("relinquished") ? "recovered" : "reverted";
      if (expected.endsWith("meanwhile")) expect(steps).toContain(back);
      else expect(steps.includes("recovered")).toBe(expected !== "retriable");
    }
    if (expected === "retriable") expect(done?.major).toBe(1n);
    expectOneOwner(setting, hood.nameOf(done?.hostId ?? ""));
    await waitFor(() => hood.places.every(({ coming }) => coming === 0), { what: "the end of every handoff" });
    for (const { staged, left } of hood.places) expect([staged, left]).toEqual([undefined, []]);
  }

  // Side by side: most of their time they wait.
  test.concurrent.for(boundaries)(
    "at the source, %s: %s, and it moves all the same",
    async ([fault, expected], context) => {
      await broken(fault, "a", expected, context);
    },
  );

  test.concurrent.for(farBoundaries)(
    "at the target, %s: %s, and it moves all the same",
    async ([fault, expected], context) => {
      await broken(fault, "b", expected, context);
    },
  );

  test("a delay alone changes nothing", async () => {
    const setting = await threeHosts();
    setting.a.faults.arm("send:handoff-end:delay=100");
    setting.b.faults.arm("send:started:delay=100");
    const { done, failures } = await move(setting.a, only(setting.b));
    expect(failures).toEqual([]);
    expect(done?.blackoutMs).toBeGreaterThan(200);
    expectOneOwner(setting, "1");
  });
});

describe("a move that goes wrong on one side", () => {
  test.each(["lost", "lost-after"] as const)(
    "GH-1: begin_handoff %s: reverted, ticks on here, tried again",
    async (how) => {
      const setting = await threeHosts();
      const { a, b } = setting;
      if (a.agent !== undefined) a.agent.knobs.begin = how;
      const { steps, failures, givenUp } = await move(a, only(b));
      expect(steps).toContain("reverted");
      expect(failures.map((failure) => failure.class)).toEqual(["retriable", "retriable", "retriable"]);
      expect(givenUp?.fault.code).toBe("REGISTRY_UNAVAILABLE");
      expect(a.reports).toEqual([]);
      expect(setting.hood.story.record).toMatchObject({ state: "ACTIVE_OWNER", major: 0n, handoff: undefined });
      expectOneOwner(setting, "0");
    },
  );

  test("EI-6: a journal that fails is settled by recovery, and the token never leaves", async () => {
    const setting = await threeHosts();
    const { a, b } = setting;
    if (a.agent !== undefined) a.agent.knobs.relinquish = "fails";
    const { steps, givenUp } = await move(a, only(b));
    expect(steps).toContain("recovered");
    expect(steps).not.toContain("handed-off");
    expect(givenUp?.class).toBe("fatal-migration");
    expect(b.staged).toBeUndefined();
    expectOneOwner(setting, "0");
  });

  test("a module that cannot be read stops the migration, and is not the target's fault", async () => {
    const setting = await threeHosts();
    if (setting.a.agent !== undefined) setting.a.agent.knobs.module = "fails";
    const { givenUp } = await move(setting.a, only(setting.b));
    expect(givenUp?.class).toBe("fatal-migration");
    expect(setting.a.reports).toEqual([]);
    expectOneOwner(setting, "0");
  });

  test("GH-4: a claim whose answer was lost is repeated until it is answered", async () => {
    const setting = await threeHosts();
    setting.b.knobs.claimsLost = ["before", "after"];
    const { done, failures } = await move(setting.a, only(setting.b));
    expect(failures).toEqual([]);
    expect(done?.major).toBe(1n);
    expect(setting.b.reached.filter((point) => point === "target.before-claim").length).toBe(3);
    expectOneOwner(setting, "1");
  });

  test("GH-4: a claim that comes after the source recovered is dead: a replica, and the next candidate runs it", async () => {
    const setting = await threeHosts({}, { timeouts: quick });
    const { a, b, c, hood } = setting;
    const late = Promise.withResolvers<void>();
    b.knobs.beforeClaim = () => late.promise;
    const { done, failures } = await move(a, { kind: "host", hostId: b.hostId, otherwise: "candidates" });
    expect(failures.map((failure) => failure.class)).toEqual(["ambiguous"]);
    expect(done?.hostId).toBe(c.hostId);
    expect(b.replicas).toEqual([]);
    late.resolve();
    await waitFor(() => b.coming === 0, { what: "the end of the dead handoff" });
    expect(b.replicas.length).toBe(1);
    expect(b.left).toEqual([]);
    expectOneOwner(setting, hood.nameOf(c.hostId));
  });

  test("GH-3: the claim won the race: the source hears it from the registry, and does not tick", async () => {
    const setting = await threeHosts({}, { timeouts: quick });
    const { a, b } = setting;
    b.faults.arm("send:started:swallow");
    const { done, steps, failures } = await move(a, only(b));
    expect(failures).toEqual([]);
    expect(steps).toContain("resolving");
    expect(done).toMatchObject({ hostId: b.hostId, major: 1n });
    expectOneOwner(setting, "1");
  });

  test("FS-1: a target that cannot start what it claimed keeps it, and the source does not take it back", async () => {
    const setting = await threeHosts({}, { timeouts: quick });
    const { a, b } = setting;
    b.knobs.startFails = true;
    const { done } = await move(a, only(b));
    expect(done?.hostId).toBe(b.hostId);
    expect(b.left.length).toBe(1);
    expect(setting.hood.ticking()).toEqual([]);
    expect(a.agent?.retiredTo).toBe(b.hostId);
  });
});

describe("who asks for a move", () => {
  test("FS-3: a second request while one is under way is refused", async () => {
    const setting = await threeHosts();
    const { a, b } = setting;
    const gate = Promise.withResolvers<void>();
    if (a.agent !== undefined) a.agent.knobs.beforeFreeze = () => gate.promise;
    const first = move(a, only(b));
    await waitFor(() => b.coming === 1, { what: "the first" });
    await expect(move(a, only(b))).rejects.toMatchObject({ code: "MIGRATION_IN_PROGRESS" });
    gate.resolve();
    expect((await first).done).toBeDefined();
    expectOneOwner(setting, "1");
  });

  test.each(["offered", "prepared", "frozen", "begun"] as const)(
    "who gives up at `%s` gets the agent back, ticking",
    async (step) => {
      const setting = await threeHosts();
      const { a, b } = setting;
      const caller = new AbortController();
      const { givenUp } = await move(a, only(b), {
        signal: caller.signal,
        onEvent: (event) => event.kind === "step" && event.step === step && caller.abort(),
      });
      // One step on it may be too late, and then it has moved: never anything in between.
      if (givenUp === undefined) return expectOneOwner(setting, "1");
      expect(givenUp.fault.code).toBe("CANCELLED");
      expectOneOwner(setting, "0");
      await waitFor(() => b.coming === 0, { what: "the end of the handoff" });
    },
  );

  test("who gives up after the token was signed is not heard until it is settled", async () => {
    const setting = await threeHosts();
    const { a, b } = setting;
    const caller = new AbortController();
    const { done } = await move(a, only(b), {
      signal: caller.signal,
      onEvent: (event) => event.kind === "step" && event.step === "relinquished" && caller.abort(),
    });
    expect(done?.hostId).toBe(b.hostId);
    expectOneOwner(setting, "1");
  });

  test("GH-6: the deadline ends it, whatever it waits for", async () => {
    const setting = await threeHosts();
    setting.b.knobs.beforeAdmitted = () => new Promise(() => {});
    const { givenUp } = await move(setting.a, only(setting.b), { timeoutMs: 100 });
    expect(givenUp?.fault.code).toBe("DEADLINE_EXCEEDED");
    expectOneOwner(setting, "0");
  });

  test("a host that stops calls its migration back", async () => {
    const setting = await threeHosts();
    const { a, b } = setting;
    setting.b.knobs.beforeAdmitted = () => new Promise(() => {});
    const moving = move(a, only(b));
    await waitFor(() => b.offers === 1, { what: "the offer" });
    await a.source.stop();
    expect((await moving).givenUp?.fault.code).toBe("CANCELLED");
    expectOneOwner(setting, "0");
    await expect(move(a, only(b))).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  });

  test("a host that stops does not wait for ever for what the registry does not answer", async () => {
    const setting = await threeHosts();
    const { a, b } = setting;
    a.faults.arm("send:handoff:cut-before");
    const asked = Promise.withResolvers<void>();
    if (a.agent !== undefined) {
      a.agent.knobs.beforeResolve = (signal) => {
        asked.resolve();
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      };
    }
    const moving = move(a, only(b));
    await asked.promise;
    await a.source.stop();
    expect((await moving).done).toBeUndefined();
    expect(a.agent?.status).toBe("relinquished");
    expect(setting.hood.offences()).toEqual([]);
  });
});

describe("a host that stops while agents come in", () => {
  test("before the claim the source is told, and nothing is left", async () => {
    const setting = await threeHosts();
    const { a, b } = setting;
    const gate = Promise.withResolvers<void>();
    if (a.agent !== undefined) a.agent.knobs.beforeFreeze = () => gate.promise;
    const moving = move(a, only(b));
    await waitFor(() => b.coming === 1, { what: "the handoff" });
    await b.target.stop();
    gate.resolve();
    const { failures } = await moving;
    expect(failures[0]).toMatchObject({ class: "retriable" });
    expect(b.left).toEqual([]);
    expectOneOwner(setting, "0");
  });

  test("GH-5: after the claim was sent it is left to the journal, and never refused", async () => {
    const setting = await threeHosts({}, { timeouts: quick });
    const { a, b } = setting;
    const sent = Promise.withResolvers<void>();
    const never = Promise.withResolvers<void>();
    b.knobs.beforeClaim = () => {
      sent.resolve();
      return never.promise;
    };
    const moving = move(a, only(b));
    await sent.promise;
    await b.target.stop();
    expect(b.left.length).toBe(1);
    const { failures } = await moving;
    expect(failures.map((failure) => failure.class)).toEqual(["ambiguous"]);
    expectOneOwner(setting, "0");
  });
});
