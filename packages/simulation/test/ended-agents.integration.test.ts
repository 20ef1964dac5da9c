// Nothing of a host holds on to an agent that has ended there: what supervised it, what it ran in and what it had come to are garbage.

import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { counterAgent } from "@godwit/sandbox/testing";
import { expect, test } from "vitest";
import { Cluster } from "../src/cluster/cluster.ts";
import type { SimHost } from "../src/cluster/sim-host.ts";
import { Chance } from "../src/time/chance.ts";
import { Timeline } from "../src/time/timeline.ts";
import { silence } from "../src/trace.ts";
import { ignoreEndedProcesses } from "../src/unhandled.ts";

ignoreEndedProcesses();
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const count = 24;
const [rich, poor] = [1_000_000_000n, 3n];
const nothing = (): void => {};

interface Watched {
  readonly what: string;
  readonly ref: WeakRef<object>;
}

/** Two hosts that are up. */
async function twoHosts() {
  const timeline = new Timeline();
  const cluster = new Cluster(
    {
      timeline,
      chance: new Chance(31),
      trace: silence,
      witness: { ticked: nothing, committed: nothing, replayed: nothing },
      onCrashPoint: nothing,
      onRetries: nothing,
    },
    { hosts: 2, registries: 1, tickEveryMs: 250 },
  );
  const [a, b] = cluster.hosts;
  if (a === undefined || b === undefined) throw new Error("there are two");
  const pass = async (ms: number) => {
    const untilMs = timeline.nowMs + ms;
    await timeline.runUntil(() => timeline.nowMs > untilMs);
  };
  cluster.start();
  await pass(3_000);
  return { cluster, a, b, pass };
}

/** All that runs on a host now. */
function watch({ name, graph }: SimHost): Watched[] {
  return [...(graph?.roster.supervisors ?? [])].flatMap((supervisor) => {
    const { identity, tenancy, instance, window, latest, state } = supervisor;
    return Object.entries({ supervisor, tenancy, instance, window, latest, state }).flatMap(([part, value]) =>
      value === undefined ? [] : [{ what: `${part} of ${identity.name} on ${name}`, ref: new WeakRef(value) }],
    );
  });
}

function stop(host: SimHost, agentId: string, how: "stopped" | "terminated"): void {
  host.process?.enter(() => void host.graph?.roster.supervisor(agentId)?.stop(how));
}

test("agents that were moved, stopped or terminated, or whose budget ended", { timeout: 300_000 }, async () => {
  const { cluster, a, b, pass } = await twoHosts();
  const program = { module: counterAgent(), manifest: new TextEncoder().encode("{}") };
  const ids: string[] = [];
  a.process?.enter(() => {
    for (let index = 0; index < count; index++) {
      const spec = { name: `agent-${index}`, ...program, budget: index % 4 === 3 ? poor : rich };
      void cluster.run(a, spec).then((agentId) => {
        ids[index] = agentId;
      });
    }
  });
  await pass(5_000);
  const watched = watch(a);
  expect([ids.length, a.graph?.roster.size]).toEqual([count, count]);

  const ends: string[] = [];
  for (const [index, agentId] of ids.entries()) {
    if (index % 4 === 0) cluster.migrate(a, { agentId, to: b.hostId }, (end) => void ends.push(end));
    if (index % 4 === 1) stop(a, agentId, "stopped");
    if (index % 4 === 2) stop(a, agentId, "terminated");
  }
  await pass(200_000);
  watched.push(...watch(b));
  expect(ends).toEqual(Array.from({ length: count / 4 }, () => "done"));
  expect([a.graph?.roster.size, b.graph?.roster.size]).toEqual([0, count / 4]);

  for (const agentId of ids) stop(b, agentId, "stopped");
  await pass(200_000);
  expect(b.graph?.roster.size).toBe(0);
  await nextTurn(); // whatever was looked at in this one is kept until its end
  collectGarbage();
  expect(watched.filter(({ ref }) => ref.deref() !== undefined).map(({ what }) => what)).toEqual([]);
  expect(watched.length).toBeGreaterThan(6 * count);
  cluster.discard();
});
