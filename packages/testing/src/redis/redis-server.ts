import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@godwit/common/clock";
import { killAtExit } from "../ending.ts";
import { freePort } from "../net/free-port.ts";

// A real redis-server for one test: on loopback, in a private directory, stopped with the test. Durable as the caller asks
// for it: without AOF a restart is a store that forgot everything.

export interface RedisOptions {
  /** A free one when unset. */
  readonly port?: number;
  /** A temporary one, removed by `stop`, when unset. A directory that was given stays. */
  readonly dir?: string;
  /** Append-only file; false when unset. */
  readonly aof?: boolean;
  /** "always" when unset. */
  readonly appendfsync?: "always" | "everysec" | "no";
}

export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  /** `redis://127.0.0.1:port` */
  readonly url: string;
  readonly dir: string;
  /** Of the running server; undefined when it does not run. */
  readonly pid: number | undefined;
  /** SIGKILL when no signal is given, and then resolves when the process is gone. The directory stays. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** SIGSTOP: it keeps its connections and answers nothing. */
  pause(): void;
  resume(): void;
  /** Ends it, if it runs, and starts it on the same port and directory. `aof` and `appendfsync` may change. */
  restart(changes?: Pick<RedisOptions, "aof" | "appendfsync">): Promise<void>;
  /** Ends it and removes a temporary directory. */
  stop(): Promise<void>;
  /** What it has printed, since the last start. */
  log(): string;
}

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 20_000;
const START_TRIES = 3;

/** Throws with the way to get one when there is no redis-server; REDIS_BIN may name the file, or its folder. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "godwit-redis-")));
  const removeDir = options.dir === undefined;
  for (let tries = 1; ; tries++) {
    const server = new LocalRedis(options.port ?? (await freePort()), dir, removeDir, options);
    try {
      await server.start();
      return server;
    } catch (error) {
      // Somebody else may take a free port before we do.
      const portTaken = options.port === undefined && server.log().includes("Address already in use");
      if (portTaken && tries < START_TRIES) continue;
      await server.stop();
      throw error;
    }
  }
}

class LocalRedis implements RedisServer {
  readonly port: number;
  readonly url: string;
  readonly dir: string;
  readonly #removeDir: boolean;
  #durability: Pick<RedisOptions, "aof" | "appendfsync">;
  #child: ChildProcess | undefined;
  #log = "";

  constructor(port: number, dir: string, removeDir: boolean, durability: Pick<RedisOptions, "aof" | "appendfsync">) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.dir = dir;
    this.#removeDir = removeDir;
    this.#durability = durability;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  log(): string {
    return this.#log;
  }

  async start(): Promise<void> {
    this.#log = "";
    const child = spawn(await redisBinary(), this.#args(), { stdio: ["ignore", "pipe", "pipe"] });
    const ending = killAtExit(child);
    child.once("close", () => {
      ending[Symbol.dispose]();
      if (this.#child === child) this.#child = undefined;
    });
    this.#child = child;
    await this.#ready(child);
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill(signal);
    if (signal === "SIGKILL") await gone(child);
  }

  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  async restart(changes: Pick<RedisOptions, "aof" | "appendfsync"> = {}): Promise<void> {
    await this.#end();
    this.#durability = { ...this.#durability, ...changes };
    await this.start();
  }

  async stop(): Promise<void> {
    await this.#end();
    if (this.#removeDir) await rm(this.dir, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #args(): string[] {
    const { aof = false, appendfsync = "always" } = this.#durability;
    const network = ["--port", String(this.port), "--bind", "127.0.0.1", "--daemonize", "no"];
    const files = ["--dir", this.dir, "--save", "", "--appendonly", aof ? "yes" : "no", "--appendfsync", appendfsync];
    return [...network, ...files];
  }

  async #ready(child: ChildProcess): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const read = (data: Buffer) => {
      this.#log += data.toString();
      if (this.#log.includes("Ready to accept connections")) resolve();
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.once("error", (error) => reject(missing(error)));
    child.once("close", (code) => reject(new Error(`redis-server ended with ${code}:\n${this.#log}`)));

    const timer = new AbortController();
    systemClock.sleep(READY_WITHIN_MS, timer.signal).then(
      () => reject(new Error(`redis-server is not ready after ${READY_WITHIN_MS} ms:\n${this.#log}`)),
      () => {}, // it was ready in time
    );
    await promise.finally(() => timer.abort());
  }

  async #end(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill("SIGCONT"); // a paused process hears nothing else
    child.kill("SIGTERM");
    const timer = new AbortController();
    systemClock.sleep(STOP_WITHIN_MS, timer.signal).then(
      () => child.kill("SIGKILL"),
      () => {}, // it ended in time
    );
    await gone(child);
    timer.abort();
  }
}

async function gone(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await once(child, "close");
}

async function redisBinary(): Promise<string> {
  const given = process.env["REDIS_BIN"];
  if (given === undefined || given === "") return "redis-server";
  try {
    return (await stat(given)).isDirectory() ? join(given, "redis-server") : given;
  } catch (cause) {
    throw new Error(`REDIS_BIN names ${given}, which is not there: name the redis-server file, or its folder`, {
      cause,
    });
  }
}

function missing(error: NodeJS.ErrnoException): Error {
  if (error.code !== "ENOENT") return error;
  const text =
    "there is no redis-server on this machine: install one (apt-get install redis-server), or set REDIS_BIN to the file or its folder";
  return new Error(text, { cause: error });
}
