// An agent of the SDK on the test host: its life, its states and their versions, its intents. What it does in a tick is told by the price.

import { beforeAll, describe, expect, test } from "vitest";
import { MockHost, type MockHostOptions } from "../src/testing/mock-host.ts";
import { AgentTrapped, TestAgent, type TestAgentOptions, type TestManifest } from "../src/testing/test-agent.ts";
import { compileFixture } from "./fixture.ts";

const capabilities = Object.fromEntries(
  ["clock", "rand", "log", "wallet", "pricing"].map((name) => [name, { version: 1 }]),
);
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
  deriveKeys: 19n,
  moreWork: 20n,
  refuseWhenLoaded: 21n,
  growState: 22n,
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
    const line = /^it cannot \(fixtures\/assembly\/puppet\.ts:\d+:\d+\)$/;
    expect(agent.host.logs).toContainEqual(expect.stringMatching(line));
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

describe("what an agent takes", () => {
  test("no memory for keys that it has derived and forgotten", async () => {
    const agent = await puppet({ replay: false });
    const bytes = () => (agent.exports["memory"] as { readonly buffer: ArrayBuffer }).buffer.byteLength;
    for (let at = 0; at < 5; at++) tick(agent, "deriveKeys");
    const atFirst = bytes();
    for (let at = 0; at < 40; at++) tick(agent, "deriveKeys");
    expect(bytes()).toBe(atFirst);
  });

  test.each([
    ["0", "a tag has four ASCII characters"],
    ["9", "versions begin with 1"],
  ])("nothing, if its constructor is wrong: %s", async (version, why) => {
    const module = await compileFixture("puppet", "--exportStart", "_initialize", "--use", `PUPPET_VERSION=${version}`);
    await expect(TestAgent.load(module, { manifest: { capabilities } })).rejects.toThrow(why);
  });
});

describe("what the test host finds", () => {
  test("what an agent says when it begins is no part of its ticks, though each of them is replayed", async () => {
    const agent = await puppet();
    expect(agent.host.logs).toEqual(["puppet 2"]);
    expect(tick(agent, "nothing").logs).toEqual([]);
    expect(agent.host.logs).toEqual(["puppet 2"]);
  });

  test("a state that its agent does not read is found in the next tick, and it is said why", async () => {
    const agent = await puppet();
    tick(agent, "refuseWhenLoaded"); // with a reason that has no words
    expect(() => tick(agent, "nothing")).toThrow(/it does not resume: .* bytes is not valid: /);
  });

  test("a host's limits, and the manifest's: of the state, of memory", async () => {
    const limited = (resource_limits: object) => puppet({ manifest: { capabilities, resource_limits } });
    const small = await limited({ max_storage_bytes: 1_000 });
    tick(small, "nothing");
    expect(() => tick(small, "growState")).toThrow(/its state has 20\d\d bytes; a host keeps 1000 at most/);
    expect(read(tick(small, "nothing").state).ticks).toBe(2n);
    tick(await limited({ max_storage_bytes: 0 }), "growState");
    const narrow = await limited({ max_memory_bytes: 262_144 });
    expect(() => tick(narrow, "deriveKeys")).toThrow(/bytes of memory; a host gives it 262144/);
    await expect(limited({ max_memory_bytes: 67_108_865 })).rejects.toThrow("a host gives 67108864");
  });

  test("a wallet has the newest 256 receipts", () => {
    const host = new MockHost();
    for (let at = 0; at < 300; at++) host.addReceipt(Uint8Array.of(at & 255, at >> 8));
    expect(host.answer({ name: "wallet_receipt_count" }).result).toBe(256);
    expect(host.answer({ name: "wallet_receipt", index: 0, capacity: 2 }).payload).toEqual(Uint8Array.of(44, 0));
  });

  test("an option that is undefined is one that was not given", () => {
    const { seed, startNs } = {} as MockHostOptions;
    const host = new MockHost({ seed, startNs } as MockHostOptions);
    expect(host.answer({ name: "clock_now" })).toEqual(new MockHost().answer({ name: "clock_now" }));
  });

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
    const without = (declared: object) =>
      puppet({ manifest: { capabilities: declared as TestManifest["capabilities"] & object } });
    await expect(without(others)).rejects.toThrow("add the capability rand to the manifest");
    await expect(without({ ...capabilities, clock: { version: 2 } })).rejects.toThrow("another version than 1");
    await expect(without({ ...capabilities, clock: {} })).rejects.toThrow("of the capability clock");
    await expect(without({ ...capabilities, http: { version: 1 } })).rejects.toThrow(
      "the manifest wants http, which no host has",
    );
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
    const longer = changed(state, (view) => view.setUint32(at + 1, 17, true));
    const key = at + 5;
    const long = Uint8Array.from([...longer.subarray(0, key + 16), 0, ...longer.subarray(key + 16)]);
    await expect(puppet({ state: long })).rejects.toThrow("the key of an intent has 17 bytes");
    const many = changed(state, (view) => view.setUint32(at - 4, 0xffffffff, true));
    await expect(puppet({ state: many })).rejects.toThrow("it wants");
  });
});
