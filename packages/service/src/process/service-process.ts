import { type ChildProcess, spawn } from "node:child_process";
import { type Clock, untilAborted, withDeadline } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { ServiceLog } from "./service-log.ts";

// One service as a process of its own, for whoever runs several of them on one machine: `npm start` and the cluster tests.
//
// SP-1  A process never outlives its supervisor: not when that ends (exit handler), not when that is killed (end-with-parent).
// SP-2  Only the process that was started here gets a signal, through its own handle; nothing is looked up by name or number.
// SP-3  A restart keeps the command and the environment, so data directory and ports stay what they were.
// SP-4  It is in a process group of its own: Ctrl-C in a terminal reaches the supervisor alone, which then stops things in order.

export interface ServiceProcessSpec {
  /** For logs and errors: "registry", "host a". */
  readonly name: string;
  /** The service's main.js. */
  readonly entry: string;
  readonly args?: readonly string[];
  /** For node itself. */
  readonly nodeArgs?: readonly string[];
  /** Added to our own environment, which is passed on without its GODWIT_ variables. */
  readonly env: Readonly<Record<string, string>>;
  /** `http://127.0.0.1:port` of its ops HTTP; /readyz there says when it is ready. */
  readonly opsUrl: string;
  readonly readyWithinMs?: number;
  /** From SIGTERM to SIGKILL. */
  readonly stopWithinMs?: number;
  readonly onLine?: (line: string) => void;
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface Running {
  readonly child: ChildProcess;
  readonly exit: Promise<Exit>;
  /** Number of the first line that this run printed. */
  readonly firstLine: number;
}

const READY_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 10_000;
const ASK_EVERY_MS = 25;
const ANSWER_WITHIN_MS = 2_000;
const TAIL_LINES = 40;

const END_WITH_PARENT = new URL(
  import.meta.url.endsWith(".ts") ? "./end-with-parent.ts" : "./end-with-parent.js",
  import.meta.url,
).href;

/** Everything that was started here and still runs; one exit handler for all of them (SP-1). */
const alive = new Set<ChildProcess>();
let watchingExit = false;

export class ServiceProcess implements AsyncDisposable {
  readonly name: string;
  readonly opsUrl: string;
  readonly log: ServiceLog;
  readonly #spec: ServiceProcessSpec;
  readonly #clock: Clock;
  #running: Running | undefined;
  #lastExit: Exit | undefined;

  constructor(spec: ServiceProcessSpec, clock: Clock) {
    this.name = spec.name;
    this.opsUrl = spec.opsUrl;
    this.log = new ServiceLog(spec.onLine);
    this.#spec = spec;
    this.#clock = clock;
  }

  /** Undefined when it does not run. */
  get pid(): number | undefined {
    return this.#running?.child.pid;
  }

  /** How the last run ended; undefined before the first end. */
  get lastExit(): Exit | undefined {
    return this.#lastExit;
  }

  /** Starts it, if it does not run, without waiting for more. `extraEnv` is for this run only. */
  start(extraEnv: Readonly<Record<string, string>> = {}): void {
    if (this.#running !== undefined) return;
    const { entry, args = [], nodeArgs = [], env } = this.#spec;
    const child = spawn(process.execPath, [...nodeArgs, "--import", END_WITH_PARENT, entry, ...args], {
      env: { ...inheritedEnv(), ...env, ...extraEnv },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true, // SP-4
    });
    child.stdin.on("error", () => {}); // it is never written to; a closed pipe is the child's end
    keepUntilExit(child);
    const firstLine = this.log.count;
    // Its last words are in the log when its end is known.
    const printed = Promise.allSettled([child.stdout, child.stderr].map((stream) => this.log.follow(stream)));
    this.#running = { child, exit: this.#watch(child, printed), firstLine };
  }

  /** Resolves when /readyz answers 200. Faults: NOT_READY when it ends first or takes too long, with what it last said and printed. */
  async ready(signal: AbortSignal): Promise<void> {
    const ms = this.#spec.readyWithinMs ?? READY_WITHIN_MS;
    let last = "no answer";
    try {
      await withDeadline(this.#clock, { what: `the readiness of ${this.name}`, ms, signal }, async (limited) => {
        for (;;) {
          if (this.#running === undefined) throw this.#fault(`it ended ${describeExit(this.#lastExit)}`);
          const answer = await this.#ask("/readyz", {}, limited);
          if (answer?.ok) return;
          last = answer === undefined ? "no answer" : `${answer.status}: ${answer.text}`;
          await this.#clock.sleep(ASK_EVERY_MS, limited);
        }
      });
    } catch (error) {
      if (signal.aborted || (error instanceof Fault && error.code === "NOT_READY")) throw error;
      throw this.#fault(`after ${ms} ms /readyz says: ${last}`, error);
    }
  }

  /** SIGKILL also waits until the process is gone. Nothing happens when it does not run. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    running.child.kill(signal);
    if (signal === "SIGKILL") await running.exit;
  }

  /** SIGSTOP: it keeps its connections and does nothing. */
  pause(): void {
    this.#running?.child.kill("SIGSTOP");
  }

  resume(): void {
    this.#running?.child.kill("SIGCONT");
  }

  /** Resolves when it has ended, in whatever way; at once when it does not run. */
  async ended(signal: AbortSignal): Promise<Exit | undefined> {
    const running = this.#running;
    if (running === undefined) return this.#lastExit;
    return await untilAborted(signal, () => running.exit);
  }

  /** SIGTERM, and SIGKILL when that has not ended it in time. How it ended; undefined when it never ran. */
  async stop(): Promise<Exit | undefined> {
    const running = this.#running;
    if (running === undefined) return this.#lastExit;
    running.child.kill("SIGCONT"); // a paused process hears nothing else
    running.child.kill("SIGTERM");
    const timer = new AbortController();
    this.#clock.sleep(this.#spec.stopWithinMs ?? STOP_WITHIN_MS, timer.signal).then(
      () => {
        this.log.append(`[${this.name} did not stop in time and was killed]`);
        running.child.kill("SIGKILL");
      },
      () => {}, // it ended in time
    );
    return await running.exit.finally(() => timer.abort());
  }

  /** Stops it, if it runs, starts it again (SP-3) and waits until it is ready. */
  async restart(signal: AbortSignal, extraEnv: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.stop();
    this.start(extraEnv);
    await this.ready(signal);
  }

  /** Lines of the present run, or of the last one. */
  logs(): readonly string[] {
    return this.log.lines(this.#running?.firstLine ?? 0);
  }

  /**
   * The first line from number `from` on (the present run's first when unset) that matches. Faults: NOT_READY when the
   * process ends without it.
   */
  async waitForLog(pattern: RegExp | string, signal: AbortSignal, from?: number): Promise<string> {
    const fits = (line: string) => (typeof pattern === "string" ? line.includes(pattern) : line.search(pattern) >= 0);
    let next = from ?? this.#running?.firstLine ?? 0;
    for (;;) {
      const arrived = this.log.arrived();
      const running = this.#running;
      const lines = this.log.lines(next);
      next = this.log.count;
      const found = lines.find(fits);
      if (found !== undefined) return found;
      if (running === undefined) {
        throw this.#fault(`it ended ${describeExit(this.#lastExit)} without printing ${String(pattern)}`);
      }
      await untilAborted(signal, () => Promise.race([arrived, running.exit]));
    }
  }

  /** Posts JSON to its ops HTTP: the switch of a crash point, for example. Faults: NOT_READY when it does not answer 2xx. */
  async postOps(path: string, body: unknown, signal: AbortSignal): Promise<void> {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const answer = await this.#ask(path, init, signal);
    if (answer?.ok) return;
    const said = answer === undefined ? "nothing" : `${answer.status}: ${answer.text}`;
    throw this.#fault(`POST ${path} was answered with ${said}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #watch(child: ChildProcess, printed: Promise<unknown>): Promise<Exit> {
    const { promise, resolve } = Promise.withResolvers<Exit>();
    child.once("error", (error) => {
      this.log.append(`[${this.name} could not be started: ${error.message}]`);
      if (child.pid === undefined) resolve({ code: null, signal: null });
    });
    child.once("exit", (code, signal) => resolve({ code, signal }));
    const exit = await promise;
    await printed;
    alive.delete(child);
    this.#lastExit = exit;
    this.#running = undefined;
    return exit;
  }

  /** Undefined when nobody answers. */
  async #ask(path: string, init: RequestInit, signal: AbortSignal) {
    signal.throwIfAborted();
    try {
      const deadline = { what: `the answer of ${this.name}`, ms: ANSWER_WITHIN_MS, signal };
      return await withDeadline(this.#clock, deadline, async (limited) => {
        const response = await fetch(`${this.opsUrl}${path}`, { ...init, signal: limited });
        return { ok: response.ok, status: response.status, text: await response.text() };
      });
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  #fault(reason: string, cause?: unknown): Fault<"NOT_READY"> {
    const text = `${this.name}: ${reason}\nThe last lines of ${this.name}:\n${this.log.tail(TAIL_LINES)}`;
    return new Fault({ code: "NOT_READY", reason: text }, { cause });
  }
}

function describeExit(exit: Exit | undefined): string {
  if (exit === undefined) return "before it was started";
  return exit.signal === null ? `with code ${exit.code}` : `by ${exit.signal}`;
}

function keepUntilExit(child: ChildProcess): void {
  if (!watchingExit) {
    watchingExit = true;
    process.on("exit", () => {
      for (const left of alive) left.kill("SIGKILL");
    });
  }
  alive.add(child);
}

/** Ours, without what would configure the service behind its caller's back. */
function inheritedEnv(): NodeJS.ProcessEnv {
  const foreign = /^(GODWIT_|VITEST|NODE_OPTIONS$|NODE_V8_COVERAGE$|NODE_CHANNEL_)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}
