// The libp2p node and its framed streams, over real connections.

import { systemClock } from "@godwit/common/clock";
import { describe, expect, onTestFinished, test } from "vitest";
import { type ByteStream, DEFAULT_FRAME_RULES, FramedStream, type FrameRules, P2pNode } from "../src/p2p/index.ts";

const PROTOCOL = "/godwit/test/1";
const KIB = 1024;
const seedOf = (byte: number) => new Uint8Array(32).fill(byte);
const signal = (ms = 60_000) => AbortSignal.timeout(ms);

async function node(
  byte: number,
  options: { readonly listen?: string; readonly announce?: readonly string[] } = {},
): Promise<P2pNode> {
  const { listen = "/ip4/127.0.0.1/tcp/0", announce = [] } = options;
  const made = await P2pNode.create({ seed: seedOf(byte), listen: [listen], announce, maxConnections: 20 });
  await made.start();
  onTestFinished(() => made.stop());
  return made;
}

const peerOf = (other: P2pNode) => ({ hostId: other.hostId, addresses: other.addresses() });

/** Two ends of one stream: ours, and the other's as it was opened there. */
async function pair(rules: FrameRules = DEFAULT_FRAME_RULES) {
  const [ours, theirs] = [await node(1), await node(2)];
  const opened = Promise.withResolvers<ByteStream>();
  await theirs.serve(PROTOCOL, { maxInboundStreams: 4, maxOutboundStreams: 4 }, async (stream) =>
    opened.resolve(stream),
  );
  const raw = await ours.open(peerOf(theirs), PROTOCOL, signal());
  const near = new FramedStream(raw, rules);
  await near.write([new Uint8Array()], signal()); // a stream exists for the other side with its first byte
  const farRaw = await opened.promise;
  return { ours, theirs, near, raw, farRaw, far: () => new FramedStream(farRaw, rules) };
}

describe("framed streams", () => {
  test("frames arrive whole and in order, whatever their size", async () => {
    const { near, far } = await pair();
    const sizes = [0, 1, 127, 128, 16_383, 16_384, 64 * KIB, 1024 * KIB];
    const reader = far();
    expect((await reader.read(signal()))?.length).toBe(0);
    const writing = near.write(
      sizes.map((size) => new Uint8Array(size).fill(size % 251)),
      signal(),
    );
    for (const size of sizes) {
      const frame = await reader.read(signal());
      expect(frame?.length).toBe(size);
      expect(frame?.every((byte) => byte === size % 251)).toBe(true);
    }
    await writing;
  });

  test("a reader that is slow slows the writer down, and loses nothing", async () => {
    const { near, raw, far } = await pair();
    const reader = far();
    const frames = 24 * 16; // 24 MiB, far more than window and buffers hold
    let written = 0;
    let mostQueued = 0;
    const writing = (async () => {
      for (let index = 0; index < frames; index++) {
        await near.write([new Uint8Array(64 * KIB).fill(index % 251)], signal());
        mostQueued = Math.max(mostQueued, raw.writeBufferLength);
        written++;
      }
      await near.close(signal());
    })();
    await systemClock.sleep(300, signal());
    expect(written).toBeLessThan(frames); // nobody reads yet
    await reader.read(signal());
    for (let index = 0; index < frames; index++) {
      if (index % 16 === 0) await systemClock.sleep(2, signal());
      const frame = await reader.read(signal());
      expect(frame?.length).toBe(64 * KIB);
      expect(frame?.[0]).toBe(index % 251);
    }
    expect(await reader.read(signal())).toBeUndefined();
    await writing;
    expect(mostQueued).toBeLessThan(2 * 1024 * KIB);
  });

  test("what was sent before the end is read, also by one who starts to listen after it", async () => {
    const { near, far } = await pair();
    await near.write([Uint8Array.of(1), Uint8Array.of(2)], signal());
    await near.close(signal());
    await systemClock.sleep(50, signal());
    const reader = far();
    const heard = [];
    for (let frame = await reader.read(signal()); frame !== undefined; frame = await reader.read(signal()))
      heard.push(frame[0]);
    expect(heard).toEqual([undefined, 1, 2]);
  });

  test("a stream that is reset is an error, not an end", async () => {
    const { near, far } = await pair();
    const reader = far();
    await reader.read(signal());
    const reading = reader.read(signal());
    near.abort(new Error("no more"));
    await expect(reading).rejects.toThrow();
  });

  test("a read whose signal aborts is over, and the next one hears what comes then", async () => {
    const { near, far } = await pair();
    const reader = far();
    await reader.read(signal());
    const leaving = new AbortController();
    const reading = reader.read(leaving.signal);
    leaving.abort(new Error("not now"));
    await expect(reading).rejects.toThrow("not now");
    await near.write([Uint8Array.of(7)], signal());
    expect((await reader.read(signal()))?.[0]).toBe(7);
  });

  test("a frame above the limit is refused at its first bytes", async () => {
    const { near, far } = await pair({ ...DEFAULT_FRAME_RULES, maxFrameBytes: 100 });
    const reader = far();
    await reader.read(signal());
    await near.write([new Uint8Array(101)], signal());
    await expect(reader.read(signal())).rejects.toMatchObject({ code: "FRAME_INVALID" });
  });

  test("a write to a stream that is gone rejects, and one that waits for room does", async () => {
    const { near, farRaw } = await pair();
    farRaw.pause();
    const filling = (async () => {
      for (;;) await near.write([new Uint8Array(512 * KIB)], signal());
    })();
    await systemClock.sleep(100, signal());
    farRaw.abort(new Error("gone"));
    await expect(filling).rejects.toThrow();
    await expect(near.write([Uint8Array.of(1)], signal())).rejects.toThrow();
  });
});

describe("the node", () => {
  test("T-53: has one id for ever, made from its key", async () => {
    const made = await node(3);
    const { hostId } = made;
    await made.stop();
    expect((await node(3)).hostId).toBe(hostId);
    expect((await node(4)).hostId).not.toBe(hostId);
  });

  test("tells others what it is told to tell, and where it listens otherwise", async () => {
    const plain = await node(1);
    expect(plain.addresses()[0]).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+$/);
    const announced = await node(2, { announce: ["/dns4/host-b/tcp/4001"] });
    expect(announced.addresses()).toEqual(["/dns4/host-b/tcp/4001"]);
  });

  test("knows who is connected, from which side", async () => {
    const { ours, theirs } = await pair();
    expect(ours.connectedPeers()).toMatchObject([{ hostId: theirs.hostId, direction: "outbound" }]);
    expect(theirs.connectedPeers()).toMatchObject([{ hostId: ours.hostId, direction: "inbound" }]);
  });

  test.each<[string, (other: P2pNode) => { hostId: string; addresses: readonly string[] }]>([
    ["nobody listens there", ({ hostId }) => ({ hostId, addresses: ["/ip4/127.0.0.1/tcp/1"] })],
    ["the registry knows no address", ({ hostId }) => ({ hostId, addresses: [] })],
    ["the address is none", ({ hostId }) => ({ hostId, addresses: ["127.0.0.1:4001"] })],
    ["the id is none", (other) => ({ hostId: "somebody", addresses: other.addresses() })],
    ["it does not speak the protocol", peerOf],
  ])("%s: PEER_UNREACHABLE, retriable, within its time", async (_, peer) => {
    const [ours, theirs] = [await node(1), await node(2)];
    await expect(ours.open(peer(theirs), PROTOCOL, signal())).rejects.toMatchObject({
      class: "retriable",
      code: "PEER_UNREACHABLE",
    });
  });

  test("an impostor at the right address is not talked to", async () => {
    const [ours, impostor] = [await node(1), await node(2)];
    await impostor.serve(PROTOCOL, { maxInboundStreams: 4, maxOutboundStreams: 4 }, async () => {});
    const wanted = await node(3);
    const opening = ours.open({ hostId: wanted.hostId, addresses: impostor.addresses() }, PROTOCOL, signal());
    await expect(opening).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  });

  test("a peer that comes back at another address is found there", async () => {
    const { ours, theirs } = await pair();
    await theirs.stop();
    const again = await node(2);
    await again.serve(PROTOCOL, { maxInboundStreams: 4, maxOutboundStreams: 4 }, async () => {});
    let stream: ByteStream | undefined;
    // The first try may still meet the old connection; that is what retriable is for.
    for (let attempt = 0; attempt < 20 && stream === undefined; attempt++) {
      stream = await ours.open(peerOf(again), PROTOCOL, signal()).catch(() => undefined);
    }
    expect(stream?.status).toBe("open");
  });

  test("a handler that throws costs its stream, and nothing else", async () => {
    const [ours, theirs] = [await node(1), await node(2)];
    let calls = 0;
    await theirs.serve(PROTOCOL, { maxInboundStreams: 4, maxOutboundStreams: 4 }, async (stream) => {
      if (++calls === 1) throw new Error("a bug");
      await new FramedStream(stream).write([Uint8Array.of(1)], signal());
    });
    const first = new FramedStream(await ours.open(peerOf(theirs), PROTOCOL, signal()));
    await expect(first.read(signal())).rejects.toThrow();
    const second = new FramedStream(await ours.open(peerOf(theirs), PROTOCOL, signal()));
    expect((await second.read(signal()))?.[0]).toBe(1);
  });
});
