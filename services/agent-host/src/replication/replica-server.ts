// The holder's side of /godwit/replicate/1.
//
// 1. Nothing is stored that was not verified as a whole, and `held` is said only of what is on the disk.
// 2. What is held is never replaced by something older, and an agent that runs here, comes or goes is left alone.
// 3. What is in memory of replicas under way is bounded: above that, owners are told to come back.
// 4. A peer that keeps us waiting, or does not keep to the protocol, costs its own stream and nothing else.

import { type Clock, deadlineSignal, withDeadline } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import { ClassifiedFault, type Failure, failureOf } from "@godwit/common/retry";
import { readTermination } from "@godwit/lineage";
import {
  ChunkAssembler,
  decodeOwnerFrame,
  encodeHolderFrame,
  type HolderFrame,
  type OwnerFrame,
  type ReplicaOfferFrame,
  type ReplicaTerminatedFrame,
  SpineAssembler,
} from "@godwit/migration";
import type { Logger } from "pino";
import {
  admitPeer,
  asClassified,
  asError,
  type ByteStream,
  FramedStream,
  type FrameStream,
  type IsKnownHost,
  type StreamServer,
} from "../p2p/index.ts";
import type { ReplicaStore } from "./ports.ts";
import { REPLICATE_PROTOCOL } from "./protocol.ts";
import { checkRoom, isHeldAlready, registryKeyOf, spineKnownOf, verifyOffer, verifyReplica } from "./receive.ts";

export interface ReplicaServerParts {
  readonly streams: StreamServer;
  readonly store: ReplicaStore;
  readonly isKnownHost: IsKnownHost;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ReplicaServerRules {
  readonly hostId: string;
  /** Of one connection. */
  readonly maxStreams: number;
  /** Modules and states that are being received, all together. */
  readonly maxBytesUnderWay: number;
  /** How long a peer may be silent. */
  readonly stallMs: number;
  /** For everything on one stream. */
  readonly wholeMs: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_REPLICA_SERVER_RULES: Omit<ReplicaServerRules, "hostId"> = {
  maxStreams: 16,
  maxBytesUnderWay: 256 * MIB,
  stallMs: 10_000,
  wholeMs: 120_000,
};

/** What a peer still sends after it was refused is read for so long, so that it gets to read the refusal. */
const LINGER_MS = 2_000;

export class ReplicaServer {
  readonly #parts: ReplicaServerParts;
  readonly #rules: ReplicaServerRules;
  readonly #serving = new Set<Promise<void>>();
  #running = new AbortController();
  #bytesUnderWay = 0;

  constructor(parts: ReplicaServerParts, rules: ReplicaServerRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  async start(): Promise<void> {
    this.#running = new AbortController();
    const { maxStreams } = this.#rules;
    const limits = { maxInboundStreams: maxStreams, maxOutboundStreams: maxStreams };
    await this.#parts.streams.serve(REPLICATE_PROTOCOL, limits, (stream, peer) => this.#track(stream, peer));
  }

  async stop(): Promise<void> {
    await this.#parts.streams.unserve(REPLICATE_PROTOCOL);
    this.#running.abort(new Fault({ code: "SHUTTING_DOWN" }));
    await Promise.all(this.#serving);
  }

  async #track(stream: ByteStream, remoteHostId: string): Promise<void> {
    const serving = this.#serve(new FramedStream(stream), remoteHostId);
    this.#serving.add(serving);
    await serving.finally(() => this.#serving.delete(serving));
  }

  async #serve(stream: FrameStream, remoteHostId: string): Promise<void> {
    const { clock } = this.#parts;
    const { wholeMs: ms } = this.#rules;
    using limited = deadlineSignal(clock, { what: "the end of a replica", ms, signal: this.#running.signal });
    const talk = { stream, remoteHostId, signal: limited.signal };
    try {
      await this.#take(talk);
      await stream.close(limited.signal);
    } catch (cause) {
      await this.#refuse(talk, cause);
    }
  }

  async #take(talk: Talk): Promise<void> {
    const { isKnownHost } = this.#parts;
    const { hostId } = this.#rules;
    await admitPeer(isKnownHost, { remoteHostId: talk.remoteHostId, hostId }, talk.signal);
    const frame = await this.#next(talk);
    if (frame.kind === "offer") await this.#takeReplica(frame, talk);
    else if (frame.kind === "terminated") await this.#takeTermination(frame, talk);
    else throw outOfOrder(frame, "offer");
  }

  async #takeTermination({ agentId, termination }: ReplicaTerminatedFrame, talk: Talk): Promise<void> {
    const { store, logger } = this.#parts;
    const said = readTermination(termination, registryKeyOf(store.facts()));
    if (said.agentId !== agentId) {
      throw new Fault({ code: "LINEAGE_INVALID", reason: "the termination is the one of another agent" });
    }
    // It will learn of it from the registry: until then there is more here than a copy.
    if (store.runsHere(agentId)) throw new ClassifiedFault("retriable", { code: "AGENT_EXISTS", agentId });
    await store.terminated(agentId, termination);
    logger.info({ agentId }, "replica of a terminated agent is gone");
    await this.#say({ kind: "held", checkpoint: undefined }, talk);
  }

  async #takeReplica(offer: ReplicaOfferFrame, talk: Talk): Promise<void> {
    const { store } = this.#parts;
    const { agentId } = offer;
    const verified = verifyOffer(offer, store.facts());
    if (store.isTerminated(agentId)) throw new Fault({ code: "TERMINATED", agentId });
    if (store.runsHere(agentId)) throw new Fault({ code: "AGENT_EXISTS", agentId });
    const held = await store.held(agentId);
    if (isHeldAlready(verified, held)) {
      await this.#say({ kind: "accept", needModule: false, needState: false, spineKnown: undefined }, talk);
      await this.#say({ kind: "held", checkpoint: held }, talk);
      return;
    }
    checkRoom(store.facts());
    using _held = store.hold(verified.header); // from before it is said whether the module has to be sent
    const needModule = !store.hasModule(verified.header.moduleDigest);
    const bytes = Number(verified.header.stateBytes) + (needModule ? offer.moduleBytes : 0);
    await this.#within(bytes, async () => {
      const spineHeld = held === undefined ? [] : store.spine(agentId, held);
      const spineKnown = spineKnownOf(verified, spineHeld);
      await this.#say({ kind: "accept", needModule, needState: true, spineKnown }, talk);
      const { moduleDigest, stateDigest, stateBytes } = verified.header;
      const announced = { what: "module", bytes: offer.moduleBytes, digest: moduleDigest };
      const module = needModule ? await this.#chunks("module", announced, talk) : undefined;
      const spine = await this.#spine(talk);
      const state = await this.#chunks(
        "state",
        { what: "state", bytes: Number(stateBytes), digest: stateDigest },
        talk,
      );
      const end = await this.#next(talk);
      if (end.kind !== "end") throw outOfOrder(end, "end");
      const name = store.name(agentId);
      const received = { offer, verified, spine, spineHeld, name, module, state };
      const replica = verifyReplica(received, registryKeyOf(store.facts()));
      if (store.runsHere(agentId)) throw new Fault({ code: "AGENT_EXISTS", agentId });
      await store.put(replica);
    });
    await this.#say({ kind: "held", checkpoint: verified.ref }, talk);
  }

  async #within(bytes: number, work: () => Promise<void>): Promise<void> {
    const { hostId, maxBytesUnderWay } = this.#rules;
    // One that is larger than all that may be under way is taken alone.
    if (this.#bytesUnderWay > 0 && this.#bytesUnderWay + bytes > maxBytesUnderWay) {
      throw new ClassifiedFault("retriable", { code: "TARGET_BUSY", hostId });
    }
    this.#bytesUnderWay += bytes;
    try {
      await work();
    } finally {
      this.#bytesUnderWay -= bytes;
    }
  }

  async #chunks(
    kind: "module" | "state",
    announced: { readonly what: string; readonly bytes: number; readonly digest: string },
    talk: Talk,
  ): Promise<Uint8Array> {
    const assembler = new ChunkAssembler(announced);
    while (!assembler.isComplete) {
      const frame = await this.#next(talk);
      if (frame.kind !== kind) throw outOfOrder(frame, kind);
      assembler.add(frame);
    }
    return assembler.finish();
  }

  async #spine(talk: Talk): Promise<SpineAssembler["headers"]> {
    const assembler = new SpineAssembler();
    for (;;) {
      const frame = await this.#next(talk);
      if (frame.kind !== "spine") throw outOfOrder(frame, "spine");
      assembler.add(frame);
      if (frame.last) return assembler.headers;
    }
  }

  async #next({ stream, signal }: Talk): Promise<OwnerFrame> {
    const { clock } = this.#parts;
    const deadline = { what: "the next frame of a replica", ms: this.#rules.stallMs, signal };
    const bytes = await withDeadline(clock, deadline, (limited) => stream.read(limited));
    if (bytes === undefined) throw new Fault({ code: "FRAME_INVALID", reason: "the stream ends before the replica" });
    return decodeOwnerFrame(bytes);
  }

  async #say(frame: HolderFrame, { stream, signal }: Talk): Promise<void> {
    const { clock } = this.#parts;
    const deadline = { what: "the owner to take an answer", ms: this.#rules.stallMs, signal };
    await withDeadline(clock, deadline, (limited) => stream.write([encodeHolderFrame(frame)], limited));
  }

  async #refuse({ stream, remoteHostId, signal }: Talk, cause: unknown): Promise<void> {
    const { clock, logger } = this.#parts;
    this.#log(remoteHostId, cause);
    const deadline = { what: "the owner to take a refusal", ms: LINGER_MS, signal };
    try {
      await withDeadline(clock, deadline, async (limited) => {
        await stream.write([encodeHolderFrame({ kind: "refused", failure: refusalOf(cause) })], limited);
        await stream.close(limited);
        while ((await stream.read(limited)) !== undefined);
      });
    } catch (unheard) {
      logger.debug({ err: unheard, remoteHostId }, "refusal was not heard");
      stream.abort(asError(cause));
    }
  }

  #log(remoteHostId: string, err: unknown): void {
    const { logger } = this.#parts;
    if (isFault(err, "DIVERGENT_LINEAGE")) {
      logger.error({ err, remoteHostId, agentId: err.detail.agentId }, "two checkpoints of one tick (EI-11)");
    } else if (isFault(err)) {
      logger.info({ err, remoteHostId, code: err.detail.code }, "replica refused");
    } else {
      logger.warn({ err, remoteHostId }, "replica broken off");
    }
  }
}

interface Talk {
  readonly stream: FrameStream;
  readonly remoteHostId: string;
  readonly signal: AbortSignal;
}

/** What says nothing about this replica may be tried again. */
function refusalOf(cause: unknown): Failure {
  if (isFault(cause, "SHUTTING_DOWN") || isFault(cause, "DISK_FAILED") || isFault(cause, "DEADLINE_EXCEEDED")) {
    return { class: "retriable", fault: cause.detail };
  }
  const refusal = asClassified(cause);
  return failureOf(refusal) ?? { class: "retriable", fault: { code: "INTERNAL" } };
}

function outOfOrder(frame: OwnerFrame, wanted: OwnerFrame["kind"]): ClassifiedFault {
  return new ClassifiedFault("fatal-target", {
    code: "FRAME_INVALID",
    reason: `${frame.kind} comes where ${wanted} has to`,
  });
}
