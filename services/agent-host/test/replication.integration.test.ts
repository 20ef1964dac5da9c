// Copies of checkpoints over real libp2p connections, into real data directories.

import { systemClock } from "@godwit/common/clock";
import { type Checkpoint, issueTermination, refOf } from "@godwit/lineage";
import {
  chunksOf,
  decodeHolderFrame,
  decodeOwnerFrame,
  encodeHolderFrame,
  encodeOwnerFrame,
  type HolderFrame,
  type OwnerFrame,
} from "@godwit/migration";
import { describe, expect, test, vi } from "vitest";
import { FramedStream, type P2pNode } from "../src/p2p/index.ts";
import { REPLICATE_PROTOCOL } from "../src/replication/index.ts";
import { pushReplica } from "../src/replication/push.ts";
import {
  type HolderHost,
  manifestBytes,
  moduleBytes,
  registry,
  startHolder,
  startNode,
  startOwner,
  targetOf,
} from "./replication-place.ts";
import { chain, ownerEntry } from "./storage-place.ts";
import { ada, createAgent, next, travelled, walletOf } from "./storage-story.ts";

const anySignal = () => AbortSignal.timeout(60_000);
const until = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 50_000, interval: 10 });

function termination({ header }: Checkpoint, signer = registry) {
  const { agentId, era, major } = header;
  return issueTermination({ agentId, era, major, incarnation: "incarnation-1", issuedAtNs: 1n }, signer);
}

/** All that is sent for a checkpoint to a host that has nothing of the agent. */
function framesFor(checkpoint: Checkpoint, spine: readonly Checkpoint[]): OwnerFrame[] {
  return [
    {
      kind: "offer",
      agentId: checkpoint.header.agentId,
      checkpoint: checkpoint.signed,
      manifest: manifestBytes,
      moduleBytes: moduleBytes.length,
      receipts: walletOf(checkpoint),
    },
    ...chunksOf("module", moduleBytes),
    { kind: "spine", headers: spine.map(({ signed }) => signed), last: true, receipts: [] },
    ...chunksOf("state", checkpoint.state),
    { kind: "end", stateDigest: checkpoint.header.stateDigest },
  ];
}

async function say(node: P2pNode, holder: HolderHost, frames: readonly OwnerFrame[]): Promise<HolderFrame[]> {
  const stream = new FramedStream(await node.open(holder.target(), REPLICATE_PROTOCOL, anySignal()));
  await stream.write(frames.map(encodeOwnerFrame), anySignal());
  await stream.close(anySignal());
  const heard: HolderFrame[] = [];
  for (;;) {
    const bytes = await stream.read(anySignal());
    if (bytes === undefined) return heard;
    heard.push(decodeHolderFrame(bytes, holder.node.hostId));
  }
}

function refusal(frames: readonly HolderFrame[]) {
  const last = frames.at(-1);
  if (last?.kind !== "refused") throw new Error(`not refused: ${JSON.stringify(last?.kind)}`);
  return [last.failure.class, last.failure.fault.code];
}

describe("replication of checkpoints", () => {
  test("§8: a committed checkpoint is held elsewhere, with all that is needed to recover from it", async () => {
    const holder = await startHolder();
    const { replicator, spines } = await startOwner(() => [holder.target()]);
    const { created, bobFirst, cleoFirst, cleoLast } = travelled();
    const { agentId, moduleDigest, manifestDigest } = created.header;
    const spine = [bobFirst, travelled().adaTicks[1], created];
    spines.set(agentId, spine);
    replicator.committed(agentId, cleoFirst);
    replicator.committed(agentId, cleoLast);
    await until(() => expect(replicator.holders(agentId)).toHaveLength(1));

    expect(replicator.holders(agentId)).toEqual([{ hostId: holder.node.hostId, checkpoint: refOf(cleoLast) }]);
    expect(await holder.storage.latestCheckpoint(agentId)).toMatchObject({
      digest: cleoLast.digest,
      state: cleoLast.state,
    });
    expect(await holder.storage.spine(agentId, refOf(cleoLast))).toEqual(spine.map(({ signed }) => signed));
    expect(holder.storage.agent(agentId)).toMatchObject({
      name: "survivor",
      moduleDigest,
      manifestDigest,
      journal: { phase: "replica" },
    });
    expect(await holder.storage.getBlob(moduleDigest)).toEqual(moduleBytes);
    expect(await holder.storage.getBlob(manifestDigest)).toEqual(manifestBytes);
    expect(holder.heldChanges).toEqual([agentId]);
  });

  test("the module travels once, and of the spine only what is new", async () => {
    const holder = await startHolder();
    const { replicator, spines, asked } = await startOwner(() => [holder.target()]);
    const story = travelled();
    const { agentId } = story.created.header;
    const held = (checkpoint: Checkpoint) =>
      until(() => expect(replicator.holders(agentId)[0]?.checkpoint.digest).toBe(checkpoint.digest));
    for (const [checkpoint, spine] of [
      [story.created, []],
      [story.adaTicks[0], [story.created]],
      [story.adaTicks[1], [story.created]],
      [story.bobFirst, [story.adaTicks[1], story.created]],
      [story.bobLast, [story.adaTicks[1], story.created]],
      [story.cleoLast, [story.bobFirst, story.adaTicks[1], story.created]],
    ] as const) {
      spines.set(agentId, spine);
      replicator.committed(agentId, checkpoint);
      await held(checkpoint);
    }
    expect(asked.module).toBe(1);
    expect(await holder.storage.spine(agentId, refOf(story.cleoLast))).toEqual(
      [story.bobFirst, story.adaTicks[1], story.created].map(({ signed }) => signed),
    );
  });

  test("T-25: a module that need not be sent is still there when the replica has come, whatever is collected meanwhile", async () => {
    const holder = await startHolder();
    await holder.storage.putBlob(moduleBytes);
    const { replicator, asked } = await startOwner(() => [holder.target()]);
    const hasModule = holder.store.hasModule.bind(holder.store);
    holder.store.hasModule = (digest) => {
      const has = hasModule(digest);
      void holder.storage.collectBlobs();
      return has;
    };
    const [created] = chain(1);
    const { agentId, moduleDigest, manifestDigest } = created.header;
    replicator.committed(agentId, created);
    await until(() => expect(replicator.holders(agentId)).toHaveLength(1));
    await holder.storage.collectBlobs();
    expect([moduleDigest, manifestDigest].map((digest) => holder.storage.hasBlob(digest))).toEqual([true, true]);
    expect(asked.module).toBe(1); // for its size
  });

  test("a large state arrives in pieces", async () => {
    const holder = await startHolder();
    const { replicator, spines } = await startOwner(() => [holder.target()]);
    const created = createAgent(ada);
    const large = next(created, { host: ada, text: "0123456789abcdef".repeat(200_000) });
    const { agentId } = created.header;
    spines.set(agentId, [created]);
    replicator.committed(agentId, large);
    await until(() => expect(replicator.holders(agentId)).toHaveLength(1));
    expect((await holder.storage.latestCheckpoint(agentId))?.state.length).toBe(3_200_000);
  });

  test("only the newest checkpoint matters: what was overtaken while a push was under way is not sent", async () => {
    const gate = Promise.withResolvers<boolean>();
    const holder = await startHolder({ isKnownHost: () => gate.promise });
    const { replicator, spines, pushes } = await startOwner(() => [holder.target()]);
    const checkpoints = chain(6);
    const { agentId } = checkpoints[0].header;
    spines.set(agentId, [checkpoints[0]]);
    replicator.committed(agentId, checkpoints[1] ?? checkpoints[0]);
    await until(() => expect(holder.node.connectedPeers()).toHaveLength(1));
    for (const checkpoint of checkpoints.slice(2)) replicator.committed(agentId, checkpoint);
    gate.resolve(true);
    await until(() => expect(replicator.holders(agentId)[0]?.checkpoint.digest).toBe(checkpoints.at(-1)?.digest));
    expect(pushes.length).toBeLessThanOrEqual(2);
  });

  test("as many hosts keep copies as were asked for, and another takes the place of one that is gone", async () => {
    const holders = await Promise.all([startHolder(), startHolder(), startHolder()]);
    const gone = new Set<string>();
    const { replicator, spines } = await startOwner(
      () => holders.map((holder) => holder.target()).filter(({ hostId }) => !gone.has(hostId)),
      { replicas: 2 },
    );
    const [created, first = created, second = created] = chain(3);
    const { agentId } = created.header;
    spines.set(agentId, [created]);
    replicator.committed(agentId, first);
    await until(() => expect(replicator.holders(agentId)).toHaveLength(2));
    const [lost, stays] = replicator.holders(agentId).map(({ hostId }) => hostId);
    gone.add(lost ?? "");
    await until(() => expect(replicator.holders(agentId)).toHaveLength(3));
    replicator.committed(agentId, second);
    await until(() => {
      const now = replicator.holders(agentId).filter(({ checkpoint }) => checkpoint.digest === second.digest);
      expect(now.map(({ hostId }) => hostId)).toContain(stays);
      expect(now).toHaveLength(2);
    });
  });

  test("a host that cannot be reached, or says nothing, is replaced by one that works", async () => {
    const silent = await startNode(new Uint8Array(32).fill(90));
    await silent.serve(
      REPLICATE_PROTOCOL,
      { maxInboundStreams: 9, maxOutboundStreams: 9 },
      () => new Promise(() => {}),
    );
    const down = await startNode(new Uint8Array(32).fill(91));
    const unreachable = targetOf(down);
    await down.stop();
    const holder = await startHolder();
    const { replicator, spines } = await startOwner(() => [targetOf(silent), unreachable, holder.target()], {
      stallMs: 1_500,
      // Who has failed is left alone for longer than all this takes.
      avoidance: { firstMs: 5_000, longestMs: 60_000 },
    });
    const agents = Array.from({ length: 6 }, (_, nonce) => createAgent(ada, { nonce }));
    for (const created of agents) {
      spines.set(created.header.agentId, []);
      replicator.committed(created.header.agentId, created);
    }
    await until(() => {
      for (const { header } of agents) {
        expect(replicator.holders(header.agentId).map(({ hostId }) => hostId)).toEqual([holder.node.hostId]);
      }
    });
  });

  test("GH-8: a confirmation that names another checkpoint does not count", async () => {
    const liar = await startNode(new Uint8Array(32).fill(92));
    const [created, first = created] = chain(2);
    const answers: HolderFrame[] = [
      { kind: "accept", needModule: false, needState: true, spineKnown: undefined },
      { kind: "held", checkpoint: refOf(created) },
    ];
    await liar.serve(REPLICATE_PROTOCOL, { maxInboundStreams: 9, maxOutboundStreams: 9 }, async (stream) => {
      const framed = new FramedStream(stream);
      await framed.write(answers.map(encodeHolderFrame), anySignal());
      for (let frame: OwnerFrame | undefined; frame?.kind !== "end"; ) {
        const bytes = await framed.read(anySignal());
        if (bytes === undefined) return;
        frame = decodeOwnerFrame(bytes);
      }
    });
    const { replicator, spines, pushes } = await startOwner(() => [targetOf(liar)]);
    const { agentId } = created.header;
    spines.set(agentId, [created]);
    replicator.committed(agentId, first);
    await until(() => expect(pushes).toContain("failed"));
    expect(replicator.holders(agentId)).toEqual([]);
  });

  test("a host that refuses half way is understood, although it did not take the rest", async () => {
    const fussy = await startNode(new Uint8Array(32).fill(89));
    const failure = { class: "fatal-target", fault: { code: "AGENT_EXISTS", agentId: "agent" } } as const;
    await fussy.serve(REPLICATE_PROTOCOL, { maxInboundStreams: 9, maxOutboundStreams: 9 }, async (stream) => {
      const framed = new FramedStream(stream);
      const accept: HolderFrame = { kind: "accept", needModule: true, needState: true, spineKnown: undefined };
      await framed.write([accept, { kind: "refused", failure } as const].map(encodeHolderFrame), anySignal());
      await framed.close(anySignal());
      await framed.read(anySignal());
      framed.abort(new Error("no more"));
    });
    const created = createAgent(ada);
    const large = next(created, { host: ada, text: "0123456789abcdef".repeat(1_000_000) });
    const node = await startNode(new Uint8Array(32).fill(88));
    const signal = anySignal();
    const stream = new FramedStream(await node.open(targetOf(fussy), REPLICATE_PROTOCOL, signal));
    const pushing = pushReplica(
      {
        agentId: created.header.agentId,
        checkpoint: large,
        manifest: manifestBytes,
        moduleBytes: moduleBytes.length,
        receipts: walletOf(large),
        module: async () => moduleBytes,
        spine: async () => [created.signed],
      },
      { stream, peerHostId: fussy.hostId, clock: systemClock, stallMs: 30_000, signal },
    );
    await expect(pushing).rejects.toMatchObject({ class: "fatal-target", detail: { code: "AGENT_EXISTS" } });
  });

  test("a host that holds a newer checkpoint keeps it, and counts as no holder of the older one", async () => {
    const holder = await startHolder();
    const [created, first = created, second = created] = chain(3);
    const { agentId } = created.header;
    const earlier = await startOwner(() => [holder.target()]);
    earlier.spines.set(agentId, [created]);
    earlier.replicator.committed(agentId, second);
    await until(() => expect(earlier.replicator.holders(agentId)).toHaveLength(1));
    const later = await startOwner(() => [holder.target()]);
    later.spines.set(agentId, [created]);
    later.replicator.committed(agentId, first);
    await until(() => expect(later.pushes).toEqual(["behind"]));
    expect(later.replicator.holders(agentId)).toEqual([]);
    expect((await holder.storage.latestCheckpoint(agentId))?.digest).toBe(second.digest);
  });

  test("stop lets what was committed last arrive", async () => {
    const holder = await startHolder();
    const { replicator, spines } = await startOwner(() => [holder.target()]);
    const [created, first = created, second = created] = chain(3);
    const { agentId } = created.header;
    spines.set(agentId, [created]);
    replicator.committed(agentId, first);
    await until(() => expect(replicator.holders(agentId)).toHaveLength(1));
    replicator.committed(agentId, second);
    await replicator.stop();
    expect(replicator.holders(agentId)[0]?.checkpoint.digest).toBe(second.digest);
  });

  test("an agent that left is forgotten once its last checkpoint is held", async () => {
    const holder = await startHolder();
    const { replicator } = await startOwner(() => [holder.target()]);
    const created = createAgent(ada);
    const { agentId } = created.header;
    replicator.committed(agentId, created);
    replicator.left(agentId);
    await until(() => expect(holder.heldChanges).toEqual([agentId]));
    await until(() => expect(replicator.holders(agentId)).toEqual([]));
  });
});

describe("termination", () => {
  test("§4: holders are told, keep nothing but the tombstone, and take no copy any more", async () => {
    const holder = await startHolder();
    const { node, replicator } = await startOwner(() => [holder.target()]);
    const created = createAgent(ada);
    const { agentId } = created.header;
    replicator.committed(agentId, created);
    await until(() => expect(replicator.holders(agentId)).toHaveLength(1));
    const signed = termination(created);
    replicator.terminated(agentId, signed);
    await until(() =>
      expect(holder.storage.agent(agentId)?.journal).toEqual({ phase: "terminated", termination: signed }),
    );
    await until(async () => expect(await holder.storage.checkpoints(agentId)).toEqual([]));
    expect(holder.heldChanges).toEqual([agentId, agentId]);
    expect(refusal(await say(node, holder, framesFor(created, [])))).toEqual(["fatal-target", "TERMINATED"]);
  });

  test("a termination that the registry has not signed, or is another agent's, changes nothing", async () => {
    const holder = await startHolder();
    const { node, replicator } = await startOwner(() => [holder.target()]);
    const created = createAgent(ada);
    const { agentId } = created.header;
    replicator.committed(agentId, created);
    await until(() => expect(replicator.holders(agentId)).toHaveLength(1));
    const forged = termination(created, ada.signer);
    const others = termination(createAgent(ada, { nonce: 8 }));
    for (const signed of [forged, others]) {
      const answer = await say(node, holder, [{ kind: "terminated", agentId, termination: signed }]);
      expect(refusal(answer)[0]).toBe("fatal-target");
    }
    expect((await holder.storage.latestCheckpoint(agentId))?.digest).toBe(created.digest);
  });
});

describe("what a holder refuses, and then has nothing of", () => {
  const [created, first = created] = chain(2);
  const { agentId } = created.header;
  const whole = framesFor(first, [created]);
  const replaced = (kind: OwnerFrame["kind"], change: Partial<OwnerFrame>) =>
    whole.map((frame) => (frame.kind === kind ? ({ ...frame, ...change } as OwnerFrame) : frame));
  const following = (checkpoint: Checkpoint) => {
    return { name: "survivor", checkpoint, spine: [], manifest: manifestBytes, module: undefined, receipts: [] };
  };
  const flipped = (bytes: Uint8Array) => bytes.map((byte, at) => (at === 5 ? byte ^ 1 : byte));

  test.each<[string, string, OwnerFrame[]]>([
    [
      "I3: a checkpoint with a flipped byte in its signature",
      "SIGNATURE_INVALID",
      replaced("offer", { checkpoint: { ...first.signed, signature: flipped(first.signed.signature) } }),
    ],
    ["another manifest", "CHECKPOINT_INVALID", replaced("offer", { manifest: Uint8Array.of(1) })],
    ["another agent's id", "CHECKPOINT_INVALID", replaced("offer", { agentId: "0".repeat(64) })],
    ["T-42: no receipts of what was charged", "CHECKPOINT_INVALID", replaced("offer", { receipts: [] })],
    [
      "T-42: receipts that charge a tick twice",
      "CHECKPOINT_INVALID",
      replaced("offer", { receipts: [...walletOf(first), ...walletOf(first)] }),
    ],
    ["EI-3: no spine", "LINEAGE_INVALID", replaced("spine", { headers: [] })],
    ["EI-3: another spine", "LINEAGE_INVALID", replaced("spine", { headers: [createAgent(ada, { nonce: 9 }).signed] })],
    ["another module", "FRAME_INVALID", replaced("module", { data: flipped(moduleBytes) })],
    ["another state", "FRAME_INVALID", replaced("state", { data: flipped(first.state) })],
    ["a module that was not announced", "FRAME_INVALID", replaced("offer", { moduleBytes: 2 })],
    ["frames out of order", "FRAME_INVALID", whole.toSpliced(1, 1)],
    ["a replica that is cut short", "FRAME_INVALID", whole.slice(0, -1)],
    ["something else than an offer", "FRAME_INVALID", whole.slice(1)],
  ])("%s", async (_, code, frames) => {
    const holder = await startHolder();
    const peer = await startNode(new Uint8Array(32).fill(93));
    expect(refusal(await say(peer, holder, frames))).toEqual(["fatal-target", code]);
    expect(holder.storage.agent(agentId)).toBeUndefined();
    expect(await holder.storage.checkpoints(agentId)).toEqual([]);
    expect(holder.storage.hasBlob(first.header.moduleDigest)).toBe(false);
    expect(holder.heldChanges).toEqual([]);
  });

  test("T-25: copies of more agents than it has room for, whoever owns them; of those that it holds it says so", async () => {
    const holder = await startHolder({ fullAtBytes: 1_000_000 });
    const peer = await startNode(new Uint8Array(32).fill(92));
    const answers: unknown[] = [];
    let held = 0;
    let newest = chain(1, 1)[0];
    for (let nonce = 1; nonce <= 12; nonce++) {
      const [zero] = chain(1, nonce);
      const large = next(zero, { host: ada, text: `${nonce} `.repeat(50_000) });
      const frames = framesFor(large, [zero]).filter(({ kind }) => kind !== "module" || nonce === 1);
      const answer = await say(peer, holder, frames);
      if (answer.at(-1)?.kind === "held") {
        held++;
        newest = large;
      } else answers.push(refusal(answer));
    }
    expect(held).toBeGreaterThan(4);
    expect(answers).toEqual(Array(12 - held).fill(["fatal-target", "RESOURCE_LIMIT"]));
    expect(held).toBeLessThan(12);
    expect(holder.storage.bytesUsed).toBeLessThan(1_300_000);
    expect((await say(peer, holder, framesFor(newest, []).slice(0, 1))).at(-1)?.kind).toBe("held");
  });

  test("anything from a peer that the registry does not know", async () => {
    const holder = await startHolder({ isKnownHost: async () => false });
    const peer = await startNode(new Uint8Array(32).fill(94));
    expect(refusal(await say(peer, holder, whole))).toEqual(["fatal-target", "POLICY_REFUSED"]);
    expect(holder.storage.agents()).toEqual([]);
  });

  test.each([{ maxStateBytes: 3 }, { maxModuleBytes: 3 }])("what is above a limit of this host: %o", async (limits) => {
    const holder = await startHolder(limits);
    const peer = await startNode(new Uint8Array(32).fill(95));
    expect(refusal(await say(peer, holder, whole))).toEqual(["fatal-target", "RESOURCE_LIMIT"]);
  });

  test("EI-1: a copy of an agent that runs here", async () => {
    const holder = await startHolder({ running: new Set([agentId]) });
    const peer = await startNode(new Uint8Array(32).fill(96));
    expect(refusal(await say(peer, holder, whole))).toEqual(["fatal-target", "AGENT_EXISTS"]);
  });

  test("EI-11: another checkpoint of a tick that it holds", async () => {
    const holder = await startHolder();
    const peer = await startNode(new Uint8Array(32).fill(97));
    expect((await say(peer, holder, whole)).at(-1)).toEqual({ kind: "held", checkpoint: refOf(first) });
    const other = next(created, { host: ada, text: "a second history" });
    expect(refusal(await say(peer, holder, framesFor(other, [created])))).toEqual([
      "fatal-target",
      "DIVERGENT_LINEAGE",
    ]);
    expect((await holder.storage.latestCheckpoint(agentId))?.digest).toBe(first.digest);
  });

  test("more than it can have under way: come back", async () => {
    const holder = await startHolder({ rules: { maxBytesUnderWay: 10 } });
    const peer = await startNode(new Uint8Array(32).fill(98));
    const waiting = new FramedStream(await peer.open(holder.target(), REPLICATE_PROTOCOL, anySignal()));
    await waiting.write(whole.slice(0, 1).map(encodeOwnerFrame), anySignal());
    expect(decodeHolderFrame((await waiting.read(anySignal())) ?? new Uint8Array(), "").kind).toBe("accept");
    const other = createAgent(ada, { nonce: 8 });
    expect(refusal(await say(peer, holder, framesFor(other, [])))).toEqual(["retriable", "TARGET_BUSY"]);
    await waiting.write(whole.slice(1).map(encodeOwnerFrame), anySignal());
    expect(decodeHolderFrame((await waiting.read(anySignal())) ?? new Uint8Array(), "").kind).toBe("held");
  });

  test("EI-4: a copy never replaces a journal that says more than held, even if that was written meanwhile", async () => {
    const holder = await startHolder();
    const { moduleDigest, manifestDigest } = created.header;
    const journal = ownerEntry(created);
    const agent = { name: "survivor", moduleDigest, manifestDigest };
    const owned = holder.storage.commit({ agentId, agent, journal, checkpoint: created });
    await expect(holder.store.put(following(first))).rejects.toMatchObject({ detail: { code: "AGENT_EXISTS" } });
    await owned;
    await expect(holder.store.terminated(agentId, termination(created))).rejects.toMatchObject({
      detail: { code: "AGENT_EXISTS" },
    });
    expect(holder.storage.agent(agentId)?.journal).toEqual(journal);
  });

  test("EI-4: nor does the copy of the checkpoint that comes next", async () => {
    const holder = await startHolder();
    const [, , second = first] = chain(3);
    const peer = await startNode(new Uint8Array(32).fill(98));
    expect((await say(peer, holder, whole)).at(-1)?.kind).toBe("held");
    const owned = holder.storage.commit({ agentId, journal: ownerEntry(first) });
    await expect(holder.store.put(following(second))).rejects.toMatchObject({ detail: { code: "AGENT_EXISTS" } });
    await owned;
    expect(holder.storage.agent(agentId)?.journal).toEqual(ownerEntry(first));
  });

  test("a peer that falls silent costs its own stream", async () => {
    const holder = await startHolder({ rules: { stallMs: 3_000 } });
    const peer = await startNode(new Uint8Array(32).fill(99));
    const silent = new FramedStream(await peer.open(holder.target(), REPLICATE_PROTOCOL, anySignal()));
    await silent.write(whole.slice(0, 2).map(encodeOwnerFrame), anySignal());
    expect((await say(peer, holder, whole)).at(-1)?.kind).toBe("held");
    await silent.read(anySignal());
    const said = decodeHolderFrame((await silent.read(anySignal())) ?? new Uint8Array(), "");
    expect(refusal([said])).toEqual(["retriable", "DEADLINE_EXCEEDED"]);
  });
});
