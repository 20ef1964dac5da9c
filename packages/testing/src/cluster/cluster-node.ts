import { systemClock } from "@godwit/common/clock";
import { GrpcChannel } from "@godwit/grpc";
import { type Exit, ServiceProcess } from "@godwit/service/process";

/** What a process of a cluster is made of. */
export interface NodeSpec {
  readonly name: string;
  readonly entry: string;
  readonly dataDir: string;
  readonly grpcPort: number;
  readonly opsPort: number;
  readonly env: Readonly<Record<string, string>>;
  /** Ends every wait when the cluster stops. */
  readonly signal: AbortSignal;
}

export interface CrashPoint {
  readonly point: string;
  /** At which time from now on that it is reached; the first when unset. */
  readonly nth?: number;
  /** SIGKILL, when unset, or SIGSTOP. */
  readonly action?: "crash" | "stop";
  readonly signal?: AbortSignal;
}

/** One service of a cluster, as a process that can be killed, paused and started again on the same data and ports. */
export class ClusterNode implements AsyncDisposable {
  readonly name: string;
  readonly dataDir: string;
  readonly grpcAddress: string;
  readonly opsUrl: string;
  readonly process: ServiceProcess;
  /** For calls with a client that the node does not have. */
  readonly channel: GrpcChannel;
  readonly #signal: AbortSignal;

  constructor({ name, entry, dataDir, grpcPort, opsPort, env, signal }: NodeSpec) {
    this.name = name;
    this.dataDir = dataDir;
    this.grpcAddress = `127.0.0.1:${grpcPort}`;
    this.opsUrl = `http://127.0.0.1:${opsPort}`;
    this.#signal = signal;
    this.process = new ServiceProcess({ name, entry, opsUrl: this.opsUrl, env, ...patience }, systemClock);
    this.channel = new GrpcChannel({ target: this.grpcAddress, timeoutMs: CALL_WITHIN_MS });
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  /** Starts it, if it does not run, and waits until it is ready. `extraEnv` is for this run only. */
  async start(extraEnv: Readonly<Record<string, string>> = {}, signal: AbortSignal = this.#signal): Promise<void> {
    this.process.start(extraEnv);
    await this.process.ready(signal);
  }

  /** SIGKILL also waits until it is gone. */
  kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    return this.process.kill(signal);
  }

  pause(): void {
    this.process.pause();
  }

  resume(): void {
    this.process.resume();
  }

  /** SIGTERM, and SIGKILL when that does not end it in time. It can be started again. */
  stop(): Promise<Exit | undefined> {
    return this.process.stop();
  }

  /** Stops it, if it runs, and starts it again on the same data directory and ports. */
  restart(extraEnv: Readonly<Record<string, string>> = {}, signal: AbortSignal = this.#signal): Promise<void> {
    return this.process.restart(signal, extraEnv);
  }

  /** Resolves when it has ended in whatever way: at a crash point, for example. */
  ended(signal: AbortSignal = this.#signal): Promise<Exit | undefined> {
    return this.process.ended(signal);
  }

  /** Lines of the present run, or of the last one. */
  logs(): readonly string[] {
    return this.process.logs();
  }

  /** The first line of the present run that matches, now or later. */
  waitForLog(pattern: RegExp | string, signal: AbortSignal = this.#signal): Promise<string> {
    return this.process.waitForLog(pattern, signal);
  }

  /** The process ends or freezes itself at this point. To arm one from the start: `GODWIT_CRASH_AT` in `extraEnv`. */
  armCrashPoint({ signal = this.#signal, ...armed }: CrashPoint): Promise<void> {
    return this.process.postOps("/crash-points", armed, signal);
  }

  /** The last lines, for the error of a test that fails. */
  evidence(lines: number): string {
    const { lastExit } = this.process;
    const state = this.pid !== undefined ? `runs as ${this.pid}` : `ended: ${JSON.stringify(lastExit ?? "never ran")}`;
    return `--- ${this.name} (${state})\n${this.process.log.tail(lines)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channel.close();
    await this.stop();
  }
}

/** Longer than any deadline inside the services, so that a test sees their error and not its own. */
const CALL_WITHIN_MS = 60_000;

/** For what hangs, not for what is slow. */
const patience = { readyWithinMs: 120_000, stopWithinMs: 60_000 };
