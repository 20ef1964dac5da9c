// Runs the ticks of this host's agents again, after they were committed and beside those that go on (facts: an agent whose ticks do not
// follow from its state and from what its host answers cannot be taken over by anybody).
//
// T-47  Every tick is run again, one that asked its host nothing too, as long as the window has it; all that waits of an agent at once,
//       so that it catches up. Replays have one worker, so they take one processor at most. Several are under way, and share messages
//       to it: one at a time would be one a turn of the event loop, and thousands of agents have more checkpoints than it has turns.

import { type Clock, withDeadline } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { AgentInstance, ReplayResult, TickToRepeat } from "@godwit/sandbox";
import type { Logger } from "pino";
import { causeFields } from "./cause-fields.ts";
import { closeRunsAfter, isDue, type ReplayRules, verifiesOwn } from "./replay-policy.ts";
import type { ReplayWindow, Segment } from "./replay-window.ts";

/** One that runs here, as it is verified. */
export interface Replayable {
  readonly window: ReplayWindow | undefined;
  readonly instance: AgentInstance | undefined;
  /** For whoever reads its log. */
  remark(line: string): void;
  /** Released, with its state: an operator's `recover` makes it go on. Throws Fault when that cannot be now. */
  stop(how: "stopped"): Promise<void>;
}

/** Of an agent, from one checkpoint to the next. */
export interface ReplayedSegment {
  readonly agentId: string;
  readonly outcome: "verified" | "diverged" | "unfinished";
  readonly ticks: number;
  /** In a worker; 0 unless it was verified. */
  readonly elapsedNs: bigint;
}

export interface ReplayVerifierParts {
  readonly agent: (agentId: string) => Replayable | undefined;
  /** Whether it runs on another host now. */
  readonly migrate: (agentId: string, signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onSegment: (segment: ReplayedSegment) => void;
}

export interface ReplayStanding {
  readonly divergences: number;
  readonly closeRuns: number;
}

const nothingYet: ReplayStanding = { divergences: 0, closeRuns: 0 };
/** Of one agent, beyond its first checkpoint: who has much to do makes fewer instances, since each replay needs one. */
const mostTicksAtOnce = 1_024;
/** Agents whose replays are under way. */
const mostAgentsAtOnce = 32;
/** Twice as many ticks that each take as long as they may. */
const replayTimeoutMs = 300_000;

export class ReplayVerifier {
  readonly #parts: ReplayVerifierParts;
  readonly #rules: ReplayRules;
  readonly #due = new Set<string>();
  readonly #standings = new Map<string, ReplayStanding>();
  readonly #underWay = new Map<string, Promise<void>>();
  #running = new AbortController();

  constructor(parts: ReplayVerifierParts, rules: ReplayRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  standing(agentId: string): ReplayStanding {
    return this.#standings.get(agentId) ?? nothingYet;
  }

  async start(): Promise<void> {
    this.#running = new AbortController();
  }

  async stop(): Promise<void> {
    this.#running.abort(new Fault({ code: "SHUTTING_DOWN" }));
    this.#due.clear();
    await this.settled();
  }

  /** Resolves when nothing is being run again. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay.values());
  }

  /** An agent has a new checkpoint. */
  committed(agentId: string): void {
    if (!verifiesOwn(this.#rules) || this.#running.signal.aborted) return;
    const unverified = this.#parts.agent(agentId)?.window?.unverifiedTicks ?? 0;
    if (!isDue(unverified, this.standing(agentId).closeRuns, this.#rules)) return;
    this.#due.add(agentId);
    this.#beginDue();
  }

  /** It does not run here any more. */
  left(agentId: string): void {
    this.#due.delete(agentId);
    this.#standings.delete(agentId);
  }

  /** An agent whose replay is under way stays due until that is over. */
  #beginDue(): void {
    for (const agentId of this.#due) {
      if (this.#underWay.size >= mostAgentsAtOnce) return;
      if (this.#underWay.has(agentId)) continue;
      this.#due.delete(agentId);
      const over = this.#tryToVerify(agentId).finally(() => {
        this.#underWay.delete(agentId);
        this.#beginDue();
      });
      this.#underWay.set(agentId, over);
    }
  }

  async #tryToVerify(agentId: string): Promise<void> {
    try {
      await this.#verify(agentId);
    } catch (cause) {
      if (this.#running.signal.aborted) return;
      this.#parts.logger.warn({ agentId, ...causeFields(cause) }, "ticks not run again");
    }
  }

  async #verify(agentId: string): Promise<void> {
    const agent = this.#parts.agent(agentId);
    const { window, instance } = agent ?? {};
    if (agent === undefined || window === undefined || instance === undefined) return;
    const segments = inOneGo(window.unverified);
    const result = await this.#replay(agentId, instance, segments);
    if (agent.window !== window) return; // it stands anew, at another checkpoint
    const outcome = outcomeOf(result, segments);
    const elapsedNs = result.kind === "replayed" ? result.elapsedNs : 0n;
    for (const segment of segments.slice(0, outcome.verified)) {
      const share = elapsedNs / BigInt(outcome.verified);
      this.#parts.onSegment({ agentId, outcome: "verified", ticks: segment.ticks.length, elapsedNs: share });
      window.verified(segment);
      this.#note(agentId, "clean");
    }
    if (outcome.kind === "verified") return;
    const ticks = segments[outcome.verified]?.ticks.length ?? 0;
    this.#parts.onSegment({ agentId, outcome: outcome.kind, ticks, elapsedNs: 0n });
    if (outcome.kind === "diverged") return await this.#diverged(agentId, agent, window, outcome.reason);
    this.#parts.logger.warn({ agentId, reason: outcome.reason }, "a replay was not finished: it is tried again");
  }

  async #replay(agentId: string, instance: AgentInstance, segments: readonly Segment[]): Promise<ReplayResult> {
    const state = segments[0]?.from.state ?? new Uint8Array(0);
    const ticks = segments.flatMap(ticksToRepeat);
    if (ticks.length === 0) return { kind: "replayed", state, elapsedNs: 0n };
    const deadline = { what: `a replay of agent ${agentId}`, ms: replayTimeoutMs, signal: this.#running.signal };
    return await withDeadline(this.#parts.clock, deadline, (signal) => instance.replay({ state, ticks }, signal));
  }

  async #diverged(agentId: string, agent: Replayable, window: ReplayWindow, reason: string): Promise<void> {
    const { onDivergence } = this.#rules;
    this.#parts.logger.error({ agentId, reason, policy: onDivergence }, "ticks came out differently when run again");
    agent.remark(`run again, its ticks came out differently: ${reason} (policy ${onDivergence})`);
    this.#note(agentId, "diverged");
    window.beginAnew();
    if (onDivergence === "log" || onDivergence === "intensify") return;
    if (onDivergence === "migrate" && (await this.#migrate(agentId))) return;
    await agent.stop("stopped");
  }

  async #migrate(agentId: string): Promise<boolean> {
    try {
      return await this.#parts.migrate(agentId, this.#running.signal);
    } catch (cause) {
      this.#parts.logger.error({ agentId, ...causeFields(cause) }, "not moved after a divergence: it is stopped");
      return false;
    }
  }

  #note(agentId: string, outcome: "clean" | "diverged"): void {
    if (this.#parts.agent(agentId) === undefined) return; // it left while its ticks were run again
    const { divergences, closeRuns } = this.standing(agentId);
    const left = closeRunsAfter(outcome, closeRuns, this.#rules.onDivergence);
    const more = outcome === "diverged" ? 1 : 0;
    if (left === 0 && divergences + more === 0) return; // most agents leave no note at all
    this.#standings.set(agentId, { divergences: divergences + more, closeRuns: left });
  }
}

/** As many of them as one replay may take, and the first in any case. */
function inOneGo(segments: readonly Segment[]): readonly Segment[] {
  let ticks = 0;
  const end = segments.findIndex((segment, at) => {
    ticks += segment.ticks.length;
    return at > 0 && ticks > mostTicksAtOnce;
  });
  return end === -1 ? segments : segments.slice(0, end);
}

/** Each checkpoint's state is compared, not only the last one's. */
function ticksToRepeat({ ticks, to }: Segment): readonly TickToRepeat[] {
  const { stateDigest } = to.header;
  return ticks.map((tick, at) => (at === ticks.length - 1 ? { ...tick, stateDigest } : tick));
}

/** Segments that were found to be right come first; the one after them is what went wrong, if anything did. */
type Outcome =
  | { readonly kind: "verified"; readonly verified: number }
  | { readonly kind: "diverged" | "unfinished"; readonly verified: number; readonly reason: string };

function outcomeOf(result: ReplayResult, segments: readonly Segment[]): Outcome {
  // One without ticks is not replayed: a funding changes no state.
  const changed = segments.findIndex(({ ticks, from, to }) => {
    return ticks.length === 0 && from.header.stateDigest !== to.header.stateDigest;
  });
  const wrong = result.kind === "replayed" ? -1 : segments.findIndex(({ to }) => to.header.tick >= result.tick);
  if (changed !== -1 && (wrong === -1 || changed < wrong)) {
    const tick = segments[changed]?.to.header.tick;
    return { kind: "diverged", verified: changed, reason: `tick ${tick}: the state after it is another one` };
  }
  if (result.kind === "replayed") return { kind: "verified", verified: segments.length };
  const verified = Math.max(0, wrong);
  if (result.kind === "failed")
    return { kind: "unfinished", verified, reason: `tick ${result.tick}: ${result.message}` };
  const call = result.call === undefined ? "" : `, call ${result.call}`;
  return { kind: "diverged", verified, reason: `tick ${result.tick}${call}: ${result.reason}` };
}
