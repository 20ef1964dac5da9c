// The owner's side of one stream of /godwit/replicate/1: one checkpoint, or one termination, to one host.
//
// GH-8  A confirmation counts only if it names the checkpoint, and every wait has a deadline.

import { type Clock, withDeadline } from "@godwit/common/clock";
import { type Fault, isFault } from "@godwit/common/fault";
import { type CheckpointRef, type SignedBytes, sameCheckpoint } from "@godwit/common/lease";
import { ClassifiedFault, failureError } from "@godwit/common/retry";
import { type Checkpoint, refOf } from "@godwit/lineage";
import {
  chunksOf,
  decodeHolderFrame,
  encodeOwnerFrame,
  type HolderFrame,
  type OwnerFrame,
  type ReplicaAcceptFrame,
  spineFrames,
} from "@godwit/migration";
import { asError, type FrameStream } from "../p2p/index.ts";

/** A checkpoint with what a host needs that has nothing of the agent; large parts are fetched when they are asked for. */
export interface ReplicaContent {
  readonly agentId: string;
  readonly checkpoint: Checkpoint;
  readonly manifest: Uint8Array;
  readonly moduleBytes: number;
  /** Encoded, newest last. */
  readonly receipts: readonly Uint8Array[];
  readonly module: () => Promise<Uint8Array>;
  /** What lies above the header with the digest `known`, newest first. */
  readonly spine: (known: string | undefined) => Promise<readonly SignedBytes[]>;
}

/** `behind`: the host holds a newer one of this agent, and did not take this one. */
export type PushOutcome = { readonly kind: "held" } | { readonly kind: "behind"; readonly newer: CheckpointRef };

export interface Conversation {
  readonly stream: FrameStream;
  readonly peerHostId: string;
  readonly clock: Clock;
  /** How long the peer may be silent, or take nothing. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

/**
 * Throws ClassifiedFault: what the host refused with, or FRAME_INVALID when it does not keep to the protocol; else what the
 * stream, the deadline or the content threw.
 */
export async function pushReplica(content: ReplicaContent, talk: Conversation): Promise<PushOutcome> {
  const { agentId, checkpoint, manifest, moduleBytes, receipts } = content;
  const offer = { kind: "offer", agentId, checkpoint: checkpoint.signed, manifest, moduleBytes, receipts } as const;
  await send(talk, [offer]);
  const accept = await listen(talk, "an answer to the offered checkpoint");
  if (accept.kind !== "accept") throw unexpected(accept, "accept");
  if (accept.needState) await deliver(content, accept, talk);
  const held = await listen(talk, "the confirmation of the checkpoint");
  if (held.kind !== "held") throw unexpected(held, "held");
  const ref = refOf(checkpoint);
  if (held.checkpoint === undefined) throw invalid("it does not say what it holds");
  if (sameCheckpoint(held.checkpoint, ref)) return { kind: "held" };
  if (accept.needState) throw invalid("it holds another checkpoint than the one that it was sent");
  return { kind: "behind", newer: held.checkpoint };
}

/** Throws as pushReplica does. */
export async function pushTermination(
  { agentId, termination }: { readonly agentId: string; readonly termination: SignedBytes },
  talk: Conversation,
): Promise<void> {
  await send(talk, [{ kind: "terminated", agentId, termination }]);
  const answer = await listen(talk, "the confirmation of the termination");
  if (answer.kind !== "held") throw unexpected(answer, "held");
}

/** A host that refuses half way says so while we still send: that is then the reason, not the stream that it closed. */
async function deliver(content: ReplicaContent, accept: ReplicaAcceptFrame, talk: Conversation): Promise<void> {
  try {
    for await (const frame of framesOf(content, accept)) await send(talk, [frame]);
  } catch (cause) {
    if (cause instanceof SourceFailure || isFault(cause, "DEADLINE_EXCEEDED")) throw cause;
    talk.signal.throwIfAborted();
    const said = await listen(talk, "the reason of the interruption").catch((error: unknown) => error);
    throw said instanceof ClassifiedFault ? said : asError(cause);
  }
}

/** What was to be sent could not be read here: no fault of the host that it was meant for. */
export class SourceFailure extends Error {
  override readonly name = "SourceFailure";
}

async function* framesOf(content: ReplicaContent, accept: ReplicaAcceptFrame): AsyncGenerator<OwnerFrame> {
  const { checkpoint } = content;
  if (accept.needModule) yield* chunksOf("module", await fetched(content.module));
  const { spineKnown } = accept;
  yield* spineFrames(await fetched(() => content.spine(spineKnown)), spineKnown);
  yield* chunksOf("state", checkpoint.state);
  yield { kind: "end", stateDigest: checkpoint.header.stateDigest };
}

export async function fetched<T>(fetch: () => Promise<T>): Promise<T> {
  try {
    return await fetch();
  } catch (cause) {
    throw new SourceFailure("what was to be replicated cannot be read", { cause });
  }
}

async function send({ stream, clock, stallMs, signal }: Conversation, frames: readonly OwnerFrame[]): Promise<void> {
  const encoded = frames.map(encodeOwnerFrame);
  await withDeadline(clock, { what: "the holder to take what it is sent", ms: stallMs, signal }, (limited) =>
    stream.write(encoded, limited),
  );
}

async function listen(talk: Conversation, what: string): Promise<HolderFrame> {
  const { stream, peerHostId, clock, stallMs, signal } = talk;
  const bytes = await withDeadline(clock, { what, ms: stallMs, signal }, (limited) => stream.read(limited));
  if (bytes === undefined) {
    const reason = `it closed the stream instead of ${what}`;
    throw new ClassifiedFault("retriable", { code: "PEER_UNREACHABLE", hostId: peerHostId, reason });
  }
  const frame = decodeHolderFrame(bytes, peerHostId);
  if (frame.kind === "refused") throw failureError(frame.failure);
  return frame;
}

function unexpected(frame: HolderFrame, wanted: HolderFrame["kind"]): Fault {
  return invalid(`${frame.kind} instead of ${wanted}`);
}

function invalid(reason: string): Fault {
  return new ClassifiedFault("fatal-target", { code: "FRAME_INVALID", reason });
}
