// The key and the mark: made together, once, and never taken for new again. On both stores.

import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock, systemEntropy } from "@godwit/common/clock";
import { signerFromSeed } from "@godwit/lineage";
import { Redis } from "ioredis";
import { Registry as MetricsRegistry } from "prom-client";
import { describe, expect, test } from "vitest";
import { initialize } from "../src/mark/initialize.ts";
import { findKey, foundKey, settleKey } from "../src/mark/key-file.ts";
import { type Mark, newMark, readMark, signMark, statementIn } from "../src/mark/mark.ts";
import { MarkKeeper } from "../src/mark/mark-keeper.ts";
import { createRegistryMetrics } from "../src/metrics.ts";
import { incarnationOf, TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { type Ground, layGround, silent, storeKinds } from "./fixtures/stores.ts";

const keyFileOf = (ground: Ground) => join(ground.directory, "registry.key");

async function markOf({ graph }: TestRegistry): Promise<Mark> {
  const { mark } = await graph.store.readMark();
  const { signer } = await graph.keeper.underAny(async (standing) => standing);
  const read = mark && readMark(mark, signer.publicKey);
  if (read === undefined) throw new Error("there is no mark");
  return read;
}

/** Signed with the key of the registry. */
async function markLike(ground: Ground, registry: TestRegistry, changes: Partial<Mark>): Promise<Uint8Array> {
  const key = await findKey(keyFileOf(ground));
  if (key === undefined) throw new Error("no key");
  return signMark({ ...(await markOf(registry)), ...changes }, key.signer).bytes;
}

/** Writes the mark behind the registry's back; undefined removes it. */
async function setMark(ground: Ground, mark: Uint8Array | undefined): Promise<void> {
  if (ground.redis !== undefined) {
    const redis = new Redis(ground.redis.url);
    await (mark === undefined ? redis.del("godwit:mark") : redis.set("godwit:mark", Buffer.from(mark)));
    redis.disconnect();
    return;
  }
  const db = new DatabaseSync(join(ground.directory, "registry.db"));
  db.prepare("DELETE FROM mark").run();
  if (mark !== undefined) db.prepare("INSERT INTO mark VALUES (1, ?)").run(mark);
  db.close();
}

/** Runs `change` while the store is closed, where only one process may have it. */
async function behindItsBack(
  ground: Ground,
  mark: Uint8Array | undefined,
  registry: TestRegistry,
): Promise<TestRegistry> {
  if (ground.redis !== undefined) {
    await setMark(ground, mark);
    return registry;
  }
  await registry.stop();
  await setMark(ground, mark);
  return await TestRegistry.start(ground);
}

describe.each(storeKinds)("the mark on the %s store", (kind) => {
  test("§2: the first start makes key and mark together; a restart goes on with them", async () => {
    await using ground = await layGround(kind);
    const first = await TestRegistry.start(ground);
    const incarnation = await incarnationOf(first);
    const { publicKey } = await first.sessions.describeRegistry({});
    const host = await TestHost.open(first);
    const held = await host.acquire(first);
    await first.stop();
    expect((await stat(keyFileOf(ground))).mode & 0o777).toBe(0o600);
    expect((await readdir(ground.directory)).filter((name) => name.includes("founding"))).toEqual([]);

    await using again = await TestRegistry.start(ground);
    expect(await incarnationOf(again)).toBe(incarnation);
    expect((await again.sessions.describeRegistry({})).publicKey).toEqual(publicKey);
    expect(await host.renew(again)).toBe(1n);
    expect((await again.authority.getAgent({ agentId: held.agentId })).record).toEqual(held.record);
  });

  test("§2, GA-6: a key without a mark is a store that forgot: a new mark in quarantine, and only session commands are served", async () => {
    await using ground = await layGround(kind);
    const registry = await TestRegistry.start(ground);
    const host = await TestHost.open(registry);
    const held = await host.acquire(registry);
    await using after = await behindItsBack(ground, undefined, registry);

    await expect(host.renew(after)).rejects.toMatchObject({ code: "STALE_INCARNATION" });
    const calls: (() => Promise<unknown>)[] = [
      () => after.authority.getAgent({ agentId: held.agentId }),
      () => after.authority.listAgents({}),
      () => after.directory.selectCandidates({}),
      () => after.directory.listHosts({}),
    ];
    for (const call of calls) {
      await expect(call()).rejects.toMatchObject({ code: "QUARANTINE", message: expect.stringContaining("by itself") });
    }
    const fresh = await TestHost.open(after);
    expect(await fresh.renew(after)).toBe(1n);
    await after.sessions.closeSession(fresh.named);
    expect(after.graph.keeper.trouble()).toContain("it has no mark any more");

    const { mark } = await after.graph.store.readMark();
    expect(statementIn(mark ?? new Uint8Array())).toMatchObject({ quarantine: true });
    // At least the wall clock, whole seconds: 2020 is past.
    expect(statementIn(mark ?? new Uint8Array()).counter).toBeGreaterThan(1_577_836_800n);
  });

  test("GA-6: a right mark of a newer counter is adopted, whoever wrote it", async () => {
    await using ground = await layGround(kind);
    const registry = await TestRegistry.start(ground);
    const host = await TestHost.open(registry);
    const newer = await markLike(ground, registry, { incarnation: "i-newer", counter: 7n });
    await using after = await behindItsBack(ground, newer, registry);
    await expect(host.renew(after)).rejects.toMatchObject({
      code: "STALE_INCARNATION",
      detail: { current: "i-newer" },
    });
    expect(after.graph.keeper.trouble()).toBeUndefined();
    const again = await TestHost.open(after);
    expect(await again.renew(after)).toBe(1n);
  });

  test("GA-6: a mark of another key is refused", async () => {
    await using ground = await layGround(kind);
    const registry = await TestRegistry.start(ground);
    const host = await TestHost.open(registry);
    const foreign = newMark(
      { incarnation: "elsewhere", storeIdentity: (await registry.graph.store.readMark()).identity },
      signerFromSeed(new Uint8Array(32).fill(9)),
    );
    await using after = await behindItsBack(ground, foreign.bytes, registry);
    await expect(host.renew(after)).rejects.toMatchObject({ code: "QUARANTINE" });
    expect(after.graph.keeper.trouble()).toContain("not signed by the key");
    expect((await after.graph.store.readMark()).mark).toEqual(foreign.bytes);
  });

  test("GA-6: a mark that is not above those that were seen is replaced by a higher one in quarantine", async () => {
    await using ground = await layGround(kind);
    const registry = await TestRegistry.start(ground);
    const host = await TestHost.open(registry);
    const first = await markOf(registry);
    const without = await behindItsBack(ground, undefined, registry);
    await expect(host.renew(without)).rejects.toMatchObject({ code: "STALE_INCARNATION" });
    const second = await markOf(without);
    await using after = await behindItsBack(ground, first.bytes, without);
    // An embedded registry was started again: it learns from a host what was seen.
    const witness = new TestHost();
    await witness.open(after, undefined, second.signed);
    const third = await markOf(after);
    expect(third.quarantine).toBe(true);
    expect(third.counter).toBeGreaterThan(second.counter);
    expect(witness.incarnation).toBe(third.incarnation);
  });

  test("§2: a store with a mark and no key at hand is not served, and no key is made", async () => {
    await using ground = await layGround(kind);
    await (await TestRegistry.start(ground)).stop();
    await rm(keyFileOf(ground));
    await using after = await TestRegistry.start(ground);
    await expect(incarnationOf(after)).rejects.toMatchObject({ code: "QUARANTINE" });
    expect(after.graph.keeper.trouble()).toContain("--key");
    expect(await findKey(keyFileOf(ground))).toBeUndefined();
  });

  test("§2: a founding that a crash interrupted is finished by the next start", async () => {
    await using ground = await layGround(kind);
    // Crashed before the mark was made.
    const { signer } = await foundKey(keyFileOf(ground));
    await using registry = await TestRegistry.start(ground);
    expect((await registry.sessions.describeRegistry({})).publicKey).toEqual(signer.publicKey);
    expect((await findKey(keyFileOf(ground)))?.founding).toBe(false);
    await registry.stop();
    // Crashed before the key was settled.
    await rename(keyFileOf(ground), `${keyFileOf(ground)}.founding`);
    await using again = await TestRegistry.start(ground);
    expect((await again.sessions.describeRegistry({})).publicKey).toEqual(signer.publicKey);
    expect((await findKey(keyFileOf(ground)))?.founding).toBe(false);
    await again.stop();
  });

  test("init makes key and mark, and refuses when there are some", async () => {
    await using ground = await layGround(kind);
    const store = ground.store();
    await store.start();
    const keyFile = join(ground.directory, "keys", "the.key");
    const { incarnation } = await initialize({ store, entropy: systemEntropy }, keyFile);
    await expect(initialize({ store, entropy: systemEntropy }, keyFile)).rejects.toMatchObject({
      code: "STORE_ALREADY_INITIALIZED",
    });
    await expect(
      initialize({ store, entropy: systemEntropy }, join(ground.directory, "other.key")),
    ).rejects.toMatchObject({
      code: "STORE_ALREADY_INITIALIZED",
      detail: { where: store.where },
    });
    expect(await findKey(join(ground.directory, "other.key"))).toBeUndefined();
    await store.stop();
    await using registry = await TestRegistry.start(ground, { key: keyFile });
    expect(await incarnationOf(registry)).toBe(incarnation);
    await registry.stop();
  });

  test("a key file that holds no key is left as it is, and nothing is served", async () => {
    await using ground = await layGround(kind);
    await mkdir(ground.directory, { recursive: true });
    await writeFile(keyFileOf(ground), "secret");
    await using registry = await TestRegistry.start(ground);
    await expect(incarnationOf(registry)).rejects.toMatchObject({ code: "NOT_READY" });
    expect(registry.graph.keeper.trouble()).toContain("64 hex digits");
    expect(await readFile(keyFileOf(ground), "utf8")).toBe("secret");
    await registry.stop();
  });
});

test("§2: of replicas that start at once on an empty Redis and an empty key volume, all end with one key and one mark", async () => {
  await using ground = await layGround("redis");
  const replicas = await Promise.all(Array.from({ length: 4 }, () => TestRegistry.start(ground)));
  await expect.poll(() => replicas.map(({ graph }) => graph.keeper.trouble())).toEqual(replicas.map(() => undefined));
  const incarnations = await Promise.all(replicas.map(incarnationOf));
  expect(new Set(incarnations).size).toBe(1);
  const [first, second] = replicas;
  if (first === undefined || second === undefined) throw new Error("no replicas");
  const host = await TestHost.open(first);
  const held = await host.acquire(second);
  expect(await host.renew(second)).toBe(1n);
  expect((await first.authority.getAgent({ agentId: held.agentId })).record).toEqual(held.record);
  for (const replica of replicas) await replica.stop();
});

test("the embedded store is opened by one process only, and by the next when that has ended", async () => {
  await using ground = await layGround("embedded");
  const first = ground.store();
  await first.start();
  await expect(ground.store().start()).rejects.toMatchObject({ code: "DATA_DIRECTORY_LOCKED" });
  await first.stop();
  const second = ground.store();
  await second.start();
  await second.stop();
});

test("a database file that is none is left as it is", async () => {
  await using ground = await layGround("embedded");
  const file = join(ground.directory, "registry.db");
  await writeFile(file, "this is not a database, and long enough to look like one to nobody".repeat(20));
  await expect(ground.store().start()).rejects.toMatchObject({ code: "DATA_CORRUPT" });
  expect(await readFile(file, "utf8")).toContain("this is not a database");
});

test("settling a key that another replica has settled is no error", async () => {
  await using ground = await layGround("embedded");
  const keyFile = keyFileOf(ground);
  const [a, b] = await Promise.all([foundKey(keyFile), foundKey(keyFile)]);
  expect(a.signer.publicKey).toEqual(b.signer.publicKey);
  await Promise.all([settleKey(keyFile), settleKey(keyFile)]);
  expect(await findKey(keyFile)).toMatchObject({ founding: false });
});

test("§2: a process that served under a mark never founds another one, whatever became of its key file", async () => {
  await using ground = await layGround("redis");
  const store = ground.store();
  await store.start();
  const metrics = createRegistryMetrics(new MetricsRegistry());
  const keeper = new MarkKeeper(
    { store, clock: systemClock, entropy: systemEntropy, metrics, logger: silent },
    { keyFile: keyFileOf(ground), quarantineMs: 12_000 },
  );
  await keeper.check();
  expect(keeper.trouble()).toBeUndefined();
  await rm(keyFileOf(ground));
  await setMark(ground, undefined);
  await keeper.check();
  expect(keeper.trouble()).toContain("quarantine ends by itself");
  const { mark } = await store.readMark();
  expect(statementIn(mark ?? new Uint8Array())).toMatchObject({ quarantine: true });
  await store.stop();
});
