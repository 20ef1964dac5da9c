// T-04, T-05, T-15, T-18 … T-20, T-53, T-56: hosts that are killed and come back on the same data, one after the other.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { compareTerms } from "@godwit/common/lease";
import { type Header, readHeader } from "@godwit/lineage";
import { type Cluster, freePort, type HostNode, serviceEntry } from "@godwit/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clusterWith, doneOf, headersOf, move, settlesOnOneOwner, startSurvivor, ticksOn } from "../cluster/stage.ts";
import { alone, calmLease } from "./scene.ts";

const run = promisify(execFile);
const godwit = fileURLToPath(new URL("../../packages/cli/bin/godwit.js", import.meta.url));

let cluster: Cluster;
// Who comes back need not wait for its own earlier session: what is asked here is what it makes of its disk.
const env = { ...alone, GODWIT_TRUST_DATA_LOCK: "true" };
beforeAll(async () => {
  cluster = await clusterWith(calmLease, { name: "a", env }, { name: "b", env }, { name: "c", env });
});
afterAll(() => cluster?.stop());

describe("a host that comes back while nobody can tell it who owns the agent", () => {
  test.each([
    { name: "T-04, T-05: killed with the handoff begun", point: "source.after-begin", ends: "a" },
    { name: "T-04, T-05: killed when it had given the agent away", point: "source.after-relinquish", ends: "a" },
    {
      name: "T-04, T-05: killed when it had given away what had come in",
      point: "source.before-send-handoff",
      ends: "a",
      cameIn: true,
    },
    { name: "T-04, T-15: killed before it wrote its tombstone", point: "source.after-started", ends: "b" },
    { name: "T-04, T-15: killed after it", point: "source.after-retire", ends: "b" },
  ])(
    "$name: nothing is ticked from the disk, then one host ticks, under a later epoch",
    async ({ point, ends, cameIn = false }) => {
      const [a, b] = [cluster.host("a"), cluster.host("b")];
      const agentId = await startSurvivor(cluster, cameIn ? b : a, point.replace(".", "-"));
      if (cameIn) doneOf(await move(b, agentId, { to: a }));
      const before = cameIn ? 1n : 0n;
      await a.armCrashPoint({ point });
      const moving = move(a, agentId, { to: b }).catch((error: unknown) => error);
      await a.ended();
      await moving;
      const registry = cluster.registry;
      registry.pause();
      a.process.start();
      try {
        // FS-4: it is up, it knows the agent, it has no answer, and it does not tick.
        const first = await cluster.waitFor((signal) => a.agent(agentId, signal), { what: "a answers" });
        expect(first.state).not.toBe("ACTIVE_OWNER");
        await expect(move(a, agentId, { to: b, retries: 1 })).rejects.toMatchObject({ name: "Fault" });
        const seen = await looksAt(a, agentId, 1_500);
        expect(seen.every(({ state, tick }) => state !== "ACTIVE_OWNER" && tick === first.tick)).toBe(true);
      } finally {
        registry.resume();
      }
      await a.process.ready(AbortSignal.timeout(120_000));
      const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId, { minMajor: before + 1n });
      expect([owner.name, status.major, lineage.orphans]).toEqual([ends, before + 1n, []]);
      // T-05: along the lineage no epoch falls, and the one after the restart is above those before it.
      const held = [];
      for (const host of [a, b])
        if ((await host.agent(agentId)) !== undefined) held.push(...(await headersOf(host, agentId)));
      const headers = held.map(({ payload }) => readHeader(payload));
      expectRising(headers);
    },
  );

  test("T-56: it cannot be moved before it is known to be ours, and is moved as it was restored afterwards", async () => {
    const [a, b] = [cluster.host("a"), cluster.host("b")];
    const agentId = await startSurvivor(cluster, a, "early");
    await a.kill();
    const { registry } = cluster;
    registry.pause();
    a.process.start();
    try {
      await cluster.waitFor((signal) => a.agent(agentId, signal), { what: "a answers" });
      await expect(move(a, agentId, { to: b, retries: 1 })).rejects.toMatchObject({
        code: expect.stringMatching(/^(AGENT_NOT_RUNNING|LEASE_EXPIRED|RECOVERY_REQUIRED|NOT_OWNER)$/),
      });
      expect(await b.agent(agentId)).toBeUndefined();
    } finally {
      registry.resume();
    }
    await a.process.ready(AbortSignal.timeout(120_000));
    const back = await ticksOn(cluster, a, agentId);
    const done = doneOf(await move(a, agentId, { to: b }));
    expect(done.tick).toBeGreaterThanOrEqual(back.tick);
    expect((await settlesOnOneOwner(cluster, agentId)).owner.name).toBe("b");
  });
});

test("T-18: a target that is killed resumes the agent from its own disk, and hands it on without a file from anywhere", async () => {
  const [a, b, c] = [cluster.host("a"), cluster.host("b"), cluster.host("c")];
  const agentId = await startSurvivor(cluster, a, "carried");
  const { tick } = doneOf(await move(a, agentId, { to: b }));
  await a.stop(); // it holds what it handed over, and may take it up when b is dead
  await b.kill();
  await b.restart();
  expect((await ticksOn(cluster, b, agentId, { after: tick })).major).toBe(2n);
  expect(doneOf(await move(b, agentId, { to: c })).targetHostId).toBe(c.hostId);
  const { owner, lineage } = await settlesOnOneOwner(cluster, agentId);
  expect([owner.name, lineage.orphans]).toEqual(["c", []]);
  await a.restart();
});

describe("whoever works on a host from outside", () => {
  test("T-19, T-20, T-53: moves a running agent through the host that has it: identity and lineage stay whole", async () => {
    const [a, b] = [cluster.host("a"), cluster.host("b")];
    const agentId = await startSurvivor(cluster, a, "commanded");
    const { hostId } = a;
    await a.stop();
    await a.restart(); // T-53: another process on the same data is the same host
    expect((await a.host.describeHost({})).hostId).toBe(hostId);
    await ticksOn(cluster, a, agentId);
    const before = await headersOf(a, agentId);

    const environment = { ...process.env, GODWIT_REGISTRY: cluster.registry.grpcAddress };
    const { stdout } = await run(process.execPath, [godwit, "migrate", agentId, "--to", "b"], { env: environment });
    expect(stdout).toContain("from a");

    const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect([owner.name, status.agentId, lineage.orphans]).toEqual(["b", agentId, []]);
    expect(lineage.owners.map((one) => one.hostId)).toEqual([a.hostId, a.hostId, b.hostId]);
    // T-20: what a has left is its past and a tombstone; nothing there has grown back.
    expect((await a.agent(agentId))?.state).not.toBe("ACTIVE_OWNER");
    const left = (await headersOf(a, agentId)).map(({ payload }) => readHeader(payload));
    expect(left.length).toBeGreaterThanOrEqual(before.length);
    const { base } =
      (await headersOf(b, agentId)).map(({ payload }) => readHeader(payload)).find(({ major }) => major === 2n) ?? {};
    expect(left.filter(({ major }) => major <= 1n).every(({ tick }) => tick <= (base?.tick ?? 0n))).toBe(true);
  });

  test("T-20, T-53: opens no data directory that a process has open, and disturbs nothing", async () => {
    const a = cluster.host("a");
    const agentId = await startSurvivor(cluster, a, "alone");
    const { tick } = await ticksOn(cluster, a, agentId);
    const ports = await Promise.all([freePort(), freePort()]);
    const second = run(process.execPath, [serviceEntry("agent-host")], {
      env: {
        ...process.env,
        GODWIT_DATA: a.dataDir,
        GODWIT_REGISTRY: cluster.registry.grpcAddress,
        GODWIT_GRPC_LISTEN: `127.0.0.1:${ports[0]}`,
        GODWIT_OPS_LISTEN: `127.0.0.1:${ports[1]}`,
      },
    });
    const failure = await second.then(
      () => undefined,
      (cause: unknown) => cause as { readonly code: number; readonly stdout: string; readonly stderr: string },
    );
    expect(failure?.code).toBeGreaterThan(0);
    expect(`${failure?.stdout}${failure?.stderr}`).toContain("is in use by process");
    await ticksOn(cluster, a, agentId, { after: tick + 2n });
    expect((await settlesOnOneOwner(cluster, agentId)).status.major).toBe(0n);
    expect(await readFile(`/proc/${a.pid}/stat`, "utf8")).not.toBe("");
  });
});

async function looksAt(host: HostNode, agentId: string, forMs: number) {
  const seen: { readonly state: string; readonly tick: bigint }[] = [];
  const until = performance.now() + forMs;
  while (performance.now() < until) {
    const status = await host.agent(agentId);
    if (status !== undefined) seen.push(status);
  }
  return seen;
}

function expectRising(headers: readonly Header[]): void {
  const inOrder = headers.toSorted((x, y) => compareTerms(x, y) || Number(x.tick - y.tick));
  for (const [index, header] of inOrder.entries()) {
    const before = inOrder[index - 1];
    if (before === undefined) continue;
    expect(header.tick).toBeGreaterThanOrEqual(before.tick);
    if (compareTerms(before, header) === 0) expect(header.generation).toBeGreaterThanOrEqual(before.generation);
  }
  const last = inOrder.at(-1);
  expect(last?.major).toBeGreaterThan(inOrder[0]?.major ?? 0n);
}
