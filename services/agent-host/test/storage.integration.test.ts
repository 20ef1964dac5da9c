import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { isFault } from "@godwit/common/fault";
import { type Checkpoint, digestOf } from "@godwit/lineage";
import { seededRandom } from "@godwit/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import type { DataDirectory } from "../src/storage/index.ts";
import { Meta } from "../src/storage/meta.ts";
import { chain, identity, openAt, ownerEntry, signed, temporaryDirectory } from "./storage-place.ts";
import { ada, next } from "./storage-story.ts";

/** A user who may read nothing of ours. */
const nobody = 65_534;
const writerPath = new URL("./storage-writer.ts", import.meta.url).pathname;

function startWriter(path: string, { writes = 1_000_000, fileBlocks = "unlimited" } = {}): Writer {
  const node = [process.execPath, "--conditions=@godwit/source", writerPath, path, String(writes)];
  const shell = ["-c", `ulimit -f ${fileBlocks}; exec "$@"`, "bash", ...node];
  const child = spawn("bash", shell, { stdio: ["ignore", "pipe", "inherit"], cwd: import.meta.dirname });
  onTestFinished(() => void child.kill("SIGKILL"));
  return new Writer(child);
}

/** A child that writes, and what it has said so far. */
class Writer {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<unknown>;
  readonly said: string[] = [];

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, "exit");
    if (child.stdout === null) throw new Error("no output to read");
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async until(isEnough: (line: string) => boolean): Promise<string> {
    for (;;) {
      const { done, value } = await this.#lines.next();
      if (done) throw new Error(`the writer ended early: ${this.said.join("\n")}`);
      this.said.push(value);
      if (isEnough(value)) return value;
    }
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.rest();
  }

  async rest(): Promise<void> {
    for (let line = await this.#lines.next(); !line.done; line = await this.#lines.next()) this.said.push(line.value);
    await this.#exited;
  }
}

/** The newest tick that the writer was told is on the disk, by agent. */
function acknowledged(said: readonly string[], before: ReadonlyMap<string, bigint>): Map<string, bigint> {
  const ticks = new Map(before);
  for (const line of said) {
    const [word, agentId, tick] = line.split(" ");
    if (word === "held" && agentId !== undefined && tick !== undefined) ticks.set(agentId, BigInt(tick));
  }
  return ticks;
}

async function expectWholeUnits(directory: DataDirectory, ticks: ReadonlyMap<string, bigint>): Promise<void> {
  expect(directory.agents().length).toBeGreaterThanOrEqual(ticks.size);
  for (const { agentId, name, journal } of directory.agents()) {
    const newest = await directory.latestCheckpoint(agentId);
    if (newest === undefined || journal.phase !== "owner") throw new Error("half a unit");
    expect(newest.header.tick).toBeGreaterThanOrEqual(ticks.get(agentId) ?? 0n);
    expect(name).toBe(`at tick ${newest.header.tick}`);
    expect(journal.unconfirmedBase?.digest).toBe(newest.digest);
    expect(await directory.receipts(agentId, newest.digest)).toEqual([new TextEncoder().encode(newest.digest)]);
    const [header] = await directory.headers(agentId);
    expect(header).toEqual(newest.signed);
  }
}

/** T-25: what an agent names is there, and of what nobody names nothing is left once it was collected. */
async function expectNeededBlobs(directory: DataDirectory, said: readonly string[]): Promise<number> {
  await directory.collectBlobs();
  for (const { moduleDigest } of directory.agents()) expect(await directory.getBlob(moduleDigest)).toBeDefined();
  const loose = said.filter((line) => line.startsWith("loose ")).map((line) => line.slice("loose ".length));
  expect(loose.filter((digest) => directory.hasBlob(digest))).toEqual([]);
  return loose.length;
}

describe("kill -9", () => {
  test("T-36, T-25: at any moment loses no acknowledged unit and no module that is needed, leaves none in halves, and frees the lock", {
    timeout: 400_000,
  }, async () => {
    const path = await temporaryDirectory();
    const random = seededRandom(20_260_101);
    let held: Map<string, bigint> = new Map();
    let seed: string | undefined;
    let units = 0;
    let loose = 0;
    for (let round = 0; round < 20; round++) {
      const writer = startWriter(path);
      const opened = await writer.until((line) => line.startsWith("open "));
      seed ??= opened;
      expect(opened).toBe(seed);
      for (let count = Math.floor(random() * 60); count >= 0; count--)
        await writer.until((line) => line.startsWith("held "));
      await writer.kill();

      units += writer.said.filter((line) => line.startsWith("held ")).length;
      held = acknowledged(writer.said, held);
      const directory = await openAt(path);
      await expectWholeUnits(directory, held);
      loose += await expectNeededBlobs(directory, writer.said);
      await directory.close();
    }
    expect(units).toBeGreaterThan(200);
    expect(loose).toBeGreaterThan(20);
  });

  test("while the directory is made leaves one that can be opened", { timeout: 400_000 }, async () => {
    for (let round = 0; round < 6; round++) {
      const path = await temporaryDirectory();
      const writer = startWriter(path);
      await writer.until((line) => line === "opening");
      await writer.kill();
      const directory = await openAt(path);
      expect(directory.hostSeed).toHaveLength(32);
      expect(readdirSync(path).filter((name) => name.includes(".new-"))).toEqual([]);
      await directory.close();
    }
  });
});

describe("the lock", () => {
  test("T-36: keeps a second process, and a second opener in the same one, out: they are told who has it", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const [zero] = chain(1);
    const { agentId } = zero.header;
    await directory.commit({ agentId, agent: identity, journal: ownerEntry(zero), checkpoint: zero });
    const before = stampsOf(path);

    await expect(openAt(path)).rejects.toSatisfy((error) => isFault(error, "DATA_DIRECTORY_LOCKED"));
    const second = startWriter(path);
    await second.rest();
    expect(second.said.at(-1)).toContain(`failed DATA_DIRECTORY_LOCKED ${path} is in use by process ${process.pid}`);
    expect(stampsOf(path)).toEqual(before);

    const [, one] = chain(2);
    await directory.commit({ agentId, checkpoint: one as Checkpoint });
    await directory.close();
    expect(await (await openAt(path)).latestCheckpoint(agentId)).toEqual(one);
  });

  test("is the system's: a note that nobody stands behind keeps nobody out", async () => {
    const path = await temporaryDirectory();
    await (await openAt(path)).close();
    writeFileSync(`${path}/lock`, "held by process 1 since 2020-01-01T00:00:00.000Z\n");
    await (await openAt(path)).close();
    expect(readFileSync(`${path}/lock`, "utf8")).toMatch(/^free/);
  });

  test("the directory and the database, which holds the host's key, are the owner's alone", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(path)) expect([name, statSync(`${path}/${name}`).mode & 0o077]).toEqual([name, 0]);
    await directory.close();
  });
});

describe("a directory that is damaged is refused, and left as it is", () => {
  const someState = "state that nobody else has, ".repeat(400);

  async function written(): Promise<{ path: string; database: string; zero: Checkpoint; one: Checkpoint }> {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const [zero] = chain(1);
    const one = next(zero, { host: ada, text: someState });
    const { agentId } = zero.header;
    await directory.saveMark(signed);
    await directory.commit({ agentId, agent: identity, journal: ownerEntry(zero), checkpoint: zero });
    await directory.commit({ agentId, checkpoint: one, receipts: [new TextEncoder().encode("the receipts of one")] });
    await directory.stage({
      handoffId: "the staged one",
      agent: identity,
      sourceHostId: ada.hostId,
      token: signed,
      checkpoint: next(one, { host: ada }),
    });
    await directory.putBlob(new TextEncoder().encode("the bytes of a module"));
    await directory.close();
    return { path, database: `${path}/host.db`, zero, one };
  }

  function flip(file: string, needle: string | Uint8Array): void {
    const bytes = readFileSync(file);
    const at = bytes.indexOf(needle);
    expect(at).toBeGreaterThan(0);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    writeFileSync(file, bytes);
  }

  const isCorrupt = (error: unknown) => isFault(error, "DATA_CORRUPT");

  test.each<[string, (meta: Meta, db: DatabaseSync) => void, string]>([
    ["is gone", (_, db) => db.exec("DELETE FROM meta WHERE key = 'host-seed'"), "the host's key is missing"],
    ["was cut short", (meta) => meta.set("host-seed", new Uint8Array(31)), "the host's key has 31 bytes, not 32"],
    [
      "has other bytes than it was written with",
      (_, db) => db.exec("UPDATE meta SET value = zeroblob(32) WHERE key = 'host-seed'"),
      "the host-seed",
    ],
  ])("T-34: a host whose key %s does not start, and gets no other one", async (_, change, reason) => {
    const { path, database } = await written();
    const db = new DatabaseSync(database);
    change(new Meta(db, database), db);
    db.close();
    const before = readFileSync(database);
    for (let attempt = 0; attempt < 2; attempt++) {
      const opening = openAt(path);
      await expect(opening).rejects.toSatisfy(isCorrupt);
      await expect(opening).rejects.toThrow(reason);
    }
    expect(readFileSync(database).equals(before)).toBe(true);
  });

  test("T-34: a host that may not read its key does not start, says why, and gets no other one", async () => {
    const { path, database } = await written();
    const before = filesOf(path);
    chmodSync(database, 0o000);
    // Whoever may read everything gives that up for a moment.
    const root = process.geteuid?.() === 0;
    if (root) {
      chownSync(path, nobody, nobody);
      for (let at = dirname(path); at !== dirname(at) && at !== tmpdir(); at = dirname(at)) chmodSync(at, 0o755);
    }
    try {
      if (root) process.seteuid?.(nobody);
      const opening = openAt(path);
      await expect(opening).rejects.toSatisfy((error) => isFault(error, "DISK_FAILED"));
      await expect(opening).rejects.toThrow(/host\.db.*(permission|EACCES|unable to open)/i);
    } finally {
      if (root) process.seteuid?.(0);
    }
    chmodSync(database, 0o600);
    expect(filesOf(path)).toEqual(before);
    if (root) chownSync(path, 0, 0);
    const directory = await openAt(path);
    expect(directory.agents()).toHaveLength(1);
  });

  test("T-33: a flipped byte in a state is found when it is read, and names the checkpoint; an older one can still be read", async () => {
    const { path, database, zero, one } = await written();
    flip(database, someState.slice(0, 40));
    const directory = await openAt(path);
    const { agentId } = one.header;
    const reading = directory.latestCheckpoint(agentId);
    await expect(reading).rejects.toSatisfy(isCorrupt);
    await expect(reading).rejects.toThrow(one.digest);
    expect(await directory.checkpoint(agentId, zero.digest)).toEqual(zero);
  });

  test("a flipped byte in a header, receipts or a module is found when it is read", async () => {
    const { path, database, one } = await written();
    flip(database, one.signed.signature);
    flip(database, "the receipts of one");
    flip(database, "the bytes of a module");
    const directory = await openAt(path);
    const { agentId } = one.header;
    await expect(directory.latestCheckpoint(agentId)).rejects.toSatisfy(isCorrupt);
    await expect(directory.headers(agentId)).rejects.toSatisfy(isCorrupt);
    await expect(directory.receipts(agentId, one.digest)).rejects.toSatisfy(isCorrupt);
    // Whoever brings the module again makes it good.
    const module = new TextEncoder().encode("the bytes of a module");
    await expect(directory.getBlob(digestOf(module))).rejects.toSatisfy(isCorrupt);
    expect(await directory.getBlob(await directory.putBlob(module))).toEqual(module);
  });

  test.each([
    ["an agent's journal", '"phase":"owner"'],
    ["a staged handoff", "the staged one"],
    ["the registry's mark", Uint8Array.of(3, 0, 0, 0, 1, 2, 3)],
  ])("a flipped byte in %s is found at the open", async (_, needle) => {
    const { path, database } = await written();
    flip(database, needle);
    const before = filesOf(path);
    await expect(openAt(path)).rejects.toSatisfy(isCorrupt);
    expect(filesOf(path)["host.db"]).toEqual(before["host.db"]);
  });

  test("a database that was cut short, anywhere, is found at the open", async () => {
    const { path, database } = await written();
    const whole = readFileSync(database);
    const cuts = [
      0,
      50,
      100,
      8191,
      8192,
      3 * 8192,
      Math.floor(whole.length / 2),
      whole.length - 8192,
      whole.length - 1,
    ];
    for (const length of cuts) {
      truncateSync(database, length);
      const before = filesOf(path)["host.db"];
      const outcome = await openAt(path).catch((error: unknown) => error);
      expect([length, isCorrupt(outcome)]).toEqual([length, true]);
      expect(filesOf(path)["host.db"]).toEqual(before);
      writeFileSync(database, whole);
    }
    await (await openAt(path)).close();
  });

  test("T-34: a database that is gone is no reason to begin anew with another key", async () => {
    const { path, database } = await written();
    rmSync(database);
    await expect(openAt(path)).rejects.toSatisfy(isCorrupt);
    expect(readdirSync(path)).not.toContain("host.db");
  });

  test("a database whose log is gone is refused, for the newest commits were in it", async () => {
    const path = await temporaryDirectory();
    const writer = startWriter(path);
    await writer.until((line) => line.startsWith("held "));
    await writer.kill();
    const log = readFileSync(`${path}/host.db-wal`);
    for (const damage of [() => rmSync(`${path}/host.db-wal`), () => truncateSync(`${path}/host.db-wal`, 0)]) {
      damage();
      await expect(openAt(path)).rejects.toSatisfy(isCorrupt);
      await expect(openAt(path)).rejects.toSatisfy(isCorrupt);
      writeFileSync(`${path}/host.db-wal`, log);
    }
    await expectWholeUnits(await openAt(path), acknowledged(writer.said, new Map()));
  });

  test("a log that ends in the middle of a commit is no damage: what was acknowledged before is there", async () => {
    const path = await temporaryDirectory();
    const writer = startWriter(path);
    for (let count = 0; count < 20; count++) await writer.until((line) => line.startsWith("held "));
    await writer.kill();
    writeFileSync(`${path}/host.db-wal`, Buffer.alloc(5_000, 7), { flag: "a" });
    await expectWholeUnits(await openAt(path), acknowledged(writer.said, new Map()));
  });

  test.each([
    ["of a newer Godwit", "PRAGMA user_version = 3", "DISK_FAILED"],
    ["of no Godwit at all", "PRAGMA application_id = 7", "DATA_CORRUPT"],
  ] as const)("a database %s is not touched", async (_, change, code) => {
    const { path, database } = await written();
    const other = new DatabaseSync(database);
    other.exec(change);
    other.close();
    const before = filesOf(path);
    await expect(openAt(path)).rejects.toSatisfy((error) => isFault(error, code));
    expect(filesOf(path)["host.db"]).toEqual(before["host.db"]);
  });

  test("a file that is no database, and a path that is no directory", async () => {
    const { path, database } = await written();
    await expect(openAt(database)).rejects.toSatisfy((error) => isFault(error, "DISK_FAILED"));
    writeFileSync(database, "not a database, but long enough to be looked at as one ".repeat(20));
    await expect(openAt(path)).rejects.toSatisfy(isCorrupt);
  });
});

describe("a disk that is full", () => {
  test("refuses what does not fit, keeps what it has, and goes on with what fits", async () => {
    const directory = await openAt(await temporaryDirectory(), { maxBytes: 1_000_000 });
    const [zero] = chain(1);
    const { agentId } = zero.header;
    const large = next(zero, { host: ada, text: "x".repeat(2_000_000) });
    const [other] = chain(1, 8);
    const results = await Promise.allSettled([
      directory.commit({ agentId, agent: identity, journal: ownerEntry(zero), checkpoint: zero }),
      directory.commit({ agentId, checkpoint: large }),
      directory.commit({
        agentId: other.header.agentId,
        agent: identity,
        journal: ownerEntry(other),
        checkpoint: other,
      }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await expect(directory.commit({ agentId, checkpoint: large })).rejects.toSatisfy((e) => isFault(e, "DISK_FAILED"));
    const small = next(zero, { host: ada });
    await directory.commit({ agentId, checkpoint: small });
    expect(await directory.latestCheckpoint(agentId)).toEqual(small);
    expect(directory.broken).toBeUndefined();
  });

  test("that fails a write leaves doubt: nothing is written until a new start, which finds all that was acknowledged", async () => {
    const path = await temporaryDirectory();
    const writer = startWriter(path, { fileBlocks: "3000" });
    await writer.rest();
    expect(writer.said.filter((line) => line === "failed DISK_FAILED")).toHaveLength(4);
    expect(writer.said).toContain("broken yes");
    const held = acknowledged(writer.said, new Map());
    expect(held.size).toBe(4);
    await expectWholeUnits(await openAt(path), held);
  });
});

function filesOf(path: string): Readonly<Record<string, string>> {
  const names = readdirSync(path).filter((name) => !name.endsWith("-shm"));
  return Object.fromEntries(names.map((name) => [name, digestOf(readFileSync(`${path}/${name}`))]));
}

/** Of files that this process has locked: reading them here would end the lock. */
function stampsOf(path: string): readonly (readonly [string, bigint, bigint])[] {
  return readdirSync(path).map((name) => {
    const { mtimeNs, size } = statSync(`${path}/${name}`, { bigint: true });
    return [name, mtimeNs, size] as const;
  });
}
