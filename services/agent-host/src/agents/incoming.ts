// This host as the target of a handoff (src/migration/ports.ts): what may come in, where it is kept until the registry has
// granted it, and how it then runs under the same supervisor as any other agent.
//
// GH-4  Until `claim` is granted nothing is written but the module, which changes no agent, and the staging area.
// GH-5  "claiming" is in the journal together with what was staged, so a restart finds both or neither.

import type { Entropy } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { type AuthorityRecord, compareCheckpoints, type SignedBytes } from "@godwit/common/lease";
import { ClassifiedFault } from "@godwit/common/retry";
import { type Checkpoint, digestOf, refOf } from "@godwit/lineage";
import type { OfferFrame } from "@godwit/migration";
import {
  type AgentInstance,
  type CompiledModule,
  declaredLimits,
  type ReplayedTicks,
  type ReplayResult,
} from "@godwit/sandbox";
import type { Logger } from "pino";
import type { ClaimResult, HostFacts, IncomingAgent, TargetHost } from "../migration/ports.ts";
import type { VerifiedHandoff } from "../migration/verify-handoff.ts";
import type { Authority, HeldSession } from "../registry/ports.ts";
import type { DataDirectory, JournalEntry } from "../storage/index.ts";
import type { Roster } from "./roster.ts";
import type { AgentIdentity, AgentSandbox, HostSession } from "./supervisor-parts.ts";
import type { Tenancy } from "./tenancy.ts";

export interface IncomingParts {
  readonly roster: Roster;
  readonly storage: DataDirectory;
  readonly sandbox: AgentSandbox;
  readonly authority: Authority;
  readonly keeper: HostSession;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly facts: () => HostFacts;
}

export class Incoming implements TargetHost {
  readonly #parts: IncomingParts;
  readonly #coming = new Set<string>();

  constructor(parts: IncomingParts) {
    this.#parts = parts;
  }

  facts(): HostFacts {
    return this.#parts.facts();
  }

  async admit(offer: OfferFrame, sourceHostId: string): Promise<IncomingAgent> {
    const { agentId } = offer;
    const { roster, storage } = this.#parts;
    if (roster.supervisor(agentId) !== undefined) throw new Fault({ code: "AGENT_EXISTS", agentId });
    if (this.#coming.has(agentId)) throw new ClassifiedFault("retriable", { code: "MIGRATION_IN_PROGRESS", agentId });
    if (storage.agent(agentId)?.journal.phase === "terminated") throw new Fault({ code: "TERMINATED", agentId });
    const identity = roster.identify({
      agentId,
      name: offer.name,
      moduleDigest: offer.moduleDigest,
      manifestBytes: offer.manifest,
    });
    roster.checkRunnable(identity);
    this.#coming.add(agentId);
    // From before it is said whether the module has to be sent.
    const held = storage.holdBlobs(identity.moduleDigest, identity.manifestDigest);
    const onEnded = () => {
      held[Symbol.dispose]();
      this.#coming.delete(agentId);
    };
    try {
      return new Arrival(this.#parts, {
        identity,
        sourceHostId,
        spineKnown: await this.#spineKnown(agentId),
        needModule: !storage.hasBlob(offer.moduleDigest),
        onEnded,
      });
    } catch (cause) {
      onEnded(); // nobody else will say that it has ended
      throw cause;
    }
  }

  async #spineKnown(agentId: string): Promise<readonly SignedBytes[]> {
    const { storage } = this.#parts;
    const [newest] = await storage.checkpoints(agentId);
    return newest === undefined ? [] : await storage.spineFrom(agentId, newest);
  }
}

interface ArrivalOptions {
  readonly identity: AgentIdentity;
  readonly sourceHostId: string;
  readonly spineKnown: readonly SignedBytes[];
  readonly needModule: boolean;
  readonly onEnded: () => void;
}

interface Staged {
  readonly handoff: VerifiedHandoff;
  readonly tenancy: Tenancy;
  readonly before: JournalEntry | undefined;
  readonly commandId: string;
  readonly session: HeldSession;
}

/** A smaller state is written as quickly with the rest; a larger one keeps the disk busy while the agent stands still. */
const AHEAD_ABOVE_BYTES = 64 * 1024;

class Arrival implements IncomingAgent {
  readonly needModule: boolean;
  readonly spineKnown: readonly SignedBytes[];
  readonly #parts: IncomingParts;
  readonly #options: ArrivalOptions;
  readonly #aborted = new AbortController();
  #module: CompiledModule | undefined;
  #staged: Staged | undefined;
  #instance: Promise<AgentInstance> | undefined;
  /** What `#instance` stands at. */
  #expected: Checkpoint | undefined;
  /** Digests of states that were written ahead and are not staged. */
  readonly #ahead = new Set<string>();

  constructor(parts: IncomingParts, options: ArrivalOptions) {
    this.#parts = parts;
    this.#options = options;
    this.needModule = options.needModule;
    this.spineKnown = options.spineKnown;
  }

  async prepare(module: Uint8Array | undefined, signal: AbortSignal): Promise<void> {
    const { storage, sandbox } = this.#parts;
    const { moduleDigest, manifestBytes, capabilities } = this.#options.identity;
    const bytes = module ?? (await storage.getBlob(moduleDigest));
    if (bytes === undefined || digestOf(bytes) !== moduleDigest) {
      throw new Fault({ code: "MODULE_INVALID", reason: "its bytes are not the ones that were offered" });
    }
    this.#module = await sandbox.compile(bytes, capabilities);
    signal.throwIfAborted();
    await Promise.all([module === undefined ? undefined : storage.putBlob(bytes), storage.putBlob(manifestBytes)]);
  }

  replay(work: ReplayedTicks, signal: AbortSignal): Promise<ReplayResult> {
    return this.#parts.sandbox.replay({ ...this.#start(signal), ...work });
  }

  /** An instance comes up while others are waited for; nothing ticks before the claim is granted (EI-4). */
  expect(checkpoint: Checkpoint): void {
    this.#standAt(checkpoint);
    if (checkpoint.state.length > AHEAD_ABOVE_BYTES) this.#writeAhead(checkpoint);
  }

  #standAt(checkpoint: Checkpoint): void {
    if (this.#expected === checkpoint) return;
    void this.#instance?.then((instance) => instance.stop()).catch(() => {});
    this.#expected = checkpoint;
    this.#instance = this.#instantiate(checkpoint);
    this.#instance.catch(() => {});
  }

  /** GH-4: part of the staging area that nothing names; `stage` writes what is missing, so this may fail. */
  #writeAhead(checkpoint: Checkpoint): void {
    const { agentId } = this.#options.identity;
    this.#ahead.add(checkpoint.header.stateDigest);
    this.#parts.storage
      .putStateAhead(agentId, checkpoint)
      .catch((err: unknown) => this.#parts.logger.warn({ err, agentId }, "state of a handoff not written ahead"));
  }

  async stage(handoff: VerifiedHandoff): Promise<void> {
    const { roster, storage, keeper } = this.#parts;
    const { agentId, name, moduleDigest, manifestDigest } = this.#options.identity;
    using _held = storage.holdBlobs(moduleDigest, manifestDigest); // the handoff may end before this does
    const session = keeper.current;
    if (session === undefined) {
      throw new ClassifiedFault("retriable", { code: "SESSION_NOT_OPEN", reason: keeper.trouble ?? "none" });
    }
    if (roster.supervisor(agentId) !== undefined) throw new Fault({ code: "AGENT_EXISTS", agentId });
    const [newest] = await storage.checkpoints(agentId);
    if (newest !== undefined && compareCheckpoints(newest, refOf(handoff.checkpoint)) > 0) {
      throw new Fault({ code: "STALE_CHECKPOINT", agentId });
    }
    const { handoffId, sourceHostId, signedToken, checkpoint, receipts, spine, token } = handoff;
    const commandId = this.#parts.entropy.uuid();
    const journal: JournalEntry = {
      phase: "claiming",
      bootId: session.id.bootId,
      commandId,
      handoffId,
      sourceHostId,
      era: token.era,
      major: token.major,
      token: signedToken,
      checkpointDigest: checkpoint.digest,
    };
    const before = storage.agent(agentId)?.journal;
    this.#standAt(checkpoint);
    await storage.commit({
      agentId,
      agent: { name, moduleDigest, manifestDigest },
      stage: {
        handoffId,
        agent: { name, moduleDigest, manifestDigest },
        sourceHostId,
        token: signedToken,
        checkpoint,
        receipts,
        spine: this.#notKept(spine),
      },
      journal,
      pruneLater: true,
    });
    this.#ahead.delete(checkpoint.header.stateDigest);
    this.#staged = { handoff, tenancy: roster.tenancy(agentId, journal), before, commandId, session };
  }

  async drop(): Promise<void> {
    const { agentId } = this.#options.identity;
    const staged = this.#staged;
    if (staged === undefined) return;
    const journal: JournalEntry = staged.before ?? { phase: "replica" };
    await this.#parts.storage.commit({ agentId, journal, dropStaging: staged.handoff.handoffId });
    this.#staged = undefined;
  }

  async claim(): Promise<ClaimResult> {
    const { authority, keeper } = this.#parts;
    const staged = this.#mustBeStaged();
    const { handoff, commandId, session } = staged;
    // Another session makes another command; the journal of this one settles what it may have done (GA-5).
    if (keeper.current !== session) return { kind: "refused", record: undefined, session: session.id };
    const { agentId } = this.#options.identity;
    const answer = await authority.claim(session, { commandId, agentId }, handoff.signedToken);
    if (answer.kind === "applied") return { kind: "granted", record: answer.record };
    if (answer.kind === "refused") return { kind: "refused", record: answer.record, session: session.id };
    return { kind: "unknown" };
  }

  async start(record: AuthorityRecord): Promise<void> {
    const { roster } = this.#parts;
    const { handoff, tenancy, session } = this.#mustBeStaged();
    const { identity } = this.#options;
    const instance = await this.#instance;
    if (instance === undefined) throw new Fault({ code: "AGENT_NOT_HERE", agentId: identity.agentId });
    this.#instance = undefined;
    tenancy.claimed(session, record);
    const { checkpoint, receipts } = handoff;
    roster.adopt({ tenancy, identity }, { checkpoint, instance, receipts });
    this.#staged = undefined;
    // The source need not wait for this: until it is on the disk, "claiming" is, and says whom to ask (GH-5).
    tenancy.promote(session, handoff.handoffId).catch((err: unknown) => {
      this.#parts.logger.error({ err, agentId: identity.agentId }, "journal not written after a claim");
      roster.supervisor(identity.agentId)?.inDoubt("outcome-unknown");
    });
  }

  async abandon(): Promise<void> {
    const { handoff } = this.#mustBeStaged();
    const { agentId } = this.#options.identity;
    const { storage, roster } = this.#parts;
    await storage.commit({ agentId, promoteStaging: handoff.handoffId, journal: { phase: "replica" } });
    this.#staged = undefined;
    roster.heldChanged(agentId);
  }

  ended(): void {
    this.#aborted.abort(new Fault({ code: "CANCELLED", what: "the handoff" }));
    void this.#instance?.then((instance) => instance.stop()).catch(() => {});
    for (const stateDigest of this.#ahead) {
      this.#parts.storage
        .dropStateAhead(this.#options.identity.agentId, stateDigest)
        .catch((err: unknown) =>
          this.#parts.logger.warn({ err }, "a state without a handoff stays until the next start"),
        );
    }
    this.#options.onEnded();
    // What is staged and not settled is ours to ask the registry about, like after a restart (GA-5, GH-5).
    if (this.#staged !== undefined) this.#parts.roster.superviseStored(this.#options.identity.agentId);
  }

  async #instantiate({ state }: Checkpoint): Promise<AgentInstance> {
    return await this.#parts.sandbox.start({ ...this.#start(this.#aborted.signal), state });
  }

  #start(signal: AbortSignal) {
    const { agentId, capabilities, manifest } = this.#options.identity;
    const module = this.#module;
    if (module === undefined) throw new Fault({ code: "MODULE_INVALID", reason: "it was not prepared" });
    return { agentId, module, capabilities, ...declaredLimits(manifest), signal };
  }

  /** What lies below the newest header known here is on its spine, so it is here for ever and need not be written again. */
  #notKept(spine: readonly SignedBytes[]): readonly SignedBytes[] {
    const kept = new Set(this.spineKnown.slice(1).map(({ payload }) => digestOf(payload)));
    return spine.filter(({ payload }) => !kept.has(digestOf(payload)));
  }

  #mustBeStaged(): Staged {
    if (this.#staged === undefined) throw new TypeError("nothing is staged");
    return this.#staged;
  }
}
