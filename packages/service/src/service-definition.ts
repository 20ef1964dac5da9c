import type { Clock, Random } from "@godwit/common/clock";
import type { Options, Relation, ValuesOf } from "@godwit/common/config";
import type { Registry } from "prom-client";
import type { CrashPoints } from "./crash-points.ts";
import type { Part } from "./lifecycle.ts";
import type { Logger } from "./logger.ts";
import type { Readiness } from "./readiness.ts";
import type { Ports, SharedOptions, SharedValues, Tls } from "./shared-options.ts";

/** A service as its main.ts declares it. */
export interface ServiceDefinition<O extends Options, Point extends string> {
  /** "registry": in logs, metrics and help. */
  readonly name: string;
  /** What it is for, in a sentence or two. */
  readonly summary: string;
  /** The default ones. */
  readonly ports: Ports;
  /** Beside the shared ones. */
  readonly options: O;
  readonly relations?: readonly Relation<O & SharedOptions>[];
  readonly crashPoints?: readonly Point[];
  /** Started in this order, stopped in reverse. Does nothing yet but build and read. */
  readonly compose: (context: ServiceContext<O, Point>) => readonly Part[] | Promise<readonly Part[]>;
  /** What `SERVICE NAME` does instead of serving: run to its end, then exit 0. */
  readonly commands?: Readonly<Record<string, ServiceCommand<O, Point>>>;
}

export interface ServiceCommand<O extends Options, Point extends string> {
  readonly summary: string;
  readonly run: (context: CommandContext<O, Point>) => Promise<void>;
}

/** What a service is built from. */
export interface ServiceContext<O extends Options, Point extends string> {
  readonly options: ValuesOf<O> & SharedValues;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly readiness: Readiness;
  readonly crashPoints: CrashPoints<Point>;
  /** Undefined: plain text. */
  readonly tls: Tls | undefined;
  readonly grpc: GrpcContext;
  /** Ends the process with 1, after an orderly stop: for a part that cannot go on. */
  readonly fatal: (error: unknown) => void;
}

/** What a GrpcServer of @godwit/grpc is made with: `new GrpcServer({ services, ...grpc.parts }, grpc.rules)`. */
export interface GrpcContext {
  readonly parts: {
    readonly clock: Clock;
    readonly onError: (error: unknown, method: string) => void;
    readonly onCall: (call: { readonly method: string; readonly status: string; readonly seconds: number }) => void;
  };
  readonly rules: { readonly host: string; readonly port: number; readonly tls: Tls["server"] | undefined };
  /** The server as a part, its health following our readiness. */
  part(server: HealthyServer): Part;
}

export interface HealthyServer {
  readonly health: { setAll(status: "serving" | "not-serving"): void };
  readonly address: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface CommandContext<O extends Options, Point extends string> extends ServiceContext<O, Point> {
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** One line to standard output. */
  readonly print: (line: string) => void;
}

/** Only for its types: options and crash points are inferred. */
export function defineService<const O extends Options, const Point extends string = never>(
  definition: ServiceDefinition<O, Point>,
): ServiceDefinition<O, Point> {
  return definition;
}
