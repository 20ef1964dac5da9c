export { FakeClock, type FakeClockStart } from "./clock/fake-clock.ts";
export { Cluster, type ClusterOptions, type HostOptions, type RegistryOptions } from "./cluster/cluster.ts";
export { ClusterNode, type CrashPoint, type NodeSpec } from "./cluster/cluster-node.ts";
export { HostNode, type HostProxies, PricingNode, RegistryNode } from "./cluster/nodes.ts";
export { type ServiceName, serviceEntry } from "./cluster/service-entry.ts";
export { type RunOptions, uploadFrames } from "./cluster/upload.ts";
export { type WaitRules, waitFor } from "./cluster/wait-for.ts";
export {
  assertSingleOwner,
  type CommittedTick,
  checkSingleOwner,
  type HistoryEvent,
  type HistoryRules,
  type MarkedRollback,
} from "./history/single-owner.ts";
export { type Direction, type FaultCounts, FaultProxy, type FaultProxyOptions } from "./net/fault-proxy.ts";
export { freePort } from "./net/free-port.ts";
export type { WeatherCounts } from "./net/weather.ts";
export { seededRandom } from "./random/seeded-random.ts";
export { type RedisOptions, type RedisServer, startRedis } from "./redis/redis-server.ts";
