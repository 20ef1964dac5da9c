// The processes of a cluster, as long as it runs. What each prints goes to a file of its own in the data directory.

import { createWriteStream, mkdirSync, type WriteStream } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@godwit/common/clock";
import { type Exit, ServiceProcess } from "@godwit/service/process";
import type { ClusterPlan, ServicePlan } from "./plan.ts";

const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 5_000;
const LOOK_EVERY_MS = 1_500;
const TAIL_LINES = 25;

export interface ClusterParts {
  readonly clock: Clock;
  readonly entryOf: (service: string) => string;
  readonly logDir: string;
  /** Told what happens, in one line. */
  readonly onEvent: (line: string) => void;
  /** Told when a process ends that nobody stopped. */
  readonly onDeath: (name: string, exit: Exit) => void;
}

interface Member {
  readonly plan: ServicePlan;
  readonly process: ServiceProcess;
  readonly log: WriteStream;
}

export class RunningCluster {
  readonly plan: ClusterPlan;
  readonly #parts: ClusterParts;
  readonly #members: readonly Member[];
  #stopping = false;

  constructor(plan: ClusterPlan, parts: ClusterParts) {
    this.plan = plan;
    this.#parts = parts;
    mkdirSync(parts.logDir, { recursive: true });
    this.#members = [plan.registry, plan.pricing, ...plan.hosts].map((service) => this.#member(service));
  }

  /** Resolves when all are ready. Faults: NOT_READY, with what the first one that failed said and printed. */
  async start(signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const both = AbortSignal.any([signal, failed.signal]);
    for (const { process } of this.#members) process.start();
    try {
      await Promise.all(
        this.#members.map(async (member) => {
          const over = new AbortController();
          const looking = this.#tellWhatIsMissing(member, AbortSignal.any([both, over.signal]));
          try {
            await member.process.ready(both);
          } finally {
            over.abort();
            await looking;
          }
          this.#parts.onEvent(`${member.plan.name} is ready at ${member.plan.grpcAddress}`);
          this.#watch(member);
        }),
      );
    } finally {
      failed.abort(new Error("another service could not be started"));
    }
  }

  pidOf(name: string): number | undefined {
    return this.#members.find(({ plan }) => plan.name === name)?.process.pid;
  }

  /** The hosts first, as they want to take leave of the registry. Bounded: who does not stop is killed. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const { hosts, pricing, registry } = this.plan;
    for (const group of [hosts, [pricing], [registry]]) {
      const members = this.#members.filter(({ plan }) => group.includes(plan));
      await Promise.all(members.map(({ process }) => process.stop()));
    }
    await Promise.all(this.#members.map(({ log }) => new Promise((resolve) => log.end(resolve))));
  }

  /** The last lines of every process. */
  tails(): string {
    return this.#members
      .map(({ plan, process }) => {
        const { lastExit } = process;
        const how = process.pid === undefined && lastExit !== undefined ? ` (${describeExit(lastExit)})` : "";
        return `--- ${plan.name}${how}\n${process.log.tail(TAIL_LINES)}`;
      })
      .join("\n");
  }

  #member(plan: ServicePlan): Member {
    const { clock, entryOf, logDir } = this.#parts;
    const log = createWriteStream(join(logDir, `${plan.name}.log`), { flags: "a" });
    log.on("error", () => {}); // a log that cannot be written must not end the cluster
    const process = new ServiceProcess(
      {
        name: plan.name,
        entry: entryOf(plan.service),
        env: plan.env,
        opsUrl: plan.opsUrl,
        readyWithinMs: READY_WITHIN_MS,
        stopWithinMs: STOP_WITHIN_MS,
        onLine: (line) => log.write(`${line}\n`),
      },
      clock,
    );
    return { plan, process, log };
  }

  #watch({ plan, process }: Member): void {
    process.ended(new AbortController().signal).then(
      (exit) => {
        if (!this.#stopping && exit !== undefined) this.#parts.onDeath(plan.name, exit);
      },
      () => {}, // nobody aborts this wait
    );
  }

  async #tellWhatIsMissing({ plan }: Member, signal: AbortSignal): Promise<void> {
    let told = "";
    try {
      for (;;) {
        await this.#parts.clock.sleep(LOOK_EVERY_MS, signal);
        const missing = await whatIsMissing(plan.opsUrl, signal);
        if (missing !== told && missing !== "") this.#parts.onEvent(`waiting for ${plan.name}: ${missing}`);
        told = missing;
      }
    } catch {
      // It is ready, or nobody waits any more.
    }
  }
}

async function whatIsMissing(opsUrl: string, signal: AbortSignal): Promise<string> {
  try {
    const answer = await fetch(`${opsUrl}/readyz`, { signal });
    const { missing } = (await answer.json()) as { missing: { part: string; reason: string }[] };
    return missing.map(({ part, reason }) => `${part}: ${reason}`).join("; ");
  } catch {
    signal.throwIfAborted();
    return "it does not answer yet";
  }
}

export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
}
