// One host with one agent, for tests: the real data directory, tenancy and supervisor; session, sandbox and registry are
// the test's. The supervisor's loop sleeps on the place's clock, so a test waits until it sleeps, never for a time.

import { setImmediate as nextTurn } from "node:timers/promises";
import { systemClock } from "@godwit/common/clock";
import type { AuthorityRecord } from "@godwit/common/lease";
import { type Checkpoint, refOf } from "@godwit/lineage";
import { parseManifest } from "@godwit/sandbox";
import { FakeClock } from "@godwit/testing";
import pino from "pino";
import { onTestFinished } from "vitest";
import { LogBook } from "../../src/agents/log-book.ts";
import { Roster, type RosterRules } from "../../src/agents/roster.ts";
import { Supervisor } from "../../src/agents/supervisor.ts";
import {
  type AgentIdentity,
  defaultSupervisorRules,
  type SupervisorRules,
  type TickOutcome,
} from "../../src/agents/supervisor-parts.ts";
import { Tenancy } from "../../src/agents/tenancy.ts";
import type { Answer, HeldSession } from "../../src/registry/ports.ts";
import { DataDirectory } from "../../src/storage/index.ts";
import { temporaryDirectory } from "../storage-place.ts";
import { ada, bob, createAgent } from "../storage-story.ts";
import { FakeSandbox, textBytes } from "./fake-sandbox.ts";
import { FakeSession } from "./fake-session.ts";
import { INCARNATION, MemoryRegistry } from "./memory-registry.ts";

export { ada, bob };

/** Unneeded modules are collected sooner than a host does it. */
const storageRules = { keepHeaders: 1_000, keepStates: 50, collectAfterBytes: 256 * 1024 };

/** Checkpoints only when a test asks for one, unless it says otherwise. */
export const rules: SupervisorRules = { ...defaultSupervisorRules, checkpointEveryMs: 2 ** 41 };

export const bobSession: HeldSession = {
  id: { hostId: bob.hostId, bootId: bob.bootId },
  secret: new Uint8Array(32),
  incarnation: INCARNATION,
  counter: 0n,
};

export class AgentPlace {
  readonly clock = new FakeClock();
  readonly registry = new MemoryRegistry();
  readonly session = new FakeSession({ clock: this.clock, registry: this.registry, hostId: ada.hostId });
  readonly sandbox = new FakeSandbox();
  readonly logs = new LogBook(this.clock);
  readonly first: Checkpoint = createAgent(ada);
  readonly agentId = this.first.header.agentId;
  readonly committed: Checkpoint[] = [];
  /** Called when the supervisor goes on from a checkpoint. */
  onStanding: () => void = () => {};
  readonly outcomes: TickOutcome["kind"][] = [];
  readonly left: string[] = [];
  readonly heldChanged: string[] = [];
  /** The registry has heard of what is held here. */
  announced = true;
  /** What was logged, as the operator would read it. */
  readonly lines: Record<string, unknown>[] = [];
  readonly logger = pino({ level: "debug" }, { write: (line: string) => void this.lines.push(JSON.parse(line)) });
  readonly #path: string;
  readonly #finished = new AbortController();
  price = 1_000n;
  manifest: Uint8Array = new Uint8Array(0);
  #storage: DataDirectory;
  #supervisor: Supervisor | undefined;
  #roster: Roster | undefined;
  #ended: Promise<void> = Promise.resolve();
  #ids = 0;

  private constructor(path: string, storage: DataDirectory) {
    this.#path = path;
    this.#storage = storage;
  }

  /** Tick 0 is on the disk, and nobody has asked the registry for anything yet. `empty`: without an agent. */
  static async create(content: "one-agent" | "empty" = "one-agent"): Promise<AgentPlace> {
    const path = await temporaryDirectory();
    const place = new AgentPlace(path, await openDirectory(path));
    onTestFinished(async () => {
      place.#finished.abort(new Error("the test is over"));
      await place.#supervisor?.end();
      await place.#roster?.stop();
      await place.#storage.close();
    });
    await place.openSession(ada.bootId);
    if (content === "empty") return place;
    const { storage, agentId, first } = place;
    await storage.putBlob(textBytes("module"));
    await storage.commit({
      agentId,
      agent: { name: "survivor", moduleDigest: first.header.moduleDigest, manifestDigest: first.header.manifestDigest },
      checkpoint: first,
      journal: { phase: "acquiring", commandId: "first", bootId: ada.bootId },
    });
    return place;
  }

  get storage(): DataDirectory {
    return this.#storage;
  }

  get record(): AuthorityRecord {
    return this.registry.record(this.agentId);
  }

  get supervisor(): Supervisor {
    if (this.#supervisor === undefined) throw new Error("no supervisor was made");
    return this.#supervisor;
  }

  get identity(): AgentIdentity {
    const { moduleDigest, manifestDigest } = this.first.header;
    const manifestBytes = this.manifest;
    const manifest = parseManifest(manifestBytes);
    const what = { agentId: this.agentId, name: "survivor", capabilities: new Set<never>() };
    return { ...what, moduleDigest, manifestDigest, manifestBytes, manifest };
  }

  get entropy() {
    return { uuid: () => `id-${++this.#ids}`, bytes: (count: number) => new Uint8Array(count).fill(++this.#ids) };
  }

  async openSession(bootId: string): Promise<void> {
    await this.#storage.recordSession(bootId);
    this.session.open(bootId);
  }

  /** The process ends without a word, and another one starts with the same directory. */
  async restart(bootId: string): Promise<void> {
    await this.#supervisor?.end();
    this.#supervisor = undefined;
    for (const supervisor of this.#roster?.supervisors ?? []) await supervisor.end();
    this.#roster = undefined;
    this.session.close();
    await this.#storage.close();
    this.#storage = await openDirectory(this.#path);
    await this.openSession(bootId);
  }

  /** Of what the journal on the disk says. */
  tenancy({ trustDataLock } = { trustDataLock: false }): Tenancy {
    const { agentId, storage, session: keeper, registry: authority, logger, entropy } = this;
    const journal = storage.agent(agentId)?.journal;
    if (journal === undefined) throw new Error("the agent is not here");
    const announced = async () => this.announced;
    const parts = { agentId, authority, keeper, storage, signer: ada.signer, entropy, logger, announced };
    return new Tenancy(parts, { trustDataLock }, journal);
  }

  /** A tenancy that the registry has granted major 0. */
  async granted(): Promise<Tenancy> {
    const tenancy = this.tenancy();
    const progress = await tenancy.settle();
    if (progress.kind !== "granted") throw new Error(`not granted: ${progress.kind}`);
    return tenancy;
  }

  /** A supervisor whose loop has begun and waits. */
  async supervise(
    changes: Partial<SupervisorRules> = {},
    { tenancy, ready }: { tenancy?: Tenancy; ready?: Parameters<Supervisor["start"]>[0] } = {},
  ): Promise<Supervisor> {
    const { session: keeper, storage, sandbox, logs, clock, logger } = this;
    let onEnded = (): void => {};
    this.#ended = new Promise((resolve) => {
      onEnded = resolve;
    });
    const supervisor = new Supervisor(
      {
        tenancy: tenancy ?? this.tenancy(),
        keeper,
        storage,
        sandbox,
        signer: ada.signer,
        hostId: ada.hostId,
        logs,
        clock,
        random: () => 0,
        logger,
        price: () => this.price,
        onCommitted: (_agentId, checkpoint) => void this.committed.push(checkpoint),
        onStanding: () => this.onStanding(),
        onTick: ({ outcome }) => void this.outcomes.push(outcome),
        onEnded: (agentId) => {
          this.left.push(agentId);
          onEnded();
        },
      },
      { ...rules, ...changes },
      this.identity,
    );
    this.#supervisor = supervisor;
    supervisor.start(ready);
    await this.idle();
    return supervisor;
  }

  /** All agents of this host; hears of sessions, and has not been started. */
  roster(changes: Partial<RosterRules> = {}): Roster {
    const { registry: authority, session: keeper, storage, sandbox, clock, logger, entropy } = this;
    const roster = new Roster(
      {
        authority,
        keeper,
        storage,
        sandbox,
        signer: ada.signer,
        clock,
        random: () => 0,
        entropy,
        logger,
        price: () => this.price,
        onCommitted: (_agentId, checkpoint) => void this.committed.push(checkpoint),
        onStanding: () => this.onStanding(),
        onLeft: (agentId) => void this.left.push(agentId),
        onHeldChanged: (agentId) => void this.heldChanged.push(agentId),
        announced: async () => this.announced,
        onTick: ({ outcome }) => void this.outcomes.push(outcome),
      },
      {
        hostId: ada.hostId,
        capabilities: new Set(["log"]),
        maxMemoryBytes: 64 * 1024 * 1024,
        trustDataLock: false,
        supervisor: rules,
        settleWithinMs: 5_000,
        ...changes,
      },
    );
    roster.attach();
    this.#roster = roster;
    return roster;
  }

  /** Until so many sleep on the clock. */
  async sleeping(count: number): Promise<void> {
    await this.clock.untilSleeping(count, this.#finished.signal);
  }

  /** Until it is so, without moving the clock. */
  async until(so: () => boolean): Promise<void> {
    while (!so()) {
      this.#finished.signal.throwIfAborted();
      await nextTurn();
    }
  }

  /** Until the supervisor's loop sleeps, or has ended. */
  async idle(): Promise<void> {
    await Promise.race([this.clock.untilSleeping(1, this.#finished.signal), this.#ended]);
  }

  /** The supervisor's next turn, when its time has come. Gives how long that was. */
  async turn(): Promise<number> {
    const before = this.clock.monotonicMs();
    await this.idle();
    await this.clock.advanceToNext();
    const waitedMs = this.clock.monotonicMs() - before;
    await this.idle();
    return waitedMs;
  }

  async turns(count: number): Promise<readonly number[]> {
    const waited: number[] = [];
    for (let i = 0; i < count; i++) waited.push(await this.turn());
    return waited;
  }

  /** The loop looks now. */
  async nudged(): Promise<void> {
    this.supervisor.nudge();
    await this.idle();
  }

  /** Ticks of the checkpoints that are held, newest first. */
  async held(): Promise<readonly bigint[]> {
    return (await this.storage.checkpoints(this.agentId)).map(({ tick }) => tick);
  }

  /** Bob's host does something about the agent, as the registry sees it. */
  async asBob(what: { readonly recover: Checkpoint } | { readonly claim: Parameters<MemoryRegistry["claim"]>[2] }) {
    const { agentId, registry } = this;
    const commandId = this.entropy.uuid();
    let answer: Answer;
    if ("claim" in what) answer = await registry.claim(bobSession, { commandId, agentId }, what.claim);
    else {
      const command = { commandId, agentId, revision: this.record.revision };
      answer = await registry.recover(bobSession, command, what.recover.signed);
      if (answer.kind === "applied") {
        const { era, major } = answer.record;
        const head = what.recover.signed;
        const report = { commandId: this.entropy.uuid(), agentId, era, major, ref: refOf(what.recover), head };
        [answer = answer] = await registry.reportHeads(bobSession, [report]);
      }
    }
    if (answer.kind !== "applied") throw new Error(`bob was not answered: ${JSON.stringify(answer.kind)}`);
  }
}

function openDirectory(path: string): Promise<DataDirectory> {
  // The disk is a real one, and what waits for it waits for real.
  return DataDirectory.open(path, { clock: systemClock, rules: storageRules });
}
