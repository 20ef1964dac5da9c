import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { systemClock } from "@godwit/common/clock";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FaultProxy } from "../src/net/fault-proxy.ts";
import { freePort } from "../src/net/free-port.ts";

const never = new AbortController().signal;

/** Collects what one side of a connection got, and how it ended. */
class Side {
  readonly socket: Socket;
  text = "";
  end: "open" | "ended" | "reset" = "open";
  #changed = Promise.withResolvers<void>();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (data: Buffer) => this.#note(() => (this.text += data.toString())));
    socket.on("end", () => this.#note(() => (this.end = "ended")));
    socket.on("error", () => this.#note(() => (this.end = "reset")));
  }

  async until(done: (side: Side) => boolean): Promise<void> {
    while (!done(this)) await this.#changed.promise;
  }

  #note(change: () => void): void {
    change();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

describe("FaultProxy", () => {
  const accepted: Side[] = [];
  const server = createServer({ allowHalfOpen: true });
  let proxy: FaultProxy;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    server.removeAllListeners("connection");
    server.on("connection", (socket) => {
      accepted.push(new Side(socket));
      sockets.push(socket);
    });
    if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening");
    proxy = await FaultProxy.start({ targetPort: (server.address() as AddressInfo).port });
  });

  afterEach(async () => {
    await proxy.stop();
    for (const socket of sockets.splice(0)) socket.destroy();
    accepted.length = 0;
    await new Promise((resolve) => server.close(resolve));
  });

  /** A client, and the server's side of its connection. */
  async function open(): Promise<{ client: Side; peer: Side }> {
    const before = accepted.length;
    const client = dial();
    await client.until(() => client.socket.readyState === "open").catch(() => {});
    while (accepted.length === before) await systemClock.sleep(1, never);
    return { client, peer: accepted[before] as Side };
  }

  function dial(): Side {
    const socket = connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
    sockets.push(socket);
    const side = new Side(socket);
    socket.once("connect", () => socket.emit("data", Buffer.alloc(0)));
    return side;
  }

  test("without faults, bytes and ends pass in both directions, each end for itself", async () => {
    const { client, peer } = await open();
    client.socket.end("question");
    await peer.until((side) => side.end === "ended");
    expect(peer.text).toBe("question");
    peer.socket.end("answer");
    await client.until((side) => side.end === "ended");
    expect(client.text).toBe("answer");
    expect(proxy.counts).toMatchObject({
      connections: 1,
      refused: 0,
      toServer: { forwardedBytes: 8, cuts: 0 },
      toClient: { forwardedBytes: 6, cuts: 0 },
    });
  });

  test("5 megabytes come through whole", async () => {
    const { client, peer } = await open();
    const big = "x".repeat(5_000_000);
    client.socket.end(big);
    await peer.until((side) => side.end === "ended");
    expect(peer.text).toBe(big);
  });

  test("a cut lets exactly so many bytes through, then the receiver sees an end and the sender a reset", async () => {
    for (const bytes of [0, 1, 5, 8]) {
      const { client, peer } = await open();
      proxy.cutAfter(bytes, "to-server");
      client.socket.write("12345678");
      await Promise.all([peer.until((side) => side.end !== "open"), client.until((side) => side.end === "reset")]);
      expect(peer.text).toBe("12345678".slice(0, bytes));
      expect(peer.end).toBe("ended");
    }
    expect(proxy.counts.toServer.cuts).toBe(4);
  });

  test("a cut of one direction leaves the other's bytes alone", async () => {
    const { client, peer } = await open();
    proxy.cutAfter(3, "to-client");
    client.socket.write("question");
    await peer.until((side) => side.text === "question");
    peer.socket.write("answer");
    await client.until((side) => side.end !== "open");
    expect(client.text).toBe("ans");
  });

  test("a delay holds bytes back without changing their order", async () => {
    const { client, peer } = await open();
    proxy.delay(40, "to-server");
    const before = systemClock.monotonicMs();
    for (const digit of "0123456789") {
      client.socket.write(digit);
      await systemClock.sleep(2, never);
    }
    await peer.until((side) => side.text.length === 10);
    expect(peer.text).toBe("0123456789");
    expect(systemClock.monotonicMs() - before).toBeGreaterThanOrEqual(55);
    expect(proxy.counts.toServer.delayedChunks).toBeGreaterThan(0);
    expect(proxy.counts.toClient.delayedChunks).toBe(0);
  });

  test("a partition holds everything, ends and new connections too, and healing lets it arrive", async () => {
    const { client, peer } = await open();
    proxy.partition();
    client.socket.write("held ");
    client.socket.end("end");
    const late = dial();
    late.socket.write("late");
    await systemClock.sleep(50, never);
    expect([peer.text, peer.end, accepted.length]).toEqual(["", "open", 1]);

    proxy.heal();
    await peer.until((side) => side.end === "ended");
    expect(peer.text).toBe("held end");
    while (accepted.length < 2) await systemClock.sleep(1, never);
    await (accepted[1] as Side).until((side) => side.text === "late");
    expect(proxy.counts.toServer.heldChunks).toBeGreaterThan(0);
  });

  test("a one-way partition lets the other direction pass", async () => {
    const { client, peer } = await open();
    proxy.partition("to-server");
    client.socket.write("held");
    peer.socket.write("passes");
    await client.until((side) => side.text === "passes");
    expect(peer.text).toBe("");
  });

  test("half-open: bytes and ends vanish, both sides believe in the connection, until healing resets it", async () => {
    const { client, peer } = await open();
    proxy.swallowAfter(4, "to-server");
    client.socket.write("1234lost");
    await peer.until((side) => side.text === "1234");
    client.socket.end("gone");
    while (proxy.counts.toServer.swallowedBytes < 8) await systemClock.sleep(1, never);
    await systemClock.sleep(50, never);
    expect([peer.text, peer.end, client.end]).toEqual(["1234", "open", "open"]);
    expect(proxy.counts.toServer).toMatchObject({ forwardedBytes: 4, swallowedBytes: 8 });

    proxy.heal();
    await peer.until((side) => side.end === "reset");
    const { client: next, peer: nextPeer } = await open();
    next.socket.write("again");
    await nextPeer.until((side) => side.text === "again");
  });

  test("a reset passes on as a reset", async () => {
    const { client, peer } = await open();
    peer.socket.resetAndDestroy();
    await client.until((side) => side.end === "reset");
  });

  test("cutAll resets what there is; what comes later passes", async () => {
    const { client, peer } = await open();
    proxy.cutAll();
    await Promise.all([client.until((side) => side.end === "reset"), peer.until((side) => side.end === "reset")]);
    await open();
  });

  test("a server that is down resets its clients and is counted", async () => {
    await using orphan = await FaultProxy.start({ targetPort: await freePort() });
    const socket = connect({ port: orphan.port, host: "127.0.0.1" });
    await new Side(socket).until((side) => side.end === "reset");
    expect(orphan.counts.refused).toBe(1);
  });
});
