// An agent of the SDK on the test host: its life, its states and their versions, its intents. What it does in a tick is told by the price.

import { beforeAll, describe, expect, test } from "vitest";
import { MockHost } from "../src/testing/mock-host.ts";
import { AgentTrapped, TestAgent, type TestAgentOptions } from "../src/testing/test-agent.ts";
import { compileFixture } from "./fixture.ts";

const capabilities = { clock: {}, rand: {}, log: {}, wallet: {}, pricing: {} };
const order = {
  nothing: 0n,
  record: 1n,
  begin: 2n,
  confirm: 3n,
  compensate: 4n,
  recordAndBegin: 5n,
  forgetSettled: 6n,
  countInSecret: 10n,
  trap: 11n,
  fail: 12n,
  askWhenSaved: 13n,
  askWhenLoaded: 14n,
  readWallet: 15n,
  sayAnother: 16n,
  askOnlyTheFirstTime: 17n,
  askOnlyTheSecondTime: 18n,
  moreWork: 20n,
} as const;
const states = ["recorded", "begun", "unresolved", "confirmed", "compensated"];

let modules: readonly Uint8Array[];

beforeAll(async () => {
  const compiled: Uint8Array[] = [];
  for (const version of [1, 2, 3]) compiled.push(await compileFixture("puppet", "--use", `PUPPET_VERSION=${version}`));
  modules = compiled;
});

async function puppet({ version = 2, ...options }: TestAgentOptions & { version?: number } = {}): Promise<TestAgent> {
  const module = modules[version - 1];
  if (module === undefined) throw new Error(`there is no version ${version}`);
  return await TestAgent.load(module, { manifest: { capabilities }, ...options });
}

function tick(agent: TestAgent, what: keyof typeof order) {
  agent.host.price = order[what];
  return agent.tick();
}

/** Of a state of version 2. */
function read(state: Uint8Array) {
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  const noteLength = view.getUint32(16, true);
  const at = 20 + noteLength;
  return {
    tag: new TextDecoder().decode(state.subarray(0, 4)),
    version: view.getUint32(4, true),
    ticks: view.getBigUint64(8, true),
    note: new TextDecoder().decode(state.subarray(20, at)),
    intents: view.getUint32(at, true),
    /** Of the first. */
    intent: states[state[at + 4] ?? -1],
  };
}

function changed(state: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const copy = state.slice();
  change(new DataView(copy.buffer));
  return copy;
}

describe("an agent's life", () => {
  test("a tick counts, says whether more work waits, and goes on after a resume", async () => {
    const agent = await puppet();
    expect(read(agent.state)).toMatchObject({ tag: "PUPP", version: 2, ticks: 0n });
    expect(tick(agent, "nothing").moreWork).toBe(false);
    expect(tick(agent, "moreWork").moreWork).toBe(true);
    agent.resume();
    expect(read(tick(agent, "nothing").state).ticks).toBe(3n);
  });

  test("what is thrown is in the log, with its place; the tick has not happened", async () => {
    const agent = await puppet();
    agent.ticks(2);
    expect(() => tick(agent, "fail")).toThrow(AgentTrapped);
    expect(agent.host.logs.at(-1)).toMatch(/^it cannot \(fixtures\/assembly\/puppet\.ts:\d+:\d+\)$/);
    expect(() => tick(agent, "trap")).toThrow("tick 3 trapped");
    expect(read(tick(agent, "nothing").state).ticks).toBe(3n);
  });

  test("it reads its wallet, also a receipt that is larger than usual, and none that is no receipt", async () => {
    const agent = await puppet({ balance: 77n });
    agent.host.addReceipt({ hostId: "h", cost: 5n });
    agent.host.addReceipt({ hostId: "h".repeat(5_000), cost: 6n });
    agent.host.addReceipt(Uint8Array.of(255));
    const { logs } = tick(agent, "readWallet");
    expect(logs).toEqual(["balance 77, 3 receipts", "1: 5", "5000: 6", "none", "none"]);
  });
});

describe("what the test host finds", () => {
  test.each([
    ["countInSecret", "from byte 20 on the state is another one"],
    ["sayAnother", 'its call 2 is log_emit("a"), and was log_emit("b")'],
    ["askOnlyTheFirstTime", "its call 2 is clock_now(), and was none"],
    ["askOnlyTheSecondTime", "it ends without its call 2, clock_now()"],
  ] as const)("a tick that depends on more than its state does not replay: %s", async (what, why) => {
    const agent = await puppet();
    tick(agent, what); // the first time nothing was different before
    expect(() => tick(agent, what)).toThrow(`tick 2 does not replay: ${why}`);
    const trusting = await puppet({ replay: false });
    tick(trusting, what);
    tick(trusting, what);
  });

  test("a host is asked in ticks only: not when a state is saved, not when it is loaded", async () => {
    const saving = await puppet();
    expect(() => tick(saving, "askWhenSaved")).toThrow("in agent_checkpoint the agent calls clock_now()");
    const loading = await puppet({ replay: false });
    tick(loading, "askWhenLoaded");
    expect(() => loading.resume()).toThrow("in agent_resume the agent calls clock_now()");
  });

  test("a capability that the manifest does not have is not there", async () => {
    const { rand: _, ...others } = capabilities;
    const without = (declared: object) => puppet({ manifest: { capabilities: declared as Record<string, unknown> } });
    await expect(without(others)).rejects.toThrow("add the capability rand to the manifest");
    await expect(without({ ...capabilities, http: {} })).rejects.toThrow("the manifest wants http, which no host has");
  });

  test("its time and its chance are the same each time, and as they are set", async () => {
    expect((await puppet()).host.answer({ name: "clock_now" }).result).toBe(1_704_067_200_000_000_000n);
    const { host } = await puppet({ startNs: 5n, stepNs: 2n });
    const now = () => host.answer({ name: "clock_now" }).result;
    expect([now(), now()]).toEqual([5n, 7n]);
    host.advanceClock(10n);
    expect(now()).toBe(19n);
    const bytes = (seed: number) => new MockHost({ seed }).answer({ name: "rand_bytes", length: 32 }).payload;
    expect(bytes(1)).toEqual(bytes(1));
    expect(bytes(1)).not.toEqual(bytes(2));
  });
});

describe("versions of a state", () => {
  test("a state of version 1 is read by version 2, by its migration, and is of version 2 from then on", async () => {
    const old = await puppet({ version: 1 });
    tick(old, "record");
    const { state } = tick(old, "nothing");
    const agent = await puppet({ version: 2, state });
    const after = read(tick(agent, "begin").state);
    expect(after).toEqual({
      tag: "PUPP",
      version: 2,
      ticks: 3n,
      note: "was version 1",
      intents: 1,
      intent: "unresolved",
    });
  });

  test("a newer version is refused, and so is one that nothing is said about: with a line that says why", async () => {
    const { state } = tick(await puppet({ version: 2 }), "nothing");
    const refused = async (version: number, of: Uint8Array) => {
      const error: unknown = await puppet({ version, state: of }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(AgentTrapped);
      return (error as AgentTrapped).logs.at(-1);
    };
    expect(await refused(1, state)).toBe("the state has version 2, this puppet reads version 1");
    const future = changed(state, (view) => view.setUint32(4, 9, true));
    expect(await refused(2, future)).toBe("the state has version 9, this puppet reads versions 1 to 2");
    const zero = changed(state, (view) => view.setUint32(4, 0, true));
    expect(await refused(2, zero)).toBe("the state has version 0, this puppet reads versions 1 to 2");
    expect(await refused(3, state)).toContain("nothing says how version 2 becomes version 3");
  });

  test.each([
    [
      "of another agent",
      (state: Uint8Array) => changed(state, (view) => view.setUint8(0, 0)),
      "this is no state of a puppet",
    ],
    ["shorter than its head", (state: Uint8Array) => state.subarray(0, 7), "this is no state of a puppet"],
    ["cut short", (state: Uint8Array) => state.subarray(0, 15), "at byte 8 it wants 8 more, of 7"],
    ["with more behind it", (state: Uint8Array) => Uint8Array.from([...state, 0]), "1 bytes are left over at its end"],
  ])("a state %s is refused", async (_, change, why) => {
    const { state } = tick(await puppet(), "nothing");
    await expect(puppet({ state: change(state) })).rejects.toThrow(why);
  });
});

describe("intents", () => {
  test("IN-2: what was begun and not settled is unresolved afterwards, with a resume and without", async () => {
    for (const resumes of [true, false]) {
      const agent = await puppet();
      expect(read(tick(agent, "record").state).intent).toBe("recorded");
      if (resumes) agent.resume();
      expect(read(tick(agent, "begin").state).intent).toBe("unresolved");
      if (resumes) agent.resume();
      expect(read(tick(agent, "nothing").state).intent).toBe("unresolved");
      expect(read(tick(agent, "begin").state).intent).toBe("unresolved");
      expect(read(tick(agent, "confirm").state)).toMatchObject({ intents: 1, intent: "confirmed" });
      expect(read(tick(agent, "forgetSettled").state).intents).toBe(0);
    }
  });

  test("IN-1: one that was recorded in this tick is not begun in it", async () => {
    const agent = await puppet();
    expect(() => tick(agent, "recordAndBegin")).toThrow("it was recorded in this very tick: begin it in a later one");
    expect(read(agent.state).intents).toBe(0);
  });

  test("IN-3: a key is not recorded twice, and comes out the same again", async () => {
    const [agent, other] = [await puppet(), await puppet({ seed: 2 })];
    const { state } = tick(agent, "record");
    expect(() => tick(agent, "record")).toThrow(/intent [0-9a-f]{32} is recorded already/);
    expect(tick(other, "record").state).toEqual(state);
  });

  test("only what was begun is confirmed; what was recorded or begun can be compensated; what is settled stays so", async () => {
    const agent = await puppet();
    tick(agent, "record");
    expect(() => tick(agent, "confirm")).toThrow("from recorded it cannot become confirmed");
    expect(read(tick(agent, "compensate").state).intent).toBe("compensated");
    for (const what of ["begin", "confirm", "compensate"] as const) {
      expect(() => tick(agent, what)).toThrow("from compensated it cannot become");
    }
    const begun = await puppet();
    tick(begun, "record");
    tick(begun, "begin");
    expect(read(tick(begun, "compensate").state).intent).toBe("compensated");
  });

  test("an intent in a state that there is not, or with a key of another length, is refused", async () => {
    const { state } = tick(await puppet(), "record");
    const at = 24; // after head, ticks, an empty note and the count
    const strange = changed(state, (view) => view.setUint8(at, 5));
    await expect(puppet({ state: strange })).rejects.toThrow("an intent is in state 5, which there is not");
    const long = changed(state, (view) => view.setUint32(at + 1, 17, true));
    await expect(puppet({ state: long })).rejects.toThrow();
    const many = changed(state, (view) => view.setUint32(at - 4, 0xffffffff, true));
    await expect(puppet({ state: many })).rejects.toThrow("it wants");
  });
});
