// One agent on this host: the same for one that was started here and for one that came in.
//
// Everything that touches the agent is a turn, and turns run one at a time: a tick, a checkpoint, a freeze, a stop. A tick
// that costs too much, fails, or outlives its lease leaves the state before it.
//
// GA-2   The tenure is asked before a tick, and again before its result becomes the agent's state or a line of its log.
// GA-4   In doubt it asks the registry, in its own loop, with back-off, for as long as it takes (outcome `recovering`).
// EI-2   After a doubt it goes on from the newest committed checkpoint that the registry granted, never from memory.
// §11    Five failed ticks in a row release it (failed), or five tries to make it stand; a budget that ends does (unfunded).

import { Fault, isFault } from "@godwit/common/fault";
import type { Doubt, RetiredReason, Tenure } from "@godwit/common/lease";
import { formatMoney } from "@godwit/common/money";
import { type Checkpoint, refOf } from "@godwit/lineage";
import type { ReplayRecord } from "@godwit/migration";
import type { AgentInstance } from "@godwit/sandbox";
import type { Answer, Carried, HeldSession } from "../registry/ports.ts";
import { Alarm, asleep } from "./alarm.ts";
import { causeFields } from "./cause-fields.ts";
import { Checkpointer, type CommitOptions } from "./checkpointer.ts";
import { Exclusive } from "./exclusive.ts";
import { AwaitedFundings, type Funded, type Funding } from "./funding.ts";
import { instantiate } from "./instantiate.ts";
import { Lookouts } from "./lookouts.ts";
import type { ReplayWindow } from "./replay-window.ts";
import { type Shown, shownOnDisk } from "./shown.ts";
import {
  type AgentIdentity,
  explainWaiting,
  type Standing,
  type SupervisorParts,
  type SupervisorRules,
  type TickOutcome,
  whyNotOurs,
} from "./supervisor-parts.ts";
import type { Tenancy } from "./tenancy.ts";

export class Supervisor {
  readonly identity: AgentIdentity;
  readonly tenancy: Tenancy;
  readonly #parts: SupervisorParts;
  readonly #rules: SupervisorRules;
  readonly #turns = new Exclusive();
  readonly #running = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  readonly #alarm: Alarm;
  readonly #checkpointer: Checkpointer;
  #instance: AgentInstance | undefined;
  /** Since the last time that an instance stood; for people only. */
  #onDisk: Shown | undefined;
  #stoppedAtMs = 0;
  #nextTickAtMs = 0;
  #failures = 0;
  #looks = 0;
  #outcome: TickOutcome = { kind: "recovering" };
  #reason = "";
  /** A release that was asked for and is not done: it is sent again once the agent is ours again. */
  #wish: RetiredReason | "terminated" | undefined;
  readonly #settled = new Lookouts(() => this.#decided());
  readonly #awaited = new AwaitedFundings();

  constructor(parts: SupervisorParts, rules: SupervisorRules, identity: AgentIdentity) {
    this.#parts = parts;
    this.#alarm = new Alarm(parts.clock, this.#running.signal);
    this.#rules = rules;
    this.#checkpointer = new Checkpointer(parts, rules, identity);
    this.identity = identity;
    this.tenancy = parts.tenancy;
    const { journal } = parts.tenancy;
    if (journal.phase === "giving-up") {
      this.#wish = journal.command === "terminate" ? "terminated" : ((journal.reason ?? "stopped") as RetiredReason);
    }
  }

  get tick(): bigint {
    return this.#checkpointer.tick;
  }
  get budget(): bigint {
    return this.#checkpointer.budget;
  }
  /** For people: what it ticks from, and what the disk has while it stands at nothing that was granted. */
  get shown(): Shown {
    if (this.#instance === undefined && this.#onDisk !== undefined) return this.#onDisk;
    return this.#checkpointer.shown;
  }
  get state(): Uint8Array {
    return this.#checkpointer.state;
  }
  get latest(): Checkpoint | undefined {
    return this.#checkpointer.latest;
  }
  /** Undefined until it stands for the first time. */
  get window(): ReplayWindow | undefined {
    return this.#checkpointer.window;
  }
  /** Undefined while it does not stand. */
  get instance(): AgentInstance | undefined {
    return this.#instance;
  }
  get outcome(): TickOutcome {
    return this.#outcome;
  }
  get failures(): number {
    return this.#failures;
  }
  /** When the newest freeze began, on the monotonic clock: the last tick had ended, and the next could have begun. */
  get stoppedAtMs(): number {
    return this.#stoppedAtMs;
  }
  get receipts(): readonly Uint8Array[] {
    return this.#checkpointer.receipts;
  }
  /** What it waits for, for people; empty while it ticks. */
  get reason(): string {
    return this.#reason;
  }

  /** Begins the loop. `ready`: an instance that stands already, at the state of the checkpoint that was granted. */
  start(ready?: Standing): void {
    if (ready !== undefined) this.#stand(ready);
    this.#loop = this.#run(this.#running.signal);
  }

  /** Ends the loop where it is: no release, no checkpoint. */
  async end(): Promise<void> {
    this.#running.abort(new Fault({ code: "SHUTTING_DOWN" }));
    await this.#loop;
    this.#awaited.refuse(new Fault({ code: "SHUTTING_DOWN" }));
    await this.#turns.run(async () => this.#dropInstance());
  }

  /** A last checkpoint before the host stops, when it still may. */
  async lastCheckpoint(): Promise<void> {
    await this.#turns.run(async () => {
      if (this.tenancy.mayTick().kind === "may" && this.#instance !== undefined) await this.#checkpoint();
    });
  }

  /** Makes a waiting loop look again now: the session changed, a handoff ended, somebody asked. */
  nudge(): void {
    this.#looks = 0;
    this.#alarm.wake();
  }

  sessionVoid(): void {
    this.tenancy.sessionVoid();
    this.nudge();
  }

  /** What is brought back of the agent after a loss of the store (GA-7). The answer is a turn of its own; `onEnd` after it. */
  async carried(onEnd: () => void): Promise<Carried> {
    const kept = await this.tenancy.kept();
    return {
      item: (to) => this.tenancy.broughtBack(to, kept),
      answered: (session, answer) => {
        this.#turns
          .run(() => this.#reasserted(session, answer))
          .catch((cause: unknown) => {
            const { agentId } = this.identity;
            this.#parts.logger.error({ agentId, ...causeFields(cause) }, "not noted that it was brought back");
            this.inDoubt("lost-grant");
          })
          .finally(onEnd);
      },
    };
  }

  async #reasserted(session: HeldSession, answer: Answer | undefined): Promise<void> {
    const wasInDoubt = this.tenancy.tenure.kind === "RECOVERY_REQUIRED";
    await this.tenancy.reasserted(session, answer);
    if (wasInDoubt) this.#dropInstance(); // EI-2: what was in memory before the doubt is not gone on from
    this.nudge();
  }

  /** Work that must not meet a tick; used by the migration of this agent. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.run(work);
  }

  /** What it did lately, up to a checkpoint that is made for it, for a target to run again. Throws Fault when this host may not. */
  async replayRecord(): Promise<ReplayRecord> {
    return await this.#turns.run(async () => {
      this.#mustBeOurs();
      await this.#checkpoint();
      if (this.window === undefined) throw new TypeError("it stands, and has no window");
      return this.window.record();
    });
  }

  /** What the host has to say about it, beside its own lines. */
  remark(line: string): void {
    this.#log("host", line);
  }

  /** Finishes the tick under way and commits the final checkpoint (§6). Throws Fault when this host may not. */
  async freeze(handoffId: string): Promise<Checkpoint> {
    return await this.#turns.run(async () => {
      this.#stoppedAtMs = this.#parts.clock.monotonicMs();
      this.#mustBeOurs();
      // A major that has not ticked has no checkpoint of its own yet, and the one it started from was signed by another.
      const { ground } = this.tenancy;
      if (ground?.origin !== "created" && this.tick === ground?.base.tick) {
        await this.#tickOnce(this.#running.signal);
        this.#mustBeOurs();
      }
      // Its head travels with begin_handoff and its copy with the handoff: telling others now would only be in the way.
      const checkpoint = await this.#checkpoint({ tellOthers: false, canWait: false });
      this.tenancy.freeze(handoffId);
      this.#reason = "handing over";
      return checkpoint;
    });
  }

  /** Ticks again after a revert; does nothing to an agent that is not frozen. */
  thaw(): void {
    // Frozen and never begun: nothing left this host, so nothing has to be answered first.
    if (this.tenancy.tenure.kind === "HANDOFF_INITIATED") this.tenancy.thaw();
    this.window?.release();
    this.#checkpointer.tellUntold();
    this.nudge();
  }

  /** Something went wrong of which only the registry knows the end (GH-3). */
  inDoubt(doubt: Doubt): void {
    this.tenancy.doubt(doubt);
    this.nudge();
  }

  /** The target has it: a tombstone is written, and the loop ends (§6). */
  async retireTo(ownerHostId: string): Promise<void> {
    await this.#turns.run(() => this.tenancy.retireTo(ownerHostId));
    if (this.tenancy.tenure.kind === "RETIRED") this.#outcome = { kind: "stopped", reason: "migrated" };
    this.nudge();
  }

  /** Resolves when the doubt is over: ticking here again, or somebody else's. */
  untilSettled(signal: AbortSignal): Promise<Tenure> {
    return this.#settled.until(signal);
  }

  /** An operator's stop: a checkpoint, then `release` (stopped), or `terminate`. Throws Fault when it could not be done. */
  async stop(how: "stopped" | "terminated"): Promise<void> {
    await this.#turns.run(async () => {
      this.#mustBeOurs();
      this.#wish = how;
      await this.#giveUp(how);
    });
    this.nudge();
  }

  /**
   * §11: money that came in, under a number of its own; on the disk when this resolves. Waits for an agent that is being
   * recovered for it; throws Fault for any other that may not tick here.
   */
  async fund(funding: Funding): Promise<Funded> {
    if (this.tenancy.asked === "if-unfunded" || this.#awaited.size > 0) return await this.#awaited.add(funding);
    return await this.#turns.run(() => this.#fund(funding));
  }

  async #run(signal: AbortSignal): Promise<void> {
    let delayMs = 0;
    while (!signal.aborted) {
      await this.#alarm.sleep(delayMs);
      if (signal.aborted) return;
      try {
        delayMs = await this.#turns.run(() => this.#turn(signal));
      } catch (cause) {
        if (signal.aborted) return;
        this.#parts.logger.error({ agentId: this.identity.agentId, ...causeFields(cause) }, "turn failed");
        this.#reason = cause instanceof Error ? cause.message : String(cause);
        delayMs = this.#backOffMs();
      }
      this.#settled.look();
      if (this.tenancy.tenure.kind === "RETIRED") {
        this.#dropInstance();
        this.#awaited.refuse(new Fault({ code: "AGENT_NOT_HERE", agentId: this.identity.agentId }));
        this.#parts.onEnded(this.identity.agentId);
        return;
      }
    }
  }

  /** One turn; returns how long to wait for the next. */
  async #turn(signal: AbortSignal): Promise<number> {
    const { tenure } = this.tenancy;
    switch (tenure.kind) {
      case "RETIRED":
      case "HANDOFF_INITIATED":
      case "HANDOFF_PENDING":
        return asleep; // the migration wakes it, if it is to go on
      case "RECOVERY_REQUIRED":
        return await this.#settle();
      case "ACTIVE_OWNER":
        break;
    }
    if (!tenure.baseConfirmed && !(await this.tenancy.confirmBase())) {
      this.#recovering("the base is not confirmed");
      return this.#backOffMs();
    }
    if (this.#instance === undefined) await this.#resume(signal);
    if (this.tenancy.mayTick().kind !== "may") {
      this.#recovering(this.#parts.keeper.quarantine ?? "the lease is not live: waiting for the registry");
      return this.#rules.firstRetryMs;
    }
    if (this.#awaited.size > 0) {
      await this.#awaited.settle((funding) => this.#fund(funding));
      return 0;
    }
    if (this.#wish !== undefined) {
      await this.#giveUp(this.#wish);
      return 0;
    }
    this.#looks = 0;
    // Woken for something else: the next tick keeps its time.
    const earlyMs = this.#nextTickAtMs - this.#parts.clock.monotonicMs();
    if (earlyMs > 0) return earlyMs;
    const delayMs = await this.#tickOnce(signal);
    this.#nextTickAtMs = this.#parts.clock.monotonicMs() + delayMs;
    return delayMs;
  }

  async #tickOnce(signal: AbortSignal): Promise<number> {
    const instance = this.#instance;
    if (instance === undefined) return 0;
    const price = this.#parts.price();
    const { state: before, budget, receipts } = this.#checkpointer;
    const result = await instance.tick({ balanceMicrocents: budget, pricePerSecond: price, receipts }, signal);
    if (result.kind === "failed") return await this.#failed(`${result.reason}: ${result.message}`, result.logs);

    const cost = { elapsedNs: result.elapsedNs, pricePerSecond: price };
    const purse = this.#checkpointer.afterTick(cost);
    if (this.tenancy.mayTick().kind !== "may") {
      await instance.restore(before); // GA-2
      this.#ended({ kind: "discarded" }, result.elapsedNs);
      return 0;
    }
    if (purse === undefined) {
      await instance.restore(before);
      this.#checkpointer.exhausted(cost);
      this.#ended({ kind: "exhausted" }, result.elapsedNs);
      await this.#giveUp("unfunded");
      return 0;
    }

    this.#checkpointer.ticked(result, purse);
    this.#failures = 0;
    this.#reason = "";
    for (const line of result.logs) this.#log("agent", line);
    this.#ended({ kind: result.moreWork ? "more-work" : "normal" }, result.elapsedNs);
    if (this.#checkpointer.isDue) await this.#checkpoint({ tellOthers: true, canWait: true });
    return result.moreWork ? this.#rules.moreWorkEveryMs : this.#rules.tickEveryMs;
  }

  /** One question is enough (GA-2): nothing runs between it and the write. */
  async #fund(funding: Funding): Promise<Funded> {
    this.#mustBeOurs();
    if (this.#wish !== undefined && this.#wish !== "unfunded") {
      throw new Fault({ code: "AGENT_NOT_RUNNING", agentId: this.identity.agentId, reason: this.#wish });
    }
    const funded = this.#checkpointer.fund(funding);
    if (!funded.repeated) {
      this.#wish = undefined; // what had ended was the money
      this.#ended({ kind: "funded" }, undefined);
      this.#log("host", `funded with ${formatMoney(funding.amount)}: the budget is ${formatMoney(this.budget)}`);
    }
    if (this.#checkpointer.isFundingPending) await this.#checkpoint();
    return funded;
  }

  async #failed(why: string, logs: readonly string[]): Promise<number> {
    this.#failures += 1;
    this.#reason = `failed tick ${this.#failures} of ${this.#rules.maxFailedTicks}: ${why}`;
    // The tick never happened, so its lines are not the agent's: they help its author, and say whose word they are.
    for (const line of logs) this.#log("host", `from the failed tick: ${line}`);
    this.#log("host", this.#reason);
    this.#ended({ kind: "discarded" }, undefined);
    if (this.#failures < this.#rules.maxFailedTicks) {
      return Math.min(30_000, this.#rules.tickEveryMs * 2 ** (this.#failures - 1));
    }
    await this.#giveUp("failed");
    return 0;
  }

  /** GA-4: one look at the registry. */
  async #settle(): Promise<number> {
    this.#dropInstance(); // EI-2
    this.#onDisk ??= await shownOnDisk(this.#parts.storage, this.identity.agentId);
    const progress = await this.tenancy.settle();
    if (progress.kind === "granted") {
      this.#looks = 0;
      this.#log("host", `authority granted: ${this.tenancy.ground?.origin} as major ${this.tenancy.ground?.major}`);
      return 0;
    }
    if (progress.kind === "waiting") {
      this.#recovering(this.#parts.keeper.quarantine ?? explainWaiting(progress));
      return this.#backOffMs();
    }
    this.#outcome = { kind: "stopped", reason: progress.kind };
    this.#log(
      "host",
      progress.kind === "terminated" ? "terminated" : "another host has the agent, or it waits to be asked",
    );
    return asleep;
  }

  /** EI-2: from the newest checkpoint of this major: the one that it started from, unless it was brought back (GA-7). */
  async #resume(signal: AbortSignal): Promise<void> {
    const { storage } = this.#parts;
    const base = (await this.tenancy.newestOwn()) ?? this.tenancy.ground?.base;
    const checkpoint = base && (await storage.checkpoint(this.identity.agentId, base.digest));
    if (checkpoint === undefined) {
      await this.tenancy.release("cannot-run", undefined);
      const reason = "the checkpoint that was granted is not in the data directory";
      throw new Fault({ code: "STATE_INVALID", reason });
    }
    const receipts = (await storage.receipts(this.identity.agentId, checkpoint.digest)) ?? [];
    const standing = instantiate(this.#parts, this.identity, checkpoint, signal);
    const instance = await standing.catch((cause: unknown) => this.#cannotStand(cause));
    this.#stand({ checkpoint, instance, receipts });
  }

  /** §11: what cannot be made to stand fails like a tick: nobody else could take it as long as this host lives (T-23). */
  async #cannotStand(cause: unknown): Promise<never> {
    if (isFault(cause, "MODULE_INVALID", "STATE_INVALID") && ++this.#failures >= this.#rules.maxFailedTicks) {
      const answer = await this.tenancy.release("failed", undefined);
      if (answer.kind === "applied") this.#outcome = { kind: "stopped", reason: "failed" };
    }
    throw cause;
  }

  #stand({ checkpoint, instance, receipts }: Standing): void {
    this.#dropInstance();
    this.#instance = instance;
    this.#onDisk = undefined;
    this.#checkpointer.standAt(checkpoint, receipts);
    this.#nextTickAtMs = 0;
    this.#failures = 0;
    this.#reason = "";
    this.#parts.onStanding(this.identity.agentId, checkpoint);
  }

  #checkpoint(options: CommitOptions = { tellOthers: true, canWait: false }): Promise<Checkpoint> {
    return this.#checkpointer.commit(this.tenancy.ground, options);
  }

  async #giveUp(how: RetiredReason | "terminated"): Promise<void> {
    this.#wish = how;
    // GA-4: a last checkpoint is one like every other; the loop gives up once it may.
    if (this.tenancy.mayTick().kind !== "may")
      return this.#recovering("the lease is not live: waiting for the registry");
    const head = await this.#checkpoint();
    const answer = how === "terminated" ? await this.tenancy.terminate() : await this.tenancy.release(how, head);
    if (answer.kind === "applied") {
      this.#outcome = { kind: "stopped", reason: how };
      this.#reason = how;
      this.#log("host", `${how} at tick ${refOf(head).tick}`);
    } else {
      this.#recovering(`asked the registry to let it go (${how}); not answered yet`);
    }
  }

  #decided(): Tenure | undefined {
    const { tenure } = this.tenancy;
    const ticksHere = tenure.kind === "ACTIVE_OWNER" && this.#instance !== undefined;
    return tenure.kind === "RETIRED" || (ticksHere && this.tenancy.mayTick().kind === "may") ? tenure : undefined;
  }

  #mustBeOurs(): void {
    if (this.tenancy.mayTick().kind === "may" && this.#instance !== undefined) return;
    throw whyNotOurs(this.tenancy, { agentId: this.identity.agentId, reason: this.#reason });
  }

  #recovering(reason: string): void {
    this.#reason = reason;
    this.#ended({ kind: "recovering" }, undefined);
  }

  #ended(outcome: TickOutcome, elapsedNs: bigint | undefined): void {
    this.#outcome = outcome;
    const { era = 0n, major = 0n } = this.tenancy.ground ?? {};
    const { agentId } = this.identity;
    this.#parts.onTick({ agentId, outcome: outcome.kind, era, major, tick: this.tick, elapsedNs });
  }

  #log(origin: "agent" | "host", line: string): void {
    this.#parts.logs.write({ major: this.tenancy.ground?.major ?? 0n, tick: this.tick, origin, line });
  }

  #backOffMs(): number {
    const capMs = Math.min(this.#rules.maxRetryMs, this.#rules.firstRetryMs * 2 ** Math.min(this.#looks++, 16));
    return capMs * (0.5 + this.#parts.random() / 2);
  }

  #dropInstance(): void {
    const instance = this.#instance;
    this.#instance = undefined;
    void instance?.stop().catch((err: unknown) => this.#parts.logger.warn(causeFields(err), "instance not ended"));
  }
}
