// Takes agents in: serves /godwit/migrate/1. Executes what the target machine commands for each incoming handoff, and tells
// it what happened. Everything that a peer sends is bounded and verified here before it reaches the rest of the host.

import type { Clock, Random } from "@godwit/common/clock";
import { withDeadline } from "@godwit/common/clock";
import { Fault, type FaultDetail, isFault } from "@godwit/common/fault";
import type { AuthorityRecord } from "@godwit/common/lease";
import { ClassifiedFault, delaysMs, type Failure, failureOf } from "@godwit/common/retry";
import { digestOf, readHeader, type VerifiedHeader, verifyHeader } from "@godwit/lineage";
import {
  type CheckpointFrame,
  ChunkAssembler,
  decodeReplay,
  decodeSourceFrame,
  encodeTargetFrame,
  FRAME_LIMITS,
  frameKindOf,
  type HandoffEndFrame,
  type HandoffFrame,
  type OfferFrame,
  type ReplayEndFrame,
  type ReplayRecord,
  type SourceFrame,
  type SourceWord,
  SpineAssembler,
  standingOf,
  startTarget,
  stepTarget,
  type TargetCommand,
  type TargetEvent,
  type TargetFrame,
  type TargetOutcome,
} from "@godwit/migration";
import type { Manifest, ReplayedTicks } from "@godwit/sandbox";
import type { Logger } from "pino";
import {
  admitPeer,
  asClassified,
  asError,
  type ByteStream,
  FramedStream,
  type FrameStream,
  type IsKnownHost,
  type StreamFaults,
  type StreamServer,
} from "../p2p/index.ts";
import { admitOffer, checkPrice } from "./admit-offer.ts";
import type { Reaches, TargetCrashPoint } from "./crash-points.ts";
import { Deadline } from "./deadline.ts";
import { Mailbox } from "./mailbox.ts";
import type { IncomingAgent, TargetHost } from "./ports.ts";
import {
  type VerifiedCheckpoint,
  type VerifiedHandoff,
  verifyCheckpoint,
  verifyHandoff,
  verifyOfferedSpine,
} from "./verify-handoff.ts";
import { type Replayed, replayTail, replayWindow } from "./verify-replay.ts";
import { MIGRATE_PROTOCOL, type MigrationTimeouts } from "./wire.ts";

export interface MigrationTargetParts {
  readonly server: StreamServer;
  readonly host: TargetHost;
  readonly isKnownHost: IsKnownHost;
  readonly faults: StreamFaults;
  readonly crashPoints: Reaches<TargetCrashPoint>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface MigrationTargetRules {
  /** Handoffs at one time; others are answered TARGET_BUSY. */
  readonly maxIncoming: number;
  readonly timeouts: MigrationTimeouts;
}

/** Claims are repeated until the registry answers, with the longest pause between two of them here. */
const claimRetry = { attempts: 6, firstDelayMs: 250, maxDelayMs: 2_000 };
const maxStreams = 64;
/** Streams, of all peers together, that have not been let in yet: the rest is reset unheard. */
const maxWaiting = 256;

export class MigrationTarget {
  readonly #parts: MigrationTargetParts;
  readonly #rules: MigrationTargetRules;
  readonly #arriving = new Set<Handover>();
  #admitted = 0;

  constructor(parts: MigrationTargetParts, rules: MigrationTargetRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  async start(): Promise<void> {
    const limits = { maxInboundStreams: maxStreams, maxOutboundStreams: maxStreams };
    await this.#parts.server.serve(MIGRATE_PROTOCOL, limits, (stream, remote) => this.#serve(stream, remote));
  }

  /** What was claimed goes on until the registry answers or the host ends; the journal settles the rest. */
  async stop(): Promise<void> {
    await this.#parts.server.unserve(MIGRATE_PROTOCOL);
    await Promise.all([...this.#arriving].map((handover) => handover.stop()));
  }

  async #serve(stream: ByteStream, sourceHostId: string): Promise<void> {
    const framed = this.#parts.faults.wrap(new FramedStream(stream), { sent: frameKindOf, received: frameKindOf });
    if (this.#arriving.size >= this.#rules.maxIncoming + maxWaiting) return framed.abort(new Error("too many streams"));
    const slots = { take: () => this.#takeSlot(), release: () => this.#admitted-- };
    const handover = new Handover(this.#parts, this.#rules.timeouts, { stream: framed, sourceHostId, slots });
    this.#arriving.add(handover);
    try {
      const outcome = await handover.run();
      this.#parts.logger.info({ sourceHostId, outcome: outcome.kind }, "incoming handoff ended");
    } finally {
      this.#arriving.delete(handover);
    }
  }

  #takeSlot(): boolean {
    if (this.#admitted >= this.#rules.maxIncoming) return false;
    this.#admitted++;
    return true;
  }
}

/** Places for handoffs of hosts that the registry knows: whoever says nothing, or is a stranger, takes none. */
interface Slots {
  take(): boolean;
  release(): void;
}

class Handover {
  readonly #parts: MigrationTargetParts;
  readonly #timeouts: MigrationTimeouts;
  readonly #stream: FrameStream;
  readonly #sourceHostId: string;
  readonly #slots: Slots;
  #hasSlot = false;
  readonly #mailbox = new Mailbox<TargetEvent>();
  readonly #deadline: Deadline;
  readonly #ended = new AbortController();
  #writing: Promise<void> = Promise.resolve();
  #finished: Promise<unknown> = Promise.resolve();
  #offer: OfferFrame | undefined;
  #module: ChunkAssembler | undefined;
  readonly #spine = new SpineAssembler();
  #spineReceipts: readonly Uint8Array[] = [];
  #verifiedSpine: readonly VerifiedHeader[] = [];
  #isPrepared = false;
  #replay: ChunkAssembler | undefined;
  /** The window before PREPARED, the tail after it. */
  #record: ReplayRecord | undefined;
  #replayed: Replayed | undefined;
  #tail: Promise<void> | undefined;
  #checkpoint: CheckpointFrame | undefined;
  /** All of the frozen checkpoint, from when its last byte came. */
  #arrived: VerifiedCheckpoint | undefined;
  #handoff: HandoffFrame | undefined;
  #state: ChunkAssembler | undefined;
  #end: HandoffEndFrame | undefined;
  #manifest: Manifest | undefined;
  #agent: IncomingAgent | undefined;
  #verified: VerifiedHandoff | undefined;
  #granted: AuthorityRecord | undefined;
  #outcome: TargetOutcome | undefined;

  constructor(
    parts: MigrationTargetParts,
    timeouts: MigrationTimeouts,
    incoming: { readonly stream: FrameStream; readonly sourceHostId: string; readonly slots: Slots },
  ) {
    this.#parts = parts;
    this.#timeouts = timeouts;
    this.#stream = incoming.stream;
    this.#sourceHostId = incoming.sourceHostId;
    this.#slots = incoming.slots;
    this.#deadline = new Deadline(parts.clock);
  }

  run(): Promise<TargetOutcome> {
    const running = this.#run();
    this.#finished = running.catch(() => {});
    return running;
  }

  async stop(): Promise<void> {
    this.#mailbox.post({ kind: "stopping" });
    await this.#finished;
  }

  async #run(): Promise<TargetOutcome> {
    let { state, commands } = startTarget();
    void this.#read();
    try {
      for (;;) {
        for (const command of commands) this.#execute(command);
        if (this.#outcome !== undefined) break;
        ({ state, commands } = stepTarget(state, await this.#mailbox.take()));
      }
      await this.#writing;
      return this.#outcome;
    } finally {
      this.#deadline.clear();
      this.#ended.abort(new Fault({ code: "CANCELLED", what: "the handoff" }));
      this.#agent?.ended();
      if (this.#hasSlot) this.#slots.release();
    }
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#stream.read(this.#ended.signal);
        if (bytes === undefined) return this.#mailbox.post({ kind: "stream-closed", reason: "the source closed it" });
        this.#mailbox.post({ kind: "frame", frame: this.#word(decodeSourceFrame(bytes)) });
      }
    } catch (cause) {
      if (this.#ended.signal.aborted) return;
      if (isFault(cause, "FRAME_INVALID")) this.#mailbox.post({ kind: "frame-invalid", reason: cause.detail.reason });
      else this.#mailbox.post({ kind: "stream-closed", reason: asError(cause).message });
    }
  }

  /** Keeps what came, and tells the machine what it has to know of it. Throws Fault FRAME_INVALID. */
  #word(frame: SourceFrame): SourceWord {
    switch (frame.kind) {
      case "offer":
        this.#offer ??= frame;
        this.#module ??= new ChunkAssembler({ what: "module", bytes: frame.moduleBytes, digest: frame.moduleDigest });
        return { kind: "offer", handoffId: frame.handoffId, agentId: frame.agentId };
      case "module":
        this.#module?.add(frame);
        return { kind: "module", complete: this.#module?.isComplete ?? false };
      case "replay":
        this.#replay ??= new ChunkAssembler({ what: "replay", bytes: FRAME_LIMITS.maxReplayBytes, digest: undefined });
        this.#replay.add(frame);
        return { kind: "replay" };
      case "replay-end":
        this.#record = this.#takeReplay(frame);
        return { kind: "replay" };
      case "spine":
        this.#spine.add(frame);
        if (frame.last) this.#spineReceipts = frame.receipts;
        return { kind: "spine", last: frame.last };
      case "checkpoint": {
        this.#checkpoint ??= frame;
        const { maxStateBytes } = this.#parts.host.facts();
        this.#state ??= new ChunkAssembler({ what: "state", bytes: maxStateBytes, digest: undefined });
        if (frame.state.length > 0) this.#state.add({ offset: 0, data: frame.state });
        this.#lookAhead();
        return { kind: "checkpoint", handoffId: frame.handoffId };
      }
      case "state":
        this.#state?.add(frame);
        this.#lookAhead();
        return { kind: "state" };
      case "handoff":
        this.#handoff ??= frame;
        return { kind: "handoff", handoffId: frame.handoffId };
      case "handoff-end":
        this.#end ??= frame;
        return { kind: "handoff-end" };
    }
  }

  #execute(command: TargetCommand): void {
    const { crashPoints } = this.#parts;
    switch (command.kind) {
      case "await":
        this.#await(command.awaited);
        return;
      case "admit":
        this.#do(this.#admit(), refused);
        return;
      case "send-accept":
        this.#send(this.#accept());
        return;
      case "prepare":
        this.#deadline.clear();
        this.#do(this.#prepare(), refused);
        return;
      case "send-prepared":
        this.#send({ kind: "prepared", handoffId: this.#offered().handoffId });
        return;
      case "stage":
        this.#deadline.clear();
        crashPoints.reach("target.before-stage");
        this.#do(this.#stage(), refused);
        return;
      case "drop":
        this.#do(
          this.#incoming()
            .drop()
            .then(() => ({ kind: "dropped" })),
          () => ({ kind: "dropped" }), // it stays staged, and the journal's note has the registry asked about it
        );
        return;
      case "claim":
        crashPoints.reach("target.before-claim");
        this.#do(this.#claim(command.attempt), () => ({ kind: "claim-answered", answer: { kind: "unknown" } }));
        return;
      case "start":
        crashPoints.reach("target.before-start");
        this.#do(this.#start(), (cause) => ({ kind: "start-failed", fault: faultOf(cause) }));
        return;
      case "send-started":
        crashPoints.reach("target.before-reply");
        this.#send(this.#started());
        return;
      case "abandon":
        this.#do(
          this.#incoming()
            .abandon()
            .then(() => ({ kind: "abandoned" })),
          () => ({ kind: "abandoned" }),
        );
        return;
      case "send-refused":
        this.#send({ kind: "refused", handoffId: this.#offer?.handoffId ?? "", failure: command.failure });
        return;
      case "close-stream":
        this.#deadline.clear();
        this.#close();
        return;
      case "end":
        this.#outcome = command.outcome;
        this.#parts.logger.debug({ outcome: command.outcome }, "handoff");
    }
  }

  async #admit(): Promise<TargetEvent> {
    const { host, isKnownHost } = this.#parts;
    const facts = host.facts();
    const offer = this.#offered();
    const { signal } = this.#ended;
    await admitPeer(isKnownHost, { remoteHostId: this.#sourceHostId, hostId: facts.hostId }, signal);
    signal.throwIfAborted();
    this.#hasSlot = this.#slots.take();
    if (!this.#hasSlot) throw new ClassifiedFault("retriable", { code: "TARGET_BUSY", hostId: facts.hostId });
    this.#manifest = admitOffer(offer, facts);
    const agent = await host.admit(offer, this.#sourceHostId, signal);
    // The source went meanwhile: nobody else would tell the agent that its handoff is over.
    if (signal.aborted) agent.ended();
    signal.throwIfAborted();
    this.#agent = agent;
    return { kind: "admitted", needModule: agent.needModule };
  }

  #accept(): TargetFrame {
    const { handoffId } = this.#offered();
    const { needModule, spineKnown } = this.#incoming();
    const [newest] = spineKnown;
    return {
      kind: "accept",
      handoffId,
      needModule,
      pricePerSecond: this.#parts.host.facts().pricePerSecond,
      spineKnown: newest === undefined ? undefined : digestOf(newest.payload),
    };
  }

  async #prepare(): Promise<TargetEvent> {
    const agent = this.#incoming();
    const { signal } = this.#ended;
    const breathe = () => this.#parts.clock.sleep(0, signal);
    this.#verifiedSpine = await verifyOfferedSpine(this.#spine.headers, agent.spineKnown, this.#terms(), breathe);
    await agent.prepare(agent.needModule ? this.#module?.finish() : undefined, signal);
    this.#checkPrice(); // while the agent still ticks at its source
    if (this.#parts.host.facts().verifiesReplays) {
      const run = (work: ReplayedTicks) => agent.replay(work, signal);
      this.#replayed = await replayWindow(this.#record, this.#verifiedSpine, this.#terms(), run);
    }
    this.#record = undefined;
    this.#isPrepared = true;
    return { kind: "prepared" };
  }

  /** Throws ClassifiedFault FRAME_INVALID. */
  #takeReplay({ bytes, digest }: ReplayEndFrame): ReplayRecord {
    const whole = this.#replay?.take(bytes) ?? new Uint8Array(0);
    this.#replay = undefined;
    if (digestOf(whole) !== digest) throw new Fault({ code: "FRAME_INVALID", reason: "the replay is another one" });
    return decodeReplay(whole);
  }

  /** The final ticks are run again while the source asks the registry; whether they came out right is asked before anything is staged. */
  #replayTail(frozen: VerifiedCheckpoint): Promise<void> {
    const from = this.#replayed;
    if (from === undefined) return Promise.resolve();
    const { signal } = this.#ended;
    const run = (work: ReplayedTicks) => this.#incoming().replay(work, signal);
    const { signed } = frozen.checkpoint;
    const terms = this.#terms();
    const tail = replayTail(this.#record, from, verifyHeader(signed, terms.registryKey), terms, run);
    tail.catch(() => {}); // heard when it is staged
    return tail;
  }

  /**
   * The frozen checkpoint is verified, and its instance made, while the source still asks the registry. What is wrong with
   * it is said when it is handed over: until then it is nothing but bytes.
   */
  #lookAhead(): void {
    const frame = this.#checkpoint;
    if (!this.#isPrepared || frame === undefined || this.#arrived !== undefined) return;
    try {
      const { stateBytes } = readHeader(frame.checkpoint.payload);
      if (this.#state?.receivedBytes !== Number(stateBytes)) return;
      this.#arrived = this.#verifyCheckpoint(frame, this.#state.take(Number(stateBytes)));
      this.#incoming().expect(this.#arrived.checkpoint);
      this.#tail = this.#replayTail(this.#arrived);
    } catch (cause) {
      if (!isFault(cause)) this.#parts.logger.error({ err: cause }, "incoming checkpoint");
    }
  }

  #verifyCheckpoint(frame: CheckpointFrame, state: Uint8Array): VerifiedCheckpoint {
    const kept = frame.receiptsKept === 0 ? [] : this.#spineReceipts.slice(-frame.receiptsKept);
    const receipts = [...kept, ...frame.receipts];
    return verifyCheckpoint(frame.checkpoint, { state, receipts }, this.#verifiedSpine, this.#terms());
  }

  async #stage(): Promise<TargetEvent> {
    const checkpoint = this.#checkpoint;
    const handoff = this.#handoff;
    const end = this.#end;
    if (checkpoint === undefined || handoff === undefined || end === undefined) throw new TypeError("no handoff came");
    const state = this.#state?.take(end.stateBytes) ?? new Uint8Array(0);
    // What was seen ahead counts only as long as nothing came after it.
    const seen = this.#arrived?.checkpoint.state.length === state.length ? this.#arrived : undefined;
    const arrived = seen ?? this.#verifyCheckpoint(checkpoint, state);
    // T-45: what could not begin ahead, or began with less than came, is done now; nothing is staged without it.
    const ahead = seen === undefined ? undefined : this.#tail;
    await (ahead ?? this.#replayTail(arrived));
    this.#verified = verifyHandoff(handoff, end, arrived, this.#terms());
    this.#checkPrice();
    await this.#incoming().stage(this.#verified);
    this.#parts.crashPoints.reach("target.after-stage");
    return { kind: "staged" };
  }

  /** T-24: it may have changed since the offer, and it is what the first tick will be charged. */
  #checkPrice(): void {
    if (this.#manifest === undefined) throw new TypeError("nothing was admitted");
    checkPrice(this.#manifest, this.#parts.host.facts());
  }

  async #claim(attempt: number): Promise<TargetEvent> {
    const { clock, random, crashPoints } = this.#parts;
    if (attempt > 1) {
      const delays = [...delaysMs(claimRetry, random)];
      await clock.sleep(delays[Math.min(attempt - 2, delays.length - 1)] ?? 0, this.#ended.signal);
    }
    const result = await this.#incoming().claim();
    crashPoints.reach("target.after-claim");
    if (result.kind === "granted") {
      this.#granted = result.record;
      return { kind: "claim-answered", answer: { kind: "granted" } };
    }
    if (result.kind === "unknown") return { kind: "claim-answered", answer: { kind: "unknown" } };
    const { handoffId, era, major } = this.#offered();
    const standing = standingOf(result.record, { handoffId, era, major }, result.session);
    if (standing === "ours") this.#granted = result.record;
    return { kind: "claim-answered", answer: { kind: "refused", standing } };
  }

  async #start(): Promise<TargetEvent> {
    if (this.#granted === undefined) throw new TypeError("no claim was granted");
    await this.#incoming().start(this.#granted);
    return { kind: "started" };
  }

  #started(): TargetFrame {
    const { handoffId, agentId, era, major } = this.#offered();
    const checkpointDigest = this.#verified?.checkpoint.digest ?? "";
    return { kind: "started", handoffId, agentId, checkpointDigest, era, major: major + 1n };
  }

  #await(awaited: (TargetCommand & { kind: "await" })["awaited"]): void {
    const { acceptMs, partMs, slowestBytesPerMs } = this.#timeouts;
    const { moduleBytes = 0, stateBytes = 0 } = this.#offer ?? {};
    const bytes = { offer: 0, module: moduleBytes, spine: stateBytes, checkpoint: 0, handoff: stateBytes }[awaited];
    const ms = (awaited === "offer" ? acceptMs : partMs) + Math.ceil(bytes / slowestBytesPerMs);
    this.#deadline.set(ms, () => this.#mailbox.post({ kind: "deadline", awaited, afterMs: ms }));
  }

  #send(frame: TargetFrame): void {
    this.#writing = this.#writing.then(async () => {
      try {
        await this.#stream.write([encodeTargetFrame(frame)], this.#ended.signal);
        if (frame.kind === "started") this.#parts.crashPoints.reach("target.after-reply");
      } catch (cause) {
        if (!this.#ended.signal.aborted) this.#mailbox.post({ kind: "stream-closed", reason: asError(cause).message });
      }
    });
  }

  #close(): void {
    const deadline = {
      what: "the end of the stream",
      ms: this.#timeouts.closeMs,
      signal: new AbortController().signal,
    };
    this.#writing = this.#writing.then(() =>
      withDeadline(this.#parts.clock, deadline, (signal) => this.#stream.close(signal)).catch((cause: unknown) =>
        this.#stream.abort(asError(cause)),
      ),
    );
  }

  #do(work: Promise<TargetEvent>, otherwise: (cause: unknown) => TargetEvent): void {
    work.then(
      (event) => this.#mailbox.post(event),
      (cause: unknown) => {
        if (!isFault(cause)) this.#parts.logger.error({ err: cause }, "incoming handoff");
        this.#mailbox.post(otherwise(cause));
      },
    );
  }

  #terms() {
    const { hostId, registryKey } = this.#parts.host.facts();
    if (registryKey === undefined) {
      throw new ClassifiedFault("retriable", { code: "SESSION_NOT_OPEN", reason: "no session was opened yet" });
    }
    return { offer: this.#offered(), sourceHostId: this.#sourceHostId, targetHostId: hostId, registryKey };
  }

  #offered(): OfferFrame {
    if (this.#offer === undefined) throw new TypeError("nothing was offered");
    return this.#offer;
  }

  #incoming(): IncomingAgent {
    if (this.#agent === undefined) throw new TypeError("nothing was admitted");
    return this.#agent;
  }
}

function refused(cause: unknown): TargetEvent {
  const classified = asClassified(cause);
  const failure: Failure = failureOf(classified) ?? { class: "retriable", fault: classified.detail };
  return { kind: "refused", failure };
}

function faultOf(cause: unknown): FaultDetail {
  return isFault(cause) ? cause.detail : { code: "INTERNAL" };
}
