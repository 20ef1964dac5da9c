// Seeds over worker processes. A worker that dies costs its seed, which is a failure, and is replaced. One that has run many
// is replaced too: a process that the simulator kills leaves signals behind that nobody will ever abort, and Node keeps
// every signal of AbortSignal.any() that is listened to, with all that its listeners hold (some 4 MB a seed).

import { type ChildProcess, fork } from "node:child_process";
import type { Clock } from "@godwit/common/clock";
import type { SeedReport, SeedRules } from "../run-seed.ts";

/** A seed, and what is not drawn from it. */
export type ToWorker = Pick<SeedRules, "seed" | "shape" | "calm" | "lengthMs" | "kinds">;

export type FromWorker =
  | { readonly kind: "report"; readonly report: SeedReport }
  | { readonly kind: "failed"; readonly seed: number; readonly error: string };

export interface ManyRules {
  readonly first: number;
  readonly count: number;
  readonly workers: number;
  /** No seed is begun later than this after the first. */
  readonly forMs: number | undefined;
  /** For every seed. */
  readonly fixed?: Omit<ToWorker, "seed">;
  readonly clock: Clock;
  /** Ends it at once; what runs is given up. */
  readonly signal: AbortSignal;
  readonly onReport: (report: SeedReport) => void;
}

const SEEDS_PER_WORKER = 50;

const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";

export async function runMany(rules: ManyRules): Promise<void> {
  const { first, count, forMs, clock, signal } = rules;
  const untilMs = forMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() + forMs;
  let next = first;
  const take = (): number | undefined => {
    if (signal.aborted || next >= first + count || clock.monotonicMs() >= untilMs) return undefined;
    return next++;
  };
  await Promise.all(Array.from({ length: Math.min(rules.workers, count) }, () => lane(take, rules)));
}

async function lane(take: () => number | undefined, { signal, onReport, fixed }: ManyRules): Promise<void> {
  let worker: ChildProcess | undefined;
  const onAbort = () => worker?.kill("SIGKILL");
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    let begun = 0;
    for (let seed = take(); seed !== undefined; seed = take()) {
      if (begun++ % SEEDS_PER_WORKER === 0) {
        worker?.disconnect();
        worker = undefined;
      }
      worker ??= fork(new URL(`./worker.${extension}`, import.meta.url), {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
      const answer = await ask(worker, { ...fixed, seed });
      if (answer === undefined) worker = undefined;
      if (signal.aborted) return;
      if (answer?.kind === "report") onReport(answer.report);
      else onReport(lost(seed, answer?.error ?? "its process has ended"));
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    worker?.disconnect();
  }
}

/** Undefined when the worker has ended. */
function ask(worker: ChildProcess, what: ToWorker): Promise<FromWorker | undefined> {
  return new Promise((resolve) => {
    const done = (answer: FromWorker | undefined) => {
      worker.off("message", onMessage);
      worker.off("exit", onExit);
      resolve(answer);
    };
    const onMessage = (message: unknown) => done(message as FromWorker);
    const onExit = () => done(undefined);
    worker.once("message", onMessage);
    worker.once("exit", onExit);
    worker.send(what);
  });
}

function lost(seed: number, error: string): SeedReport {
  return {
    seed,
    hosts: 0,
    agents: 0,
    registries: 0,
    simulatedMs: 0,
    steps: 0,
    faults: [],
    fired: {},
    migrations: 0,
    counts: {
      ticks: 0,
      fundings: 0,
      exhaustions: 0,
      discarded: 0,
      replayed: 0,
      checkpoints: 0,
      majors: 0,
      claims: 0,
      recoveries: 0,
      reasserted: 0,
      lostTicks: 0,
    },
    settledMs: 0,
    enough: false,
    violations: [],
    bugs: [error],
  };
}
