// An agent that ticks in this process, with no service anywhere: what a host does with it between two checkpoints, and no more. It has no id,
// no lineage and no receipts.
//
// With a seed, time and chance are made up (a clock that goes on by a second a tick, and random bytes from the seed), and each tick is
// charged as if it had taken a millisecond: the same seed gives the same run, to the byte.

import { createHash } from "node:crypto";
import { type Clock, systemClock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { type Microcents, tickCost } from "@godwit/common/money";
import {
  type AgentInstance,
  capabilities as allCapabilities,
  type DeclaredLimits,
  declaredCapabilities,
  declaredLimits,
  defaultSandboxRules,
  type Manifest,
  missingCapabilities,
  parseManifest,
  Sandbox,
  type StartOptions,
  type TickResult,
} from "@godwit/sandbox";
import { SeededClock, seedBytes, seededTickNs } from "./seeded.ts";

export interface SimulationRequest {
  readonly module: Uint8Array;
  readonly manifest: Uint8Array;
  /** After so many it ends; undefined: only when the budget does, or the signal aborts. */
  readonly ticks: number | undefined;
  /** Undefined: the machine's time and chance. */
  readonly seed: number | undefined;
  /** Replay each tick in a fresh instance from the state before it. */
  readonly verify: boolean;
  readonly budget: Microcents;
  readonly pricePerSecond: Microcents;
  /** Between two ticks, on the machine's clock. */
  readonly everyMs: number;
  readonly tickTimeoutMs: number;
}

export interface SimulatedLine {
  /** 0 while it is started. */
  readonly tick: bigint;
  readonly atUnixNs: bigint;
  readonly line: string;
  /** Its tick has failed or could not be paid: on a host nobody would see this. */
  readonly discarded: boolean;
}

export type SimulationEnd =
  | { readonly kind: "ticks" | "budget" | "interrupted" }
  /** The tick did not count. */
  | { readonly kind: "tick-failed"; readonly tick: bigint; readonly reason: string; readonly message: string }
  /** Replayed, the tick did not come out the same. */
  | { readonly kind: "diverged"; readonly tick: bigint; readonly call: number | undefined; readonly message: string }
  | { readonly kind: "replay-failed"; readonly tick: bigint; readonly reason: string; readonly message: string }
  /** What it says after it resumed its last state is another one. */
  | { readonly kind: "not-restored"; readonly message: string };

export interface SimulationReport {
  readonly end: SimulationEnd;
  readonly ticks: bigint;
  /** Ticks that came out the same when they were replayed. */
  readonly verified: bigint;
  readonly budget: Microcents;
  readonly spent: Microcents;
  /** What was charged. */
  readonly elapsedNs: bigint;
  readonly stateBytes: number;
  /** SHA-256, in hex. */
  readonly stateDigest: string;
  readonly logsDropped: number;
}

/** What hosts take by default. */
const maxModuleBytes = 16 << 20;
/** Hosts come back sooner to an agent that says it has more work. */
const moreWorkEveryMs = 10;

/** @throws Fault MANIFEST_INVALID, CAPABILITY_MISSING, MEMORY_TOO_LARGE, PRICE_TOO_HIGH, MODULE_INVALID, STATE_INVALID */
export async function simulate(
  request: SimulationRequest,
  { signal, onLine }: { readonly signal: AbortSignal; readonly onLine: (line: SimulatedLine) => void },
): Promise<SimulationReport> {
  const manifest = admitted(request);
  const clock = request.seed === undefined ? systemClock : new SeededClock();
  const sandbox = new Sandbox(
    { clock, ...(request.seed === undefined ? {} : { seed: seedBytes(request.seed) }) },
    { ...defaultSandboxRules, workers: 1, maxModuleBytes, tickTimeoutMs: request.tickTimeoutMs },
  );
  try {
    const capabilities = declaredCapabilities(manifest);
    const module = await sandbox.compile(request.module, capabilities);
    const code: Code = { agentId: "simulated", module, capabilities, ...declaredLimits(manifest) };
    const agent = await sandbox.start({ ...code, state: undefined, signal });
    return await new Simulation({ sandbox, code, agent, clock, onLine }, request).run(signal);
  } finally {
    await sandbox.stop();
  }
}

type Code = Pick<StartOptions, "agentId" | "module" | "capabilities" | keyof DeclaredLimits>;

interface SimulationParts {
  readonly sandbox: Sandbox;
  readonly code: Code;
  readonly agent: AgentInstance;
  readonly clock: Clock;
  readonly onLine: (line: SimulatedLine) => void;
}

class Simulation {
  readonly #parts: SimulationParts;
  readonly #request: SimulationRequest;
  #state: Uint8Array;
  #tick = 0n;
  #verified = 0n;
  #budget: Microcents;
  #remainder = 0n;
  #elapsedNs = 0n;
  #logsDropped = 0;

  constructor(parts: SimulationParts, request: SimulationRequest) {
    this.#parts = parts;
    this.#request = request;
    this.#state = parts.agent.initialState;
    this.#budget = request.budget;
  }

  async run(signal: AbortSignal): Promise<SimulationReport> {
    this.#say(0n, this.#parts.agent.initialLogs, { discarded: false });
    const end = await this.#untilItEnds(signal);
    return {
      end,
      ticks: this.#tick,
      verified: this.#verified,
      budget: this.#budget,
      spent: this.#request.budget - this.#budget,
      elapsedNs: this.#elapsedNs,
      stateBytes: this.#state.length,
      stateDigest: createHash("sha256").update(this.#state).digest("hex"),
      logsDropped: this.#logsDropped,
    };
  }

  async #untilItEnds(signal: AbortSignal): Promise<SimulationEnd> {
    const { ticks = Number.POSITIVE_INFINITY } = this.#request;
    try {
      while (this.#tick < ticks) {
        const end = await this.#next(signal);
        if (end !== undefined) return end;
      }
      return (await this.#restored(signal)) ?? { kind: "ticks" };
    } catch (error) {
      if (signal.aborted) return { kind: "interrupted" };
      throw error;
    }
  }

  async #next(signal: AbortSignal): Promise<SimulationEnd | undefined> {
    const { agent, clock } = this.#parts;
    const { pricePerSecond, seed, verify, everyMs } = this.#request;
    const tick = this.#tick + 1n;
    const result = await agent.tick({ balanceMicrocents: this.#budget, pricePerSecond, receipts: [] }, signal);
    if (result.kind === "failed") {
      this.#say(tick, result.logs, { discarded: true });
      return { kind: "tick-failed", tick, reason: result.reason, message: result.message };
    }
    const elapsedNs = seed === undefined ? result.elapsedNs : seededTickNs;
    const { cost, remainder } = tickCost({ elapsedNs, pricePerSecond, remainder: this.#remainder });
    if (cost > this.#budget) {
      this.#say(tick, result.logs, { discarded: true });
      this.#budget = 0n;
      return (await this.#restored(signal)) ?? { kind: "budget" };
    }
    const divergence = verify ? await this.#replayed(tick, result, signal) : undefined;
    if (divergence !== undefined) return divergence;

    this.#tick = tick;
    this.#state = result.state;
    this.#budget -= cost;
    this.#remainder = remainder;
    this.#elapsedNs += elapsedNs;
    this.#logsDropped += result.logsDropped;
    this.#say(tick, result.logs, { discarded: false });
    if (clock instanceof SeededClock) clock.nextTick();
    if (everyMs > 0 && this.#tick !== BigInt(this.#request.ticks ?? -1)) {
      await systemClock.sleep(result.moreWork ? Math.min(everyMs, moreWorkEveryMs) : everyMs, signal);
    }
    return undefined;
  }

  /** Undefined if the tick comes out the same once more. */
  async #replayed(
    tick: bigint,
    { state, events }: Extract<TickResult, { kind: "ok" }>,
    signal: AbortSignal,
  ): Promise<SimulationEnd | undefined> {
    const { sandbox, code } = this.#parts;
    const result = await sandbox.replay({ ...code, state: this.#state, ticks: [{ tick, events }], signal });
    switch (result.kind) {
      case "replayed": {
        const difference = differenceOf(state, result.state);
        if (difference !== undefined) {
          return {
            kind: "diverged",
            tick,
            call: undefined,
            message: `the state after it is another one: ${difference}`,
          };
        }
        this.#verified += 1n;
        return undefined;
      }
      case "diverged":
        return { kind: "diverged", tick, call: result.call, message: result.reason };
      case "failed":
        return { kind: "replay-failed", tick, reason: result.reason, message: result.message };
    }
  }

  /** Undefined if a fresh instance that resumes the last state has that state. */
  async #restored(signal: AbortSignal): Promise<SimulationEnd | undefined> {
    const { sandbox, code } = this.#parts;
    const agent = await sandbox.start({ ...code, state: this.#state, retake: true, signal });
    const difference = differenceOf(this.#state, agent.initialState);
    return difference === undefined ? undefined : { kind: "not-restored", message: difference };
  }

  #say(tick: bigint, lines: readonly string[], { discarded }: { readonly discarded: boolean }): void {
    const atUnixNs = BigInt(this.#parts.clock.now().getTime()) * 1_000_000n;
    for (const line of lines) this.#parts.onLine({ tick, atUnixNs, line, discarded });
  }
}

/** What a host that offers everything refuses. */
function admitted({ manifest: bytes, pricePerSecond }: SimulationRequest): Manifest {
  const manifest = parseManifest(bytes);
  const missing = missingCapabilities(manifest, new Set(allCapabilities));
  if (missing.length > 0) throw new Fault({ code: "CAPABILITY_MISSING", missing });
  const limit = manifest.migrationPolicy.maxPricePerSecond;
  if (limit !== undefined && pricePerSecond > limit) {
    throw new Fault({ code: "PRICE_TOO_HIGH", price: pricePerSecond, limit });
  }
  return manifest;
}

function differenceOf(expected: Uint8Array, found: Uint8Array): string | undefined {
  if (expected.length !== found.length) return `${found.length} bytes instead of ${expected.length}`;
  const at = expected.findIndex((byte, index) => byte !== found[index]);
  return at === -1 ? undefined : `the first of ${expected.length} bytes that differs is at ${at}`;
}
