// What a source could send that it should not: each is refused with a reason, nothing is kept, and the host lives on.

import { isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { type Checkpoint, encodeReceipt, issueToken, readReceipt, signerFromSeed } from "@godwit/lineage";
import {
  type CheckpointFrame,
  chunksOf,
  decodeTargetFrame,
  encodeSourceFrame,
  FRAME_LIMITS,
  type HandoffEndFrame,
  type HandoffFrame,
  type OfferFrame,
  type SourceFrame,
  spineFrames,
  type TargetFrame,
} from "@godwit/migration";
import { waitFor } from "@godwit/testing";
import { describe, expect, test } from "vitest";
import { MIGRATE_PROTOCOL } from "../src/migration/wire.ts";
import { FramedStream } from "../src/p2p/index.ts";
import { move, Neighbourhood, only, quick, type StoryPlace } from "./migration-place.ts";
import { type AgentRecipe, Story, StoryAgent, storyHost } from "./migration-story.ts";

interface Setting {
  readonly story: Story;
  readonly a: StoryPlace;
  readonly b: StoryPlace;
  readonly agent: StoryAgent;
}

async function setting(
  recipe: AgentRecipe = {},
  rules: ConstructorParameters<typeof Neighbourhood>[1] = {},
): Promise<Setting> {
  const story = new Story(storyHost(1), recipe);
  const hood = new Neighbourhood(story, rules);
  const [a, b] = [await hood.host(1), await hood.host(2)];
  const agent = StoryAgent.create(story, a.host);
  a.agent = agent;
  return { story, a, b, agent };
}

const signal = () => AbortSignal.timeout(50_000);

/** A stream to `b` on which a test says what it likes. */
class Liar {
  readonly #setting: Setting;
  readonly stream: FramedStream;

  static async at(set: Setting): Promise<Liar> {
    const { a, b } = set;
    const peer = { hostId: b.hostId, addresses: b.node.addresses() };
    return new Liar(set, new FramedStream(await a.node.open(peer, MIGRATE_PROTOCOL, signal())));
  }

  constructor(set: Setting, stream: FramedStream) {
    this.#setting = set;
    this.stream = stream;
  }

  offer(changes: Partial<OfferFrame> = {}): OfferFrame {
    const { agent, story } = this.#setting;
    const described = agent.describe();
    return { ...described, kind: "offer", handoffId: "h1", agentId: story.agentId, ...changes };
  }

  async say(...frames: readonly SourceFrame[]): Promise<void> {
    await this.stream.write(frames.map(encodeSourceFrame), signal());
  }

  async hear(): Promise<TargetFrame | undefined> {
    const bytes = await this.stream.read(signal());
    return bytes && decodeTargetFrame(bytes, "peer");
  }

  /** Says it and gives the code of the refusal that follows. */
  async refusal(...frames: readonly SourceFrame[]): Promise<string> {
    if (frames.length > 0) await this.say(...frames);
    for (;;) {
      const heard = await this.hear();
      if (heard === undefined) return "closed without a word";
      if (heard.kind === "refused") return heard.failure.fault.code;
      if (heard.kind === "started") return "STARTED";
    }
  }

  /** Honest as far as ACCEPT. */
  async untilAccepted(): Promise<this> {
    await this.say(this.offer());
    expect((await this.hear())?.kind).toBe("accept");
    return this;
  }

  /** Honest as far as PREPARED. */
  async untilPrepared(): Promise<this> {
    const { agent, story } = this.#setting;
    await this.untilAccepted();
    await this.say(...chunksOf("module", story.module), ...spineFrames(await agent.spine(), undefined));
    expect((await this.hear())?.kind).toBe("prepared");
    return this;
  }

  /** What an honest source would hand over now; the registry was told. */
  async handoff(): Promise<{
    readonly begin: Begin;
    readonly end: HandoffEndFrame;
    readonly frozen: Checkpoint;
  }> {
    const { agent, b } = this.#setting;
    const name = { handoffId: "h1", targetHostId: b.hostId };
    const { checkpoint, receipts } = await agent.freeze("h1");
    expect((await agent.begin(name)).kind).toBe("applied");
    const token = await agent.relinquish(name);
    const { signed, state, header } = checkpoint;
    const begin: Begin = {
      handoffId: "h1",
      checkpoint: signed,
      token,
      receipts,
      receiptsKept: 0,
      state,
    };
    return {
      begin,
      end: { kind: "handoff-end", stateBytes: state.length, stateDigest: header.stateDigest },
      frozen: checkpoint,
    };
  }
}

/** CHECKPOINT and HANDOFF together. */
type Begin = Omit<CheckpointFrame, "kind"> & Omit<HandoffFrame, "kind">;

function handingOver({ token, ...begin }: Begin, end: HandoffEndFrame): readonly SourceFrame[] {
  const { handoffId } = begin;
  return [{ kind: "checkpoint", ...begin }, { kind: "handoff", handoffId, token }, end];
}

/** Nothing of it is here, and the host takes the agent when it is handed over as it should be. */
async function expectUntouched({ b }: Setting): Promise<void> {
  await waitFor(() => b.coming <= 0, { what: "the end of the handoff" });
  expect([b.staged, b.left, b.replicas, b.agent]).toEqual([undefined, [], [], undefined]);
}

function flipped(bytes: Uint8Array, at = Math.floor(bytes.length / 2)): Uint8Array {
  return bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
}

describe("frames that do not fit", () => {
  test.each<[string, (liar: Liar, set: Setting) => readonly SourceFrame[] | Promise<readonly SourceFrame[]>]>([
    ["a state before anything", () => [{ kind: "state", offset: 0, data: new Uint8Array(9) }]],
    ["the end before the beginning", () => [{ kind: "handoff-end", stateBytes: 0, stateDigest: "0".repeat(64) }]],
    ["two offers", (liar) => [liar.offer(), liar.offer()]],
    ["a module before ACCEPT", (liar, { story }) => [liar.offer(), ...chunksOf("module", story.module)]],
  ])("%s: FRAME_INVALID", async (_, frames) => {
    const set = await setting();
    const liar = await Liar.at(set);
    expect(await liar.refusal(...(await frames(liar, set)))).toBe("FRAME_INVALID");
    await expectUntouched(set);
    expect((await move(set.a, only(set.b))).done).toBeDefined();
  });

  test.each<[string, string, (set: Setting) => readonly SourceFrame[] | Promise<readonly SourceFrame[]>]>([
    [
      "a spine where the module belongs",
      "spine does not fit",
      async ({ agent }) => [...spineFrames(await agent.spine(), undefined)],
    ],
    ["a module with a gap", "goes on at 0", () => [{ kind: "module", offset: 1, data: new Uint8Array(9) }]],
    ["too much of a module", "more than its", () => [{ kind: "module", offset: 0, data: new Uint8Array(1_001) }]],
    [
      "another module than was announced",
      "not the one that was announced",
      async ({ story, agent }) => [
        { kind: "module", offset: 0, data: flipped(story.module) },
        ...spineFrames(await agent.spine(), undefined),
      ],
    ],
  ])("after ACCEPT, %s: FRAME_INVALID, with the reason", async (_, reason, frames) => {
    const set = await setting();
    const liar = await (await Liar.at(set)).untilAccepted();
    await liar.say(...(await frames(set)));
    const heard = await liar.hear();
    expect(heard).toMatchObject({
      kind: "refused",
      failure: { class: "fatal-target", fault: { code: "FRAME_INVALID" } },
    });
    expect(JSON.stringify(heard)).toContain(reason);
    await expectUntouched(set);
  });

  test.each<[string, Uint8Array]>([
    ["bytes that are no message", Uint8Array.of(0xff, 0xff, 0xff)],
    ["nothing", new Uint8Array()],
    ["what a target says", Uint8Array.of(0x5a, 0)],
  ])("%s: FRAME_INVALID", async (_, bytes) => {
    const set = await setting();
    const liar = await Liar.at(set);
    await liar.stream.write([bytes], signal());
    expect(await liar.refusal()).toBe("FRAME_INVALID");
    await expectUntouched(set);
  });

  test("T-25: a frame that says it has 1 GiB: refused without waiting for it", async () => {
    const set = await setting();
    const { a, b } = set;
    const raw = await a.node.open({ hostId: b.hostId, addresses: b.node.addresses() }, MIGRATE_PROTOCOL, signal());
    const liar = new Liar(set, new FramedStream(raw));
    raw.send(Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x04, 1, 2, 3));
    expect(await liar.refusal()).toBe("FRAME_INVALID");
  });

  test.each([
    [FRAME_LIMITS.maxModuleBytes, "RESOURCE_LIMIT"],
    [2 ** 30, "FRAME_INVALID"],
    [Number.MAX_SAFE_INTEGER, "FRAME_INVALID"],
  ])("T-25: a module of %i bytes that is not to come: nothing is kept for it", async (moduleBytes, code) => {
    const set = await setting();
    const liar = await Liar.at(set);
    expect(await liar.refusal(liar.offer({ moduleBytes }))).toBe(code);
    expect(set.b.offers).toBe(0);
  });

  test("GH-8: who says nothing is not listened to for ever, and takes nobody's place", async () => {
    const set = await setting({}, { timeouts: quick });
    const silent = await Promise.all(Array.from({ length: 6 }, () => Liar.at(set)));
    expect((await move(set.a, only(set.b))).done).toBeDefined();
    for (const liar of silent) expect(await liar.refusal()).toBe("DEADLINE_EXCEEDED");
  });

  test("a stream that ends inside a frame", async () => {
    const set = await setting();
    const { a, b } = set;
    const raw = await a.node.open({ hostId: b.hostId, addresses: b.node.addresses() }, MIGRATE_PROTOCOL, signal());
    const liar = new Liar(set, new FramedStream(raw));
    raw.send(Uint8Array.of(100, 1, 2, 3));
    await raw.close({ signal: signal() });
    expect(await liar.refusal()).toBe("FRAME_INVALID");
  });
});

describe("a spine that is none", () => {
  test.each<[string, (agent: StoryAgent) => Promise<readonly SourceFrame[]>, string]>([
    ["missing", async () => [{ kind: "spine", headers: [], last: true, receipts: [] }], "LINEAGE_INVALID"],
    [
      "with a flipped byte",
      async (agent) => {
        const [genesis] = await agent.spine();
        if (genesis === undefined) return [];
        const signature = flipped(genesis.signature);
        return [{ kind: "spine", headers: [{ ...genesis, signature }], last: true, receipts: [] }];
      },
      "SIGNATURE_INVALID",
    ],
    [
      "that goes on below tick 0",
      async (agent) => {
        const [genesis] = await agent.spine();
        return genesis === undefined ? [] : [{ kind: "spine", headers: [genesis, genesis], last: true, receipts: [] }];
      },
      "LINEAGE_INVALID",
    ],
  ])("%s is refused before the agent is frozen", async (_, frames, code) => {
    const set = await setting();
    const liar = await (await Liar.at(set)).untilAccepted();
    await liar.say(...chunksOf("module", set.story.module));
    expect(await liar.refusal(...(await frames(set.agent)))).toBe(code);
    await expectUntouched(set);
  });

  test("of another agent is refused", async () => {
    const set = await setting();
    const other = new Story(storyHost(1), { nonce: 77 });
    const liar = await (await Liar.at(set)).untilAccepted();
    await liar.say(...chunksOf("module", set.story.module));
    const headers = [other.created.signed];
    expect(await liar.refusal({ kind: "spine", headers, last: true, receipts: [] })).toBe("CHECKPOINT_INVALID");
  });

  test("of an agent with another manifest than was offered is refused", async () => {
    const set = await setting();
    const liar = await Liar.at(set);
    const manifest = Buffer.concat([liar.offer().manifest, Buffer.from(" ")]); // says the same, and is another one
    await liar.say(liar.offer({ manifest }));
    expect((await liar.hear())?.kind).toBe("accept");
    await liar.say(...chunksOf("module", set.story.module));
    expect(await liar.refusal(...spineFrames(await set.agent.spine(), undefined))).toBe("CHECKPOINT_INVALID");
    await expectUntouched(set);
  });
});

describe("the spine of an agent that has moved", () => {
  /** On `a` again after two moves, and a liar at `c`, which knows nothing of it. */
  async function returned() {
    const set = await setting();
    const { a, b } = set;
    a.modules.add(set.story.moduleDigest);
    expect((await move(a, only(b))).done).toBeDefined();
    expect((await move(b, only(a))).done).toBeDefined();
    const { agent } = a;
    if (agent === undefined) throw new Error("it is not here");
    const c = await a.place.host(3);
    const now: Setting = { ...set, agent, b: c };
    const liar = await (await Liar.at(now)).untilAccepted();
    await liar.say(...chunksOf("module", set.story.module));
    const [second, first, genesis] = await agent.spine();
    if (second === undefined || first === undefined || genesis === undefined) throw new Error("a short spine");
    return { set: now, liar, second, first, genesis };
  }
  type Moved = Awaited<ReturnType<typeof returned>>;

  test.each<[string, (moved: Moved) => readonly SignedBytes[]]>([
    ["that ends before tick 0", ({ second, first }) => [second, first]],
    ["with a gap", ({ second, genesis }) => [second, genesis]],
    ["in another order", ({ first, second, genesis }) => [first, second, genesis]],
  ])("%s: LINEAGE_INVALID, before the agent is frozen", async (_, headers) => {
    const moved = await returned();
    const said: SourceFrame = { kind: "spine", headers: headers(moved), last: true, receipts: [] };
    expect(await moved.liar.refusal(said)).toBe("LINEAGE_INVALID");
    await expectUntouched(moved.set);
  });

  test("EI-3: a checkpoint that does not stand on the spine that was shown is refused", async () => {
    const { set, liar, first, genesis } = await returned();
    await liar.say({ kind: "spine", headers: [first, genesis], last: true, receipts: [] });
    expect((await liar.hear())?.kind).toBe("prepared");
    const { begin, end } = await liar.handoff();
    expect(await liar.refusal(...handingOver(begin, end))).toBe("LINEAGE_INVALID");
    await expectUntouched(set);
  });

  test("it is taken as it is", async () => {
    const { set, liar, second, first, genesis } = await returned();
    await liar.say({ kind: "spine", headers: [second, first, genesis], last: true, receipts: [] });
    expect((await liar.hear())?.kind).toBe("prepared");
    const { begin, end } = await liar.handoff();
    expect(await liar.refusal(...handingOver(begin, end))).toBe("STARTED");
    expect(set.story.record.owner?.hostId).toBe(set.b.hostId);
  });
});

test("a checkpoint of another major than the offer is refused", async () => {
  const set = await setting();
  const liar = await Liar.at(set);
  await liar.say(liar.offer({ major: 5n }));
  expect((await liar.hear())?.kind).toBe("accept");
  await liar.say(...chunksOf("module", set.story.module), ...spineFrames(await set.agent.spine(), undefined));
  expect((await liar.hear())?.kind).toBe("prepared");
  const { begin, end } = await liar.handoff();
  expect(await liar.refusal(...handingOver(begin, end))).toBe("CHECKPOINT_INVALID");
  await expectUntouched(set);
});

type Forge = (
  honest: Awaited<ReturnType<Liar["handoff"]>>,
  set: Setting,
) => { readonly begin?: Partial<Begin>; readonly end?: Partial<HandoffEndFrame> };

const token = (set: Setting, frozen: Checkpoint, changes: object, seed = 1) => {
  const { era, major, tick } = frozen.header;
  const claims = { era, major, tick, handoffId: "h1", targetHostId: set.b.hostId, checkpointDigest: frozen.digest };
  const signer = signerFromSeed(new Uint8Array(32).fill(seed));
  return issueToken({ ...claims, agentId: set.story.agentId, ...changes }, signer);
};

describe("a handoff that is not what it says", () => {
  test.each<[string, Forge, string]>([
    [
      "a token signed by somebody else",
      ({ frozen }, set) => ({ begin: { token: token(set, frozen, {}, 3) } }),
      "SIGNATURE_INVALID",
    ],
    [
      "a token for another host",
      ({ frozen }, set) => ({ begin: { token: token(set, frozen, { targetHostId: storyHost(5).hostId }) } }),
      "TOKEN_INVALID",
    ],
    [
      "a token of another handoff",
      ({ frozen }, set) => ({ begin: { token: token(set, frozen, { handoffId: "h0" }) } }),
      "TOKEN_INVALID",
    ],
    [
      "a token of another agent",
      ({ frozen }, set) => ({ begin: { token: token(set, frozen, { agentId: "e".repeat(64) }) } }),
      "TOKEN_INVALID",
    ],
    [
      "a token of another major",
      ({ frozen }, set) => ({ begin: { token: token(set, frozen, { major: 1n }) } }),
      "TOKEN_INVALID",
    ],
    [
      "a token of another checkpoint",
      ({ frozen }, set) => ({ begin: { token: token(set, frozen, { checkpointDigest: "e".repeat(64) }) } }),
      "TOKEN_INVALID",
    ],
    [
      "a token of another tick",
      ({ frozen }, set) => ({ begin: { token: token(set, frozen, { tick: 1n }) } }),
      "TOKEN_INVALID",
    ],
    [
      "a token with a flipped byte",
      ({ begin }) => ({ begin: { token: { ...begin.token, payload: flipped(begin.token.payload) } } }),
      "SIGNATURE_INVALID",
    ],
    ["a state with a flipped byte", ({ begin }) => ({ begin: { state: flipped(begin.state) } }), "CHECKPOINT_INVALID"],
    [
      "a state cut short",
      ({ begin }) => ({ begin: { state: begin.state.subarray(1) }, end: { stateBytes: begin.state.length - 1 } }),
      "CHECKPOINT_INVALID",
    ],
    [
      "a state shorter than the end says",
      ({ begin }) => ({ begin: { state: begin.state.subarray(1) } }),
      "FRAME_INVALID",
    ],
    ["an end that names another state", () => ({ end: { stateDigest: "e".repeat(64) } }), "CHECKPOINT_INVALID"],
    [
      "a checkpoint with a forged signature",
      ({ begin }) => ({
        begin: { checkpoint: { ...begin.checkpoint, signature: flipped(begin.checkpoint.signature) } },
      }),
      "SIGNATURE_INVALID",
    ],
    [
      "a checkpoint of tick 0 instead",
      (_, { story }) => ({
        begin: { checkpoint: story.created.signed, state: story.created.state, receipts: [] },
        end: { stateDigest: story.created.header.stateDigest },
      }),
      "TOKEN_INVALID",
    ],
    [
      "T-25: receipts that claim 2^32 - 1 entries",
      () => ({ begin: { receipts: [Uint8Array.of(0xff, 0xff, 0xff, 0xff)] } }),
      "CHECKPOINT_INVALID",
    ],
    ["a receipt that cannot be read", () => ({ begin: { receipts: [Uint8Array.of(9, 9, 9)] } }), "CHECKPOINT_INVALID"],
    ["T-42: no receipts of what was charged", () => ({ begin: { receipts: [] } }), "CHECKPOINT_INVALID"],
    [
      "T-42: receipts that charge a tick twice",
      ({ begin }) => ({ begin: { receipts: [...begin.receipts, ...begin.receipts] } }),
      "CHECKPOINT_INVALID",
    ],
    [
      "T-42: receipts of a host that never had the agent",
      ({ begin }, { b }) => ({
        begin: { receipts: begin.receipts.map((bytes) => encodeReceipt({ ...readReceipt(bytes), hostId: b.hostId })) },
      }),
      "CHECKPOINT_INVALID",
    ],
    ["another handoff than was offered", () => ({ begin: { handoffId: "h2" } }), "FRAME_INVALID"],
  ])("%s: refused, and never claimed", async (_, forge, code) => {
    const set = await setting();
    const liar = await (await Liar.at(set)).untilPrepared();
    const honest = await liar.handoff();
    const { begin = {}, end = {} } = forge(honest, set);
    expect(await liar.refusal(...handingOver({ ...honest.begin, ...begin }, { ...honest.end, ...end }))).toBe(code);
    await expectUntouched(set);
    expect(set.b.reached).not.toContain("target.before-claim");
    expect(set.story.record.owner?.hostId).toBe(set.a.hostId);
  });

  test("EI-4: a checkpoint without its token is a copy: it is expected, not staged, not claimed, and forgotten", async () => {
    const set = await setting();
    const liar = await (await Liar.at(set)).untilPrepared();
    const { begin, end, frozen } = await liar.handoff();
    const [checkpoint] = handingOver(begin, end);
    if (checkpoint === undefined) throw new Error("no checkpoint");
    await liar.say(checkpoint);
    await waitFor(() => set.b.expected.length > 0, { what: "the checkpoint, verified" });
    expect(set.b.expected).toEqual([frozen.digest]);
    expect([set.b.staged, set.b.agent]).toEqual([undefined, undefined]);
    liar.stream.abort(new Error("gone"));
    await expectUntouched(set);
    expect(set.b.reached).toEqual([]);
  });

  test("a checkpoint that does not verify is not expected, and is refused when it is handed over", async () => {
    const set = await setting();
    const liar = await (await Liar.at(set)).untilPrepared();
    const { begin, end } = await liar.handoff();
    const forged = { ...begin, checkpoint: { ...begin.checkpoint, signature: flipped(begin.checkpoint.signature) } };
    expect(await liar.refusal(...handingOver(forged, end))).toBe("SIGNATURE_INVALID");
    expect(set.b.expected).toEqual([]);
  });

  test("a token without a checkpoint is refused", async () => {
    const set = await setting();
    const liar = await (await Liar.at(set)).untilPrepared();
    const { begin, end } = await liar.handoff();
    expect(await liar.refusal(...handingOver(begin, end).slice(1))).toBe("FRAME_INVALID");
    await expectUntouched(set);
  });

  test("bytes that come after the state count, too", async () => {
    const set = await setting();
    const liar = await (await Liar.at(set)).untilPrepared();
    const { begin, end } = await liar.handoff();
    const [checkpoint, ...rest] = handingOver(begin, end);
    if (checkpoint === undefined) throw new Error("no checkpoint");
    const more: SourceFrame = { kind: "state", offset: begin.state.length, data: Uint8Array.of(1) };
    expect(await liar.refusal(checkpoint, more, ...rest)).toBe("FRAME_INVALID");
    await expectUntouched(set);
  });

  test("EI-4: an old handoff that is sent again gives no right: the record has moved on", async () => {
    const set = await setting();
    const { a, b, story } = set;
    const liar = await (await Liar.at(set)).untilPrepared();
    const { begin, end } = await liar.handoff();
    // The source never sent it, recovered, and the agent lives on under the next major.
    expect(await set.agent.resolve(signal())).toMatchObject({ kind: "recovered", major: 1n });
    set.agent.thaw();
    expect(await liar.refusal(...handingOver(begin, end))).toBe("HANDOFF_SUPERSEDED");
    expect(b.agent).toBeUndefined();
    expect(b.replicas.length).toBe(1);
    expect(story.record).toMatchObject({ major: 1n, owner: { hostId: a.hostId } });
  });

  test("a handoff that is sent by another host than its owner is refused", async () => {
    const set = await setting();
    const { b, story } = set;
    const thief = await set.a.place.host(3);
    const mine = await (await Liar.at(set)).untilPrepared();
    const { begin, end } = await mine.handoff();
    const peer = { hostId: b.hostId, addresses: b.node.addresses() };
    mine.stream.abort(new Error("gone"));
    await waitFor(() => b.coming === 0, { what: "the end of the first stream" });
    const liar = new Liar(set, new FramedStream(await thief.node.open(peer, MIGRATE_PROTOCOL, signal())));
    await liar.say(liar.offer());
    expect(await liar.hear()).toMatchObject({ kind: "accept", needModule: false });
    await liar.say(...spineFrames(await set.agent.spine(), undefined));
    expect((await liar.hear())?.kind).toBe("prepared");
    expect(await liar.refusal(...handingOver(begin, end))).toBe("CHECKPOINT_INVALID");
    expect(story.record.owner?.hostId).toBe(set.a.hostId);
  });
});

test("an offer for an agent that runs here is refused before anything is written", async () => {
  const set = await setting();
  set.b.agent = StoryAgent.create(set.story, set.b.host);
  const liar = await Liar.at(set);
  expect(await liar.refusal(liar.offer())).toBe("AGENT_EXISTS");
});

test("a host that is not there: a fault that says so", async () => {
  const set = await setting();
  const { hostId } = storyHost(9);
  const opening = set.a.node.open({ hostId, addresses: ["/ip4/127.0.0.1/tcp/1"] }, MIGRATE_PROTOCOL, signal());
  await expect(opening).rejects.toSatisfy((error) => isFault(error, "PEER_UNREACHABLE"));
});
