// Stream faults, and one more: a STARTED that no target has said. HANDOFF's last frame is kept back, so nothing was claimed;
// a source that believes the lie gives up an agent that nobody has (GH-8).

import { type FrameKindOf, type FrameStream, StreamFaults } from "@godwit/agent-host/p2p";
import { digestOf } from "@godwit/lineage";
import { decodeSourceFrame, encodeTargetFrame, frameKindOf, type TargetFrame } from "@godwit/migration";

export const LIES = ["another-checkpoint", "another-major", "another-agent", "another-handoff"] as const;
export type Lie = (typeof LIES)[number];

export class LyingFaults extends StreamFaults {
  #lie: Lie | undefined;

  /** The next handoff that this host sends is answered so. */
  lie(lie: Lie): void {
    this.#lie = lie;
  }

  isLieTold(): boolean {
    return this.#lie === undefined;
  }

  override disarm(): void {
    super.disarm();
    this.#lie = undefined;
  }

  override wrap(
    stream: FrameStream,
    kindOf: { readonly sent: FrameKindOf; readonly received: FrameKindOf },
  ): FrameStream {
    return new LiarStream(super.wrap(stream, kindOf), () => {
      const lie = this.#lie;
      this.#lie = undefined;
      return lie;
    });
  }
}

class LiarStream implements FrameStream {
  readonly #stream: FrameStream;
  readonly #takeLie: () => Lie | undefined;
  readonly #lied = Promise.withResolvers<Uint8Array>();
  #reading: Promise<Uint8Array | undefined> | undefined;
  #isTold = false;
  #truth: (TargetFrame & { readonly kind: "started" }) | undefined;

  constructor(stream: FrameStream, takeLie: () => Lie | undefined) {
    this.#stream = stream;
    this.#takeLie = takeLie;
  }

  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    this.#reading ??= this.#stream.read(signal);
    const reading = this.#reading;
    const frame = await (this.#isTold ? reading : Promise.race([reading, this.#lied.promise]));
    if (frame !== undefined && frame === (await this.#lie())) this.#isTold = true;
    else this.#reading = undefined;
    return frame;
  }

  async write(frames: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    const passing: Uint8Array[] = [];
    for (const bytes of frames) {
      this.#learn(bytes);
      const lie = frameKindOf(bytes) === "handoff-end" ? this.#takeLie() : undefined;
      if (lie === undefined || this.#truth === undefined) passing.push(bytes);
      else this.#lied.resolve(encodeTargetFrame(bent(this.#truth, lie)));
    }
    if (passing.length > 0) await this.#stream.write(passing, signal);
  }

  close(signal: AbortSignal): Promise<void> {
    return this.#stream.close(signal);
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }

  /** The lie, if there is one by now. */
  #lie(): Promise<Uint8Array | undefined> {
    return Promise.race([this.#lied.promise, Promise.resolve(undefined)]);
  }

  /** What an honest target would say in the end. */
  #learn(bytes: Uint8Array): void {
    const kind = frameKindOf(bytes);
    if (kind !== "offer" && kind !== "checkpoint") return;
    const frame = decodeSourceFrame(bytes);
    if (frame.kind === "offer") {
      const { handoffId, agentId, era, major } = frame;
      this.#truth = { kind: "started", handoffId, agentId, era, major: major + 1n, checkpointDigest: "" };
    }
    if (frame.kind === "checkpoint" && this.#truth !== undefined) {
      this.#truth = { ...this.#truth, checkpointDigest: digestOf(frame.checkpoint.payload) };
    }
  }
}

function bent(truth: TargetFrame & { readonly kind: "started" }, lie: Lie): TargetFrame {
  switch (lie) {
    case "another-checkpoint":
      return { ...truth, checkpointDigest: "f".repeat(64) };
    case "another-major":
      return { ...truth, major: truth.major + 1n };
    case "another-agent":
      return { ...truth, agentId: "f".repeat(64) };
    case "another-handoff":
      return { ...truth, handoffId: `${truth.handoffId.slice(0, -1)}${truth.handoffId.endsWith("0") ? "1" : "0"}` };
  }
}
