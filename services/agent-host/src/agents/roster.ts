// Every agent of this host: those that it runs, each under a supervisor, and those of which it only holds checkpoints.
//
// GA-5  After a start nothing ticks from disk alone: each agent that the journal does not call a replica is looked at
//       through the registry first.
// §8    What is held and not run is announced; an offer of the registry makes a holder recover.

import type { Clock, Entropy, Random } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { MAX_MICROCENTS } from "@godwit/common/money";
import { type Checkpoint, createGenesis, digestOf, type Imported, type Signer, writeCheckpoint } from "@godwit/lineage";
import {
  type Capability,
  declaredCapabilities,
  declaredLimits,
  missingCapabilities,
  parseManifest,
} from "@godwit/sandbox";
import type { Logger } from "pino";
import type { Authority, Carried } from "../registry/ports.ts";
import type { DataDirectory, JournalEntry, StoredAgent } from "../storage/index.ts";
import { causeFields } from "./cause-fields.ts";
import type { LogBook } from "./log-book.ts";
import { LogBooks } from "./log-books.ts";
import { Supervisor } from "./supervisor.ts";
import type {
  AgentIdentity,
  AgentSandbox,
  EndedTick,
  HostSession,
  Standing,
  SupervisorRules,
} from "./supervisor-parts.ts";
import { type SeedFiles, takeOver } from "./take-over.ts";
import { Tenancy } from "./tenancy.ts";

export interface RosterParts {
  readonly authority: Authority;
  readonly keeper: HostSession;
  readonly storage: DataDirectory;
  readonly sandbox: AgentSandbox;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly price: () => bigint;
  /** A running agent has a new checkpoint: it is reported and replicated. */
  readonly onCommitted: (agentId: string, checkpoint: Checkpoint) => void;
  /** An agent goes on here from this checkpoint: it is replicated. */
  readonly onStanding: (agentId: string, checkpoint: Checkpoint) => void;
  /** It does not run here any more. */
  readonly onLeft: (agentId: string) => void;
  /** What is held and not run changed: it is announced. */
  readonly onHeldChanged: (agentId: string) => void;
  /** Whether the registry has heard of all of that. */
  readonly announced: () => Promise<boolean>;
  readonly onTick: (ended: EndedTick) => void;
}

export interface RosterRules {
  readonly hostId: string;
  readonly capabilities: ReadonlySet<Capability>;
  readonly maxMemoryBytes: number;
  readonly trustDataLock: boolean;
  readonly supervisor: SupervisorRules;
  /** How long `run` and `recover` wait for the registry before they answer with what there is. */
  readonly settleWithinMs: number;
}

export interface RunSpec {
  readonly name: string;
  readonly manifest: Uint8Array;
  readonly module: Uint8Array;
  readonly budget: bigint;
  /** Of an agent of the seed system, which goes on from them. */
  readonly seedFiles?: SeedFiles;
}

interface Beginning {
  readonly identity: AgentIdentity;
  readonly state: Uint8Array;
  readonly imported: Imported | undefined;
}

const nameRule = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** Log books of agents that do not run here. */
const keptResting = 1_000;
/** Agents that are brought back in one call of the registry, which has to answer within a lease's renewal. */
const maxCarried = 256;

export class Roster {
  readonly #parts: RosterParts;
  readonly #rules: RosterRules;
  readonly #running = new Map<string, Supervisor>();
  readonly #logs: LogBooks;
  #stopping = new AbortController();

  constructor(parts: RosterParts, rules: RosterRules) {
    this.#parts = parts;
    this.#rules = rules;
    this.#logs = new LogBooks(parts.clock, { keptResting });
  }

  get supervisors(): Iterable<Supervisor> {
    return this.#running.values();
  }

  get size(): number {
    return this.#running.size;
  }

  supervisor(agentId: string): Supervisor | undefined {
    return this.#running.get(agentId);
  }

  /** The agent's full id from it or a unique prefix. Throws Fault AGENT_UNKNOWN or AMBIGUOUS_ID. */
  find(prefix: string): string {
    if (prefix === "")
      throw new Fault({ code: "INVALID_ARGUMENT", field: "agent id", reason: "give an id or a prefix" });
    if (this.#parts.storage.agent(prefix) !== undefined) return prefix;
    const matches = this.#parts.storage
      .agents()
      .map(({ agentId }) => agentId)
      .filter((agentId) => agentId.startsWith(prefix));
    const [first] = matches;
    if (first === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId: prefix });
    if (matches.length > 1) throw new Fault({ code: "AMBIGUOUS_ID", prefix, matches: matches.slice(0, 10) });
    return first;
  }

  logs(agentId: string): LogBook {
    return this.#logs.of(agentId);
  }

  /** Hears of sessions from here on; called before the first one is opened. */
  attach(): void {
    const { keeper, storage } = this.#parts;
    keeper.on("void", () => {
      for (const supervisor of this.#running.values()) supervisor.sessionVoid();
    });
    keeper.on("live", () => this.#nudgeAll());
    keeper.on("settled", () => this.#nudgeAll());
    // The store may have forgotten what was announced before as well.
    for (const event of ["opened", "brought-over"] as const) {
      keeper.on(event, () => {
        this.#nudgeAll();
        for (const { agentId } of storage.agents()) this.#parts.onHeldChanged(agentId);
      });
    }
  }

  /** GA-7: what this host brings back with its session: every agent that it runs, and every termination that it knows of. */
  async *carried(): AsyncGenerator<readonly Carried[]> {
    let batch: Carried[] = [];
    for (const { agentId } of this.#parts.storage.agents()) {
      const carried = await this.#carry(agentId);
      if (carried === undefined) continue;
      batch.push(carried);
      if (batch.length < maxCarried) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  }

  async #carry(agentId: string): Promise<Carried | undefined> {
    const journal = this.#parts.storage.agent(agentId)?.journal;
    if (journal?.phase === "terminated") {
      const { termination } = journal;
      return { item: () => ({ kind: "termination", agentId, termination }), answered: () => {} };
    }
    const supervisor = this.#running.get(agentId);
    try {
      // What was not brought back is held and not run: it is announced.
      return await supervisor?.carried(() => this.#parts.onHeldChanged(agentId));
    } catch (err) {
      this.#parts.logger.error({ err, agentId }, "cannot be brought back");
      supervisor?.inDoubt("lost-grant");
      return undefined;
    }
  }

  async start(): Promise<void> {
    this.#stopping = new AbortController();
    for (const agent of this.#parts.storage.agents()) {
      if (!isAtRest(agent.journal)) await this.#supervise(agent); // GA-5
    }
  }

  /** Last checkpoints, then every loop ends. The session is still open, so that others learn of them. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Fault({ code: "SHUTTING_DOWN" }));
    const supervisors = [...this.#running.values()];
    await Promise.all(
      supervisors.map((supervisor) =>
        supervisor
          .lastCheckpoint()
          .catch((err: unknown) => this.#parts.logger.error({ err }, "no last checkpoint before the stop")),
      ),
    );
    await Promise.all(supervisors.map((supervisor) => supervisor.end()));
    this.#running.clear();
  }

  /** Begins a new agent. Nothing of it is kept when it is refused. */
  async run(spec: RunSpec, signal: AbortSignal): Promise<string> {
    const { storage, keeper, signer, clock } = this.#parts;
    const session = keeper.current;
    if (session === undefined) throw new Fault({ code: "SESSION_NOT_OPEN", reason: keeper.trouble ?? "none" });
    const { identity, state, imported } = await this.#beginning(spec, signal);

    const { bytes: genesis, agentId } = createGenesis({
      creatorHostId: this.#rules.hostId,
      moduleDigest: identity.moduleDigest,
      manifestDigest: identity.manifestDigest,
      incarnation: session.incarnation,
      nonce: this.#parts.entropy.bytes(16),
      recoveryPolicy: identity.manifest.recoveryPolicy,
      name: spec.name,
      imported,
    });
    const first = writeCheckpoint(
      {
        agentId,
        era: session.counter,
        major: 0n,
        generation: keeper.generation,
        tick: 0n,
        moduleDigest: identity.moduleDigest,
        manifestDigest: identity.manifestDigest,
        previous: imported?.digest,
        base: undefined,
        budget: spec.budget,
        pricePerSecond: this.#parts.price(),
        remainder: 0n,
        receipts: [],
        grant: undefined,
        genesis,
        origin: "created",
        rolledBackFromTick: undefined,
        fundingIds: [],
        writtenAtNs: BigInt(clock.now().getTime()) * 1_000_000n,
      },
      state,
      signer,
    );
    using _held = storage.holdBlobs(identity.moduleDigest, identity.manifestDigest);
    await Promise.all([storage.putBlob(spec.module), storage.putBlob(spec.manifest)]);
    await storage.commit({
      agentId,
      agent: { name: spec.name, moduleDigest: identity.moduleDigest, manifestDigest: identity.manifestDigest },
      checkpoint: first,
      journal: { phase: "acquiring", commandId: this.#parts.entropy.uuid(), bootId: session.id.bootId },
    });
    if (imported !== undefined) {
      this.#parts.logger.info({ agentId, from: imported.digest }, "an agent of the seed system goes on here");
    }
    const agent = this.#stored(agentId);
    await this.#supervise(agent);
    await this.#settled(agentId, signal);
    return agentId;
  }

  /** Makes this host recover an agent of which it holds a checkpoint: an offer, or an operator's word. */
  async recover(agentId: string, signal: AbortSignal): Promise<void> {
    const running = this.#running.get(agentId);
    if (running !== undefined) {
      running.tenancy.asked = true;
      running.nudge();
      return await this.#settled(agentId, signal);
    }
    const supervisor = await this.revived(agentId);
    supervisor.tenancy.asked = true;
    this.begin(supervisor);
    await this.#settled(agentId, signal);
    if (supervisor.tenancy.tenure.kind !== "RETIRED") return;
    const record = supervisor.tenancy.lastRecord;
    const owner = record?.owner === undefined ? "nobody" : record.owner.hostId;
    throw new Fault({ code: "OWNER_ALIVE", agentId, owner });
  }

  /** For an agent that is held here and is to be asked for. Throws Fault for one that is gone, or that cannot run here. */
  async revived(agentId: string): Promise<Supervisor> {
    const agent = this.#stored(agentId);
    if (agent.journal.phase === "terminated") throw new Fault({ code: "TERMINATED", agentId });
    const identity = await this.#identity(agent);
    const missing = missingCapabilities(identity.manifest, this.#rules.capabilities);
    if (missing.length > 0) throw new Fault({ code: "CAPABILITY_MISSING", missing });
    return this.#make(agent, identity);
  }

  /** Throws Fault AGENT_EXISTS when it has begun already. */
  begin(supervisor: Supervisor, ready?: Standing): void {
    const { agentId } = supervisor.identity;
    if (this.#running.has(agentId)) throw new Fault({ code: "AGENT_EXISTS", agentId });
    this.#running.set(agentId, supervisor);
    this.#logs.begun(agentId);
    this.#parts.onHeldChanged(agentId);
    supervisor.start(ready);
  }

  /** Puts an agent that came in, and that the registry has granted, under a supervisor that ticks at once. */
  adopt(incoming: { readonly tenancy: Tenancy; readonly identity: AgentIdentity }, ready: Standing): void {
    this.begin(this.#superviseWith(incoming.tenancy, incoming.identity), ready);
  }

  /** Puts an agent under a supervisor that first asks the registry, as after a restart. */
  superviseStored(agentId: string): void {
    const agent = this.#parts.storage.agent(agentId);
    if (agent === undefined || this.#running.has(agentId) || isAtRest(agent.journal)) return;
    void this.#supervise(agent);
  }

  /** GA-9: what the store forgot is recovered from what is held here, unasked. Nothing is done about what cannot be run here. */
  superviseLost(agentId: string): void {
    const agent = this.#parts.storage.agent(agentId);
    if (agent === undefined || this.#running.has(agentId)) return;
    this.#identity(agent)
      .then((identity) => {
        this.checkRunnable(identity);
        if (!this.#running.has(agentId) && !this.#stopping.signal.aborted) this.begin(this.#make(agent, identity));
      })
      .catch((cause: unknown) => this.#parts.logger.info({ agentId, ...causeFields(cause) }, "not recovered here"));
  }

  heldChanged(agentId: string): void {
    this.#parts.onHeldChanged(agentId);
  }

  /** A tenancy for an agent that is about to come in; nothing runs yet. */
  tenancy(agentId: string, journal: JournalEntry): Tenancy {
    const { authority, keeper, storage, signer, entropy, logger, announced } = this.#parts;
    return new Tenancy(
      { agentId, authority, keeper, storage, signer, entropy, logger, announced },
      { trustDataLock: this.#rules.trustDataLock },
      journal,
    );
  }

  /** What a manifest and a module digest make of an agent. Throws Fault MANIFEST_INVALID. */
  identify(agent: { agentId: string; name: string; moduleDigest: string; manifestBytes: Uint8Array }): AgentIdentity {
    const manifest = parseManifest(agent.manifestBytes);
    return {
      ...agent,
      manifest,
      manifestDigest: digestOf(agent.manifestBytes),
      capabilities: declaredCapabilities(manifest),
    };
  }

  async #beginning(spec: RunSpec, signal: AbortSignal): Promise<Beginning> {
    const { name, budget, seedFiles } = spec;
    if (!nameRule.test(name)) {
      const reason = "give 1 to 63 letters, digits, '-', '_' or '.', the first a letter or digit";
      throw new Fault({ code: "INVALID_ARGUMENT", field: "name", reason });
    }
    if (budget < 0n || budget > MAX_MICROCENTS) {
      throw new Fault({ code: "BUDGET_INVALID", reason: `give 0 to ${MAX_MICROCENTS} microcents` });
    }
    const moduleDigest = digestOf(spec.module);
    const identity = this.identify({ agentId: "new", name, moduleDigest, manifestBytes: spec.manifest });
    this.checkRunnable(identity);
    const taken = seedFiles && (await takeOver(seedFiles, { moduleDigest, budget }, signal));
    const { sandbox } = this.#parts;
    const module = await sandbox.compile(spec.module, identity.capabilities);
    const instance = await sandbox.start({
      agentId: name,
      module,
      capabilities: identity.capabilities,
      ...declaredLimits(identity.manifest),
      state: taken?.state,
      signal,
    });
    const state = instance.initialState;
    await instance.stop();
    return { identity, state, imported: taken?.imported };
  }

  /** Throws Fault for what this host lacks. */
  checkRunnable({ manifest }: AgentIdentity): void {
    const missing = missingCapabilities(manifest, this.#rules.capabilities);
    if (missing.length > 0) throw new Fault({ code: "CAPABILITY_MISSING", missing });
    const needed = manifest.resourceLimits.maxMemoryBytes ?? 0;
    if (needed > this.#rules.maxMemoryBytes) {
      throw new Fault({ code: "MEMORY_TOO_LARGE", needed, limit: this.#rules.maxMemoryBytes });
    }
  }

  async #supervise(agent: StoredAgent): Promise<void> {
    try {
      this.begin(this.#make(agent, await this.#identity(agent)));
    } catch (err) {
      // A damaged manifest or module costs this agent, not the host: its checkpoints stay as they are.
      this.#parts.logger.error({ err, agentId: agent.agentId }, "agent cannot be run here");
    }
  }

  #make(agent: StoredAgent, identity: AgentIdentity): Supervisor {
    return this.#superviseWith(this.tenancy(agent.agentId, agent.journal), identity);
  }

  #superviseWith(tenancy: Tenancy, identity: AgentIdentity): Supervisor {
    const { keeper, storage, sandbox, signer, clock, random, logger, price, onCommitted, onStanding, onTick } =
      this.#parts;
    return new Supervisor(
      {
        tenancy,
        keeper,
        storage,
        sandbox,
        signer,
        hostId: this.#rules.hostId,
        logs: this.logs(identity.agentId),
        clock,
        random,
        logger,
        price,
        onCommitted,
        onStanding,
        onTick,
        onEnded: (agentId) => {
          this.#running.delete(agentId);
          this.#logs.ended(agentId);
          this.#parts.onLeft(agentId);
          this.#parts.onHeldChanged(agentId);
        },
      },
      this.#rules.supervisor,
      identity,
    );
  }

  async #identity(agent: StoredAgent): Promise<AgentIdentity> {
    const { agentId, name, moduleDigest } = agent;
    const manifestBytes = await this.#parts.storage.getBlob(agent.manifestDigest);
    if (manifestBytes === undefined)
      throw new Fault({ code: "MANIFEST_INVALID", reason: "it is not in the data directory" });
    return this.identify({ agentId, name, moduleDigest, manifestBytes });
  }

  #stored(agentId: string): StoredAgent {
    const agent = this.#parts.storage.agent(agentId);
    if (agent === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId });
    return agent;
  }

  /** Waits until the agent ticks or is somebody else's; a registry that takes longer is waited for in the background. */
  async #settled(agentId: string, signal: AbortSignal): Promise<void> {
    const supervisor = this.#running.get(agentId);
    if (supervisor === undefined) return;
    const enough = new AbortController();
    const either = AbortSignal.any([signal, this.#stopping.signal, enough.signal]);
    const timer = this.#parts.clock.sleep(this.#rules.settleWithinMs, either).then(
      () => enough.abort(),
      () => {},
    );
    await supervisor.untilSettled(either).catch(() => {});
    enough.abort();
    await timer;
  }

  #nudgeAll(): void {
    for (const supervisor of this.#running.values()) supervisor.nudge();
  }
}

/** Held and not run, or over: nothing is asked about it at a start but what an announcement answers. */
function isAtRest(journal: JournalEntry): boolean {
  return journal.phase === "replica" || journal.phase === "retired" || journal.phase === "terminated";
}
