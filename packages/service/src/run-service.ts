// A service from its command line to its exit code.
//
//   0  stopped as asked, --help, or a command that did its work
//   1  something failed: at the start, at the stop, or a bug at run time; or a second SIGTERM
//   2  the command line or the environment is wrong; nothing was started
// 130  a second SIGINT
//
// The first SIGINT or SIGTERM stops in order, within --stop-within.

import { type Clock, systemClock, systemRandom, withDeadline } from "@godwit/common/clock";
import {
  type CommandLine,
  formatAddress,
  type Options,
  readCommandLine,
  suggestion,
  type ValuesOf,
} from "@godwit/common/config";
import { Fault, isFault } from "@godwit/common/fault";
import { CrashPoints } from "./crash-points.ts";
import { Lifecycle, type LifecycleEvent, type Part } from "./lifecycle.ts";
import { createLogger, type Logger } from "./logger.ts";
import { createMetrics, grpcCallObserver } from "./metrics.ts";
import { OpsServer } from "./ops-server.ts";
import { Readiness } from "./readiness.ts";
import type { GrpcContext, ServiceContext, ServiceDefinition } from "./service-definition.ts";
import { readTls, type SharedOptions, type SharedValues, sharedOptions, type Tls } from "./shared-options.ts";

/** Runs it until it is told to stop, and ends the process. All of main.ts: `await runService(registry, process)`. */
export async function runService<O extends Options, Point extends string>(
  definition: ServiceDefinition<O, Point>,
  process: NodeJS.Process,
): Promise<never> {
  process.exit(await exitCodeOf(definition, process));
}

async function exitCodeOf<O extends Options, Point extends string>(
  definition: ServiceDefinition<O, Point>,
  process: NodeJS.Process,
): Promise<number> {
  let logger: Logger | undefined;
  try {
    const read = readArgv(definition, process);
    if (read.kind === "help") {
      process.stdout.write(read.text);
      return 0;
    }
    const { options, command } = read;
    logger = createLogger({ service: definition.name, level: options.logLevel });
    const stop = stopRequests(process, logger);
    const context = await contextOf(definition, options, logger, stop.fatal);
    if (command !== undefined) {
      const print = (line: string) => process.stdout.write(`${line}\n`);
      await definition.commands?.[command]?.run({ ...context, signal: stop.signal, print });
      return 0;
    }
    return await serve(definition, context, stop);
  } catch (error) {
    return reportFailure(error, definition.name, process, logger);
  }
}

function readArgv<O extends Options, Point extends string>(
  definition: ServiceDefinition<O, Point>,
  process: NodeJS.Process,
) {
  const { name, summary, ports, options, relations, commands = {} } = definition;
  const argv = process.argv.slice(2);
  const command = argv[0] !== undefined && !argv[0].startsWith("-") ? argv[0] : undefined;
  if (command !== undefined && !Object.hasOwn(commands, command)) {
    const hint = suggestion(command, Object.keys(commands)).replace("--", "");
    throw new Fault({ code: "CONFIG_INVALID", problems: [`${command}: there is no such command${hint}`] });
  }
  const own = Object.entries(commands).map(([word, about]) => `${name} ${word}: ${about.summary}`);
  const commandLine: CommandLine<O & SharedOptions> = {
    name: command === undefined ? `godwit-${name}` : `godwit-${name} ${command}`,
    summary: command === undefined ? [summary, ...own].join(" ") : (commands[command]?.summary ?? ""),
    options: { ...sharedOptions(ports), ...options },
    ...(relations === undefined ? {} : { relations }),
  };
  const read = readCommandLine(commandLine, { argv: command === undefined ? argv : argv.slice(1), env: process.env });
  if (read.kind === "help") return read;
  // An intersection of options has the intersection of their values; the compiler cannot see that for a generic.
  return { kind: "run", options: read.options as unknown as ValuesOf<O> & SharedValues, command } as const;
}

async function contextOf<O extends Options, Point extends string>(
  { name, crashPoints: points = [] }: ServiceDefinition<O, Point>,
  options: ValuesOf<O> & SharedValues,
  logger: Logger,
  fatal: (error: unknown) => void,
): Promise<ServiceContext<O, Point>> {
  const shared: SharedValues = options;
  const crashPoints = new CrashPoints({ points, allowed: shared.allowCrashPoints });
  if (shared.allowCrashPoints) armAtStart(crashPoints, shared.crashAt);
  else if (shared.crashAt.length > 0) logger.warn("--crash-at is ignored without --allow-crash-points");
  const tls = await readTls(shared);
  const metrics = createMetrics();
  const readiness = new Readiness();
  const clock = systemClock;
  const onError = (err: unknown, method: string) => logger.error({ err, method }, "unexpected error in a gRPC handler");
  const parts: GrpcContext["parts"] = { clock, onError, onCall: grpcCallObserver(name, metrics) };
  const grpc = grpcContext({ parts, tls, shared, readiness, logger });
  return { options, clock, random: systemRandom, logger, metrics, readiness, crashPoints, tls, grpc, fatal };
}

function armAtStart(crashPoints: CrashPoints<string>, crashAt: readonly string[]): void {
  for (const text of crashAt) {
    try {
      crashPoints.armText(text);
    } catch (error) {
      if (!isFault(error, "INVALID_ARGUMENT")) throw error;
      throw new Fault({ code: "CONFIG_INVALID", problems: [`--crash-at: ${error.message}`] });
    }
  }
}

interface GrpcContextParts {
  readonly parts: GrpcContext["parts"];
  readonly tls: Tls | undefined;
  readonly shared: SharedValues;
  readonly readiness: Readiness;
  readonly logger: Logger;
}

function grpcContext({ parts, tls, shared, readiness, logger }: GrpcContextParts): GrpcContext {
  return {
    parts,
    rules: { ...shared.grpcListen, tls: tls?.server },
    part: (server) => {
      const following = readiness.follow(parts.clock, (missing) => {
        server.health.setAll(missing.length === 0 ? "serving" : "not-serving");
      });
      return {
        name: "grpc",
        start: async (signal) => {
          await server.start();
          logger.info({ address: server.address }, "gRPC listens");
          await following.start?.(signal);
        },
        stop: async () => {
          await following.stop?.();
          await server.stop();
        },
      };
    },
  };
}

async function serve<O extends Options, Point extends string>(
  definition: ServiceDefinition<O, Point>,
  context: ServiceContext<O, Point>,
  stop: StopRequests,
): Promise<number> {
  const { logger, readiness, metrics, clock } = context;
  const shared: SharedValues = context.options;
  let phase: string | undefined = "starting";
  readiness.add(definition.name, () => phase);
  const crashPoints: CrashPoints<string> = context.crashPoints;
  const onError = (err: unknown) => logger.error({ err }, "unexpected error in the ops HTTP");
  const ops = new OpsServer({ readiness, metrics, crashPoints, onError }, shared.opsListen);
  const parts = await definition.compose(context);
  const lifecycle = new Lifecycle([ops, ...parts, readinessLog(readiness, clock, logger)], logPart(logger));

  try {
    await lifecycle.start(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted || stop.failure() !== undefined) throw error;
    logger.info("stopped before it had started");
    return 0;
  }
  phase = undefined;
  logger.info({ ops: formatAddress(ops.address) }, "started");

  await stop.requested;
  phase = "stopping";
  const deadline = { what: "the stop", ms: shared.stopWithinMs, signal: new AbortController().signal };
  await withDeadline(clock, deadline, () => lifecycle.stop());
  if (stop.failure() !== undefined) return 1;
  logger.info("stopped");
  return 0;
}

/** What is missing is logged when it changes, once. */
function readinessLog(readiness: Readiness, clock: Clock, logger: Logger): Part {
  return readiness.follow(clock, (missing) => {
    if (missing.length === 0) logger.info("ready");
    else logger.info({ missing }, "not ready");
  });
}

function logPart(logger: Logger): (event: LifecycleEvent) => void {
  return ({ part, did, error }) => {
    if (did === "failed to stop") logger.error({ part, err: error }, "part failed to stop");
    else logger.debug({ part }, `part ${did}`);
  };
}

interface StopRequests {
  readonly requested: Promise<void>;
  /** Aborts when it is requested. */
  readonly signal: AbortSignal;
  readonly fatal: (error: unknown) => void;
  /** Set when it was no request but `fatal`. */
  failure(): { readonly error: unknown } | undefined;
}

function stopRequests(process: NodeJS.Process, logger: Logger): StopRequests {
  const controller = new AbortController();
  const { promise: requested, resolve } = Promise.withResolvers<void>();
  let failure: { readonly error: unknown } | undefined;
  const request = (reason: Error) => {
    controller.abort(reason);
    resolve();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 1);
      logger.info({ signal }, "stopping");
      request(new Fault({ code: "SHUTTING_DOWN" }));
    });
  }
  // After a bug nothing is certain any more; what is durable was made so before, and a restart begins there.
  const onBug = (err: unknown) => {
    logger.fatal({ err }, "unexpected error");
    process.exit(1);
  };
  process.on("uncaughtException", onBug);
  process.on("unhandledRejection", onBug);
  const fatal = (error: unknown) => {
    if (failure !== undefined) return;
    failure = { error };
    logger.error({ err: error }, "cannot go on");
    request(error instanceof Error ? error : new Error("a part cannot go on", { cause: error }));
  };
  return { requested, signal: controller.signal, fatal, failure: () => failure };
}

/** For people: what is wrong, and for a bug, where. */
function reportFailure(error: unknown, name: string, process: NodeJS.Process, logger: Logger | undefined): number {
  if (isFault(error, "CONFIG_INVALID")) {
    const lines = error.detail.problems.map((problem) => `  ${problem}\n`).join("");
    process.stderr.write(`godwit-${name} cannot start:\n${lines}godwit-${name} --help lists the options.\n`);
    return 2;
  }
  if (isFault(error) && error.code !== "INTERNAL") {
    logger?.error({ err: error }, "failed");
    process.stderr.write(`godwit-${name}: ${error.message}\n`);
    return 1;
  }
  if (logger !== undefined) logger.fatal({ err: error }, "unexpected error");
  else process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  return 1;
}
