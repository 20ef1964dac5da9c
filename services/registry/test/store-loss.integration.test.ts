// A store that forgets, and what its registries do (GA-6): on a real Redis that is wiped, killed, rolled back and replaced, and on
// an embedded store that was killed, copied and restored. Time moves only as the test says.

import { cp, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { signerFromSeed } from "@godwit/lineage";
import { FakeClock, type RedisServer, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { newMark } from "../src/mark/mark.ts";
import type { TestHost } from "./fixtures/host.ts";
import { lookEveryMs, quarantineMs, Replica, rules, type Written } from "./fixtures/replica.ts";
import { type Ground, layGround } from "./fixtures/stores.ts";

const LOOKS_OF_QUARANTINE = quarantineMs / lookEveryMs;
const patience = { timeout: 30_000, interval: 50 };

function redisOf({ redis }: Ground): RedisServer {
  if (redis === undefined) throw new Error("no Redis");
  return redis;
}

async function command(url: string, work: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis(url);
  await work(redis);
  redis.disconnect();
}

/** Two replicas on one Redis, which have adopted its first mark. */
async function pair() {
  const ground = await layGround("redis");
  const written: Written[] = [];
  const [a, b] = [await Replica.start(ground, { written }), await Replica.start(ground, { written })];
  expect(written).toHaveLength(1);
  return {
    ground,
    redis: redisOf(ground),
    a,
    b,
    /** All marks since the first one. */
    news: () => written.slice(1),
    written,
    bothLook: () => Promise.all([a.look(), b.look()]),
    async [Symbol.asyncDispose]() {
      await a.stop();
      await b.stop();
      await ground[Symbol.asyncDispose]();
    },
  };
}

/** What every loss comes to: one new incarnation, session commands meanwhile, one end. */
async function expectOneQuarantine(it: Awaited<ReturnType<typeof pair>>, host: TestHost): Promise<void> {
  await it.bothLook();
  const [quarantined, ...more] = it.news();
  expect(more).toEqual([]);
  expect(quarantined?.quarantine).toBe(true);
  const marks = [await it.a.mark(), await it.b.mark()];
  expect(new Set(marks.map(({ incarnation }) => incarnation))).toEqual(new Set([quarantined?.incarnation]));
  for (const replica of [it.a, it.b]) {
    expect(await replica.servesAll()).toBe(false);
    expect(replica.keeper.trouble()).toContain("quarantine ends by itself");
    await expect(replica.renew(host)).rejects.toMatchObject({ code: "STALE_INCARNATION" });
  }
  await it.b.reassert(host);
  const { secret, generation } = host;
  await it.a.reassert(host); // the next batch reaches the other replica
  expect(host.secret).toEqual(secret);
  expect(host.generation).toBe(generation + 1n);
  await it.a.renew(host);

  for (let n = 0; n < LOOKS_OF_QUARANTINE - 1; n++) {
    await Promise.all([it.a.looks(1), it.b.looks(1)]);
    if (n % 4 === 0) await it.a.renew(host);
  }
  expect(it.news()).toHaveLength(1);
  expect([await it.a.servesAll(), await it.b.servesAll()]).toEqual([false, false]);
  await Promise.all([it.a.looks(1), it.b.looks(1)]);
  await it.bothLook();
  expect(it.news()).toEqual([quarantined, { ...quarantined, quarantine: false }]);
  expect([await it.a.servesAll(), await it.b.servesAll()]).toEqual([true, true]);
  expect([it.a.keeper.trouble(), it.b.keeper.trouble()]).toEqual([undefined, undefined]);
  await it.a.renew(host);
}

describe("a Redis that forgets", () => {
  test("FLUSHALL: one new incarnation, and one end of quarantine", async () => {
    await using it = await pair();
    const host = await it.a.open();
    await command(it.redis.url, (redis) => redis.flushall());
    await expectOneQuarantine(it, host);
  });

  test("kill -9 without fsync: the end of the log is lost", async () => {
    await using it = await pair();
    await it.redis.restart({ aof: true, appendfsync: "no" });
    await Promise.all([it.a.reconnected(), it.b.reconnected()]);
    await it.bothLook();
    for (let n = 0; n <= LOOKS_OF_QUARANTINE; n++) await Promise.all([it.a.looks(1), it.b.looks(1)]);
    expect(await it.a.servesAll()).toBe(true);
    it.written.splice(1);
    const host = await it.a.open();
    for (let n = 0; n < 5; n++) await it.a.renew(host);
    await it.redis.kill();
    const logs = join(it.redis.dir, "appendonlydir");
    const log = (await readdir(logs)).find((name) => name.endsWith(".incr.aof"));
    if (log === undefined) throw new Error("no log");
    await truncate(join(logs, log), (await stat(join(logs, log))).size - 100);
    await it.redis.restart();
    await Promise.all([it.a.reconnected(), it.b.reconnected()]);
    await expectOneQuarantine(it, host);
    expect(host.generation).toBeGreaterThan(5n);
  });

  test("restored from an older copy", async () => {
    await using it = await pair();
    const host = await it.a.open();
    const [kept, copy] = [join(it.redis.dir, "appendonlydir"), join(it.redis.dir, "copy")];
    await cp(kept, copy, { recursive: true });
    for (let n = 0; n < 3; n++) await it.b.renew(host);
    await it.redis.kill();
    await rm(kept, { recursive: true });
    await rename(copy, kept);
    await it.redis.restart();
    await Promise.all([it.a.reconnected(), it.b.reconnected()]);
    await expectOneQuarantine(it, host);
  });

  test("a lagging replica is promoted after the primary was killed", async () => {
    await using it = await pair();
    await using replica = await startRedis({ aof: true });
    await command(replica.url, (redis) => redis.replicaof("127.0.0.1", it.redis.port));
    await expect.poll(() => infoOf(replica.url, "replication"), patience).toContain("master_link_status:up");
    // Its first replica gives a primary another replication id: taken for another store, to be on the safe side.
    await it.bothLook();
    for (let n = 0; n <= LOOKS_OF_QUARANTINE; n++) await Promise.all([it.a.looks(1), it.b.looks(1)]);
    await it.bothLook();
    expect(await it.a.servesAll()).toBe(true);
    const value = Buffer.from((await it.a.mark()).bytes);
    await expect.poll(() => markAt(replica.url), patience).toEqual(value);

    // From here on it hears nothing more.
    await command(replica.url, (redis) => redis.replicaof("127.0.0.1", 1));
    it.written.splice(1);
    const host = await it.a.open();
    await it.a.renew(host);
    await it.redis.kill();
    await command(replica.url, async (redis) => {
      await redis.replicaof("NO", "ONE");
      await redis.config("SET", "port", it.redis.port);
    });
    await Promise.all([it.a.reconnected(), it.b.reconnected()]);
    expect(await markAt(it.redis.url)).toEqual(value);
    await expectOneQuarantine(it, host);
  });

  test("a primary that followed another one and leads again is another store, on the connection that it kept", async () => {
    await using it = await pair();
    await using other = await startRedis();
    const host = await it.a.open();
    await command(it.redis.url, (redis) => redis.replicaof("127.0.0.1", other.port));
    await it.a.look();
    await expect.poll(() => it.a.store.trouble(), patience).toContain("is a replica");
    await expect(it.a.renew(host)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(it.a.open()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect.poll(() => infoOf(it.redis.url, "replication"), patience).toContain("master_link_status:up");
    await command(it.redis.url, (redis) => redis.replicaof("NO", "ONE"));
    await Promise.all([it.a.reconnected(), it.b.reconnected()]);
    await it.bothLook();
    expect(it.news()).toMatchObject([{ quarantine: true }]);
  });

  test("no command passes on a new connection before it is known which server that is", async () => {
    await using it = await pair();
    const host = await it.a.open();
    const { bytes, incarnation } = await it.a.mark();
    // The same data, the same mark: only the server is another one, and so it may have forgotten.
    await it.redis.kill();
    await it.redis.restart();
    const answers = new Set<string>();
    const renewal = { ...host.session, incarnation, secretDigest: new Uint8Array(32), generation: 0n, seenAtMs: 0 };
    await expect
      .poll(async () => {
        const tries = Array.from({ length: 20 }, () =>
          it.a.store.renewSession(bytes, renewal).then(
            ({ kind }) => kind,
            (error: Error) => error.name,
          ),
        );
        for (const answer of await Promise.all(tries)) answers.add(answer);
        return [...answers];
      }, patience)
      .toContain("MarkMismatch");
    expect(answers.has("bad-secret")).toBe(false); // no script has run
    expect(await markAt(it.redis.url)).toEqual(Buffer.from(bytes));
  });

  test("a replica of the registry that starts in the middle has to watch the whole quarantine itself", async () => {
    await using it = await pair();
    await command(it.redis.url, (redis) => redis.flushall());
    await it.a.look();
    await it.a.looks(LOOKS_OF_QUARANTINE - 2);
    await using late = await Replica.start(it.ground, { written: it.written });
    await late.looks(LOOKS_OF_QUARANTINE - 1);
    expect(it.news()).toHaveLength(1);
    await late.looks(1);
    expect(it.news()).toHaveLength(2);
    await it.a.looks(2);
    expect(it.news()).toHaveLength(2);
    expect([await late.servesAll(), await it.a.servesAll()]).toEqual([true, true]);
  });

  test("a replica that was paused has not watched", async () => {
    await using it = await pair();
    await command(it.redis.url, (redis) => redis.flushall());
    await it.a.look();
    await it.a.looks(3);
    await it.a.clock.advance(600_000);
    await it.a.looks(LOOKS_OF_QUARANTINE - 1);
    expect(it.news()).toHaveLength(1);
    await it.a.looks(2);
    expect(it.news()).toHaveLength(2);
  });

  test("a replica that was paused through a whole loss ends nobody else's quarantine, and does nothing under the old mark", async () => {
    await using it = await pair();
    const host = await it.b.open();
    const { session } = host;
    await it.b.looks(LOOKS_OF_QUARANTINE - 1); // has watched the silence of this session for nearly as long as it takes
    await command(it.redis.url, (redis) => redis.flushall());
    await it.a.look();
    await it.a.reassert(host);
    await it.b.clock.advance(lookEveryMs);
    await it.b.watch.lookOnce();
    expect(it.b.closed).toEqual([]);
    expect((await it.a.store.readSessions((await it.a.mark()).bytes, [session]))[0]).toMatchObject({ closed: false });
    await it.b.looks(LOOKS_OF_QUARANTINE - 1);
    expect(it.news()).toHaveLength(1);
  });

  test("another loss in the middle of a quarantine begins another one", async () => {
    await using it = await pair();
    await command(it.redis.url, (redis) => redis.flushall());
    await it.bothLook();
    await it.a.looks(LOOKS_OF_QUARANTINE - 1);
    await command(it.redis.url, (redis) => redis.flushall());
    await it.bothLook();
    const [first, second, ...more] = it.news();
    expect(more).toEqual([]);
    expect(second?.counter).toBeGreaterThan(first?.counter ?? 0n);
    await it.a.looks(LOOKS_OF_QUARANTINE - 1);
    expect(it.news()).toHaveLength(2);
  });

  test("a renewal above the stored generation shows that it forgot: the host hears of the new incarnation at once", async () => {
    await using it = await pair();
    const host = await it.a.open();
    await it.a.renew(host);
    await command(it.redis.url, (redis) =>
      redis.hset(`godwit:session:${host.hostId}/${host.bootId}`, "generation", "0"),
    );
    await Promise.all(
      [it.a, it.b].map((replica) => expect(replica.renew(host)).rejects.toMatchObject({ code: "STALE_INCARNATION" })),
    );
    expect(it.news()).toMatchObject([{ quarantine: true }]);
    await it.b.reassert(host);
    expect(await it.b.renew(host)).toBe(3n);
  });

  test("a quarantine that is there again, under the same mark, is one whose end was forgotten", async () => {
    await using it = await pair();
    await command(it.redis.url, (redis) => redis.flushall());
    await it.bothLook();
    const { bytes } = await it.a.mark();
    await it.a.looks(LOOKS_OF_QUARANTINE + 1);
    expect(it.news()).toHaveLength(2);
    const { signed } = await it.a.mark();
    await command(it.redis.url, (redis) => redis.set("godwit:mark", Buffer.from(bytes)));
    await it.b.keeper.show(signed); // it has not looked since, but hears of it from a host
    await it.b.looks(1);
    expect(it.news()).toHaveLength(3);
    expect(it.news()[2]).toMatchObject({ quarantine: true });
    expect(it.news()[2]?.incarnation).not.toBe(it.news()[0]?.incarnation);
    await it.a.looks(1);
    expect(it.news()).toHaveLength(3);
  });

  test("a mark that a host shows is believed only under this key", async () => {
    await using it = await pair();
    const { storeIdentity } = await it.a.mark();
    const foreign = newMark({ incarnation: "x", storeIdentity }, signerFromSeed(new Uint8Array(32).fill(1)));
    await expect(it.a.keeper.show(foreign.signed)).rejects.toMatchObject({ code: "SIGNATURE_INVALID" });
    await it.bothLook();
    expect(it.news()).toEqual([]);
  });

  test("the store of another cluster is refused, and stays as it is", async () => {
    await using it = await pair();
    await using elsewhere = await layGround("embedded");
    const keyFile = join(elsewhere.directory, "registry.key");
    await using owner = await Replica.start(elsewhere); // makes another key
    await using lost = await Replica.start(it.ground, { keyFile, written: it.written });
    expect(lost.keeper.trouble()).toContain("another cluster");
    await expect(lost.open()).rejects.toMatchObject({ code: "QUARANTINE" });
    await lost.looks(LOOKS_OF_QUARANTINE * 2);
    expect(it.news()).toEqual([]);
    expect(owner.keeper.trouble()).toBeUndefined();
    expect(await it.a.servesAll()).toBe(true);
  });

  test("wall clocks that jump anywhere change nothing but the least counter", async () => {
    await using it = await pair();
    await command(it.redis.url, (redis) => redis.flushall());
    await it.a.look();
    const first = await it.a.mark();
    it.a.clock.jumpWall(-10 * 365 * 86_400_000);
    await it.a.looks(1);
    it.a.clock.jumpWall(20 * 365 * 86_400_000);
    await it.a.looks(1);
    it.a.clock.jumpWall(-10 * 365 * 86_400_000);
    await it.a.looks(LOOKS_OF_QUARANTINE - 3);
    expect(it.news()).toHaveLength(1);
    await it.a.looks(1);
    expect(it.news()).toHaveLength(2);

    // A registry whose clock is ten years behind writes a higher counter all the same.
    await it.b.look();
    it.b.clock.jumpWall(-10 * 365 * 86_400_000);
    await command(it.redis.url, (redis) => redis.flushall());
    await it.b.look();
    expect((await it.b.mark()).counter).toBeGreaterThan(first.counter);
    // One that was started with such a clock, and has seen nothing, learns from the first host that has.
    await command(it.redis.url, (redis) => redis.flushall());
    const clock = new FakeClock({ wall: new Date("2016-01-01T00:00:00Z") });
    await using fresh = await Replica.start(it.ground, { clock, written: it.written });
    expect((await fresh.mark()).counter).toBeLessThan(first.counter);
    await fresh.keeper.show(first.signed);
    expect((await fresh.mark()).counter).toBeGreaterThan(first.counter);
    expect((await fresh.mark()).quarantine).toBe(true);
  });
});

test("while nothing is lost a command is one script and nothing else", async () => {
  await using it = await pair();
  const host = await it.a.open();
  await it.a.renew(host); // now Redis knows the script
  await command(it.redis.url, (redis) => redis.config("RESETSTAT"));
  for (let n = 0; n < 50; n++) await it.a.renew(host);
  const stats = await infoOf(it.redis.url, "commandstats");
  // Four commands of the script itself, counted with it; none is sent beside it.
  const calls = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  expect(calls("evalsha")).toBe(50);
  expect(calls("get")).toBe(50);
  expect(calls("info") + calls("ping") + calls("script\\|exists")).toBeLessThanOrEqual(2); // of the connection that asks this
});

describe("registries that are set up against each other", () => {
  const long = { durationMs: 600_000, graceMs: 5_000, renewEveryMs: 9_000 };

  test("SL-5: while there is a lease longer than its quarantine, a registry serves nothing, changes nothing, and says why", async () => {
    await using it = await pair();
    await using other = await Replica.start(it.ground, { rules: long, quarantineMs: 605_000, written: it.written });
    const host = await other.open();
    await it.a.looks(1);
    expect(it.a.keeper.trouble()).toMatch(/leases of 605s.*quarantine of this registry is 12s.*--quarantine 605s/s);
    await expect(it.a.open()).rejects.toMatchObject({ code: "NOT_READY" });
    await expect(it.a.renew(host)).rejects.toMatchObject({ code: "NOT_READY" });
    expect(await it.a.servesAll()).toBe(false);
    expect(other.keeper.trouble()).toBeUndefined();
    expect(await other.renew(host)).toBe(1n);
    // One that starts now knows it before it serves anything.
    await using third = await Replica.start(it.ground, { written: it.written });
    expect(third.keeper.trouble()).toContain("605s");

    await other.sessions.close({ ...host.named, earlierBootId: undefined });
    await it.a.looks(1);
    expect(it.a.keeper.trouble()).toBeUndefined();
    expect(await it.a.servesAll()).toBe(true);
  });

  test("GA-6: a registry never ends a quarantine before the longest lease that it has seen", async () => {
    await using it = await pair();
    await using other = await Replica.start(it.ground, { rules: long, quarantineMs: 605_000, written: it.written });
    await other.open();
    await it.a.looks(1);
    await command(it.redis.url, (redis) => redis.flushall());
    await it.a.looks(LOOKS_OF_QUARANTINE * 3);
    expect(it.news()).toMatchObject([{ quarantine: true }]);
    await it.a.looks(605_000 / lookEveryMs - LOOKS_OF_QUARANTINE * 3 + 1);
    expect(it.news()).toMatchObject([{ quarantine: true }, { quarantine: false }]);
  });

  test("SL-5: a session keeps the rules with which it was opened, whoever renews it", async () => {
    await using it = await pair();
    const shorter = { durationMs: 6_000, graceMs: 1_000, renewEveryMs: 2_000 };
    await using other = await Replica.start(it.ground, { rules: shorter, written: it.written });
    const host = await other.open();
    const renewed = await it.a.sessions.renew({ ...host.named, generation: 0n });
    expect(renewed.rules).toEqual(shorter);
    expect((await it.a.sessions.describe()).rules).toEqual(rules);
  });
});

describe("an embedded store that may have forgotten", () => {
  /** One registry after the other on one directory: how many marks the last one wrote. */
  async function startAgain(ground: Ground, restored = false) {
    const written: Written[] = [];
    const replica = await Replica.start(ground, { written, restored });
    return { replica, written };
  }

  /** A registry with a session that was closed cleanly. */
  async function closedCleanly() {
    const ground = await layGround("embedded");
    const first = await Replica.start(ground);
    const host = await first.open();
    const { incarnation } = await first.mark();
    await first.stop();
    return { ground, host, incarnation };
  }

  test("closed cleanly: it goes on, and leaves no note while it is open", async () => {
    const { ground, host, incarnation } = await closedCleanly();
    await using _ = ground;
    expect(await readdir(ground.directory)).toContain("closed-cleanly");
    const { replica, written } = await startAgain(ground);
    expect(await readdir(ground.directory)).not.toContain("closed-cleanly");
    expect((await replica.mark()).incarnation).toBe(incarnation);
    expect(await replica.renew(host)).toBe(1n);
    expect(written).toEqual([]);
    await replica.stop();
  });

  test.each([
    ["killed: there is no note", async (directory: string) => await rm(join(directory, "closed-cleanly"))],
    [
      "the file is a copy, under the same name",
      async (directory: string) => {
        const file = join(directory, "registry.db");
        await cp(file, `${file}.copy`, { preserveTimestamps: true });
        await rename(`${file}.copy`, file);
      },
    ],
    [
      "the whole directory is a copy, under the same name",
      async (directory: string) => {
        await cp(directory, `${directory}.copy`, { recursive: true, preserveTimestamps: true });
        await rm(directory, { recursive: true });
        await rename(`${directory}.copy`, directory);
      },
    ],
  ])("%s: a new mark in quarantine, which ends by itself", async (_, damage) => {
    const { ground, host, incarnation } = await closedCleanly();
    await using __ = ground;
    await damage(ground.directory);
    const { replica, written } = await startAgain(ground);
    expect((await replica.mark()).incarnation).not.toBe(incarnation);
    await expect(replica.renew(host)).rejects.toMatchObject({ code: "STALE_INCARNATION" });
    expect(await replica.servesAll()).toBe(false);
    await replica.looks(LOOKS_OF_QUARANTINE);
    expect(await replica.servesAll()).toBe(true);
    expect(written.map(({ quarantine }) => quarantine)).toEqual([true, false]);
    await replica.stop();
    // The quarantine is not repeated.
    const again = await startAgain(ground);
    expect(again.written).toEqual([]);
    await again.replica.stop();
  });

  test("older content in the very same file, with the note of a later close", async () => {
    const { ground, incarnation } = await closedCleanly();
    await using _ = ground;
    const file = join(ground.directory, "registry.db");
    await cp(file, `${file}.old`);
    const { replica } = await startAgain(ground);
    await replica.stop();
    const { ino } = await stat(file);
    await writeFile(file, await readFile(`${file}.old`)); // into the same inode
    expect((await stat(file)).ino).toBe(ino);
    const again = await startAgain(ground);
    expect((await again.replica.mark()).incarnation).not.toBe(incarnation);
    await again.replica.stop();
  });

  test("--restored: taken for a store that forgot, though nothing shows it", async () => {
    const { ground, incarnation } = await closedCleanly();
    await using _ = ground;
    const { replica, written } = await startAgain(ground, true);
    expect((await replica.mark()).incarnation).not.toBe(incarnation);
    expect(written).toMatchObject([{ quarantine: true }]);
    await replica.stop();
  });

  test("a note that is torn is none", async () => {
    const { ground, incarnation } = await closedCleanly();
    await using _ = ground;
    await truncate(join(ground.directory, "closed-cleanly"), 20);
    const { replica } = await startAgain(ground);
    expect((await replica.mark()).incarnation).not.toBe(incarnation);
    await replica.stop();
  });

  test("GA-7: sessions that do not come back have ended when the quarantine is over, and not before", async () => {
    const { ground } = await closedCleanly();
    await using _ = ground;
    const { replica } = await startAgain(ground);
    const [back, gone] = [await replica.open(), await replica.open()];
    await replica.look();
    await replica.keeper.forgot(await replica.mark(), {}).catch(() => {});
    await replica.look();
    await replica.reassert(back);
    for (let n = 0; n < LOOKS_OF_QUARANTINE; n++) {
      expect(replica.closed).toEqual([]);
      await replica.looks(1);
      if (n % 4 === 0) await replica.renew(back);
    }
    await replica.looks(1);
    expect(replica.closed.map(({ bootId }) => bootId)).toContain(gone.bootId);
    expect(replica.closed.map(({ bootId }) => bootId)).not.toContain(back.bootId);
    await replica.stop();
  });
});

async function infoOf(url: string, section: string): Promise<string> {
  let info = "";
  await command(url, async (redis) => {
    info = await redis.info(section);
  });
  return info;
}

async function markAt(url: string): Promise<Buffer | null> {
  let mark: Buffer | null = null;
  await command(url, async (redis) => {
    mark = await redis.getBuffer("godwit:mark");
  });
  return mark;
}
