// Runs the ticks of this host's agents again, after they were committed and beside those that go on (facts: an agent whose ticks do not
// follow from its state and from what its host answers cannot be taken over by anybody).
//
// T-47  Every tick is run again, one that asked its host nothing too, as long as the window has it; one agent at a time, so that
//       it takes at most one worker from those who tick.

import { type Clock, withDeadline } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { digestOf } from "@godwit/lineage";
import type { AgentInstance, ReplayResult } from "@godwit/sandbox";
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

export interface ReplayVerifierParts {
  readonly agent: (agentId: string) => Replayable | undefined;
  /** Whether it runs on another host now. */
  readonly migrate: (agentId: string, signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onSegment: (outcome: "verified" | "diverged" | "unfinished", ticks: number, elapsedNs: bigint) => void;
}

export interface ReplayStanding {
  readonly divergences: number;
  readonly closeRuns: number;
}

const nothingYet: ReplayStanding = { divergences: 0, closeRuns: 0 };
/** Of one segment: 1,024 ticks that each take as long as they may, and a queue before them. */
const segmentTimeoutMs = 300_000;

export class ReplayVerifier {
  readonly #parts: ReplayVerifierParts;
  readonly #rules: ReplayRules;
  readonly #due = new Set<string>();
  readonly #standings = new Map<string, ReplayStanding>();
  #running = new AbortController();
  #work: Promise<void> | undefined;

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
    await this.#work;
  }

  /** An agent has a new checkpoint. */
  committed(agentId: string): void {
    if (!verifiesOwn(this.#rules) || this.#running.signal.aborted) return;
    const unverified = this.#parts.agent(agentId)?.window?.unverifiedTicks ?? 0;
    if (!isDue(unverified, this.standing(agentId).closeRuns, this.#rules)) return;
    this.#due.add(agentId);
    this.#work ??= this.#run().finally(() => {
      this.#work = undefined;
    });
  }

  /** It does not run here any more. */
  left(agentId: string): void {
    this.#due.delete(agentId);
    this.#standings.delete(agentId);
  }

  async #run(): Promise<void> {
    for (const agentId of this.#due) {
      this.#due.delete(agentId);
      try {
        await this.#verify(agentId);
      } catch (cause) {
        if (this.#running.signal.aborted) return;
        this.#parts.logger.warn({ agentId, ...causeFields(cause) }, "ticks not run again");
      }
    }
  }

  async #verify(agentId: string): Promise<void> {
    const agent = this.#parts.agent(agentId);
    const { window, instance } = agent ?? {};
    if (agent === undefined || window === undefined || instance === undefined) return;
    for (const segment of window.unverified) {
      const result = await this.#replay(agentId, instance, segment);
      if (agent.window !== window) return; // it stands anew, at another checkpoint
      const outcome = outcomeOf(result, segment);
      this.#parts.onSegment(outcome.kind, segment.ticks.length, result.kind === "replayed" ? result.elapsedNs : 0n);
      if (outcome.kind === "unfinished") {
        this.#parts.logger.warn({ agentId, reason: outcome.reason }, "a replay was not finished: it is tried again");
        return;
      }
      if (outcome.kind === "diverged") return await this.#diverged(agentId, agent, window, outcome.reason);
      window.verified(segment);
      this.#note(agentId, "clean");
    }
  }

  #replay(agentId: string, instance: AgentInstance, { from, ticks }: Segment): Promise<ReplayResult> {
    const deadline = { what: `a replay of agent ${agentId}`, ms: segmentTimeoutMs, signal: this.#running.signal };
    return withDeadline(this.#parts.clock, deadline, (signal) => instance.replay({ state: from.state, ticks }, signal));
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
    const { divergences, closeRuns } = this.standing(agentId);
    const left = closeRunsAfter(outcome, closeRuns, this.#rules.onDivergence);
    const more = outcome === "diverged" ? 1 : 0;
    if (left === 0 && divergences + more === 0) return; // most agents leave no note at all
    this.#standings.set(agentId, { divergences: divergences + more, closeRuns: left });
  }
}

type Outcome = { readonly kind: "verified" } | { readonly kind: "diverged" | "unfinished"; readonly reason: string };

function outcomeOf(result: ReplayResult, { to }: Segment): Outcome {
  if (result.kind === "failed") return { kind: "unfinished", reason: `tick ${result.tick}: ${result.message}` };
  if (result.kind === "diverged") {
    const call = result.call === undefined ? "" : `, call ${result.call}`;
    return { kind: "diverged", reason: `tick ${result.tick}${call}: ${result.reason}` };
  }
  return digestOf(result.state) === to.header.stateDigest
    ? { kind: "verified" }
    : { kind: "diverged", reason: `its state at tick ${to.header.tick} is another one` };
}
