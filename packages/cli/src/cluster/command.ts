// `godwit cluster`, which is what `npm start` runs: a whole cluster on this machine.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { systemClock, withDeadline } from "@godwit/common/clock";
import { option, readCommandLine, type ValuesOf } from "@godwit/common/config";
import type { Command } from "../command.ts";
import { readCluster, removeCluster, writeCluster } from "../connections.ts";
import { EXIT, type ExitCode } from "../exit-code.ts";
import { Session } from "../session.ts";
import type { Surroundings } from "../terminal.ts";
import { showLive } from "./live.ts";
import { playOnce } from "./once.ts";
import { planCluster, type ServicePlan } from "./plan.ts";
import { choosePorts } from "./ports.ts";
import { findRepository } from "./repository.ts";
import { describeExit, RunningCluster } from "./running-cluster.ts";
import { Story } from "./story.ts";

const options = {
  hosts: option.integer({ fallback: 3, min: 1, max: 16, help: "How many agent-hosts." }),
  redis: option.text({
    optional: true,
    pattern: /^rediss?:\/\/./,
    expected: "a URL like redis://127.0.0.1:6379",
    help: "A Redis for the registry, instead of its embedded store.",
  }),
  data: option.text({ optional: true, help: "Where everything is kept; a temporary directory, removed, when unset." }),
  portBase: option.integer({
    optional: true,
    min: 1_024,
    max: 65_000,
    help: "The first port: registry, pricing and hosts take two each from there on.",
  }),
  once: option.flag({ help: "Without a terminal: start, move, survive a move that fails, verify, stop." }),
  timeoutMs: option.duration({ fallback: 180_000, min: 1_000, help: "With --once: how long all of it may take." }),
} as const;

type ClusterOptions = ValuesOf<typeof options>;

const CALL_WITHIN_MS = 10_000;

export const cluster: Command = {
  name: "cluster",
  summary: "Runs a whole cluster on this machine, with an agent in it: what npm start does.",
  run: async (argv, surroundings) => {
    const commandLine = {
      name: "npm start --",
      summary:
        "Starts a registry, pricing and agent-hosts, each its own process; runs an agent on them, moves it to another " +
        "host, and shows who runs where until Ctrl-C.",
      options,
    };
    const given = readCommandLine(commandLine, { argv, env: surroundings.env });
    if (given.kind === "help") {
      surroundings.terminal.out(given.text);
      return EXIT.ok;
    }
    return await runCluster(given.options, surroundings);
  },
};

async function runCluster(given: ClusterOptions, surroundings: Surroundings): Promise<ExitCode> {
  const repository = findRepository();
  const dataDir = given.data === undefined ? mkdtempSync(join(tmpdir(), "godwit-")) : resolve(given.data);
  mkdirSync(dataDir, { recursive: true });
  const story = new Story({ clock: systemClock, terminal: surroundings.terminal, live: !given.once });

  const ports = await choosePorts({ hosts: given.hosts, from: given.portBase ?? (given.once ? "any" : "usual") });
  const plan = planCluster({ ports, dataDir, redisUrl: given.redis, losesFirstHandoff: given.once });
  const died = new AbortController();
  const running = new RunningCluster(plan, {
    clock: systemClock,
    entryOf: repository.entryOf,
    logDir: join(dataDir, "logs"),
    onEvent: (line) => story.tell(line),
    onDeath: (name, exit) => {
      story.tell(`${name} ${describeExit(exit)}; its log: ${join(dataDir, "logs", `${name}.log`)}`);
      if (given.once) died.abort(new Error(`${name} ${describeExit(exit)}, which nobody asked for`));
    },
  });
  const signal = AbortSignal.any([surroundings.signal, died.signal]);
  const writesConnections = !given.once && readCluster(repository.root) === undefined;
  let failed = true;
  try {
    story.tell(`starting ${namesOf([plan.registry, plan.pricing, ...plan.hosts])}; data in ${dataDir}`);
    const scene = { cluster: running, story, survivor: repository.survivor, dataDir, redisUrl: given.redis };
    if (given.once) {
      await withDeadline(systemClock, { what: "the end of it all", ms: given.timeoutMs, signal }, async (limited) => {
        await running.start(limited);
        using session = sessionOf(running, limited);
        await playOnce({ ...scene, session });
      });
    } else {
      await running.start(signal);
      if (writesConnections) writeCluster(repository.root, { ...connectionsOf(running), pid: process.pid });
      using session = sessionOf(running, signal);
      await showLive({ ...scene, session, isDefault: writesConnections }, surroundings.terminal);
    }
    failed = false;
  } catch (error) {
    failed = !surroundings.signal.aborted;
    if (failed) surroundings.terminal.err(`${running.tails()}\n`);
    throw signal.aborted ? signal.reason : error;
  } finally {
    if (writesConnections) removeCluster(repository.root);
    story.tell("stopping all processes");
    await running.stop();
    if (given.data === undefined && !failed) rmSync(dataDir, { recursive: true, force: true });
    else story.tell(`everything is kept in ${dataDir}`);
    story.tell(failed ? "stopped" : "done");
  }
  return EXIT.ok;
}

function connectionsOf({ plan: { registry, pricing } }: RunningCluster) {
  return { registry: registry.grpcAddress, pricing: pricing.grpcAddress };
}

function sessionOf(running: RunningCluster, signal: AbortSignal): Session {
  return new Session({ ...connectionsOf(running), timeoutMs: CALL_WITHIN_MS, signal });
}

function namesOf(services: readonly ServicePlan[]): string {
  return services.map(({ name }) => name).join(", ");
}
