// pnpm explore: walks through models, prints what was found, and ends with 1 if anything was.

import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { systemClock } from "@godwit/common/clock";
import { coverageTable } from "./coverage.ts";
import { type Model, models } from "./models.ts";
import { counterexampleTable, grouped, modelLine, resultLine } from "./report.ts";
import type { ModelRun } from "./run-model.ts";
import type { WorkerOrder, WorkerWord } from "./worker.ts";

const usage = `Usage: pnpm explore [MODEL...] [--list] [--max-states N] [--workers N]

Walks through everything that a small system can do, on the production machines, and checks every state (handoff-protocol, §12).

  MODEL           one or more of --list; all of them if none is given
  --list          the models and what can happen in them, and no walk
  --max-states N  gives a model up when it has more states (default 40000000)
  --workers N     models that are walked through at once, one thread each (default 1)
  --help          this text

Exit code: 0 when everything holds, 1 when a rule was broken, a state is stuck, a model was not finished, or (all models) a
row of the tables never occurred; 2 for a wrong command line; 130 after Ctrl-C.
`;

interface Orders {
  readonly chosen: readonly Model[];
  readonly maxStates: number;
  readonly workers: number;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const progressEveryMs = 5_000;

/** What the command line says; a text is what to print instead, with an exit code. */
function ordersOf(args: readonly string[]): Orders | { readonly text: string; readonly code: number } {
  const options = {
    list: { type: "boolean" },
    help: { type: "boolean", short: "h" },
    "max-states": { type: "string" },
    workers: { type: "string" },
  } as const;
  let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (cause) {
    return { text: `error: ${cause instanceof Error ? cause.message : String(cause)}\n\n${usage}`, code: 2 };
  }
  const { values, positionals } = parsed;
  if (values.help) return { text: usage, code: 0 };
  if (values.list) return { text: models.map(modelLine).join("\n"), code: 0 };
  const unknown = positionals.filter((name) => !models.some((model) => model.name === name));
  if (unknown.length > 0) {
    const names = models.map(({ name }) => name).join(", ");
    return { text: `error: there is no model ${unknown.join(", ")}. There are: ${names}`, code: 2 };
  }
  const maxStates = Number(values["max-states"] ?? 40_000_000);
  const workers = Number(values.workers ?? 1);
  if (!Number.isSafeInteger(maxStates) || maxStates < 1)
    return { text: "error: --max-states: give a whole number from 1 on", code: 2 };
  if (!Number.isSafeInteger(workers) || workers < 1)
    return { text: "error: --workers: give a whole number from 1 on", code: 2 };
  const chosen = positionals.length === 0 ? models : models.filter(({ name }) => positionals.includes(name));
  return { chosen, maxStates, workers };
}

class Exploration {
  readonly #orders: Orders;
  readonly #waiting: Model[];
  readonly #running = new Set<Worker>();
  readonly runs: ModelRun[] = [];
  failed = false;
  stopped = false;

  constructor(orders: Orders) {
    this.#orders = orders;
    this.#waiting = [...orders.chosen];
  }

  async run(): Promise<void> {
    const lanes = Math.min(this.#orders.workers, this.#waiting.length);
    await Promise.all(Array.from({ length: lanes }, () => this.#lane()));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.#waiting.length = 0;
    await Promise.all([...this.#running].map((worker) => worker.terminate()));
  }

  async #lane(): Promise<void> {
    for (let model = this.#waiting.shift(); model !== undefined; model = this.#waiting.shift()) await this.#walk(model);
  }

  #walk({ name }: Model): Promise<void> {
    const order: WorkerOrder = { name, maxStates: this.#orders.maxStates };
    const startedMs = systemClock.monotonicMs();
    let toldMs = startedMs;
    const worker = new Worker(
      new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url),
      {
        workerData: order,
        resourceLimits: { maxOldGenerationSizeMb: 12_000 },
      },
    );
    this.#running.add(worker);
    return new Promise((resolve) => {
      worker.on("message", (word: WorkerWord) => {
        const nowMs = systemClock.monotonicMs();
        const seconds = (nowMs - startedMs) / 1_000;
        if (word.kind === "done") return this.#done(word.run, { seconds, cpuSeconds: word.cpuSeconds });
        if (nowMs - toldMs < progressEveryMs) return;
        toldMs = nowMs;
        const { states, expanded, depth } = word.progress;
        const rate = grouped(Math.round(states / seconds));
        print(
          `  ${name}: ${grouped(states)} states, ${grouped(states - expanded)} to look at, depth ${depth}, ${rate} states/s`,
        );
      });
      worker.on("error", (cause) => {
        this.failed = true;
        print(`${name}: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`);
      });
      worker.on("exit", () => {
        this.#running.delete(worker);
        resolve();
      });
    });
  }

  #done(run: ModelRun, timing: { readonly seconds: number; readonly cpuSeconds: number }): void {
    this.runs.push(run);
    print(resultLine(run, timing));
    const { verdict, counterexample } = run.result;
    if (verdict !== "holds") this.failed = true;
    if (counterexample !== undefined) print(`\n${counterexampleTable(counterexample)}\n`);
  }
}

async function main(): Promise<number> {
  const orders = ordersOf(process.argv.slice(2));
  if ("text" in orders) {
    (orders.code === 0 ? process.stdout : process.stderr).write(`${orders.text}\n`);
    return orders.code;
  }
  print(orders.chosen.map(modelLine).join("\n"));
  print("");
  const startedMs = systemClock.monotonicMs();
  const exploration = new Exploration(orders);
  process.once("SIGINT", () => {
    exploration.stop().catch(() => {});
  });
  await exploration.run();
  const { runs } = exploration;
  const states = runs.reduce((sum, { result }) => sum + result.states, 0);
  const seconds = (systemClock.monotonicMs() - startedMs) / 1_000;
  print(`\n${grouped(states)} states in ${runs.length} of ${orders.chosen.length} models, ${seconds.toFixed(1)} s`);
  if (exploration.stopped) {
    print("stopped: what was not finished says nothing");
    return 130;
  }
  const isWhole = orders.chosen.length === models.length;
  const coverage = coverageTable(runs, { withMissing: isWhole });
  print(`\n${coverage.text}`);
  return exploration.failed || (isWhole && coverage.missing > 0) ? 1 : 0;
}

process.exitCode = await main();
