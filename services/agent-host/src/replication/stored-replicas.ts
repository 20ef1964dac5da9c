// Replicas of other hosts' agents, in the host's data directory.
//
// EI-4  What is written here says "held", and nothing else: a journal that says more is never replaced. The disk compares it
//       in the same step, since a handoff of the agent may arrive while its checkpoint does.

import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import type { DataDirectory, Phase } from "../storage/index.ts";
import type { Replica, ReplicaStore, ReplicaStoreFacts } from "./ports.ts";

export interface StoredReplicasParts {
  readonly storage: DataDirectory;
  /** `undefined` until the registry was met. */
  readonly registryKey: () => Uint8Array | undefined;
  /** Beside what the journal says. */
  readonly runsHere: (agentId: string) => boolean;
  /** What is held of the agent has changed: it is announced. */
  readonly onHeld: (agentId: string) => void;
}

export interface StoredReplicasRules {
  readonly maxModuleBytes: number;
  readonly maxStateBytes: number;
  /** T-25: above this copies are refused, so that what others have copied here leaves room for what runs here. */
  readonly fullAtBytes: number;
}

const HELD_ONLY: ReadonlySet<Phase> = new Set(["replica", "retired"]);

export class StoredReplicas implements ReplicaStore {
  readonly #parts: StoredReplicasParts;
  readonly #rules: StoredReplicasRules;

  constructor(parts: StoredReplicasParts, rules: StoredReplicasRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  facts(): ReplicaStoreFacts {
    const { maxModuleBytes, maxStateBytes, fullAtBytes } = this.#rules;
    const isFull = this.#parts.storage.bytesUsed >= fullAtBytes;
    const limits = { maxModuleBytes, maxStateBytes, fullAtBytes: isFull ? fullAtBytes : undefined };
    return { registryKey: this.#parts.registryKey(), ...limits };
  }

  async held(agentId: string): Promise<CheckpointRef | undefined> {
    const [newest] = await this.#parts.storage.checkpoints(agentId);
    return newest;
  }

  spine(agentId: string, held: CheckpointRef): Iterable<SignedBytes> {
    return this.#parts.storage.walkSpine(agentId, held);
  }

  name(agentId: string): string | undefined {
    return this.#parts.storage.agent(agentId)?.name;
  }

  runsHere(agentId: string): boolean {
    const phase = this.#phaseOf(agentId);
    const more = phase !== undefined && phase !== "terminated" && !HELD_ONLY.has(phase);
    return more || this.#parts.runsHere(agentId);
  }

  isTerminated(agentId: string): boolean {
    return this.#phaseOf(agentId) === "terminated";
  }

  hold({ moduleDigest, manifestDigest }: Parameters<ReplicaStore["hold"]>[0]): Disposable {
    return this.#parts.storage.holdBlobs(moduleDigest, manifestDigest);
  }

  hasModule(digest: string): boolean {
    return this.#parts.storage.hasBlob(digest);
  }

  async put({ name, checkpoint, spine, manifest, module, receipts }: Replica): Promise<void> {
    const { storage, onHeld } = this.#parts;
    const { agentId, moduleDigest, manifestDigest } = checkpoint.header;
    if (module !== undefined) await storage.putBlob(module);
    if (!storage.hasBlob(manifestDigest)) await storage.putBlob(manifest);
    const copy = { agentId, checkpoint, receipts };
    // Nearly each is the next one of an agent that is held already: there is nothing else to write (Ledger#putNext).
    if (spine.length === 0 && this.#phaseOf(agentId) === "replica") {
      await storage.commit({ ...copy, onlyIn: ["replica"] });
    } else {
      await storage.commit({
        ...copy,
        onlyIn: ["none", "replica", "retired"],
        agent: { name, moduleDigest, manifestDigest },
        journal: { phase: "replica" },
        spine,
      });
    }
    onHeld(agentId);
  }

  async terminated(agentId: string, termination: SignedBytes): Promise<void> {
    const { storage, onHeld } = this.#parts;
    const phase = this.#phaseOf(agentId);
    if (phase === undefined) return;
    if (phase !== "terminated") {
      const journal = { phase: "terminated", termination } as const;
      await storage.commit({ agentId, onlyIn: ["replica", "retired", "terminated"], journal });
    }
    await storage.forget(agentId);
    onHeld(agentId);
  }

  #phaseOf(agentId: string): Phase | undefined {
    return this.#parts.storage.agent(agentId)?.journal.phase;
  }
}
