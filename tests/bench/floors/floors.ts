// What the machine needs at least for the single things that the services do: a bare grpc-js call, bytes over loopback TCP,
// bytes made durable. Client side; the other end is floor-server.ts.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ChannelCredentials, Client } from "@grpc/grpc-js";

const asIs = (bytes: Buffer): Buffer => bytes;

export class Floors implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #grpc: Client;
  readonly #socket: Socket;
  readonly #file: number;

  /** `dir`: where bytes are made durable, on the disk of what is compared with it. `redisUrl`: for `storedCall`. */
  static async start(dir: string, signal: AbortSignal, redisUrl?: string): Promise<Floors> {
    const entry = fileURLToPath(new URL("./floor-server.ts", import.meta.url));
    const child = spawn(process.execPath, redisUrl === undefined ? [entry] : [entry, redisUrl], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout });
    const [line] = await once(lines, "line", { signal });
    const { grpcPort, tcpPort } = JSON.parse(String(line)) as { grpcPort: number; tcpPort: number };
    const socket = connect({ port: tcpPort, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect", { signal });
    const grpc = new Client(`127.0.0.1:${grpcPort}`, ChannelCredentials.createInsecure());
    return new Floors(child, grpc, socket, openSync(join(dir, "floor.bin"), "w"));
  }

  private constructor(child: ChildProcess, grpc: Client, socket: Socket, file: number) {
    this.#child = child;
    this.#grpc = grpc;
    this.#socket = socket;
    this.#file = file;
  }

  /** One unary call with so many bytes there and back, without protobuf and without deadlines. */
  async call(bytes: { readonly requestBytes: number; readonly responseBytes: number }): Promise<void> {
    await this.#call("/floor/Call", bytes);
  }

  /** The same, in which the other end runs one bare Redis script before it answers: what no command can do without. */
  async storedCall(bytes: { readonly requestBytes: number; readonly responseBytes: number }): Promise<void> {
    await this.#call("/floor/Stored", bytes);
  }

  async #call(
    path: string,
    { requestBytes, responseBytes }: { readonly requestBytes: number; readonly responseBytes: number },
  ): Promise<void> {
    const request = Buffer.alloc(Math.max(4, requestBytes));
    request.writeUInt32BE(responseBytes);
    await new Promise<void>((resolve, reject) => {
      this.#grpc.makeUnaryRequest(path, asIs, asIs, request, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** Until the other end has said that all of them came. */
  async send(bytes: Buffer): Promise<void> {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    const answered = once(this.#socket, "data");
    this.#socket.write(length);
    this.#socket.write(bytes);
    await answered;
  }

  /** Written over the same place of one file, and synced. */
  sync(bytes: Buffer): void {
    writeSync(this.#file, bytes, 0, bytes.length, 0);
    fdatasyncSync(this.#file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.#file);
    this.#grpc.close();
    this.#socket.destroy();
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, "exit");
  }
}
