// A migration as a whole: which target, how often, how long to wait, when to stop (GH-2, GH-6, GH-7). Attempts themselves are
// source.ts; this machine only hears how they ended. Chance comes in as a draw with the event that needs it.
//
// GH-2  retriable: the same target after a back-off, at most `attempts` times in all; fatal-target: the next one at once;
//       fatal-migration: stop. What was ambiguous, or refused after the token, and recovered: the next one.
// GH-7  The registry is asked for candidates when there are none yet and once more when they are used up, then without
//       those that were fatal or have had all their attempts. What is a target's own failure counts against its health; that it is
//       too dear, too small or busy does not.

import type { FaultCode, FaultDetail } from "@godwit/common/fault";
import { IllegalStep, type Term } from "@godwit/common/lease";
import { delaysMs, type Failure, type RetryPolicy } from "@godwit/common/retry";
import type { SourceOutcome } from "./source.ts";
import type { Step } from "./step.ts";

export type CampaignAim =
  | { readonly kind: "any-candidate" }
  | { readonly kind: "host"; readonly hostId: string; readonly otherwise: "give-up" | "candidates" };

export interface CampaignPlan {
  readonly agentId: string;
  readonly sourceHostId: string;
  readonly aim: CampaignAim;
  readonly policy: RetryPolicy;
  /** Microcents; undefined: any price. */
  readonly maxPricePerSecond: bigint | undefined;
}

export interface Candidate {
  readonly hostId: string;
  /** As the registry knows it, in microcents; undefined: unknown. */
  readonly pricePerSecond: bigint | undefined;
}

export interface Price {
  readonly hostId: string;
  readonly pricePerSecond: bigint;
}

export type CampaignOutcome =
  | ({ readonly kind: "moved"; readonly hostId: string; readonly by: "started" | "resolved" } & Term)
  | { readonly kind: "given-up"; readonly failure: Failure };

export type CampaignPhase =
  | { readonly kind: "selecting"; readonly attempt: number }
  | { readonly kind: "scanning"; readonly candidates: readonly Candidate[] }
  /** `stop`: why there will be no other attempt after this one. */
  | {
      readonly kind: "attempting";
      readonly hostId: string;
      readonly number: number;
      readonly stop: FaultDetail | undefined;
    }
  /** Before the next attempt at a host, or, without one, before the registry is asked again. */
  | { readonly kind: "backing-off"; readonly hostId: string | undefined; readonly number: number }
  | { readonly kind: "ended"; readonly outcome: CampaignOutcome };

export interface CampaignState {
  readonly plan: CampaignPlan;
  readonly phase: CampaignPhase;
  /** Still to be tried, in this order. */
  readonly queue: readonly string[];
  /** How often the registry has named candidates. */
  readonly asked: number;
  readonly attempts: Readonly<Record<string, number>>;
  /** Not to be asked again: fatal, or tried often enough. */
  readonly excluded: readonly string[];
  readonly lastFailure: Failure | undefined;
  /** Of the attempt that ended last: from 0 to 1, 1 excluded. */
  readonly lastDraw: number;
}

export type CampaignEvent =
  | { readonly kind: "selected"; readonly candidates: readonly Candidate[] }
  /** `draw`: from 0 to 1, 1 excluded. */
  | { readonly kind: "select-failed"; readonly failure: Failure; readonly draw: number }
  /** Of those that answered in time. */
  | { readonly kind: "scanned"; readonly prices: readonly Price[] }
  | { readonly kind: "attempt-ended"; readonly outcome: SourceOutcome; readonly draw: number }
  | { readonly kind: "waited" }
  /** The target's retry budget is used up. */
  | { readonly kind: "no-budget" }
  // At any moment.
  | { readonly kind: "cancelled" }
  | { readonly kind: "deadline"; readonly afterMs: number };

export type CampaignCommand =
  | { readonly kind: "select"; readonly excluded: readonly string[] }
  | { readonly kind: "scan"; readonly hostIds: readonly string[] }
  /** `number`: of the attempts at this host, from 1. */
  | { readonly kind: "attempt"; readonly hostId: string; readonly number: number }
  | { readonly kind: "cancel-attempt" }
  /** With a host: within its retry budget, else `no-budget`. */
  | { readonly kind: "back-off"; readonly hostId: string | undefined; readonly ms: number }
  | { readonly kind: "report"; readonly hostId: string; readonly outcome: "success" | "failure" }
  | { readonly kind: "end"; readonly outcome: CampaignOutcome };

export type CampaignStep = Step<CampaignState, CampaignCommand>;

const MOST_QUESTIONS = 2;

export function startCampaign(plan: CampaignPlan): CampaignStep {
  const state: CampaignState = {
    plan,
    phase: { kind: "selecting", attempt: 1 },
    queue: plan.aim.kind === "host" ? [plan.aim.hostId] : [],
    asked: 0,
    attempts: {},
    excluded: [plan.sourceHostId],
    lastFailure: undefined,
    lastDraw: 0,
  };
  if (plan.aim.kind === "host" && plan.aim.hostId === plan.sourceHostId) {
    return end(state, given("fatal-migration", { code: "AGENT_EXISTS", agentId: plan.agentId }));
  }
  return next(state);
}

/** Throws IllegalStep for an answer that nothing had asked for. */
export function stepCampaign(state: CampaignState, event: CampaignEvent): CampaignStep {
  const { phase, plan } = state;
  switch (event.kind) {
    case "cancelled":
      return stop(state, { code: "CANCELLED", what: `the migration of agent ${plan.agentId}` });
    case "deadline": {
      const { afterMs } = event;
      return stop(state, { code: "DEADLINE_EXCEEDED", what: `the migration of agent ${plan.agentId}`, afterMs });
    }
    case "selected":
      if (phase.kind !== "selecting") throw illegal(state, event);
      return selected(state, event.candidates);
    case "select-failed":
      if (phase.kind !== "selecting") throw illegal(state, event);
      return selectFailed(state, phase.attempt, event);
    case "scanned":
      if (phase.kind !== "scanning") throw illegal(state, event);
      return next({ ...state, queue: ranked(state, phase.candidates, event.prices) });
    case "attempt-ended":
      if (phase.kind !== "attempting") throw illegal(state, event);
      return attemptEnded(state, phase, event);
    case "waited":
      if (phase.kind !== "backing-off") throw illegal(state, event);
      return phase.hostId === undefined ? select(state, phase.number) : attempt(state, phase.hostId);
    case "no-budget":
      if (phase.kind !== "backing-off" || phase.hostId === undefined) throw illegal(state, event);
      return next(exclude(state, phase.hostId));
  }
}

function stop(state: CampaignState, fault: FaultDetail): CampaignStep {
  const { phase } = state;
  if (phase.kind === "ended") return { state, commands: [] };
  if (phase.kind !== "attempting") return end(state, given("fatal-migration", fault));
  if (phase.stop !== undefined) return { state, commands: [] };
  return { state: { ...state, phase: { ...phase, stop: fault } }, commands: [{ kind: "cancel-attempt" }] };
}

function selected(state: CampaignState, candidates: readonly Candidate[]): CampaignStep {
  const fit = candidates.filter(({ hostId }) => !state.excluded.includes(hostId));
  const asked: CampaignState = { ...state, asked: state.asked + 1, phase: { kind: "scanning", candidates: fit } };
  if (fit.length === 0) return next(asked);
  return { state: asked, commands: [{ kind: "scan", hostIds: fit.map(({ hostId }) => hostId) }] };
}

function selectFailed(
  state: CampaignState,
  attempt: number,
  { failure, draw }: CampaignEvent & { kind: "select-failed" },
): CampaignStep {
  const { policy } = state.plan;
  if (failure.class !== "retriable" || attempt >= policy.attempts) return end(state, { kind: "given-up", failure });
  return {
    state: { ...state, phase: { kind: "backing-off", hostId: undefined, number: attempt + 1 } },
    commands: [{ kind: "back-off", hostId: undefined, ms: delayMs(policy, attempt, draw) }],
  };
}

/**
 * GH-7: cheapest known price first; the registry's order where prices are the same. A price just told is the price. What
 * was tried before comes after what was not, or else the next candidate could be the one that has just failed (GH-2).
 */
function ranked(
  { plan: { maxPricePerSecond }, attempts }: CampaignState,
  candidates: readonly Candidate[],
  prices: readonly Price[],
): readonly string[] {
  const told = new Map(prices.map(({ hostId, pricePerSecond }) => [hostId, pricePerSecond]));
  return candidates
    .map(({ hostId, pricePerSecond }) => ({ hostId, price: told.get(hostId) ?? pricePerSecond }))
    .filter(({ price }) => price === undefined || maxPricePerSecond === undefined || price <= maxPricePerSecond)
    .toSorted((a, b) => {
      const triedBefore = Number(Object.hasOwn(attempts, a.hostId)) - Number(Object.hasOwn(attempts, b.hostId));
      if (triedBefore !== 0) return triedBefore;
      if (a.price === b.price) return 0;
      if (a.price === undefined || b.price === undefined) return a.price === undefined ? 1 : -1;
      return a.price < b.price ? -1 : 1;
    })
    .map(({ hostId }) => hostId);
}

function attemptEnded(
  state: CampaignState,
  { hostId, number, stop: stopped }: CampaignPhase & { kind: "attempting" },
  { outcome, draw }: CampaignEvent & { kind: "attempt-ended" },
): CampaignStep {
  if (outcome.kind === "moved") {
    return end(state, outcome, { kind: "report", hostId, outcome: "success" });
  }
  const { failure } = outcome;
  const report = reports(hostId, outcome);
  const failed: CampaignState = { ...state, lastFailure: failure, lastDraw: draw };
  if (outcome.kind !== "failed") return end(failed, { kind: "given-up", failure }, ...report);
  if (stopped !== undefined) return end(failed, given("fatal-migration", stopped), ...report);

  const { attempts } = state.plan.policy;
  const spent = number >= attempts ? exclude(failed, hostId) : failed;
  if (failure.class === "fatal-migration") return end(failed, { kind: "given-up", failure }, ...report);
  if (failure.class === "fatal-target") return next(exclude(failed, hostId), ...report);
  if (failure.class === "ambiguous" || outcome.recovered !== undefined || number >= attempts) {
    return next(spent, ...report);
  }
  return again(failed, hostId, ...report);
}

/** What a healthy host may answer. */
const NO_HEALTH_MATTER: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "PRICE_TOO_HIGH",
  "CAPABILITY_MISSING",
  "MEMORY_TOO_LARGE",
  "POLICY_REFUSED",
  "MIGRATION_DISABLED",
  "MIGRATION_IN_PROGRESS",
  "AGENT_EXISTS",
  "TARGET_BUSY",
  "HOST_DRAINING",
  "SHUTTING_DOWN",
]);

function reports(hostId: string, outcome: SourceOutcome): readonly CampaignCommand[] {
  const counts =
    outcome.kind === "failed" && outcome.by === "target" && !NO_HEALTH_MATTER.has(outcome.failure.fault.code);
  return counts ? [{ kind: "report", hostId, outcome: "failure" }] : [];
}

function next(state: CampaignState, ...before: readonly CampaignCommand[]): CampaignStep {
  const { aim, agentId } = state.plan;
  const [hostId, ...queue] = state.queue;
  if (hostId !== undefined) {
    const rest = { ...state, queue };
    return Object.hasOwn(state.attempts, hostId) ? again(rest, hostId, ...before) : attempt(rest, hostId, ...before);
  }

  const mayAsk = aim.kind === "any-candidate" || aim.otherwise === "candidates";
  if (mayAsk && state.asked < MOST_QUESTIONS) return select(state, 1, ...before);
  const reason = "the registry names none within its price and with its capabilities";
  const nobody: Failure = { class: "fatal-migration", fault: { code: "NO_CANDIDATE", agentId, reason } };
  return end(state, { kind: "given-up", failure: state.lastFailure ?? nobody }, ...before);
}

function select(state: CampaignState, attempt: number, ...before: readonly CampaignCommand[]): CampaignStep {
  return {
    state: { ...state, phase: { kind: "selecting", attempt } },
    commands: [...before, { kind: "select", excluded: state.excluded }],
  };
}

/** GH-6: whatever lies between two attempts at a target, the second one has a back-off and a place in its retry budget. */
function again(state: CampaignState, hostId: string, ...before: readonly CampaignCommand[]): CampaignStep {
  const { plan, attempts, lastDraw } = state;
  const made = attempts[hostId] ?? 0;
  return {
    state: { ...state, phase: { kind: "backing-off", hostId, number: made + 1 } },
    commands: [...before, { kind: "back-off", hostId, ms: delayMs(plan.policy, made, lastDraw) }],
  };
}

function attempt(state: CampaignState, hostId: string, ...before: readonly CampaignCommand[]): CampaignStep {
  const number = (state.attempts[hostId] ?? 0) + 1;
  return {
    state: {
      ...state,
      attempts: { ...state.attempts, [hostId]: number },
      phase: { kind: "attempting", hostId, number, stop: undefined },
    },
    commands: [...before, { kind: "attempt", hostId, number }],
  };
}

function exclude(state: CampaignState, hostId: string): CampaignState {
  return state.excluded.includes(hostId) ? state : { ...state, excluded: [...state.excluded, hostId] };
}

/** GH-6 */
function delayMs(policy: RetryPolicy, retry: number, draw: number): number {
  return [...delaysMs(policy, () => draw)][retry - 1] ?? 0;
}

function given(failureClass: "fatal-migration", fault: FaultDetail): CampaignOutcome {
  return { kind: "given-up", failure: { class: failureClass, fault } };
}

function end(state: CampaignState, outcome: CampaignOutcome, ...before: readonly CampaignCommand[]): CampaignStep {
  const commands: readonly CampaignCommand[] = [...before, { kind: "end", outcome }];
  return { state: { ...state, phase: { kind: "ended", outcome } }, commands };
}

function illegal({ phase }: CampaignState, event: CampaignEvent): IllegalStep {
  return new IllegalStep(`${event.kind}: not while ${phase.kind}`);
}
