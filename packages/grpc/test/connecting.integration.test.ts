import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { systemClock } from "@godwit/common/clock";
import { describe, expect, test } from "vitest";
import { client, GrpcChannel } from "../src/index.ts";
import { Echo, setUp } from "./echo.ts";

/** In front of a server; while `swallows`, it takes connections and lets nothing through, like a network that is cut. */
class Doorway implements AsyncDisposable {
  swallows = true;
  taken = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => {
    this.taken++;
    this.#keep(socket);
    if (this.swallows) return;
    const onward = this.#keep(connect(this.#port, "127.0.0.1"));
    socket.pipe(onward).pipe(socket);
  });
  readonly #port: number;

  constructor(behind: string) {
    this.#port = Number(behind.split(":").at(-1));
  }

  async open(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

describe("connecting", () => {
  test("an attempt from which nothing comes is thrown away, so that a call gets through once the network is back", async () => {
    await using setup = await setUp({ unary: ({ value }) => ({ value }) });
    await using door = new Doorway(setup.channel().target);
    const connectWithinMs = 5_000;
    using channel = new GrpcChannel({ target: await door.open(), timeoutMs: 200, connectWithinMs });
    const echo = client(channel, Echo);
    const beganMs = systemClock.monotonicMs();

    await expect(echo.unary({ value: "lost" })).rejects.toMatchObject({ detail: { code: "DEADLINE_EXCEEDED" } });
    door.swallows = false;
    // The first attempt is still there, and would be for ever.
    await expect(echo.unary({ value: "lost" })).rejects.toMatchObject({ detail: { code: "DEADLINE_EXCEEDED" } });
    expect(door.taken).toBe(1);
    await systemClock.sleep(beganMs + connectWithinMs + 100 - systemClock.monotonicMs(), new AbortController().signal);
    expect(await echo.unary({ value: "through" }, { timeoutMs: 40_000 })).toMatchObject({ value: "through" });
    expect(door.taken).toBe(2);
  });

  test("a connection that stands is kept, however long the pauses between calls are", async () => {
    await using setup = await setUp({ unary: ({ value }) => ({ value }) });
    await using door = new Doorway(setup.channel().target);
    door.swallows = false;
    using channel = new GrpcChannel({ target: await door.open(), timeoutMs: 40_000, connectWithinMs: 1 });
    const echo = client(channel, Echo);
    for (const value of ["a", "b", "c"]) expect(await echo.unary({ value })).toMatchObject({ value });
    expect(door.taken).toBe(1);
  });
});
