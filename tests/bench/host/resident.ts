// Many survivors on one host, each ticking once a second: a real agent-host with a real registry beside it, as two processes, so that what
// is measured is everything that such a host does: timers, sessions, checkpoints every 5 s and the reports of them.
//
// tick to tick  What an agent sees; the floor is the second that it asked for.
// delay         p99 of the delay of the host's event loop, from its own metrics; the floor is that of this process, which idles meanwhile.
// processor     Of the whole host process for each tick; the floor is a bare message to a worker that makes a bare call, and its answer.
// memory        What the host's resident set grew by for each agent; the floor is a bare instance of the same module, in a bare worker,
//               which is next to nothing but its own linear memory.
//
// A host that has no more to give starts agents ever more slowly. What was started in time is measured, and the names say how many that is.

import { readFile } from "node:fs/promises";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { systemClock } from "@godwit/common/clock";
import { Cluster, type HostNode } from "@godwit/testing";
import { type Figure, figure } from "../figures.ts";
import type { Results } from "../program.ts";
import { BareAgents } from "./bare-agents.ts";
import { agentFiles, type PartInput } from "./measuring.ts";
import { metricsOf, residentBytes } from "./metrics.ts";

const BUDGET = 1_000_000_000_000n;
const STARTS_AT_ONCE = 8;
/** For each number of agents: twice what 10,000 take that hardly tick. */
const START_WITHIN_MS = 300_000;
/** After the last one was started. */
const SETTLE_MS = 6_000;
const DELAY_AIM_MS = 50;
const MEMORY_AIM_BYTES = 200 * 1_024;
/** With fewer, what the process takes by itself hides what an agent does. */
const LEAST_FOR_MEMORY = 1_000;
const BARE_AGENTS = 1_000;
const BARE_TICKS = 5_000;

export interface ResidentInput {
  /** How many, one after the other on the same host. */
  readonly agents: readonly number[];
  readonly secondsEach: number;
  /** More variables for the host. */
  readonly env: Readonly<Record<string, string>>;
  /** Names the figures of this run apart from those of another. */
  readonly title: string;
}

export async function measureResidents(of: ResidentInput, { signal, say }: PartInput): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await Cluster.create({ env: { GODWIT_LOG_LEVEL: "warn" } }));
  await cluster.startRegistry();
  const host = await cluster.startHost({ name: "alaska", env: of.env });
  const survivor = await agentFiles("survivor", "survivor");
  const empty = await residentBytes(host);
  const figures: Figure[] = [];
  const notes: string[] = [];
  let running = 0;
  for (const wanted of of.agents.toSorted((a, b) => a - b)) {
    say(`${of.title}: starting survivors, up to ${wanted}`);
    const begunMs = performance.now();
    await startMany(host, { from: running, to: wanted }, { ...survivor, signal, say });
    const count = (await metricsOf(host)).get("agent_host_agents") ?? 0;
    const more = count - running;
    running = count;
    const startedMs = performance.now() - begunMs;
    await systemClock.sleep(SETTLE_MS, signal);
    const floor = await bareFloor(survivor.wasmPath, signal);
    say(`${of.title}: ${count} survivors for ${of.secondsEach} s`);
    const seen = await watch(cluster, host, of.secondsEach, signal);
    const name = `${of.title}, ${count.toLocaleString("en")} agents:`;
    figures.push(
      figure({
        name: `${name} from tick to tick`,
        unit: "ms",
        value: (count * 1_000) / seen.ticksPerSecond,
        floor: 1_000,
        aim: { of: "ratio", atMost: 1.05 },
      }),
      figure({
        name: `${name} p99 delay of the event loop`,
        unit: "ms",
        value: seen.delayMs,
        floor: seen.idleDelayMs,
        aim: { of: "value", atMost: DELAY_AIM_MS },
      }),
      figure({ name: `${name} processor for a tick`, unit: "us", value: seen.cpuUsPerTick, floor: floor.cpuUsPerTick }),
    );
    if (count >= LEAST_FOR_MEMORY) {
      const value = ((await residentBytes(host)) - empty) / count;
      const aim = { of: "value", atMost: Math.round(floor.bytesPerInstance + MEMORY_AIM_BYTES) } as const;
      figures.push(
        figure({ name: `${name} memory of an agent`, unit: "bytes", value, floor: floor.bytesPerInstance, aim }),
      );
    }
    notes.push(
      `${name} ${seen.ticksPerSecond.toFixed(1)} ticks/s and ${seen.checkpointsPerSecond.toFixed(1)} checkpoints/s with ${seen.hostCores.toFixed(2)} cores, ` +
        `the registry ${seen.registryCores.toFixed(2)}; ${more} were started in ${(startedMs / 1_000).toFixed(1)} s`,
    );
    if (count < wanted) {
      notes.push(`${of.title}: ${wanted - count} of ${wanted} agents were not started in time`);
      break;
    }
  }
  return { figures, notes };
}

/** Fewer than were wanted if that takes too long, or if the host is too busy to answer. */
async function startMany(
  host: HostNode,
  { from, to }: { readonly from: number; readonly to: number },
  { wasmPath, manifest, signal, say }: { readonly wasmPath: string; readonly manifest: object } & PartInput,
): Promise<void> {
  let untilMs = performance.now() + START_WITHIN_MS;
  let begun = from;
  const worker = async (): Promise<void> => {
    while (begun < to && performance.now() < untilMs) {
      const mine = ++begun;
      try {
        await host.runAgent(wasmPath, { name: `survivor-${mine}`, budget: BUDGET, manifest }, signal);
      } catch (error) {
        signal.throwIfAborted();
        say(`no more are started: ${error instanceof Error ? error.message : String(error)}`);
        untilMs = 0;
      }
      if (mine % 1_000 === 0) say(`started ${mine}`);
    }
  };
  await Promise.all(Array.from({ length: STARTS_AT_ONCE }, worker));
}

async function bareFloor(wasmPath: string, signal: AbortSignal) {
  await using agents = await BareAgents.make(await readFile(wasmPath), BARE_AGENTS);
  await agents.cpuUsOf(BARE_TICKS, signal); // warms up
  return { bytesPerInstance: agents.bytesEach, cpuUsPerTick: await agents.cpuUsOf(BARE_TICKS, signal) };
}

async function watch(cluster: Cluster, host: HostNode, seconds: number, signal: AbortSignal) {
  const idle = monitorEventLoopDelay({ resolution: 10 });
  const before = await metricsOf(host);
  const registryBefore = await metricsOf(cluster.registry);
  const beganMs = performance.now();
  idle.enable();
  await systemClock.sleep(seconds * 1_000, signal);
  idle.disable();
  const after = await metricsOf(host);
  const registryAfter = await metricsOf(cluster.registry);
  const tookSeconds = (performance.now() - beganMs) / 1_000;
  const grown = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  const ticks = grown('agent_host_ticks_total{outcome="normal"}');
  const hostCores = grown("process_cpu_seconds_total") / tookSeconds;
  const registryCpu = "process_cpu_seconds_total";
  return {
    ticksPerSecond: ticks / tookSeconds,
    checkpointsPerSecond: grown("agent_host_checkpoints_total") / tookSeconds,
    delayMs: (after.get("nodejs_eventloop_lag_p99_seconds") ?? Number.NaN) * 1_000,
    idleDelayMs: idle.percentile(99) / 1e6,
    cpuUsPerTick: (hostCores / (ticks / tookSeconds)) * 1e6,
    hostCores,
    registryCores: ((registryAfter.get(registryCpu) ?? 0) - (registryBefore.get(registryCpu) ?? 0)) / tookSeconds,
  };
}
