// What operators and orchestrators ask over HTTP: does it live, is it ready, how is it doing. It starts first and stops
// last, so that /livez and /readyz answer all the time.

import { type Address, formatAddress } from "@godwit/common/config";
import { Fault, isFault } from "@godwit/common/fault";
import { type FastifyInstance, fastify } from "fastify";
import type { Registry } from "prom-client";
import type { CrashPoints } from "./crash-points.ts";
import type { Part } from "./lifecycle.ts";
import type { Readiness } from "./readiness.ts";

export interface OpsServerParts {
  readonly readiness: Readiness;
  readonly metrics: Registry;
  readonly crashPoints: CrashPoints<string>;
  /** Told of what went wrong in a handler; the caller only sees that something did. */
  readonly onError: (error: unknown) => void;
}

const MAX_BODY_BYTES = 4_096;
const REQUEST_TIMEOUT_MS = 10_000;

export class OpsServer implements Part {
  readonly name = "ops";
  readonly #parts: OpsServerParts;
  readonly #listen: Address;
  #http: FastifyInstance | undefined;

  constructor(parts: OpsServerParts, listen: Address) {
    this.#parts = parts;
    this.#listen = listen;
  }

  /** Where it listens; throws before `start`. */
  get address(): Address {
    const bound = this.#http?.server.address();
    if (typeof bound !== "object" || bound === null) throw new Error("the ops server does not listen");
    return { host: this.#listen.host, port: bound.port };
  }

  async start(): Promise<void> {
    const http = fastify({
      bodyLimit: MAX_BODY_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      forceCloseConnections: true,
      routerOptions: { ignoreTrailingSlash: true },
    });
    http.setNotFoundHandler((_, reply) => reply.code(404).send({ error: "there is /livez, /readyz and /metrics" }));
    http.setErrorHandler((error: { statusCode?: number; message?: string }, _, reply) => {
      if (isFault(error, "INVALID_ARGUMENT")) return reply.code(400).send({ error: error.message });
      const { statusCode = 500 } = error;
      if (statusCode < 500) return reply.code(statusCode).send({ error: error.message });
      this.#parts.onError(error);
      return reply.code(500).send({ error: "internal error: the log says more" });
    });
    this.#answerProbes(http);
    if (this.#parts.crashPoints.allowed) this.#answerCrashPoints(http, this.#parts.crashPoints);

    this.#http = http;
    try {
      await http.listen({ ...this.#listen });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Fault({ code: "LISTEN_FAILED", address: formatAddress(this.#listen), reason }, { cause });
    }
  }

  async stop(): Promise<void> {
    await this.#http?.close();
    this.#http = undefined;
  }

  #answerProbes(http: FastifyInstance): void {
    const { readiness, metrics } = this.#parts;
    http.get("/livez", () => ({ alive: true }));
    http.get("/readyz", (_, reply) => {
      const missing = readiness.missing();
      return reply.code(missing.length === 0 ? 200 : 503).send({ ready: missing.length === 0, missing });
    });
    http.get("/metrics", async (_, reply) => reply.type(metrics.contentType).send(await metrics.metrics()));
  }

  #answerCrashPoints(http: FastifyInstance, crashPoints: CrashPoints<string>): void {
    const state = () => ({ points: crashPoints.points, armed: crashPoints.armed() });
    const schema = {
      body: {
        type: "object",
        required: ["point"],
        additionalProperties: false,
        properties: { point: { type: "string" }, nth: { type: "integer" }, action: { type: "string" } },
      },
    };
    http.get("/crash-points", state);
    http.post<{ Body: { point: string; nth?: number; action?: string } }>("/crash-points", { schema }, ({ body }) => {
      crashPoints.arm({ nth: 1, action: "crash", ...body });
      return state();
    });
    http.delete("/crash-points", () => {
      crashPoints.disarm();
      return state();
    });
  }
}
