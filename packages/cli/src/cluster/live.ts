// The live view: who runs where, redrawn twice a second, with what happened below; and one move, to be seen.

import { systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { type Overview, overview } from "../operations/agents.ts";
import { listHosts, nameOf } from "../operations/hosts.ts";
import { formatMs } from "../print/format.ts";
import type { Terminal } from "../terminal.ts";
import { AGENT_NAME, bringSurvivor, moveSurvivor, type Scene, untilTick } from "./scene.ts";
import { Screen } from "./screen.ts";
import { viewLines } from "./view.ts";

export interface LiveScene extends Scene {
  /** Whether commands find this cluster by themselves. */
  readonly isDefault: boolean;
}

const REDRAW_EVERY_MS = 500;
const TICKS_BEFORE_MOVE = 4n;

/** Resolves when it is interrupted. */
export async function showLive(scene: LiveScene, terminal: Terminal): Promise<void> {
  const { session, story } = scene;
  const over = new AbortController();
  const signal = AbortSignal.any([session.signal, over.signal]);
  const takeBack = story.handOver();
  const drawing = terminal.isTerminal ? keepDrawing(scene, { terminal, signal }) : untilOver(signal);
  try {
    await show(scene);
    if (!terminal.isTerminal) terminal.out(`${hintLines(scene, undefined).join("\n")}\n`);
    await untilOver(session.signal);
  } catch (error) {
    // What cannot be shown is no reason to take the cluster away from whoever looks at it.
    if (!session.signal.aborted && isFault(error)) {
      story.tell(`the show ends early: ${error.code}: ${error.message}`);
      await untilOver(session.signal);
    } else if (!session.signal.aborted) {
      throw error;
    }
  } finally {
    over.abort();
    await drawing;
    takeBack();
  }
}

async function show(scene: LiveScene): Promise<void> {
  const { session, story, cluster } = scene;
  const agentId = await bringSurvivor(scene);
  const { tick } = await untilTick(session, agentId, 0n);
  if (cluster.plan.hosts.length < 2) return;
  const before = await untilTick(session, agentId, tick + TICKS_BEFORE_MOVE);

  story.tell(`moving ${AGENT_NAME} away from ${before.host}, to the cheapest other host`);
  const { done } = await moveSurvivor(scene, agentId);
  const target = nameOf(await listHosts(session), done.targetHostId);
  story.tell(
    `${AGENT_NAME} runs on ${target} since tick ${done.tick + 1n}: it stood still for ${formatMs(done.blackoutMs)}`,
  );
}

async function keepDrawing(
  scene: LiveScene,
  { terminal, signal }: { readonly terminal: Terminal; readonly signal: AbortSignal },
): Promise<void> {
  const screen = new Screen(terminal);
  let last: Overview | undefined;
  let trouble: string | undefined;
  const draw = () => {
    const title = titleOf(scene);
    const { happenings } = scene.story;
    screen.draw(viewLines({ title, overview: last, trouble, happenings, hints: hintLines(scene, last) }));
  };
  try {
    for (;;) {
      try {
        last = await overview(scene.session);
        trouble = undefined;
      } catch (error) {
        signal.throwIfAborted();
        if (!isFault(error)) throw error;
        trouble = error.code;
      }
      draw();
      await systemClock.sleep(REDRAW_EVERY_MS, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    draw(); // the last word stays on the screen
  }
}

function titleOf({ cluster: { plan }, redisUrl }: LiveScene): string {
  const store = redisUrl === undefined ? "embedded store" : "Redis";
  return `Godwit: ${plan.hosts.length} hosts, registry ${plan.registry.grpcAddress} (${store}), pricing ${plan.pricing.grpcAddress}`;
}

function hintLines({ cluster, isDefault, dataDir }: LiveScene, seen: Overview | undefined): string[] {
  const registry = isDefault ? "" : ` --registry ${cluster.plan.registry.grpcAddress}`;
  const registryPid = cluster.pidOf("registry");
  const owner = seen?.agents.find(({ name }) => name === AGENT_NAME)?.host;
  const ownerPid = owner === undefined ? undefined : cluster.pidOf(owner);
  return [
    "Try, in another terminal in this directory:",
    `  npx godwit migrate ${AGENT_NAME}${registry}     move it again; also: ps, logs -f ${AGENT_NAME}`,
    `  npx godwit verify ${AGENT_NAME}${registry}      check the signed lineage of its owners`,
    ...(registryPid === undefined
      ? []
      : [`  kill -STOP ${registryPid}; sleep 20; kill -CONT ${registryPid}     no registry: it waits, then goes on`]),
    ...(ownerPid === undefined ? [] : [`  kill -9 ${ownerPid}     no ${owner}: another host takes it up`]),
    `Logs in ${dataDir}/logs. Ctrl-C stops everything.`,
  ];
}

/** Never rejects. */
function untilOver(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
