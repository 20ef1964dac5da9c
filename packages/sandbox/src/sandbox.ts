// Runs agents in a small pool of worker threads.
//
// - An agent stays in one lane of the pool, and its state is held here, so that no worker is needed to know it.
// - Whatever an agent does costs that agent its tick; the agents that share its worker lose a moment, no tick and no state.
// - Nothing that an agent says or changes counts before the caller has its tick's result in hand.

import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { Capability } from "./abi.ts";
import { Agent, type AgentCode, type AgentInstance, type TickInput } from "./agent.ts";
import type { WasmModule } from "./engine.ts";
import type { TickToRepeat } from "./events/event-log.ts";
import type { WorkerLimits } from "./messages.ts";
import { checkDeclared } from "./module/admit.ts";
import { AdmittedModule, type CompiledModule, ModuleCache } from "./module/compiled.ts";
import { ModuleRefused } from "./module/reader.ts";
import { Lane, type WorkerLost } from "./pool/lane.ts";
import { Spares, type ThreadPool } from "./pool/spares.ts";
import { Replay, type ReplayResult, type ReplayWork } from "./replay.ts";
import { checkRules, type SandboxRules } from "./rules.ts";

export interface SandboxParts {
  readonly clock: Clock;
  /** For logs and counters. */
  onWorkerLost?(lost: WorkerLost): void;
  /**
   * 32 bytes from which time and chance of agents come, instead of the machine: what each worker does then depends only on what it is asked
   * for. Time limits are real ones all the same.
   */
  readonly seed?: Uint8Array;
  /** Where agents run; by default in worker threads. */
  threads?(limits: WorkerLimits): ThreadPool;
  /** Makes code of a module; by default in the background. */
  readonly compile?: (bytes: Uint8Array) => Promise<WasmModule>;
}

export interface StartOptions {
  /** For messages only. */
  readonly agentId: string;
  readonly module: CompiledModule;
  readonly capabilities: ReadonlySet<Capability>;
  /** The manifest's own limit; at most that of the rules. */
  readonly memoryLimitBytes?: number;
  /** At most the rules' tick time-out, which holds where this is absent or longer. */
  readonly tickLimitMs?: number;
  /** Less than the rules allow; absent or more: what they allow. */
  readonly stateLimitBytes?: number;
  /** What to resume from; undefined begins the agent. */
  readonly state: Uint8Array | undefined;
  /** The initial state is then the one that the agent gives once it has resumed: an agent that is right gives the same. */
  readonly retake?: boolean;
  /** What the agent may see of its host while it is started; nothing if absent. */
  readonly input?: TickInput;
  readonly signal: AbortSignal;
}

export interface ReplayOptions {
  /** For messages only. */
  readonly agentId: string;
  readonly module: CompiledModule;
  readonly capabilities: ReadonlySet<Capability>;
  /** As it was for the agent whose ticks these are, since it sees how far its memory grows. */
  readonly memoryLimitBytes?: number;
  readonly stateLimitBytes?: number;
  /** Before the first tick. */
  readonly state: Uint8Array;
  readonly ticks: readonly TickToRepeat[];
  readonly signal: AbortSignal;
}

export class Sandbox {
  readonly #clock: Clock;
  readonly #rules: SandboxRules;
  readonly #modules: ModuleCache;
  readonly #threads: ThreadPool;
  readonly #lanes: readonly Lane[];
  /** Of replays: their instances come and go all the time, which is dear where thousands of others stand, and holds those up. */
  readonly #replayLane: Lane;
  readonly #agents = new Set<Agent>();
  readonly #replays = new Set<Replay>();
  #handles = 0;
  #stopped = false;

  constructor(parts: SandboxParts, rules: SandboxRules) {
    this.#clock = parts.clock;
    this.#rules = checkRules(rules);
    this.#modules = new ModuleCache(rules, parts.compile);
    const { maxLogBytes, maxEventBytes } = rules;
    const limits = { maxLogBytes, maxEventBytes };
    this.#threads = parts.threads?.(limits) ?? new Spares(limits, parts.seed);
    const laneParts = {
      clock: parts.clock,
      threads: this.#threads,
      onWorkerLost: (lost: WorkerLost) => parts.onWorkerLost?.(lost),
    };
    this.#lanes = Array.from({ length: rules.workers }, () => new Lane(laneParts, rules));
    this.#replayLane = new Lane(laneParts, rules);
  }

  /** Starts the workers now, so that the first agent does not wait for one. */
  warm(): void {
    this.#refuseIfStopped();
    for (const lane of this.#lanes) lane.warm();
  }

  /**
   * Checks a module against what its manifest declares, and compiles it. The same bytes are compiled once.
   * @throws Fault MODULE_INVALID
   */
  compile(bytes: Uint8Array, capabilities: ReadonlySet<Capability>): Promise<CompiledModule> {
    return this.#modules.compile(bytes, capabilities);
  }

  /** Forgets a compiled module; agents that run it go on. */
  release(digest: string): void {
    this.#modules.release(digest);
  }

  /**
   * Makes an agent's instance: begins it, or resumes it from its state.
   * @throws Fault MODULE_INVALID, STATE_INVALID, MEMORY_TOO_LARGE; rejects with the signal's reason
   */
  async start(options: StartOptions): Promise<AgentInstance> {
    this.#refuseIfStopped();
    const { agentId, signal, state, input } = options;
    const code = await this.#codeFor(options);

    const lane = this.#leastUsedLane();
    const agent = new Agent(
      {
        handle: ++this.#handles,
        lane,
        wallNs: () => this.#wallNs(),
        onStopped: () => {
          lane.agents -= 1;
          this.#agents.delete(agent);
        },
        replay: (work, signal) => this.#replay(work, signal),
      },
      {
        agentId,
        code,
        state,
        input,
        tickTimeoutMs: Math.min(this.#rules.tickTimeoutMs, options.tickLimitMs ?? Number.POSITIVE_INFINITY),
      },
    );
    lane.agents += 1;
    this.#agents.add(agent);
    try {
      await agent.start(options.retake === true ? "retake" : "load", signal);
    } catch (error) {
      agent.end(error);
      throw error;
    }
    return agent;
  }

  /**
   * Runs ticks of an agent once more: a fresh instance from the state before them, each call answered from the record. Whether the state
   * after them is the right one is for the caller to say; without ticks it is the one that was given.
   * @throws Fault MODULE_INVALID, STATE_INVALID, MEMORY_TOO_LARGE; rejects with the signal's reason
   */
  async replay(options: ReplayOptions): Promise<ReplayResult> {
    this.#refuseIfStopped();
    const { agentId, state, ticks, signal } = options;
    const code = await this.#codeFor(options);
    return await this.#replay({ agentId, code, state, ticks }, signal);
  }

  async #replay(work: ReplayWork, signal: AbortSignal): Promise<ReplayResult> {
    this.#refuseIfStopped();
    const parts = { handle: ++this.#handles, lane: this.#replayLane, wallNs: () => this.#wallNs() };
    const replay = new Replay(parts, work);
    this.#replays.add(replay);
    try {
      return await replay.run(signal);
    } finally {
      this.#replays.delete(replay);
    }
  }

  /** Ends every agent and every worker; ticks and replays under way reject. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const reason = new Error("the sandbox is stopped");
    for (const agent of this.#agents) agent.end(reason);
    for (const replay of this.#replays) replay.end(reason);
    for (const lane of [...this.#lanes, this.#replayLane]) lane.stop();
    await this.#threads.close();
  }

  async #codeFor(options: Pick<StartOptions, CodeOptions>): Promise<AgentCode> {
    const { module, signal } = options;
    if (!(module instanceof AdmittedModule)) throw new TypeError("module must come from Sandbox.compile");
    checkGranted(module, options.capabilities);
    const maxStateBytes = Math.min(this.#rules.maxStateBytes, options.stateLimitBytes ?? Number.POSITIVE_INFINITY);
    checkState(options.state, maxStateBytes);
    const { code, maxMemoryBytes } = await module.code(this.#memoryLimit(options.memoryLimitBytes));
    signal.throwIfAborted();
    this.#refuseIfStopped();
    const { memoryExport, wasi: functions } = module.shape;
    const granted = { clock: options.capabilities.has("clock"), rand: options.capabilities.has("rand") };
    const wasi = functions.length === 0 ? undefined : { functions, ...granted };
    return { module: code, memoryExport, maxMemoryBytes, maxStateBytes, hostcalls: module.imports, wasi };
  }

  #wallNs(): bigint {
    return BigInt(this.#clock.now().getTime()) * 1_000_000n;
  }

  #leastUsedLane(): Lane {
    const [first, ...others] = this.#lanes;
    if (first === undefined) throw new Error("a sandbox has at least one worker");
    return others.reduce((least, lane) => (lane.agents < least.agents ? lane : least), first);
  }

  #memoryLimit(wantedBytes: number | undefined): number {
    const limit = this.#rules.maxMemoryBytes;
    if (wantedBytes === undefined || wantedBytes === 0) return limit;
    if (wantedBytes > limit) throw new Fault({ code: "MEMORY_TOO_LARGE", needed: wantedBytes, limit });
    return wantedBytes;
  }

  #refuseIfStopped(): void {
    if (this.#stopped) throw new Error("the sandbox is stopped");
  }
}

type CodeOptions = "module" | "capabilities" | "memoryLimitBytes" | "stateLimitBytes" | "state" | "signal";

function checkState(state: Uint8Array | undefined, maxStateBytes: number): void {
  if (state === undefined || state.length <= maxStateBytes) return;
  const reason = `it has ${state.length} bytes; at most ${maxStateBytes} are kept`;
  throw new Fault({ code: "STATE_INVALID", reason });
}

function checkGranted(module: CompiledModule, granted: ReadonlySet<Capability>): void {
  try {
    checkDeclared(module.imports, granted);
  } catch (cause) {
    if (!(cause instanceof ModuleRefused)) throw cause;
    throw new Fault({ code: "MODULE_INVALID", reason: `it ${cause.message}` }, { cause });
  }
}
