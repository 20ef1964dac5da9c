// Moves an agent away: the seed's MigrateAgentWithRetry. Executes what the campaign machine commands, attempt by attempt,
// and tells whoever follows what happens.
//
// FS-3  One migration of an agent at a time.
// GH-6  Every wait ends at once when the caller goes; the deadline bounds them all.

import { type Entropy, type Random, withDeadline } from "@godwit/common/clock";
import { Fault, type FaultDetail, faultMessage, isFault } from "@godwit/common/fault";
import { type Failure, failureOf, type RetryBudget, type RetryPolicy } from "@godwit/common/retry";
import {
  type CampaignAim,
  type CampaignCommand,
  type CampaignEvent,
  type CampaignOutcome,
  type SourceOutcome,
  startCampaign,
  stepCampaign,
} from "@godwit/migration";
import { parseManifest } from "@godwit/sandbox";
import { Deadline } from "./deadline.ts";
import { Mailbox } from "./mailbox.ts";
import type { SourceAgent } from "./ports.ts";
import { type AttemptParts, type AttemptStep, SourceAttempt } from "./source-attempt.ts";
import type { MigrationTimeouts } from "./wire.ts";

export interface MigrationRequest {
  readonly aim: CampaignAim;
  readonly policy: RetryPolicy;
  readonly timeoutMs: number;
}

/** One line of a migration's story; `atMs` since it began. */
export type MigrationEvent = { readonly atMs: number } & (
  | {
      readonly kind: "attempt";
      readonly hostId: string;
      readonly attempt: number;
      readonly pricePerSecond: bigint | undefined;
    }
  | { readonly kind: "step"; readonly step: AttemptStep; readonly note: string }
  | { readonly kind: "attempt-failed"; readonly hostId: string; readonly failure: Failure; readonly backOffMs: number }
  | {
      readonly kind: "done";
      readonly hostId: string;
      readonly era: bigint;
      readonly major: bigint;
      readonly tick: bigint;
      readonly blackoutMs: number | undefined;
      readonly bytesAfterFreeze: number;
    }
  | { readonly kind: "given-up"; readonly failure: Failure }
);

export interface MigrationSourceParts extends AttemptParts {
  readonly random: Random;
  readonly entropy: Entropy;
  readonly retryBudget: RetryBudget;
  readonly hostId: string;
}

const keepCandidates = 16;

export class MigrationSource {
  readonly #parts: MigrationSourceParts;
  readonly #timeouts: MigrationTimeouts;
  readonly #underWay = new Map<string, Campaign>();
  readonly #ends = new Set<Promise<void>>();
  #isStopping = false;

  constructor(parts: MigrationSourceParts, timeouts: MigrationTimeouts) {
    this.#parts = parts;
    this.#timeouts = timeouts;
  }

  /** Calls back what can be called back (GH-1); what was relinquished and is not settled in time is the journal's. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const campaign of this.#underWay.values()) campaign.cancel();
    const { signal } = new AbortController();
    const deadline = { what: "the end of the migrations", ms: this.#timeouts.stopMs, signal };
    await withDeadline(this.#parts.clock, deadline, () => Promise.all(this.#ends)).catch(() => {
      for (const campaign of this.#underWay.values()) campaign.leave();
    });
    await Promise.all(this.#ends);
  }

  /** Throws Fault before the first event when it cannot begin at all; afterwards the last event says how it ended. */
  async *migrate(agent: SourceAgent, request: MigrationRequest, signal: AbortSignal): AsyncGenerator<MigrationEvent> {
    const { agentId } = agent;
    if (this.#isStopping) throw new Fault({ code: "SHUTTING_DOWN" });
    if (this.#underWay.has(agentId)) throw new Fault({ code: "MIGRATION_IN_PROGRESS", agentId }); // FS-3
    agent.describe(); // what cannot be moved at all is refused here
    const story = new Mailbox<MigrationEvent | undefined>();
    const campaign = new Campaign(this.#parts, this.#timeouts, { agent, request, tell: (event) => story.post(event) });
    this.#underWay.set(agentId, campaign);
    const onAbort = (): void => campaign.cancel();
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    // It goes on when nobody listens any more: an agent is never left in the middle of a handoff.
    const running = campaign
      .run()
      .catch((cause: unknown) => story.post({ atMs: 0, kind: "given-up", failure: failure(cause) }))
      .finally(() => {
        signal.removeEventListener("abort", onAbort);
        this.#underWay.delete(agentId);
        this.#ends.delete(running);
        story.post(undefined);
      });
    this.#ends.add(running);
    for (;;) {
      const event = await story.take();
      if (event === undefined) break;
      yield event;
    }
    await running;
  }
}

class Campaign {
  readonly #parts: MigrationSourceParts;
  readonly #timeouts: MigrationTimeouts;
  readonly #agent: SourceAgent;
  readonly #request: MigrationRequest;
  readonly #tell: (event: MigrationEvent) => void;
  readonly #mailbox = new Mailbox<CampaignEvent>();
  readonly #deadline: Deadline;
  readonly #stopped = new AbortController();
  readonly #beganAtMs: number;
  readonly #prices = new Map<string, bigint>();
  #attempt: SourceAttempt | undefined;
  #lastFailed: { readonly hostId: string; readonly failure: Failure } | undefined;
  #outcome: CampaignOutcome | undefined;

  constructor(
    parts: MigrationSourceParts,
    timeouts: MigrationTimeouts,
    { agent, request, tell }: { agent: SourceAgent; request: MigrationRequest; tell: (event: MigrationEvent) => void },
  ) {
    this.#parts = parts;
    this.#timeouts = timeouts;
    this.#agent = agent;
    this.#request = request;
    this.#tell = tell;
    this.#deadline = new Deadline(parts.clock);
    this.#beganAtMs = parts.clock.monotonicMs();
  }

  cancel(): void {
    this.#stopped.abort(new Fault({ code: "CANCELLED", what: "the migration" }));
    this.#mailbox.post({ kind: "cancelled" });
  }

  leave(): void {
    this.#attempt?.leave();
  }

  async run(): Promise<void> {
    const { timeoutMs, aim, policy } = this.#request;
    const { agentId } = this.#agent;
    const { maxPricePerSecond } = this.#manifest().migrationPolicy;
    this.#deadline.set(timeoutMs, () => this.#mailbox.post({ kind: "deadline", afterMs: timeoutMs }));
    let { state, commands } = startCampaign({
      agentId,
      sourceHostId: this.#parts.hostId,
      aim,
      policy,
      maxPricePerSecond,
    });
    try {
      for (;;) {
        for (const command of commands) this.#execute(command);
        this.#tellFailure(0);
        if (this.#outcome !== undefined) return this.#finish(this.#outcome);
        ({ state, commands } = stepCampaign(state, await this.#mailbox.take()));
      }
    } finally {
      this.#deadline.clear();
      this.#stopped.abort();
    }
  }

  #execute(command: CampaignCommand): void {
    const { directory, retryBudget, clock, random } = this.#parts;
    const { signal } = this.#stopped;
    switch (command.kind) {
      case "select": {
        const manifest = this.#manifest();
        const query = {
          maxPricePerSecond: manifest.migrationPolicy.maxPricePerSecond,
          requiredCapabilities: [...manifest.capabilities.keys()],
          excludedHostIds: command.excluded,
          limit: keepCandidates,
        };
        directory.candidates(query, signal).then(
          (candidates) => this.#mailbox.post({ kind: "selected", candidates }),
          (cause: unknown) => this.#mailbox.post({ kind: "select-failed", failure: failure(cause), draw: random() }),
        );
        return;
      }
      case "scan":
        directory.scanPrices(command.hostIds, signal).then(
          (prices) => {
            for (const { hostId, pricePerSecond } of prices) this.#prices.set(hostId, pricePerSecond);
            this.#mailbox.post({ kind: "scanned", prices });
          },
          () => this.#mailbox.post({ kind: "scanned", prices: [] }), // the registry's prices have to do
        );
        return;
      case "attempt":
        void this.#try(command.hostId, command.number);
        return;
      case "cancel-attempt":
        this.#attempt?.cancel();
        return;
      case "back-off":
        this.#tellFailure(command.ms);
        if (command.hostId !== undefined && !retryBudget.tryRetry(command.hostId)) {
          this.#mailbox.post({ kind: "no-budget" });
          return;
        }
        clock.sleep(command.ms, signal).then(
          () => this.#mailbox.post({ kind: "waited" }),
          () => {}, // cancelled: the machine was told
        );
        return;
      case "report":
        if (command.outcome === "success") retryBudget.succeeded(command.hostId);
        directory.reportOutcome(command.hostId, command.outcome);
        return;
      case "end":
        this.#outcome = command.outcome;
    }
  }

  async #try(hostId: string, number: number): Promise<void> {
    const at = () => this.#at();
    this.#tell({ ...at(), kind: "attempt", hostId, attempt: number, pricePerSecond: this.#prices.get(hostId) });
    let outcome: SourceOutcome;
    try {
      const description = this.#agent.describe();
      const { maxPricePerSecond } = this.#manifest().migrationPolicy;
      const { era, major } = description;
      const { agentId } = this.#agent;
      this.#attempt = new SourceAttempt(this.#parts, this.#timeouts, {
        agent: this.#agent,
        description,
        plan: { handoffId: this.#parts.entropy.uuid(), agentId, targetHostId: hostId, era, major, maxPricePerSecond },
        onStep: (step, note) => this.#tell({ ...at(), kind: "step", step, note }),
      });
      outcome = await this.#attempt.run();
    } catch (cause) {
      outcome = { kind: "failed", failure: failure(cause, "fatal-migration"), by: "source", recovered: undefined };
    }
    if (outcome.kind !== "moved") this.#lastFailed = { hostId, failure: outcome.failure };
    this.#mailbox.post({ kind: "attempt-ended", outcome, draw: this.#parts.random() });
  }

  /** Told once it is known whether, and after how long, the same target is tried again. */
  #tellFailure(backOffMs: number): void {
    const failed = this.#lastFailed;
    if (failed === undefined) return;
    this.#lastFailed = undefined;
    this.#tell({ ...this.#at(), kind: "attempt-failed", ...failed, backOffMs });
  }

  #finish(outcome: CampaignOutcome): void {
    if (outcome.kind === "given-up") {
      this.#tell({ ...this.#at(), kind: "given-up", failure: outcome.failure });
      return;
    }
    const { hostId, era, major } = outcome;
    const figures = this.#attempt?.figures ?? { blackoutMs: undefined, bytesAfterFreeze: 0, tick: 0n };
    this.#tell({ ...this.#at(), kind: "done", hostId, era, major, ...figures });
  }

  #manifest() {
    return parseManifest(this.#agent.manifest());
  }

  #at(): { readonly atMs: number } {
    return { atMs: this.#parts.clock.monotonicMs() - this.#beganAtMs };
  }
}

function failure(cause: unknown, otherwise: "retriable" | "fatal-migration" = "retriable"): Failure {
  const fault: FaultDetail = isFault(cause) ? cause.detail : { code: "INTERNAL" };
  return failureOf(cause) ?? { class: otherwise, fault };
}

export function failureText({ fault }: Failure): string {
  return faultMessage(fault);
}
