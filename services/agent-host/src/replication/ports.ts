// What replication needs of the rest of the host.

import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import type { Checkpoint } from "@godwit/lineage";

/** Of agents that run here. Each throws Fault when the agent or what is asked for is not there. */
export interface ReplicationSource {
  module(agentId: string): Promise<Uint8Array>;
  manifest(agentId: string): Promise<Uint8Array>;
  /** From the base of `checkpoint` to tick 0, newest first. What lies at and below the header with the digest `known` is of no use. */
  spine(agentId: string, checkpoint: Checkpoint, known: string | undefined): Promise<readonly SignedBytes[]>;
  /** Encoded, newest last, as of the checkpoint that was committed last: asked in `committed`, never later. */
  receipts(agentId: string): readonly Uint8Array[];
}

export interface ReplicaTarget {
  readonly hostId: string;
  /** Multiaddrs without the peer id. */
  readonly addresses: readonly string[];
}

export interface ReplicaTargets {
  /** Hosts that live, do not drain, and are not this one. Throws Fault when the registry does not answer. */
  hosts(signal: AbortSignal): Promise<readonly ReplicaTarget[]>;
}

export interface ReplicaStoreFacts {
  /** `undefined` until the registry was met: nothing can be verified, so nothing is taken. */
  readonly registryKey: Uint8Array | undefined;
  readonly maxModuleBytes: number;
  readonly maxStateBytes: number;
  /** Set once the host holds so much that it takes no copies any more: the limit, in bytes. */
  readonly fullAtBytes: number | undefined;
}

/** A replica that is verified as a whole. */
export interface Replica {
  readonly name: string;
  readonly checkpoint: Checkpoint;
  /** Of its spine, newest first, what the store does not hold yet. */
  readonly spine: readonly SignedBytes[];
  readonly manifest: Uint8Array;
  /** `undefined` when the store has it. */
  readonly module: Uint8Array | undefined;
  /** Encoded, newest last. */
  readonly receipts: readonly Uint8Array[];
}

export interface ReplicaStore {
  facts(): ReplicaStoreFacts;
  /** The newest checkpoint of the agent whose state is on the disk. */
  held(agentId: string): Promise<CheckpointRef | undefined>;
  /** From the base of a checkpoint that is held to tick 0, newest first; verified when it was stored. Read as far as it is asked for. */
  spine(agentId: string, held: CheckpointRef): Iterable<SignedBytes>;
  /** The name of an agent of which something is held. */
  name(agentId: string): string | undefined;
  /** Whether this host has more to do with the agent than to keep a copy: it runs, comes or goes. */
  runsHere(agentId: string): boolean;
  isTerminated(agentId: string): boolean;
  /** Until it is disposed of, a module and a manifest that are here stay, and so do those that are put. */
  hold(digests: { readonly moduleDigest: string; readonly manifestDigest: string }): Disposable;
  hasModule(digest: string): boolean;
  /** Durable when it resolves. Throws Fault AGENT_EXISTS when the agent has come to run here meanwhile. */
  put(replica: Replica): Promise<void>;
  /** The termination was verified. Throws Fault AGENT_EXISTS as `put` does. Nothing to do for an agent that is not held. */
  terminated(agentId: string, termination: SignedBytes): Promise<void>;
}
