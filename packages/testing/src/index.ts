export { FakeClock, type FakeClockStart } from "./clock/fake-clock.ts";
export { freePort } from "./net/free-port.ts";
export { seededRandom } from "./random/seeded-random.ts";
export { type RedisOptions, type RedisServer, startRedis } from "./redis/redis-server.ts";
