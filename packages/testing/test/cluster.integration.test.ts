import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cluster } from "../src/cluster/cluster.ts";

// The harness itself, with a service that is only what the harness sees of one. Clusters of the real ones are in tests/cluster.

const SERVICE = `
import { appendFileSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
const { GODWIT_DATA: data, GODWIT_OPS_LISTEN: ops, GODWIT_STAMP: stamp, GODWIT_CRASH_AT: crashAt } = process.env;
if (stamp === "broken") { console.error("the disk is on fire"); process.exit(1); }
mkdirSync(data, { recursive: true });
appendFileSync(data + "/starts", (stamp ?? "-") + (crashAt ?? "") + "\\n");
console.log("started", JSON.stringify(process.env.GODWIT_ALLOW_CRASH_POINTS));
createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => { body += chunk; });
  request.on("end", () => {
    if (request.method === "POST") console.log(request.url, body);
    response.writeHead(200).end("{}");
  });
}).listen(Number(ops.split(":")[1]), "127.0.0.1");
process.on("SIGTERM", () => { if (stamp !== "stubborn") process.exit(0); });
`;

describe("Cluster", () => {
  let dir: string;
  let entry: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "godwit-harness-"));
    entry = join(dir, "main.mjs");
    await writeFile(entry, SERVICE);
  });
  afterAll(() => rm(dir, { recursive: true }));

  const create = (env: Readonly<Record<string, string>> = {}) =>
    Cluster.create({ entries: { registry: entry, pricing: entry }, env });

  test("CL-1 at the end of its scope every process and the directory are gone, also when the test throws", async () => {
    const pids: (number | undefined)[] = [];
    let clusterDir = "";
    const failing = async () => {
      await using cluster = await create();
      clusterDir = cluster.dir;
      pids.push((await cluster.startRegistry()).pid, (await cluster.startPricing()).pid);
      cluster.pricing.pause();
      expect(pids.every(isAlive)).toBe(true);
      throw new Error("a test that fails");
    };
    await expect(failing()).rejects.toThrow("a test that fails");
    expect(pids.some(isAlive)).toBe(false);
    await expect(access(clusterDir)).rejects.toThrow("ENOENT");
  });

  test("CL-1 a service that does not start fails with its last words and leaves nothing behind", async () => {
    const cluster = await create();
    const { pid } = await cluster.startPricing();
    const broken = cluster.startRegistry({ env: { GODWIT_STAMP: "broken" } });
    await expect(broken).rejects.toThrow(/registry: it ended with code 1.*the disk is on fire/s);
    await cluster.stop();
    expect(isAlive(pid)).toBe(false);
  });

  test("a node keeps its data and ports over kill -9 and restart, and gets extra variables for one run", async () => {
    await using cluster = await create({ GODWIT_STAMP: "all" });
    const registry = await cluster.startRegistry();
    const before = { data: registry.dataDir, ops: registry.opsUrl, pid: registry.pid };
    await registry.kill();
    expect(registry.pid).toBeUndefined();
    await registry.restart({ GODWIT_CRASH_AT: "claim.before-reply" });
    await registry.restart();
    expect({ data: registry.dataDir, ops: registry.opsUrl }).toEqual({ data: before.data, ops: before.ops });
    expect(registry.pid).not.toBe(before.pid);
    const starts = await readFile(join(registry.dataDir, "starts"), "utf8");
    expect(starts.trim().split("\n")).toEqual(["all", "allclaim.before-reply", "all"]);
  });

  test("crash points are armed over the ops HTTP, and every process allows it", async () => {
    await using cluster = await create();
    const registry = await cluster.startRegistry();
    await registry.waitForLog('started "true"');
    await registry.armCrashPoint({ point: "claim.before-apply", nth: 2, action: "stop" });
    const line = await registry.waitForLog("/crash-points");
    expect(JSON.parse(line.slice(line.indexOf("{")))).toEqual({ point: "claim.before-apply", nth: 2, action: "stop" });
  });

  test("what does not happen in time is told with the last lines of every process", async () => {
    await using cluster = await create();
    const { pid } = await cluster.startRegistry();
    await cluster.registry.waitForLog("started");
    await cluster.startPricing();
    await cluster.pricing.kill();
    const waiting = cluster.waitFor(() => false, { what: "a miracle", timeoutMs: 50 });
    await expect(waiting).rejects.toThrow(
      new RegExp(
        `a miracle: not within 50 ms\n--- registry \\(runs as ${pid}\\)\nstarted .*--- pricing \\(ended: .*SIGKILL`,
        "s",
      ),
    );
  });

  test("waits end when the cluster stops", async () => {
    const cluster = await create();
    const registry = await cluster.startRegistry();
    const line = registry.waitForLog("never printed");
    const wait = cluster.waitFor(() => false, { what: "anything" });
    const told = Promise.all([
      expect(line).rejects.toThrow("the cluster was stopped"),
      expect(wait).rejects.toThrow("the cluster was stopped"),
    ]);
    await cluster.stop();
    await told;
  });

  test("a service that is not built says what to do", async () => {
    await using cluster = await Cluster.create({ entries: { registry: join(dir, "not-there.mjs") } });
    await expect(cluster.startRegistry()).rejects.toThrow("Cannot find module");
    expect(() => cluster.host("a")).toThrow("no host a");
    expect(() => cluster.pricing).toThrow("no pricing was started");
  });
});

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
}
