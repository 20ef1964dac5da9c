// A sandbox whose agents count: the state of tick n is the text "tick n". What a tick takes, says and suffers is the test's.

import { digestOf } from "@godwit/lineage";
import type {
  AgentInstance,
  CompiledModule,
  ReplayedTicks,
  ReplayOptions,
  ReplayResult,
  StartOptions,
  TickInput,
  TickResult,
} from "@godwit/sandbox";
import type { AgentSandbox } from "../../src/agents/supervisor-parts.ts";

export interface TickScript {
  readonly elapsedNs?: bigint;
  readonly moreWork?: boolean;
  readonly logs?: readonly string[];
  /** While it runs. */
  readonly during?: () => void | Promise<void>;
  readonly fails?: "trap" | "time-out";
}

/** More than any test wants: an agent that ticks without waiting fails its test instead of holding it up for ever. */
const maxTicks = 1_000;

export class FakeSandbox implements AgentSandbox {
  readonly instances: FakeInstance[] = [];
  /** The next ticks, one each; then `otherwise`. */
  readonly next: TickScript[] = [];
  otherwise: TickScript = {};
  /** What every tick that began had in hand, oldest first. */
  readonly inputs: TickInput[] = [];
  startFails: Error | undefined;

  /** Ticks that began, of all instances. */
  get ticks(): number {
    return this.inputs.length;
  }

  get newest(): FakeInstance {
    const instance = this.instances.at(-1);
    if (instance === undefined) throw new Error("none was started");
    return instance;
  }

  async compile(bytes: Uint8Array): Promise<CompiledModule> {
    return { digest: digestOf(bytes), sizeBytes: bytes.length, imports: [] };
  }

  async start({ state }: StartOptions): Promise<AgentInstance> {
    if (this.startFails !== undefined) throw this.startFails;
    const instance = new FakeInstance(this, state ?? textBytes("tick 0"));
    this.instances.push(instance);
    return instance;
  }

  async replay({ state, ticks }: ReplayOptions): Promise<ReplayResult> {
    return replayed({ state, ticks });
  }

  begun(input: TickInput): TickScript {
    if (this.ticks >= maxTicks) throw new Error(`more than ${maxTicks} ticks: nobody waits between them`);
    this.inputs.push(input);
    return this.next.shift() ?? this.otherwise;
  }
}

export class FakeInstance implements AgentInstance {
  readonly initialState: Uint8Array;
  readonly initialLogs: readonly string[] = [];
  readonly restored: string[] = [];
  stopped = false;
  readonly #sandbox: FakeSandbox;
  #state: Uint8Array;

  constructor(sandbox: FakeSandbox, state: Uint8Array) {
    this.#sandbox = sandbox;
    this.initialState = state;
    this.#state = state;
  }

  get text(): string {
    return textOf(this.#state);
  }

  async tick(input: TickInput, signal: AbortSignal): Promise<TickResult> {
    if (this.stopped) throw new Error("it is stopped");
    signal.throwIfAborted();
    const script = this.#sandbox.begun(input);
    const { elapsedNs = 1_000_000n, moreWork = false, logs = [] } = script;
    const told = { elapsedNs, logs, logsDropped: 0 };
    await script.during?.();
    signal.throwIfAborted();
    if (script.fails !== undefined) return { kind: "failed", reason: script.fails, message: "as told", ...told };
    this.#state = textBytes(`tick ${Number(this.text.slice(5)) + 1}`);
    return { kind: "ok", moreWork, state: this.#state, events: new Uint8Array(0), ...told };
  }

  async restore(state: Uint8Array): Promise<void> {
    this.#state = state;
    this.restored.push(this.text);
  }

  async replay(work: ReplayedTicks): Promise<ReplayResult> {
    return replayed(work);
  }

  async stop(): Promise<void> {
    this.stopped = true;
  }
}

function replayed({ state, ticks }: ReplayedTicks): ReplayResult {
  return { kind: "replayed", state: textBytes(`tick ${Number(textOf(state).slice(5)) + ticks.length}`), elapsedNs: 1n };
}

export function textOf(state: Uint8Array): string {
  return new TextDecoder().decode(state);
}

export function textBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
