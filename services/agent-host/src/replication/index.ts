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
export {
  DEFAULT_REPLICATOR_RULES,
  type Holder,
  Replicator,
  type ReplicatorParts,
  type ReplicatorRules,
} from "./replicator.ts";
export { StoredReplicas, type StoredReplicasParts, type StoredReplicasRules } from "./stored-replicas.ts";
