export type { Holder } from "./copies.ts";
export type {
  Replica,
  ReplicaStore,
  ReplicaStoreFacts,
  ReplicaTarget,
  ReplicaTargets,
  ReplicationSource,
} from "./ports.ts";
export { REPLICATE_PROTOCOL } from "./protocol.ts";
export {
  DEFAULT_REPLICA_SERVER_RULES,
  ReplicaServer,
  type ReplicaServerParts,
  type ReplicaServerRules,
} from "./replica-server.ts";
export { Replicator, type ReplicatorParts } from "./replicator.ts";
export { DEFAULT_REPLICATOR_RULES, type ReplicatorRules } from "./replicator-rules.ts";
export { StoredReplicas, type StoredReplicasParts, type StoredReplicasRules } from "./stored-replicas.ts";
