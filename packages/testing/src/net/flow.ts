import type { Socket } from "node:net";
import { systemClock } from "@godwit/common/clock";
import type { Weather } from "./weather.ts";

/** More than this is left in the kernel's buffers, so that whoever sends feels that nothing moves. */
const MAX_QUEUED_BYTES = 1 << 20;

type Parcel = { readonly dueMs: number } & (
  | { readonly kind: "chunk"; readonly bytes: Buffer }
  | { readonly kind: "end" }
  | { readonly kind: "reset" }
);

/** One direction of one proxied connection: what arrives goes on in order, late, in part or never, as the weather has it. */
export class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #weather: Weather;
  readonly #onCut: () => void;
  readonly #parcels: Parcel[] = [];
  readonly #over = new AbortController();
  #queuedBytes = 0;
  #arrived = Promise.withResolvers<void>();
  #dead = false;

  constructor(from: Socket, to: Socket, weather: Weather, onCut: () => void) {
    this.#from = from;
    this.#to = to;
    this.#weather = weather;
    this.#onCut = onCut;
  }

  /** Bytes were swallowed: what follows can never make sense to the receiver. */
  get dead(): boolean {
    return this.#dead;
  }

  /** Goes on until the sender ends, the connection is cut, or `stop`. */
  async run(): Promise<void> {
    let ended = false;
    this.#from.on("data", (bytes: Buffer) => this.#accept({ kind: "chunk", bytes, dueMs: this.#dueMs() }));
    this.#from.once("end", () => {
      ended = true;
      this.#accept({ kind: "end", dueMs: this.#dueMs() });
    });
    this.#from.once("close", () => {
      if (!ended) this.#accept({ kind: "reset", dueMs: this.#dueMs() });
    });
    while (!this.#over.signal.aborted) {
      const parcel = this.#parcels[0];
      if (parcel === undefined) {
        await this.#arrived.promise;
        continue;
      }
      await this.#wait(parcel);
      if (this.#over.signal.aborted) return;
      this.#parcels.shift();
      await this.#deliver(parcel);
    }
  }

  stop(): void {
    this.#over.abort();
    this.#arrived.resolve();
  }

  #dueMs(): number {
    return systemClock.monotonicMs() + this.#weather.delayMs;
  }

  #accept(parcel: Parcel): void {
    this.#parcels.push(parcel);
    if (parcel.kind === "chunk") {
      this.#queuedBytes += parcel.bytes.length;
      if (this.#queuedBytes > MAX_QUEUED_BYTES) this.#from.pause();
    }
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
  }

  async #wait({ dueMs }: Parcel): Promise<void> {
    const delayMs = dueMs - systemClock.monotonicMs();
    if (delayMs > 0) {
      this.#weather.delayed();
      await systemClock.sleep(delayMs, this.#over.signal).catch(() => {}); // stopped; the caller looks
    }
    if (this.#weather.holding) await this.#weather.untilOpen();
  }

  async #deliver(parcel: Parcel): Promise<void> {
    if (parcel.kind === "chunk") return await this.#deliverChunk(parcel.bytes);
    this.stop();
    if (this.#dead) return; // no end of it arrives either
    if (parcel.kind === "end") this.#to.end();
    else this.#to.resetAndDestroy();
  }

  async #deliverChunk(bytes: Buffer): Promise<void> {
    this.#queuedBytes -= bytes.length;
    if (this.#from.isPaused() && this.#queuedBytes <= MAX_QUEUED_BYTES) this.#from.resume();
    if (this.#dead) {
      this.#weather.swallowed(bytes.length);
      return;
    }
    const fate = this.#weather.decide(bytes.length);
    await this.#write(fate.kind === "forward" ? bytes : bytes.subarray(0, fate.after));
    if (fate.kind === "swallow") this.#dead = true;
    if (fate.kind === "cut") {
      this.stop();
      this.#onCut();
      // What was let through arrives, then the connection ends; the sender is told in the hard way.
      this.#to.destroySoon();
      this.#from.resetAndDestroy();
    }
  }

  #write(bytes: Buffer): Promise<void> {
    if (this.#to.destroyed) this.#from.resetAndDestroy(); // nobody is there to take it
    if (bytes.length === 0 || this.#to.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#to.write(bytes, () => resolve()); // a failure shows as the socket's close
    });
  }
}
