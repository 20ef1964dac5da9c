// One attempt to hand an agent to one target: executes what the source machine commands, and tells it what happened.
// It decides nothing: every choice is in @godwit/migration's source.ts.

import { type Clock, deadlineSignal, withDeadline } from "@godwit/common/clock";
import { Fault, type FaultDetail, isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { type Failure, failureOf } from "@godwit/common/retry";
import { refOf } from "@godwit/lineage";
import {
  chunksOf,
  decodeTargetFrame,
  encodeSourceFrame,
  FRAME_LIMITS,
  frameKindOf,
  type SourceCommand,
  type SourceEvent,
  type SourceFrame,
  type SourceOutcome,
  type SourcePlan,
  replayFrames,
  spineFrames,
  startSource,
  stepSource,
  type Trouble,
} from "@godwit/migration";
import { asError, FramedStream, type FrameStream, type StreamFaults, type StreamOpener } from "../p2p/index.ts";
import type { Reaches, SourceCrashPoint } from "./crash-points.ts";
import { Deadline } from "./deadline.ts";
import { Mailbox } from "./mailbox.ts";
import type { AgentDescription, Frozen, MigrationDirectory, SourceAgent } from "./ports.ts";
import { MIGRATE_PROTOCOL, type MigrationTimeouts } from "./wire.ts";

export interface AttemptParts {
  readonly opener: StreamOpener;
  readonly directory: MigrationDirectory;
  readonly faults: StreamFaults;
  readonly crashPoints: Reaches<SourceCrashPoint>;
  readonly clock: Clock;
}

/** What happened on the way, for whoever follows the migration. */
export type AttemptStep =
  | "offered"
  | "accepted"
  | "module-sent"
  | "prepared"
  | "frozen"
  | "begun"
  | "relinquished"
  | "handed-off"
  | "started"
  | "resolving"
  | "recovered"
  | "reverted";

export interface AttemptFigures {
  /** From where the agent could not tick any more to the arrival of STARTED; undefined when none came. */
  readonly blackoutMs: number | undefined;
  readonly bytesAfterFreeze: number;
  readonly tick: bigint;
}

export class SourceAttempt {
  readonly #parts: AttemptParts;
  readonly #timeouts: MigrationTimeouts;
  readonly #agent: SourceAgent;
  readonly #description: AgentDescription;
  readonly #plan: SourcePlan;
  readonly #onStep: (step: AttemptStep, note: string) => void;
  readonly #mailbox = new Mailbox<SourceEvent>();
  readonly #deadline: Deadline;
  readonly #ended = new AbortController();
  readonly #left = new AbortController();
  #stream: FrameStream | undefined;
  #writing: Promise<void> = Promise.resolve();
  #frozen: Frozen | undefined;
  #token: SignedBytes | undefined;
  #sentReceipts: readonly Uint8Array[] = [];
  #bytesAfterFreeze = 0;
  #startedAtMs: number | undefined;
  #outcome: SourceOutcome | undefined;

  constructor(
    parts: AttemptParts,
    timeouts: MigrationTimeouts,
    attempt: {
      readonly agent: SourceAgent;
      readonly description: AgentDescription;
      readonly plan: SourcePlan;
      readonly onStep: (step: AttemptStep, note: string) => void;
    },
  ) {
    this.#parts = parts;
    this.#timeouts = timeouts;
    this.#agent = attempt.agent;
    this.#description = attempt.description;
    this.#plan = attempt.plan;
    this.#onStep = attempt.onStep;
    this.#deadline = new Deadline(parts.clock);
  }

  get figures(): AttemptFigures {
    const ended = this.#frozen?.stoppedAtMs;
    const blackoutMs =
      ended === undefined || this.#startedAtMs === undefined ? undefined : Math.max(0, this.#startedAtMs - ended);
    return { blackoutMs, bytesAfterFreeze: this.#bytesAfterFreeze, tick: this.#frozen?.checkpoint.header.tick ?? 0n };
  }

  /** The caller gave up; only heard before the agent was relinquished (GH-1). */
  cancel(): void {
    this.#mailbox.post({ kind: "cancelled" });
  }

  /** The host stops: nobody waits for the registry any more, the journal has what it takes to go on (§7). */
  leave(): void {
    this.#left.abort(new Fault({ code: "SHUTTING_DOWN" }));
    this.#mailbox.post({ kind: "stream-closed", reason: "this host stops" });
  }

  async run(): Promise<SourceOutcome> {
    let { state, commands } = startSource(this.#plan);
    try {
      for (;;) {
        for (const command of commands) this.#execute(command);
        if (this.#outcome !== undefined) return this.#outcome;
        ({ state, commands } = stepSource(state, await this.#mailbox.take()));
      }
    } finally {
      this.#deadline.clear();
      this.#ended.abort(new Fault({ code: "CANCELLED", what: "the attempt" }));
    }
  }

  #execute(command: SourceCommand): void {
    const { crashPoints } = this.#parts;
    switch (command.kind) {
      case "connect":
        this.#do(this.#connect(), (cause) => ({ kind: "connection-failed", ...connectTrouble(cause) }));
        return;
      case "send-offer":
        this.#send(async () => [this.#offer()], "offered");
        return;
      case "send-module":
        this.#send(async () => chunksOf("module", await this.#agent.module()), "module-sent");
        return;
      case "send-spine":
        this.#send(() => this.#spine(command.known), "accepted");
        return;
      case "await":
        this.#await(command.awaited);
        return;
      case "freeze":
        this.#onStep("prepared", "");
        this.#do(this.#freeze(), (cause) => ({ kind: "freeze-failed", failure: ownFailure(cause) }));
        return;
      case "send-checkpoint":
        this.#send(async () => {
          // The question to the registry leaves first, which takes a few turns of the event loop.
          await this.#parts.clock.sleep(1, this.#ended.signal);
          return this.#copy();
        }, undefined);
        return;
      case "begin":
        crashPoints.reach("source.before-begin");
        this.#do(this.#begin(), () => ({ kind: "begin-answered", answer: { kind: "unknown" } }));
        return;
      case "write-relinquished":
        crashPoints.reach("source.before-relinquish");
        this.#do(this.#relinquish(), (cause) => ({ kind: "journal-failed", fault: faultOf(cause) }));
        return;
      case "send-handoff":
        crashPoints.reach("source.before-send-handoff");
        this.#send(async () => this.#handoff(), "handed-off");
        return;
      case "revert":
        this.#do(this.#revert(), () => ({ kind: "revert-answered", answer: { kind: "unknown" } }));
        return;
      case "thaw":
        this.#agent.thaw();
        return;
      case "resolve":
        this.#onStep("resolving", "asking the registry who owns the agent");
        this.#do(this.#resolve(), () => ({ kind: "resolved", resolution: { kind: "unresolved" } }));
        return;
      case "retire":
        if (this.#startedAtMs !== undefined) crashPoints.reach("source.after-started");
        this.#do(this.#retire(command.ownerHostId, command), () => ({ kind: "retired" }));
        return;
      case "close-stream":
        this.#deadline.clear();
        this.#closeStream();
        return;
      case "end":
        this.#outcome = command.outcome;
    }
  }

  async #connect(): Promise<SourceEvent> {
    const { opener, directory } = this.#parts;
    const { targetHostId: hostId } = this.#plan;
    using limited = deadlineSignal(this.#parts.clock, {
      what: `a connection to host ${hostId}`,
      ms: this.#timeouts.connectMs,
      signal: this.#ended.signal,
    });
    const { signal } = limited;
    const addresses = await directory.addressesOf(hostId, signal);
    const stream = await opener.open({ hostId, addresses }, MIGRATE_PROTOCOL, signal);
    if (this.#ended.signal.aborted) stream.abort(new Error("the attempt is over")); // cancelled while it was opened
    this.#stream = this.#parts.faults.wrap(new FramedStream(stream), { sent: frameKindOf, received: frameKindOf });
    void this.#read(this.#stream);
    return { kind: "connected" };
  }

  async #read(stream: FrameStream): Promise<void> {
    try {
      for (;;) {
        const bytes = await stream.read(this.#ended.signal);
        if (bytes === undefined) return this.#mailbox.post({ kind: "stream-closed", reason: "the target closed it" });
        const frame = decodeTargetFrame(bytes, this.#plan.targetHostId);
        if (frame.kind === "started") {
          this.#startedAtMs = this.#parts.clock.monotonicMs();
          this.#onStep("started", "");
        }
        this.#mailbox.post({ kind: "frame", frame });
      }
    } catch (cause) {
      if (this.#ended.signal.aborted) return;
      if (isFault(cause, "FRAME_INVALID")) this.#mailbox.post({ kind: "frame-invalid", reason: cause.detail.reason });
      else this.#mailbox.post({ kind: "stream-closed", reason: asError(cause).message });
    }
  }

  async #freeze(): Promise<SourceEvent> {
    const frozen = await this.#agent.freeze(this.#plan.handoffId, this.#ended.signal);
    this.#frozen = frozen;
    const checkpoint = refOf(frozen.checkpoint);
    this.#onStep("frozen", `at tick ${checkpoint.tick}`);
    return { kind: "frozen", checkpoint };
  }

  async #begin(): Promise<SourceEvent> {
    const { handoffId, targetHostId } = this.#plan;
    const answer = await this.#agent.begin({ handoffId, targetHostId });
    this.#parts.crashPoints.reach("source.after-begin");
    if (answer.kind === "applied") this.#onStep("begun", "");
    return { kind: "begin-answered", answer };
  }

  async #relinquish(): Promise<SourceEvent> {
    const { handoffId, targetHostId } = this.#plan;
    this.#token = await this.#agent.relinquish({ handoffId, targetHostId });
    this.#parts.crashPoints.reach("source.after-relinquish");
    this.#onStep("relinquished", "");
    return { kind: "journaled" };
  }

  async #revert(): Promise<SourceEvent> {
    const answer = await this.#agent.revert();
    if (answer.kind === "applied") this.#onStep("reverted", "");
    return { kind: "revert-answered", answer };
  }

  async #resolve(): Promise<SourceEvent> {
    const resolution = await this.#agent.resolve(this.#left.signal);
    if (resolution.kind === "recovered") this.#onStep("recovered", `as major ${resolution.major}`);
    return { kind: "resolved", resolution };
  }

  async #retire(
    ownerHostId: string,
    { era, major }: { readonly era: bigint; readonly major: bigint },
  ): Promise<SourceEvent> {
    await this.#agent.retire({ ownerHostId, era, major });
    this.#parts.crashPoints.reach("source.after-retire");
    return { kind: "retired" };
  }

  #offer(): SourceFrame {
    const { name, tick, stateBytes, budget, manifest, moduleDigest, moduleBytes } = this.#description;
    const { handoffId, agentId, era, major } = this.#plan;
    const described = { name, tick, stateBytes, budget, manifest, moduleDigest, moduleBytes };
    return { kind: "offer", handoffId, agentId, era, major, ...described };
  }

  async #spine(known: string | undefined): Promise<Iterable<SourceFrame>> {
    const record = await this.#agent.replayRecord();
    this.#sentReceipts = this.#agent.receipts();
    const spine = await this.#agent.spine();
    return [...replayFrames(record), ...spineFrames(spine, known, this.#sentReceipts)];
  }

  /** Of what is on the disk, so that the target has it, verified, by the time the token comes. */
  *#copy(): Generator<SourceFrame> {
    if (this.#frozen === undefined) throw new TypeError("nothing was frozen");
    const { checkpoint, receipts, replayTail } = this.#frozen;
    const { state, signed } = checkpoint;
    yield* replayFrames(replayTail);
    const whole = state.length <= FRAME_LIMITS.chunkBytes;
    const kept = keptReceipts(this.#sentReceipts, receipts);
    yield {
      kind: "checkpoint",
      handoffId: this.#plan.handoffId,
      checkpoint: signed,
      receipts: receipts.slice(kept),
      receiptsKept: kept,
      state: whole ? state : new Uint8Array(0),
    };
    if (!whole) yield* chunksOf("state", state);
  }

  *#handoff(): Generator<SourceFrame> {
    const token = this.#token;
    if (this.#frozen === undefined || token === undefined) throw new TypeError("nothing was frozen and relinquished");
    const { state, header } = this.#frozen.checkpoint;
    yield { kind: "handoff", handoffId: this.#plan.handoffId, token };
    yield { kind: "handoff-end", stateBytes: state.length, stateDigest: header.stateDigest };
  }

  /** Frames leave in the order of the commands; what cannot be sent ends the stream for the machine. */
  #send(frames: () => Promise<Iterable<SourceFrame>>, step: AttemptStep | undefined): void {
    this.#writing = this.#writing.then(async () => {
      const stream = this.#stream;
      if (stream === undefined) return;
      let ready: Iterable<SourceFrame>;
      try {
        ready = await frames();
      } catch (cause) {
        this.#mailbox.post({ kind: "unable", fault: faultOf(cause) });
        return;
      }
      try {
        await this.#write(stream, ready);
        if (step === "handed-off") this.#parts.crashPoints.reach("source.after-send-handoff");
        if (step !== undefined) this.#onStep(step, "");
      } catch (cause) {
        if (!this.#ended.signal.aborted) this.#mailbox.post({ kind: "stream-closed", reason: asError(cause).message });
      }
    });
  }

  /** Small frames leave in one packet; large ones one by one, as the stream takes them. */
  async #write(stream: FrameStream, frames: Iterable<SourceFrame>): Promise<void> {
    let together: Uint8Array[] = [];
    let bytes = 0;
    const flush = async () => {
      await stream.write(together, this.#ended.signal);
      together = [];
      bytes = 0;
    };
    for (const frame of frames) {
      const encoded = encodeSourceFrame(frame);
      if (this.#frozen !== undefined) this.#bytesAfterFreeze += encoded.length;
      together.push(encoded);
      bytes += encoded.length;
      if (bytes >= FRAME_LIMITS.chunkBytes) await flush();
    }
    if (together.length > 0) await flush();
  }

  #await(awaited: "accept" | "prepared" | "started"): void {
    const { acceptMs, preparedMs, startedMs, slowestBytesPerMs } = this.#timeouts;
    const { moduleBytes } = this.#description;
    const stateBytes = this.#frozen?.checkpoint.state.length ?? this.#description.stateBytes;
    const ms = {
      accept: acceptMs,
      prepared: preparedMs + Math.ceil((moduleBytes + stateBytes) / slowestBytesPerMs),
      started: startedMs + Math.floor(stateBytes / slowestBytesPerMs),
    }[awaited];
    this.#deadline.set(ms, () => this.#mailbox.post({ kind: "deadline", awaited, afterMs: ms }));
  }

  #closeStream(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream === undefined) return;
    const deadline = {
      what: "the end of the stream",
      ms: this.#timeouts.closeMs,
      signal: new AbortController().signal,
    };
    withDeadline(this.#parts.clock, deadline, (signal) => stream.close(signal)).catch((cause: unknown) =>
      stream.abort(asError(cause)),
    );
  }

  #do(work: Promise<SourceEvent>, otherwise: (cause: unknown) => SourceEvent): void {
    work.then(
      (event) => this.#mailbox.post(event),
      (cause: unknown) => this.#mailbox.post(otherwise(cause)),
    );
  }
}

/** How many of the newest receipts that were sent before stand at the front of those that are sent now. */
function keptReceipts(before: readonly Uint8Array[], now: readonly Uint8Array[]): number {
  for (let kept = Math.min(before.length, now.length); kept > 0; kept--) {
    const same = before
      .slice(-kept)
      .every((receipt, index) => Buffer.from(receipt).equals(now[index] ?? new Uint8Array(0)));
    if (same) return kept;
  }
  return 0;
}

/** Nothing was sent yet. Only a target that cannot be reached has itself to blame: the others the registry did not find. */
function connectTrouble(cause: unknown): Trouble {
  const failure = failureOf(cause);
  if (failure !== undefined) return { failure, by: "target" };
  const failureClass = isFault(cause, "HOST_UNKNOWN") ? "fatal-target" : "retriable";
  return { failure: { class: failureClass, fault: faultOf(cause) }, by: "source" };
}

/** The agent's own side could not: no other target would change that, but time may. */
function ownFailure(cause: unknown): Failure {
  const passing = isFault(cause, "LEASE_EXPIRED", "TICK_FAILED");
  return failureOf(cause) ?? { class: passing ? "retriable" : "fatal-migration", fault: faultOf(cause) };
}

function faultOf(cause: unknown): FaultDetail {
  return isFault(cause) ? cause.detail : { code: "INTERNAL" };
}
