// A Redis that is down at the start, goes away, stands still, or asks for a password: the registry stays up, says why, and
// comes back by itself.

import { systemClock } from "@godwit/common/clock";
import { freePort, startRedis } from "@godwit/testing";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { RedisStore } from "../src/redis/redis-store.ts";
import { TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { layGround } from "./fixtures/stores.ts";

const patience = { timeout: 40_000, interval: 50 };

describe("Redis away", () => {
  test("a registry starts without Redis, says why it is not ready, and serves when Redis comes", async () => {
    await using ground = await layGround("redis");
    await ground.redis?.kill();
    await using registry = await TestRegistry.start(ground);
    expect(registry.graph.store.trouble()).toContain("ECONNREFUSED");
    await expect(registry.sessions.describeRegistry({})).rejects.toMatchObject({ code: "NOT_READY" });
    await ground.redis?.restart();
    await expect.poll(() => registry.graph.keeper.trouble(), patience).toBeUndefined();
    expect(registry.graph.store.trouble()).toBeUndefined();
    await TestHost.open(registry);
  });

  test("a Redis that is killed: calls fail with the reason; when it is back it may have forgotten", async () => {
    await using ground = await layGround("redis");
    await using registry = await TestRegistry.start(ground);
    const host = await TestHost.open(registry);
    const held = await host.acquire(registry);
    await ground.redis?.kill();
    await expect(host.renew(registry)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    host.tick(held);
    await expect(host.report(registry, held)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect.poll(() => registry.graph.store.trouble(), patience).toContain("ECONNREFUSED");
    await ground.redis?.restart();
    await expect.poll(() => registry.graph.store.trouble(), patience).toBeUndefined();
    await expect(host.renew(registry)).rejects.toMatchObject({ code: "STALE_INCARNATION" });
    expect(registry.graph.keeper.trouble()).toContain("restarted");
    await TestHost.open(registry);
  });

  test("a Redis that stands still: calls end in time with an unknown outcome, and go on when it does", async () => {
    await using ground = await layGround("redis");
    await using registry = await TestRegistry.start(ground);
    const host = await TestHost.open(registry);
    ground.redis?.pause();
    const startedMs = systemClock.monotonicMs();
    await expect(host.renew(registry)).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("did not answer within"),
    });
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(30_000); // the call itself would have waited longer
    expect(registry.graph.store.trouble()).toContain("did not answer");
    ground.redis?.resume();
    await expect.poll(() => registry.graph.store.trouble(), patience).toBeUndefined();
    expect(await host.renew(registry)).toBeGreaterThan(0n);
  });

  test("credentials of the URL are in no reason and no name", async () => {
    const port = await freePort();
    const url = `redis://someone:hunter2%21@127.0.0.1:${port}/1`;
    const lines: string[] = [];
    const logger = pino({ level: "trace" }, { write: (line: string) => void lines.push(line) });
    const store = new RedisStore({ clock: systemClock, logger }, { url, timeoutMs: 5_000 });
    await store.start();
    expect(store.where).toBe(`redis://127.0.0.1:${port}/1`);
    await using server = await startRedis({ port });
    // Nobody has set a password there, so logging in fails and says so.
    await expect.poll(() => store.trouble(), patience).not.toContain("ECONNREFUSED");
    const error = await store.readMark().catch((fault: unknown) => fault);
    const said = [store.trouble(), String(error), ...lines].join("\n");
    expect(said).not.toMatch(/hunter2|someone/);
    await store.stop();
    expect(server.port).toBe(port);
  });
});
