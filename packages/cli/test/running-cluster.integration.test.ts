import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "@godwit/common/clock";
import { describe, expect, onTestFinished, test } from "vitest";
import { type ClusterPlan, planCluster, type ServicePlan } from "../src/cluster/plan.ts";
import { choosePorts } from "../src/cluster/ports.ts";
import { RunningCluster } from "../src/cluster/running-cluster.ts";

type Env = Readonly<Record<string, string>>;

async function prepare(extra: Readonly<Record<string, Env>> = {}) {
  const dataDir = mkdtempSync(join(tmpdir(), "godwit-running-"));
  const ports = await choosePorts({ hosts: 2, from: "any" });
  const planned = planCluster({ ports, dataDir, redisUrl: undefined, losesFirstHandoff: false });
  const withEnv = (plan: ServicePlan) => ({
    ...plan,
    env: { GODWIT_NAME: plan.name, ...plan.env, ...extra[plan.name] },
  });
  const plan: ClusterPlan = {
    ...planned,
    registry: withEnv(planned.registry),
    pricing: withEnv(planned.pricing),
    hosts: planned.hosts.map(withEnv),
  };
  const events: string[] = [];
  const death = Promise.withResolvers<string>();
  const logDir = join(dataDir, "logs");
  const cluster = new RunningCluster(plan, {
    clock: systemClock,
    entryOf: () => fileURLToPath(new URL("./fake-service.mjs", import.meta.url)),
    logDir,
    onEvent: (line) => events.push(line),
    onDeath: (name, exit) => death.resolve(`${name} ${exit.code}`),
  });
  onTestFinished(async () => {
    await cluster.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });
  return { cluster, events, death: death.promise, logDir };
}

const forever = new AbortController().signal;

describe("a cluster of processes", () => {
  test("starts when all are ready, says so of each, and stops them all; each has a log of its own", async () => {
    const { cluster, events, logDir } = await prepare();
    await cluster.start(forever);
    expect(events.filter((line) => line.includes("is ready at"))).toHaveLength(4);
    expect(cluster.pidOf("alaska")).toBeGreaterThan(1);
    expect(cluster.pidOf("nobody")).toBeUndefined();
    await cluster.stop();
    for (const name of ["registry", "pricing", "alaska", "hawaii"]) {
      expect(cluster.pidOf(name)).toBeUndefined();
      const log = readFileSync(join(logDir, `${name}.log`), "utf8");
      expect(log).toContain(`hello from ${name}`);
      expect(log).toContain("told to stop");
    }
  });

  test("what a service still waits for is told while it does", async () => {
    const { cluster, events } = await prepare({ hawaii: { GODWIT_READY_AFTER: "6000" } });
    await cluster.start(forever);
    expect(events).toContain("waiting for hawaii: registry: it does not answer");
    await cluster.stop();
  });

  test("one that ends instead of becoming ready: the start fails with its last words, and the others can be stopped", async () => {
    const { cluster } = await prepare({ pricing: { GODWIT_READY_AFTER: "60000", GODWIT_END_AFTER: "50" } });
    await expect(cluster.start(forever)).rejects.toThrow(/pricing: it ended with code 3[\s\S]*last words/);
    await cluster.stop();
    expect(cluster.pidOf("registry")).toBeUndefined();
    expect(cluster.tails()).toContain("--- pricing (ended with code 3)");
  });

  test("one that ends later is told of; one that was stopped is not", async () => {
    const { cluster, death } = await prepare();
    await cluster.start(forever);
    process.kill(cluster.pidOf("alaska") ?? 0, "SIGUSR2");
    expect(await death).toBe("alaska 3");
    await cluster.stop();
  });

  test("an interruption ends the waiting", async () => {
    const { cluster } = await prepare({ hawaii: { GODWIT_READY_AFTER: "60000" } });
    const interruption = new AbortController();
    const starting = cluster.start(interruption.signal);
    setTimeout(() => interruption.abort(new Error("interrupted")), 200);
    await expect(starting).rejects.toThrow("interrupted");
    await cluster.stop();
  });
});
