// Hosts that replicate to one another over real connections, for tests.

import { systemClock } from "@godwit/common/clock";
import { type Checkpoint, signerFromSeed } from "@godwit/lineage";
import pino from "pino";
import { onTestFinished } from "vitest";
import { type IsKnownHost, P2pNode } from "../src/p2p/index.ts";
import {
  DEFAULT_REPLICA_SERVER_RULES,
  DEFAULT_REPLICATOR_RULES,
  ReplicaServer,
  type ReplicaServerRules,
  type ReplicaTarget,
  Replicator,
  type ReplicatorRules,
  StoredReplicas,
} from "../src/replication/index.ts";
import type { DataDirectory } from "../src/storage/index.ts";
import { openNew } from "./storage-place.ts";
import { walletOf } from "./storage-story.ts";

/** Of the stories in storage-story.ts. */
export const registry = signerFromSeed(new Uint8Array(32).fill(200));
export const moduleBytes = new TextEncoder().encode("module");
export const manifestBytes = new TextEncoder().encode("manifest");

const logger = pino({ level: "silent" });
const MIB = 1024 * 1024;

export interface HolderOptions {
  readonly isKnownHost?: IsKnownHost;
  readonly running?: ReadonlySet<string>;
  readonly maxModuleBytes?: number;
  readonly maxStateBytes?: number;
  readonly fullAtBytes?: number;
  readonly rules?: Partial<ReplicaServerRules>;
}

export interface HolderHost {
  readonly node: P2pNode;
  readonly storage: DataDirectory;
  readonly store: StoredReplicas;
  readonly server: ReplicaServer;
  readonly heldChanges: string[];
  readonly target: () => ReplicaTarget;
}

export async function startNode(seed: Uint8Array): Promise<P2pNode> {
  const node = await P2pNode.create({ seed, listen: ["/ip4/127.0.0.1/tcp/0"], announce: [], maxConnections: 50 });
  await node.start();
  onTestFinished(() => node.stop());
  return node;
}

export async function startHolder({
  isKnownHost = async () => true,
  running = new Set(),
  maxModuleBytes = 64 * MIB,
  maxStateBytes = 64 * MIB,
  fullAtBytes = 64 * MIB,
  rules = {},
}: HolderOptions = {}): Promise<HolderHost> {
  const storage = await openNew();
  const node = await startNode(storage.hostSeed);
  const heldChanges: string[] = [];
  const store = new StoredReplicas(
    {
      storage,
      registryKey: () => registry.publicKey,
      runsHere: (agentId) => running.has(agentId),
      onHeld: (agentId) => void heldChanges.push(agentId),
    },
    { maxModuleBytes, maxStateBytes, fullAtBytes },
  );
  const server = new ReplicaServer(
    { streams: node, store, isKnownHost, clock: systemClock, logger },
    { ...DEFAULT_REPLICA_SERVER_RULES, hostId: node.hostId, ...rules },
  );
  await server.start();
  onTestFinished(() => server.stop());
  return { node, storage, store, server, heldChanges, target: () => targetOf(node) };
}

export function targetOf(node: P2pNode): ReplicaTarget {
  return { hostId: node.hostId, addresses: node.addresses() };
}

export interface Owner {
  readonly node: P2pNode;
  readonly replicator: Replicator;
  readonly pushes: string[];
  readonly asked: { module: number };
  /** What the source knows: the spine of each agent's newest checkpoint. */
  readonly spines: Map<string, readonly Checkpoint[]>;
}

/** Receipts are read as of the checkpoint that is committed, as a host does it. */
class WalletReplicator extends Replicator {
  readonly #wallets: Map<string, readonly Uint8Array[]>;

  constructor(
    wallets: Map<string, readonly Uint8Array[]>,
    ...[parts, rules]: ConstructorParameters<typeof Replicator>
  ) {
    super(parts, rules);
    this.#wallets = wallets;
  }

  override committed(agentId: string, checkpoint: Checkpoint): void {
    this.#wallets.set(agentId, walletOf(checkpoint));
    super.committed(agentId, checkpoint);
  }
}

let owners = 0;

export async function startOwner(
  hosts: () => readonly ReplicaTarget[],
  rules: Partial<ReplicatorRules> = {},
): Promise<Owner> {
  const node = await startNode(new Uint8Array(32).fill(100 + owners++));
  const pushes: string[] = [];
  const asked = { module: 0 };
  const spines = new Map<string, readonly Checkpoint[]>();
  const wallets = new Map<string, readonly Uint8Array[]>();
  const replicator = new WalletReplicator(
    wallets,
    {
      streams: node,
      source: {
        module: async () => {
          asked.module++;
          return moduleBytes;
        },
        manifest: async () => manifestBytes,
        spine: async (agentId) => (spines.get(agentId) ?? []).map(({ signed }) => signed),
        receipts: (agentId) => wallets.get(agentId) ?? [],
      },
      targets: { hosts: async () => hosts() },
      clock: systemClock,
      random: () => 0,
      logger,
      onPush: (outcome) => void pushes.push(outcome),
    },
    {
      ...DEFAULT_REPLICATOR_RULES,
      stallMs: 30_000,
      lookEveryMs: 10,
      hostsEveryMs: 20,
      avoidance: { firstMs: 20, longestMs: 100 },
      ...rules,
    },
  );
  await replicator.start();
  onTestFinished(() => replicator.stop());
  return { node, replicator, pushes, asked, spines };
}
