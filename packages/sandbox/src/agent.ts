// One agent, as the host sees it. It holds the agent's state, outside the worker.
//
// A-1  The state is that of the last tick that went well, or what `restore` was given. Nothing else changes it.
// A-2  An instance in a worker is worth something only while its state is this one: after a failure, after a tick that was given up and
//      after the loss of the worker the next job makes a new instance from the state.
// A-3  A tick that was given up never happened: what its worker answers later is not looked at.

import { Fault } from "@godwit/common/fault";
import type { HostcallName } from "./abi.ts";
import type { WasmModule } from "./engine.ts";
import type { TickToRepeat } from "./events/event-log.ts";
import type { HostView, Load, Phase, RunAnswer, RunRequest } from "./messages.ts";
import type { Lane, LaneThread, Loss, Outcome } from "./pool/lane.ts";
import { takeTurn, type Turn } from "./pool/turn.ts";
import type { ReplayResult, ReplayWork } from "./replay.ts";
import type { WasiGrant } from "./wasi-abi.ts";

export interface TickInput {
  readonly balanceMicrocents: bigint;
  readonly pricePerSecond: bigint;
  readonly receipts: readonly Uint8Array[];
}

export type TickFailure = "trap" | "time-out" | "memory" | "worker-lost" | "bad-result";

interface TickRecord {
  /** Around `agent_tick` only, measured where it ran. */
  readonly elapsedNs: bigint;
  /** In order; for others to see only once the tick is committed. */
  readonly logs: readonly string[];
  /** Messages that were too many or too long. */
  readonly logsDropped: number;
}

export type TickResult =
  | (TickRecord & {
      readonly kind: "ok";
      readonly moreWork: boolean;
      /** After the tick. Shared with the sandbox: never change it. */
      readonly state: Uint8Array;
      /** What the agent called of its host in this tick, and was answered: what `Sandbox.replay` needs. Never change it either. */
      readonly events: Uint8Array;
    })
  | (TickRecord & { readonly kind: "failed"; readonly reason: TickFailure; readonly message: string });

export interface AgentInstance {
  /** The state after `agent_init`, or the one that was resumed. */
  readonly initialState: Uint8Array;
  /** What the agent said while it was started. */
  readonly initialLogs: readonly string[];
  /**
   * Runs one tick. After a failed one the agent is at the state before it. Rejects with the signal's reason if that aborts first: then
   * the tick has not happened. One at a time: a second call before the first has ended is a bug of the caller.
   */
  tick(input: TickInput, signal: AbortSignal): Promise<TickResult>;
  /** Puts the agent back to a state, in a fresh instance. @throws Fault STATE_INVALID, MODULE_INVALID; the state counts even so. */
  restore(state: Uint8Array): Promise<void>;
  /**
   * Runs ticks of this agent once more, from the state before them, in an instance of their own; this one ticks on meanwhile. As
   * `Sandbox.replay` does, with this agent's module and limits.
   */
  replay(work: ReplayedTicks, signal: AbortSignal): Promise<ReplayResult>;
  /** Ends the instance; a tick under way rejects. */
  stop(): Promise<void>;
}

export interface ReplayedTicks {
  /** Before the first tick. */
  readonly state: Uint8Array;
  readonly ticks: readonly TickToRepeat[];
}

export interface AgentParts {
  readonly handle: number;
  readonly lane: Lane;
  /** Wall time for `clock_now`, in nanoseconds. */
  wallNs(): bigint;
  onStopped(agent: Agent): void;
  replay(work: ReplayWork, signal: AbortSignal): Promise<ReplayResult>;
}

export interface AgentCode {
  readonly module: WasmModule;
  readonly memoryExport: string;
  readonly maxMemoryBytes: number;
  readonly maxStateBytes: number;
  readonly hostcalls: readonly HostcallName[];
  readonly wasi: WasiGrant | undefined;
}

const noEvents = new Uint8Array(0);
const noInput: TickInput = { balanceMicrocents: 0n, pricePerSecond: 0n, receipts: [] };

export class Agent implements AgentInstance {
  readonly agentId: string;
  readonly #parts: AgentParts;
  readonly #code: AgentCode;
  readonly #tickTimeoutMs: number;
  #state: Uint8Array | undefined;
  #initial: { readonly state: Uint8Array; readonly logs: readonly string[] } = { state: new Uint8Array(0), logs: [] };
  #input: TickInput;
  /** Where an instance of this very state stands. */
  #home: LaneThread | undefined;
  /** The list that this instance was last sent. */
  #sentReceipts: readonly Uint8Array[] | undefined;
  #turn: Turn | undefined;
  #stopped = false;

  constructor(
    parts: AgentParts,
    options: {
      readonly agentId: string;
      readonly code: AgentCode;
      readonly state: Uint8Array | undefined;
      readonly input: TickInput | undefined;
      readonly tickTimeoutMs: number;
    },
  ) {
    this.#parts = parts;
    this.agentId = options.agentId;
    this.#code = options.code;
    this.#state = options.state && new Uint8Array(options.state);
    this.#input = options.input ?? noInput;
    this.#tickTimeoutMs = options.tickTimeoutMs;
  }

  get initialState(): Uint8Array {
    return this.#initial.state;
  }

  get initialLogs(): readonly string[] {
    return this.#initial.logs;
  }

  /** Makes the first instance. @throws Fault MODULE_INVALID, STATE_INVALID */
  async start(kind: "load" | "retake", signal: AbortSignal): Promise<void> {
    const answer = loaded(await this.#perform(kind, signal));
    this.#state = answer.state ?? this.#state ?? new Uint8Array(0);
    this.#initial = { state: this.#state, logs: answer.logs };
  }

  async tick(input: TickInput, signal: AbortSignal): Promise<TickResult> {
    this.#refuseSecondJob();
    this.#input = input;
    const outcome = await this.#perform("tick", signal);
    const result = tickResult(outcome, this.#tickTimeoutMs);
    if (result.kind === "ok")
      this.#state = result.state;
    else this.#home = undefined;
    return result;
  }

  async restore(state: Uint8Array): Promise<void> {
    this.#refuseSecondJob();
    this.#state = new Uint8Array(state);
    this.#home = undefined;
    loaded(await this.#perform("load", new AbortController().signal));
  }

  replay({ state, ticks }: ReplayedTicks, signal: AbortSignal): Promise<ReplayResult> {
    return this.#parts.replay({ agentId: this.agentId, code: this.#code, state, ticks }, signal);
  }

  async stop(): Promise<void> {
    this.end(new Error(`agent ${this.agentId} is stopped`));
  }

  end(reason: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#turn?.giveUp(reason);
    if (this.#home !== undefined) this.#parts.lane.drop(this.#parts.handle, this.#home);
    this.#home = undefined;
    this.#parts.onStopped(this);
  }

  async #perform(kind: RunRequest["kind"], signal: AbortSignal): Promise<RunOutcome> {
    this.#refuseSecondJob();
    const turn = takeTurn(
      this.#parts.lane,
      {
        agentId: this.agentId,
        request: (thread) => this.#request(kind, thread),
        onGivenUp: (began) => {
          this.#turn = undefined;
          if (began && !this.#stopped) this.#home = undefined;
        },
      },
      signal,
    );
    this.#turn = turn;
    const outcome = await turn.outcome;
    this.#turn = undefined;
    if (outcome.kind === "lost") {
      this.#home = undefined;
      return outcome;
    }
    const { answer } = outcome;
    if (answer.kind === "failed") this.#home = undefined;
    if (answer.kind !== "ok" && answer.kind !== "failed")
      throw new Error(`the worker answered ${kind} with ${answer.kind}`);
    return { kind: "answered", answer };
  }

  /** Built when the worker is known: whether an instance stands there decides what it must be sent. */
  #request(kind: RunRequest["kind"], thread: LaneThread): RunRequest {
    const load = this.#home === thread ? undefined : this.#load();
    this.#home = thread;
    return { kind, agent: this.#parts.handle, load, view: this.#view(load !== undefined) };
  }

  /** With a copy of the state: it is handed over, which is cheaper than to have it copied on the way. */
  #load(): Load {
    return { ...this.#code, state: this.#state && new Uint8Array(this.#state) };
  }

  #view(fresh: boolean): HostView {
    const { balanceMicrocents, pricePerSecond, receipts } = this.#input;
    const known = !fresh && receipts === this.#sentReceipts;
    this.#sentReceipts = receipts;
    return {
      wallNs: this.#parts.wallNs(),
      balanceMicrocents,
      pricePerSecond,
      receipts: known ? undefined : this.#visible(receipts),
    };
  }

  /** Copies, because posting a view posts all of the buffer under it. */
  #visible(receipts: readonly Uint8Array[]): Uint8Array[] {
    const { hostcalls } = this.#code;
    if (!hostcalls.includes("wallet_receipt") && !hostcalls.includes("wallet_receipt_count")) return [];
    return receipts.map((receipt) => new Uint8Array(receipt));
  }

  #refuseSecondJob(): void {
    if (this.#stopped) throw new Error(`agent ${this.agentId} is stopped`);
    if (this.#turn !== undefined) throw new Error(`agent ${this.agentId} is busy: wait for its tick to end`);
  }
}

type RunOutcome = Extract<Outcome, { kind: "lost" }> | { readonly kind: "answered"; readonly answer: RunAnswer };

function tickResult(outcome: RunOutcome, tickTimeoutMs: number): TickResult {
  if (outcome.kind === "lost") {
    const { loss } = outcome;
    const reason = loss.reason === "time-out" || loss.reason === "memory" ? loss.reason : "worker-lost";
    return { kind: "failed", reason, message: loss.message, elapsedNs: loss.ranNs, logs: [], logsDropped: 0 };
  }
  const { answer } = outcome;
  const { elapsedNs, logs, logsDropped } = answer;
  if (answer.kind === "failed") {
    return { kind: "failed", reason: answer.reason, message: answer.message, elapsedNs, logs, logsDropped };
  }
  // Whoever notices first, the host's watch or the tick's own end: the limit is the same.
  if (elapsedNs > BigInt(tickTimeoutMs) * 1_000_000n) {
    const message = `agent_tick ran for longer than ${tickTimeoutMs} ms`;
    return { kind: "failed", reason: "time-out", message, elapsedNs, logs, logsDropped };
  }
  if (answer.state === undefined) throw new Error("the worker answered a tick without a state");
  const { moreWork, state, events = noEvents } = answer;
  return { kind: "ok", moreWork, state, events, elapsedNs, logs, logsDropped };
}

function loaded(outcome: RunOutcome): Extract<RunAnswer, { kind: "ok" }> {
  if (outcome.kind === "lost") throw lostFault(outcome.loss);
  const { answer } = outcome;
  if (answer.kind === "ok") return answer;
  const said = answer.logs.length > 0 ? `; the agent said: ${answer.logs.join(" | ").slice(0, 500)}` : "";
  throw loadFault(answer.phase, answer.message + said);
}

function loadFault(phase: Phase, reason: string): Fault {
  return phase === "resume"
    ? new Fault({ code: "STATE_INVALID", reason })
    : new Fault({ code: "MODULE_INVALID", reason });
}

function lostFault({ message }: Loss): Fault {
  return new Fault({ code: "MODULE_INVALID", reason: `while the agent was started, ${message}` });
}
