// What the tests of whole clusters share: leases, quick ticks, and what has to hold when the dust has settled.
//
// A lease is short enough to be waited for, and so long that a machine which stands still for some seconds costs nobody his:
// what a test asks would be something else then. What has a deadline besides has it against hanging, not against being slow.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { SignedBytes } from "@godwit/common/lease";
import { fromProtoSigned, type LineageReport, verifyLineage } from "@godwit/lineage";
import type { AgentStatus, MigrateAgentResponse } from "@godwit/proto/godwit/host/v1/host";
import { Cluster, type HostNode, type HostOptions, type RunOptions } from "@godwit/testing";
import { expect } from "vitest";

export interface Lease {
  readonly duration: number;
  readonly grace: number;
}

export const leaseMs: Lease = { duration: 8_000, grace: 2_000 };
export const budget = 1_000_000_000n;
const tickEveryMs = 100;

export const registryEnv = ({ duration, grace }: Lease) => ({
  GODWIT_LEASE_DURATION: `${duration}ms`,
  GODWIT_LEASE_GRACE: `${grace}ms`,
  GODWIT_RENEW_EVERY: "1s",
  GODWIT_LOOK_EVERY: "200ms",
  GODWIT_OFFER_SCAN_EVERY: "1s",
});

export const hostEnv = {
  GODWIT_TICK_EVERY: `${tickEveryMs}ms`,
  GODWIT_CHECKPOINT_EVERY: "500ms",
  GODWIT_REGISTRY_TIMEOUT: "3s",
  GODWIT_TICK_TIMEOUT: "1s",
};

const built = (path: string) => fileURLToPath(new URL(`../../agents/${path}`, import.meta.url));
/** Of an agent of this repository. */
export const wasmOf = (agent: string): string => built(`${agent}/build/${agent}.wasm`);
export const survivorWasm = wasmOf("survivor");
export const ballastWasm = built("ballast/build/ballast-4k.wasm");

export async function optionsOf(agent: string, name = agent): Promise<RunOptions> {
  const manifest = JSON.parse(await readFile(built(`${agent}/build/${agent}.manifest.json`), "utf8")) as object;
  return { name, budget, manifest };
}

export function survivor(name?: string): Promise<RunOptions> {
  return optionsOf("survivor", name);
}

/** A registry, and these hosts. */
export function clusterOf(...hosts: readonly HostOptions[]): Promise<Cluster> {
  return clusterWith(leaseMs, ...hosts);
}

export async function clusterWith(lease: Lease, ...hosts: readonly HostOptions[]): Promise<Cluster> {
  const cluster = await Cluster.create();
  try {
    await cluster.startRegistry({ env: registryEnv(lease) });
    await Promise.all(hosts.map((host) => cluster.startHost({ ...host, env: { ...hostEnv, ...host.env } })));
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** Resolves once it ticks there, beyond `after`. */
export function ticksOn(
  cluster: Cluster,
  host: HostNode,
  agentId: string,
  { after = 0n, timeoutMs = 90_000 }: { readonly after?: bigint; readonly timeoutMs?: number } = {},
): Promise<AgentStatus> {
  return cluster.waitFor(
    async (signal) => {
      const agent = await host.agent(agentId, signal);
      return agent?.state === "ACTIVE_OWNER" && agent.tick > after ? agent : undefined;
    },
    { what: `${agentId.slice(0, 8)} ticks on ${host.name} beyond ${after}`, timeoutMs },
  );
}

/** Starts a survivor and waits for its third tick. */
export async function startSurvivor(cluster: Cluster, host: HostNode, name?: string): Promise<string> {
  const { agentId } = await cluster.runAgent(host, survivorWasm, await survivor(name));
  await ticksOn(cluster, host, agentId, { after: 2n });
  return agentId;
}

export interface Move {
  readonly to?: HostNode;
  readonly allowFallback?: boolean;
  readonly retries?: number;
  readonly retryDelayMs?: number;
  readonly onEvent?: (event: MigrateAgentResponse["event"]) => void | Promise<void>;
}

/** The whole story of a migration; it ends early when the source dies. */
export async function move(
  source: HostNode,
  agentId: string,
  { to, allowFallback = false, retries = 0, retryDelayMs = 0, onEvent }: Move = {},
): Promise<readonly MigrateAgentResponse["event"][]> {
  const story: MigrateAgentResponse["event"][] = [];
  const targetHostId = to?.hostId ?? "";
  const call = source.host.migrateAgent({ agentId, targetHostId, allowFallback, retries, retryDelayMs }, callRules);
  for await (const { event } of call) {
    story.push(event);
    await onEvent?.(event);
  }
  return story;
}

const callRules = { timeoutMs: 170_000 };

export function doneOf(story: readonly MigrateAgentResponse["event"][]) {
  const last = story.at(-1);
  if (last?.case !== "done") throw new Error(`the migration did not end with done but with ${showEvent(last)}`);
  return last.value;
}

export function failuresOf(story: readonly MigrateAgentResponse["event"][]) {
  return story.flatMap((event) => (event.case === "attemptFailed" ? [event.value] : []));
}

function showEvent(event: MigrateAgentResponse["event"] | undefined): string {
  return JSON.stringify(event, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}

/** I3 and EI-3: whoever the registry names ticks, nobody else does, and all that hosts committed is one chain. Gives that host and the chain. */
export async function settlesOnOneOwner(
  cluster: Cluster,
  agentId: string,
  { minMajor = 0n, timeoutMs = 120_000 }: { readonly minMajor?: bigint; readonly timeoutMs?: number } = {},
): Promise<{ readonly owner: HostNode; readonly status: AgentStatus; readonly lineage: LineageReport }> {
  const { owner, status } = await cluster.waitFor(
    async (signal) => {
      const owners: { readonly owner: HostNode; readonly status: AgentStatus }[] = [];
      for (const owner of cluster.hosts) {
        if (owner.pid === undefined) continue;
        const status = await owner.agent(agentId, signal);
        if (status?.state !== "ACTIVE_OWNER" || status.major < minMajor) continue;
        // Until the first tick after a recovery its status has no tick to count from.
        if (status.lastOutcome === "recovering") return undefined;
        owners.push({ owner, status });
      }
      return owners.length === 1 ? owners[0] : undefined;
    },
    { what: `one host owns ${agentId.slice(0, 8)}`, timeoutMs },
  );
  // Several checkpoints later: a second owner would have committed some too.
  const later = await ticksOn(cluster, owner, agentId, { after: status.tick + 8n });
  const { record } = await cluster.registry.authority.getAgent({ agentId });
  expect(record?.owner?.hostId).toBe(owner.hostId);
  expect(record?.major).toBe(later.major);
  for (const other of cluster.hosts) {
    if (other === owner || other.pid === undefined) continue;
    const seen = await other.agent(agentId);
    expect(seen?.state ?? "nothing", `${other.name} beside ${owner.name}`).not.toBe("ACTIVE_OWNER");
  }
  return { owner, status: later, lineage: await verifiedLineage(cluster, agentId) };
}

/** Of the headers of every host that runs, together: a fork between two of them shows. */
export async function verifiedLineage(cluster: Cluster, agentId: string): Promise<LineageReport> {
  const headers: SignedBytes[] = [];
  for (const host of cluster.hosts) {
    if (host.pid === undefined || (await host.agent(agentId)) === undefined) continue;
    headers.push(...(await headersOf(host, agentId)));
  }
  const { publicKey } = await cluster.registry.sessions.describeRegistry({});
  const lineage = verifyLineage(headers, new Uint8Array(publicKey));
  expect(lineage.problems).toEqual([]);
  expect(lineage.ok).toBe(true);
  return lineage;
}

export async function headersOf(host: HostNode, agentId: string): Promise<readonly SignedBytes[]> {
  const headers: SignedBytes[] = [];
  for await (const { header } of host.host.getLineage({ agentId })) {
    if (header !== undefined) headers.push(fromProtoSigned(header));
  }
  return headers;
}

export async function logOf(host: HostNode, agentId: string) {
  const lines: {
    readonly atUnixNs: bigint;
    readonly origin: string;
    readonly major: bigint;
    readonly tick: bigint;
    readonly line: string;
  }[] = [];
  for await (const line of host.host.followLogs({ agentId, tail: 1_000, follow: false })) lines.push(line);
  return lines;
}
