import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type RedisServer, startRedis } from "../src/redis/redis-server.ts";

/** One inline command, and the first piece of what the server answers. */
async function ask({ port }: RedisServer, command: string): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1" });
  try {
    socket.write(`${command}\r\n`);
    const [data] = (await once(socket, "data", { signal: AbortSignal.timeout(40_000) })) as [Buffer];
    return data.toString().trim();
  } finally {
    socket.destroy();
  }
}

describe("startRedis", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test("with AOF, what was answered is there after a kill -9; without it, it is forgotten", async () => {
    await using durable = await startRedis({ aof: true });
    await using forgetful = await startRedis();
    for (const redis of [durable, forgetful]) {
      expect(await ask(redis, "SET kept 1")).toBe("+OK");
      await redis.kill();
      expect(redis.pid).toBeUndefined();
      await redis.restart();
    }
    expect(await ask(durable, "EXISTS kept")).toBe(":1");
    expect(await ask(forgetful, "EXISTS kept")).toBe(":0");
  });

  test("a paused server answers nothing until it is resumed", async () => {
    await using redis = await startRedis();
    redis.pause();
    let answered = false;
    const answer = ask(redis, "PING").then((text) => {
      answered = true;
      return text;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(answered).toBe(false);
    redis.resume();
    expect(await answer).toBe("+PONG");
  });

  test("stop ends also a paused server and removes its own directory, never one that was given", async () => {
    const dir = await mkdtemp(join(tmpdir(), "godwit-redis-test-"));
    const own = await startRedis();
    const given = await startRedis({ dir });
    own.pause();
    await own.stop();
    await given.stop();
    await expect(access(own.dir)).rejects.toThrow("ENOENT");
    await access(dir);
    await rm(dir, { recursive: true });
  });

  test("two servers on one port: the second says so", async () => {
    await using first = await startRedis();
    await expect(startRedis({ port: first.port })).rejects.toThrow("Address already in use");
  });

  test("without a redis-server the error says how to get one", async () => {
    vi.stubEnv("PATH", "/nowhere");
    await expect(startRedis()).rejects.toThrow("apt-get install redis-server");
    vi.stubEnv("REDIS_BIN", "/nowhere/redis");
    await expect(startRedis()).rejects.toThrow("REDIS_BIN names /nowhere/redis");
  });
});
