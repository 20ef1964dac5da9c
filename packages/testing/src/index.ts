export { FakeClock, type FakeClockStart } from "./clock/fake-clock.ts";
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
