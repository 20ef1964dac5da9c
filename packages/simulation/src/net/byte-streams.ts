// Streams between hosts: two ends of bytes in memory, which behave as those of libp2p do as far as frames.ts of the host uses
// them. What is sent arrives in order, in pieces of any size; a stream ends cleanly, is reset, or goes silent.

import type { ByteStream } from "@godwit/agent-host/parts";
import type { SimProcess } from "../time/sim-process.ts";
import type { Network } from "./network.ts";

type Listener = (event: { readonly data?: Uint8Array; readonly error?: Error }) => void;

export interface StreamCuts {
  /** After so many more bytes in this direction the stream is reset; undefined: never. */
  bytesLeft: number | undefined;
  onCut(): void;
}

interface Side {
  readonly process: SimProcess;
}

/** Both ends; the first is of the one who opened it. */
export function streamPair(
  network: Network,
  near: Side,
  far: Side,
  cuts: StreamCuts,
): { readonly near: ByteStream; readonly far: ByteStream } {
  const ends = [new End(network, near, far, cuts), new End(network, far, near, cuts)] as const;
  ends[0].peer = ends[1];
  ends[1].peer = ends[0];
  return { near: ends[0] as unknown as ByteStream, far: ends[1] as unknown as ByteStream };
}

class End {
  readonly process: SimProcess;
  readonly writeBufferLength = 0;
  status: "open" | "closing" | "closed" | "aborted" | "reset" = "open";
  readStatus: "readable" | "paused" | "closed" = "readable";
  readableEnded = false;
  peer: End | undefined;
  readonly #network: Network;
  readonly #remote: Side;
  readonly #cuts: StreamCuts;
  readonly #listeners = new Map<string, Set<Listener>>();
  #waiting: (() => void)[] = [];
  #outbox: (() => void)[] = [];
  #silent = false;
  #inOrderMs = 0;
  readonly #forget: () => void;
  #sentEnd = false;
  #gotEnd = false;

  constructor(network: Network, local: Side, remote: Side, cuts: StreamCuts) {
    this.#network = network;
    this.process = local.process;
    this.#remote = remote;
    this.#cuts = cuts;
    this.#forget = local.process.onEnd(() => this.#died());
  }

  addEventListener(type: string, listener: Listener): void {
    const listeners = this.#listeners.get(type) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(type, listeners);
  }

  removeEventListener(type: string, listener: Listener): void {
    this.#listeners.get(type)?.delete(listener);
  }

  send(data: { subarray(): Uint8Array }): boolean {
    if (this.status !== "open") throw new Error(`the stream is ${this.status}`);
    const bytes = new Uint8Array(data.subarray());
    const { bytesLeft } = this.#cuts;
    if (bytesLeft !== undefined && bytes.length >= bytesLeft) {
      this.#cuts.bytesLeft = undefined;
      this.#cuts.onCut();
      this.#carry(() => this.peer?.got(bytes.subarray(0, bytesLeft)));
      this.#carry(() => this.peer?.broke());
      this.broke();
      return false;
    }
    if (bytesLeft !== undefined) this.#cuts.bytesLeft = bytesLeft - bytes.length;
    const { chance } = this.#network;
    if (bytes.length > 1 && chance.happens(0.1)) {
      const at = chance.whole(1, bytes.length - 1);
      this.#carry(() => this.peer?.got(bytes.subarray(0, at)));
      this.#carry(() => this.peer?.got(bytes.subarray(at)));
    } else {
      this.#carry(() => this.peer?.got(bytes));
    }
    return true;
  }

  async close(): Promise<void> {
    if (this.status !== "open") return;
    this.status = "closing";
    this.#sentEnd = true;
    this.#carry(() => this.peer?.ended());
    this.#closeWhenDone();
  }

  abort(reason: Error): void {
    if (this.status !== "open" && this.status !== "closing") return;
    this.status = "aborted";
    this.readStatus = "closed";
    this.#carry(() => this.peer?.broke());
    this.#over({ error: reason });
  }

  pause(): void {
    if (this.readStatus === "readable") this.readStatus = "paused";
  }

  resume(): void {
    if (this.readStatus !== "paused") return;
    this.readStatus = "readable";
    for (const run of this.#waiting.splice(0)) run();
  }

  got(data: Uint8Array): void {
    this.#hear(() => this.#emit("message", { data }));
  }

  ended(): void {
    this.#hear(() => {
      if (this.#gotEnd) return;
      this.#gotEnd = true;
      this.readableEnded = true;
      this.#emit("end", {});
      this.#closeWhenDone();
    });
  }

  broke(): void {
    if (this.status !== "open" && this.status !== "closing") return;
    this.status = "reset";
    this.readStatus = "closed";
    this.#over({ error: new Error("the stream was reset") });
  }

  /** The operating system resets what a dead process had open. */
  #died(): void {
    if (this.status !== "open" && this.status !== "closing") return;
    this.status = "aborted";
    this.#carry(() => this.peer?.broke());
  }

  #hear(run: () => void): void {
    if (this.status !== "open" && this.status !== "closing") return;
    if (this.readStatus === "paused" || this.#waiting.length > 0) this.#waiting.push(run);
    else run();
  }

  /** In order, whatever happens: what meets a cut waits until it is healed, and everything after it too. */
  #carry(deliver: () => void): void {
    const from = this.process.name;
    const to = this.#remote.process.name;
    if (this.#silent || this.#network.isHalfOpen(from, to)) {
      this.#silent = true;
      return;
    }
    this.#outbox.push(deliver);
    if (!this.#network.isCut(from, to)) this.#flush();
    else if (this.#outbox.length === 1) this.#network.whenHealed(from, to, () => this.#flush());
  }

  #flush(): void {
    const toProcess = this.#remote.process;
    for (const deliver of this.#outbox.splice(0)) {
      const notBeforeMs = this.#inOrderMs;
      const to = toProcess.name;
      this.#inOrderMs = this.#network.send({ from: this.process.name, to, toProcess, notBeforeMs, deliver });
    }
  }

  #closeWhenDone(): void {
    if (!this.#sentEnd || !this.#gotEnd || this.status === "closed") return;
    this.status = "closed";
    this.#over({});
  }

  #over(event: { readonly error?: Error }): void {
    this.#forget();
    this.#emit("close", event);
  }

  #emit(type: string, event: { readonly data?: Uint8Array; readonly error?: Error }): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(event);
  }
}
