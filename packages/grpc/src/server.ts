// A gRPC server as a part of a service: it starts, and it stops within a bound. Health and reflection are always served.

import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServedService } from "./handlers.ts";
import { Health } from "./health.ts";
import { methodDefinition } from "./method-definition.ts";
import { reflection, V1ALPHA_PATH } from "./reflection.ts";
import { type CallParts, callHandler, type EndedCall } from "./server-call.ts";

export interface GrpcServerParts {
  readonly services: readonly ServedService[];
  readonly clock: Clock;
  /** Told of whatever a handler threw that is no Fault; the caller only sees INTERNAL. */
  readonly onError: (error: unknown, method: string) => void;
  /** Told of every call that has ended, for metrics. */
  readonly onCall?: (call: EndedCall) => void;
}

export interface GrpcServerRules {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** PEM. With `clientCa`, only clients with a certificate of that authority are let in. Without TLS: plain text. */
  readonly tls?: ServerTls | undefined;
  /** The largest request; larger ones are refused with RESOURCE_EXHAUSTED. */
  readonly maxMessageBytes?: number;
  /** How long calls that run may go on after `stop`. */
  readonly stopWithinMs?: number;
}

export interface ServerTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa?: Buffer | undefined;
}

export const DEFAULT_MAX_MESSAGE_BYTES = 4 * 2 ** 20;
const DEFAULT_STOP_WITHIN_MS = 3_000;

export class GrpcServer {
  /** Not serving until it is told to: readiness is the service's to know. */
  readonly health: Health;
  readonly #parts: GrpcServerParts;
  readonly #rules: GrpcServerRules;
  #running: { readonly server: Server; readonly port: number; readonly stopping: AbortController } | undefined;

  constructor(parts: GrpcServerParts, rules: GrpcServerRules) {
    this.#parts = parts;
    this.#rules = rules;
    this.health = new Health(parts.services.map(({ service }) => service.typeName));
  }

  /** The port that it listens on; throws before `start`. */
  get port(): number {
    if (this.#running === undefined) throw new Error("the gRPC server does not listen");
    return this.#running.port;
  }

  /** "host:port", as a client on this machine writes it. */
  get address(): string {
    return hostAndPort(this.#rules.host, this.port);
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) throw new Error("the gRPC server listens already");
    const { maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES, tls } = this.#rules;
    const server = new Server({
      "grpc.max_receive_message_length": maxMessageBytes,
      // A connection whose other end vanished without a word is noticed.
      "grpc.keepalive_time_ms": 10_000,
      "grpc.keepalive_timeout_ms": 5_000,
    });
    const stopping = new AbortController();
    this.#register(server, stopping.signal);
    const address = hostAndPort(this.#rules.host, this.#rules.port);
    const port = await bind(server, address, credentialsOf(tls));
    this.#running = { server, port, stopping };
  }

  /** Lets calls finish for a while, ends streams at once, and then cuts what is left. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    this.health.setAll("not-serving");
    running.stopping.abort();

    const grace = new AbortController();
    const finished = new Promise<void>((resolve) => running.server.tryShutdown(() => resolve()));
    const { stopWithinMs = DEFAULT_STOP_WITHIN_MS } = this.#rules;
    await Promise.race([finished, this.#parts.clock.sleep(stopWithinMs, grace.signal)]);
    grace.abort();
    running.server.forceShutdown();
  }

  #register(server: Server, stopping: AbortSignal): void {
    const { services, clock, onError, onCall = () => {} } = this.#parts;
    const parts: CallParts = { clock, onError, onCall, stopping };
    const withHealth = [...services, this.health.served];
    const reflected = reflection(withHealth.map(({ service }) => service));
    for (const served of [...withHealth, reflected]) {
      for (const method of served.service.methods) {
        const definition = methodDefinition(method);
        const handler = callHandler(served, method, parts);
        server.addService({ [method.localName]: definition }, { [method.localName]: handler });
        if (served !== reflected) continue;
        // v1alpha is the same on the wire; older generic clients speak only that name.
        server.addService({ v1alpha: { ...definition, path: V1ALPHA_PATH } }, { v1alpha: handler });
      }
    }
  }
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(new Fault({ code: "LISTEN_FAILED", address, reason: error.message }, { cause: error }));
    });
  });
}

function credentialsOf(tls: ServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { cert, key, clientCa } = tls;
  return ServerCredentials.createSsl(
    clientCa ?? null,
    [{ cert_chain: cert, private_key: key }],
    clientCa !== undefined,
  );
}

function hostAndPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
