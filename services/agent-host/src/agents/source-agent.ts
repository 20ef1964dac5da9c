// A supervised agent as its migration sees it (src/migration/ports.ts). Every step is a turn of the supervisor, so that none
// meets a tick, and every word to the registry goes through the tenancy.

import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import type { OwnerAnswer, ReplayRecord, Resolution } from "@godwit/migration";
import type { AgentDescription, Frozen, HandoffName, SourceAgent } from "../migration/ports.ts";
import type { Answer } from "../registry/ports.ts";
import type { DataDirectory } from "../storage/index.ts";
import type { Supervisor } from "./supervisor.ts";

export class SupervisedSource implements SourceAgent {
  readonly agentId: string;
  readonly #supervisor: Supervisor;
  readonly #storage: DataDirectory;
  #module: Uint8Array | undefined;

  constructor(supervisor: Supervisor, storage: DataDirectory) {
    this.agentId = supervisor.identity.agentId;
    this.#supervisor = supervisor;
    this.#storage = storage;
  }

  /** Reads the module once, before anything is described. */
  async load(): Promise<void> {
    const { moduleDigest } = this.#supervisor.identity;
    const bytes = await this.#storage.getBlob(moduleDigest);
    if (bytes === undefined) throw new Fault({ code: "MODULE_INVALID", reason: "it is not in the data directory" });
    this.#module = bytes;
  }

  describe(): AgentDescription {
    const { identity, tenancy, tick, state, budget } = this.#supervisor;
    const { tenure, ground } = tenancy;
    const { agentId, name, manifest, manifestBytes, moduleDigest } = identity;
    if (tenure.kind === "HANDOFF_INITIATED" || tenure.kind === "HANDOFF_PENDING") {
      throw new Fault({ code: "MIGRATION_IN_PROGRESS", agentId });
    }
    if (tenure.kind !== "ACTIVE_OWNER" || ground === undefined) {
      throw new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason: this.#supervisor.reason || tenure.kind });
    }
    if (!manifest.migrationPolicy.enabled) throw new Fault({ code: "MIGRATION_DISABLED", agentId });
    return {
      era: ground.era,
      major: ground.major,
      name,
      tick,
      manifest: manifestBytes,
      moduleDigest,
      moduleBytes: this.#module?.length ?? 0,
      stateBytes: state.length,
      budget,
    };
  }

  manifest(): Uint8Array {
    return this.#supervisor.identity.manifestBytes;
  }

  async module(): Promise<Uint8Array> {
    if (this.#module === undefined) await this.load();
    return this.#module ?? new Uint8Array(0);
  }

  async spine(): Promise<readonly SignedBytes[]> {
    const base = this.#supervisor.tenancy.ground?.base;
    if (base === undefined) throw new Fault({ code: "AGENT_NOT_RUNNING", agentId: this.agentId, reason: "no grant" });
    return await this.#storage.spineFrom(this.agentId, base);
  }

  async replayRecord(): Promise<ReplayRecord> {
    return await this.#supervisor.replayRecord();
  }

  receipts(): readonly Uint8Array[] {
    return this.#supervisor.receipts;
  }

  async freeze(handoffId: string): Promise<Frozen> {
    const checkpoint = await this.#supervisor.freeze(handoffId);
    const { receipts, stoppedAtMs, window } = this.#supervisor;
    if (window === undefined) throw new TypeError("what was frozen has a window");
    return { checkpoint, receipts, stoppedAtMs, replayTail: window.tail() };
  }

  async begin(handoff: HandoffName): Promise<OwnerAnswer> {
    return await this.#supervisor.exclusively(async () => {
      const head = this.#frozen();
      return ownerAnswer(await this.#supervisor.tenancy.beginHandoff({ ...handoff, head: head.signed }));
    });
  }

  async relinquish(handoff: HandoffName): Promise<SignedBytes> {
    return await this.#supervisor.exclusively(() => this.#supervisor.tenancy.relinquish(handoff, this.#frozen()));
  }

  async revert(): Promise<OwnerAnswer> {
    return await this.#supervisor.exclusively(async () => {
      // Frozen, and nothing was begun: there is nothing to revert at the registry, but what may still be on its way there
      // must be made stale, so it is asked all the same (GH-1).
      return ownerAnswer(await this.#supervisor.tenancy.revert());
    });
  }

  thaw(): void {
    this.#supervisor.thaw();
  }

  async resolve(signal: AbortSignal): Promise<Resolution> {
    this.#supervisor.inDoubt("ambiguous-handoff");
    const tenure = await this.#supervisor.untilSettled(signal);
    if (tenure.kind === "ACTIVE_OWNER") {
      return { kind: "recovered", era: tenure.grant.era, major: tenure.grant.major };
    }
    const record = this.#supervisor.tenancy.lastRecord;
    if (record?.owner === undefined || record.state === "RETIRED") return { kind: "gone" };
    return { kind: "moved", hostId: record.owner.hostId, era: record.era, major: record.major };
  }

  async retire(to: { readonly ownerHostId: string }): Promise<void> {
    await this.#supervisor.retireTo(to.ownerHostId);
  }

  #frozen() {
    const checkpoint = this.#supervisor.latest;
    if (checkpoint === undefined) throw new TypeError("nothing was frozen");
    return checkpoint;
  }
}

function ownerAnswer(answer: Answer): OwnerAnswer {
  return answer.kind === "refused" ? { kind: "refused", code: answer.code } : { kind: answer.kind };
}
