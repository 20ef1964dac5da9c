// What is said on one stream of the handoff protocol, frame by frame, by whoever a test needs there.

import type { FramedStream } from "@godwit/agent-host/p2p";
import type { SignedBytes } from "@godwit/common/lease";
import { type Checkpoint, digestOf } from "@godwit/lineage";
import { walletOf } from "@godwit/lineage/testing";
import {
  type CheckpointFrame,
  chunksOf,
  decodeSourceFrame,
  decodeTargetFrame,
  encodeSourceFrame,
  encodeTargetFrame,
  type HandoffEndFrame,
  type HandoffFrame,
  type OfferFrame,
  type SourceFrame,
  spineFrames,
  type TargetFrame,
} from "@godwit/migration";

/** All that a source says of one handoff. */
export interface Handoff {
  readonly offer: OfferFrame;
  readonly module: Uint8Array;
  readonly spine: readonly SignedBytes[];
  readonly checkpoint: CheckpointFrame;
  readonly handoff: HandoffFrame;
  readonly end: HandoffEndFrame;
}

interface Offered {
  readonly agentId: string;
  readonly manifest: Uint8Array;
  readonly module: Uint8Array;
  readonly created: Checkpoint;
}

export function handoffOf(agent: Offered, frozen: Checkpoint, handoffId: string, token: SignedBytes): Handoff {
  const { agentId, manifest, module, created } = agent;
  const { era, major, tick, budget, moduleDigest, stateDigest } = frozen.header;
  const { signed, state } = frozen;
  return {
    offer: {
      ...{ kind: "offer", handoffId, agentId, name: "outlaw", era, major, tick, budget, manifest, moduleDigest },
      stateBytes: state.length,
      moduleBytes: module.length,
    },
    module,
    spine: [created.signed],
    checkpoint: {
      kind: "checkpoint",
      handoffId,
      checkpoint: signed,
      receipts: walletOf(frozen),
      receiptsKept: 0,
      state,
    },
    handoff: { kind: "handoff", handoffId, token },
    end: { kind: "handoff-end", stateBytes: state.length, stateDigest },
  };
}

export class Peer {
  readonly #stream: FramedStream;
  readonly #signal = AbortSignal.timeout(90_000);

  constructor(stream: FramedStream) {
    this.#stream = stream;
  }

  /** As the source of a handoff. */
  async say(...frames: readonly SourceFrame[]): Promise<void> {
    await this.#stream.write(frames.map(encodeSourceFrame), this.#signal);
  }

  async hear(): Promise<TargetFrame | undefined> {
    const bytes = await this.#stream.read(this.#signal);
    return bytes && decodeTargetFrame(bytes, "peer");
  }

  /** Plays all of it and gives STARTED, or the code of the refusal. */
  async play({ offer, module, spine, checkpoint, handoff, end }: Handoff): Promise<string> {
    await this.say(offer);
    const accepted = await this.hear();
    if (accepted?.kind !== "accept") return verdict(accepted);
    await this.say(...(accepted.needModule ? chunksOf("module", module) : []), ...spineFrames(spine, undefined));
    const prepared = await this.hear();
    if (prepared?.kind !== "prepared") return verdict(prepared);
    await this.say(checkpoint, handoff, end);
    return verdict(await this.hear());
  }

  /** As the target of one. */
  async answer(...frames: readonly TargetFrame[]): Promise<void> {
    await this.#stream.write(frames.map(encodeTargetFrame), this.#signal);
  }

  async listen(): Promise<SourceFrame | undefined> {
    const bytes = await this.#stream.read(this.#signal);
    return bytes && decodeSourceFrame(bytes);
  }

  /** The first frame of this kind; what comes before it is passed over. Throws when the stream ends before. */
  async until<Kind extends SourceFrame["kind"]>(kind: Kind): Promise<Extract<SourceFrame, { readonly kind: Kind }>> {
    for (;;) {
      const frame = await this.listen();
      if (frame === undefined) throw new Error(`no ${kind} came`);
      if (isOf(frame, kind)) return frame;
    }
  }

  /** Honest from the offer to the end of the handoff: the digest of what was handed over, without a claim or an answer. */
  async receive({ handoffId }: OfferFrame): Promise<{ readonly digest: string }> {
    await this.answer({ kind: "accept", handoffId, needModule: false, pricePerSecond: 1n, spineKnown: undefined });
    await this.until("spine");
    await this.answer({ kind: "prepared", handoffId });
    const { checkpoint } = await this.until("checkpoint");
    await this.until("handoff-end");
    return { digest: digestOf(checkpoint.payload) };
  }

  /** Until the other side closes or resets it. */
  async ended(): Promise<void> {
    for (;;) {
      const more = await this.#stream.read(this.#signal).catch(() => undefined);
      if (more === undefined) return;
    }
  }

  abort(): void {
    this.#stream.abort(new Error("gone"));
  }
}

function isOf<Kind extends SourceFrame["kind"]>(
  frame: SourceFrame,
  kind: Kind,
): frame is Extract<SourceFrame, { readonly kind: Kind }> {
  return frame.kind === kind;
}

function verdict(frame: TargetFrame | undefined): string {
  if (frame === undefined) return "closed without a word";
  if (frame.kind === "refused") return frame.failure.fault.code;
  return frame.kind === "started" ? "STARTED" : `${frame.kind} out of turn`;
}
