// gRPC as a host and a registry see it, without sockets: the same clients and handlers, messages encoded on one side and
// decoded on the other, refusals as statuses. A deadline that passes leaves the call running at the server.

import type { DescMethod } from "@bufbuild/protobuf";
import { deadlineSignal } from "@godwit/common/clock";
import {
  decode,
  encode,
  faultOf,
  pathOf,
  type RpcCall,
  type RpcChannel,
  type ServedService,
  wireStatusOf,
} from "@godwit/grpc";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { SimProcess } from "../time/sim-process.ts";
import type { Network } from "./network.ts";

export interface Served {
  readonly process: SimProcess;
  readonly services: readonly ServedService[];
  /** Told of what a handler threw that is no Fault. */
  onError(error: unknown, method: string): void;
}

type Failure = Pick<ServiceError, "code" | "details" | "metadata">;
type Answer =
  | { readonly kind: "bytes"; readonly bytes: Buffer }
  | { readonly kind: "failed"; readonly failure: Failure };

/** How long a connection is silent before it is taken for dead, as by the keep-alive of a real channel. */
const KEEPALIVE_MS = 6_000;

/** All servers of the cluster, by the name of the process. */
export class Servers {
  readonly #served = new Map<string, Served>();

  serve(served: Served): void {
    this.#served.set(served.process.name, served);
  }

  at(name: string): Served | undefined {
    return this.#served.get(name);
  }
}

export class SimChannel implements RpcChannel {
  readonly #network: Network;
  readonly #servers: Servers;
  readonly #client: SimProcess;
  readonly #targets: readonly string[];
  readonly #timeoutMs: number;
  /** The replica to which the connection stands. */
  #target: string;

  constructor(
    parts: { readonly network: Network; readonly servers: Servers; readonly client: SimProcess },
    rules: { readonly targets: readonly string[]; readonly timeoutMs: number },
  ) {
    this.#network = parts.network;
    this.#servers = parts.servers;
    this.#client = parts.client;
    this.#targets = rules.targets;
    this.#timeoutMs = rules.timeoutMs;
    this.#target = parts.network.chance.pick(rules.targets);
  }

  async single({ method, options, request }: RpcCall): Promise<object> {
    options.signal?.throwIfAborted();
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    const sent = encode(method.input, request);
    const target = this.#target;
    const signal = options.signal ?? new AbortController().signal;
    using deadline = deadlineSignal(this.#client.clock, { what: "", ms: timeoutMs, signal });
    const answer = await new Promise<Answer>((resolve, reject) => {
      deadline.signal.addEventListener(
        "abort",
        () => {
          if (signal.aborted) reject(signal.reason);
          else {
            this.#silent(target);
            resolve(failed(status.DEADLINE_EXCEEDED, "Deadline exceeded"));
          }
        },
        { once: true },
      );
      this.#request(target, { method, bytes: sent }, resolve);
    });
    if (answer.kind === "bytes") return decode(method.output, answer.bytes);
    throw faultOf(asError(answer.failure), { method: pathOf(method), target, timeoutMs });
  }

  async *stream({ method, options, request }: RpcCall): AsyncGenerator<object> {
    options.signal?.throwIfAborted();
    const target = this.#target;
    const arrived: (Answer | "end")[] = [];
    let wake = () => {};
    const tell = (answer: Answer | "end") => {
      arrived.push(answer);
      wake();
    };
    const onAbort = () => wake();
    options.signal?.addEventListener("abort", onAbort, { once: true });
    const cancel = this.#open(target, { method, bytes: encode(method.input, request) }, tell);
    try {
      for (;;) {
        options.signal?.throwIfAborted();
        const next = arrived.shift();
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        if (next === "end") return;
        if (next.kind === "failed") {
          throw faultOf(asError(next.failure), { method: pathOf(method), target, timeoutMs: this.#timeoutMs });
        }
        yield decode(method.output, next.bytes);
      }
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      cancel();
    }
  }

  #request(target: string, call: { method: DescMethod; bytes: Buffer }, answer: (answer: Answer) => void): void {
    const network = this.#network;
    const from = this.#client.name;
    let answered = false;
    const back = (reply: Answer) => {
      if (answered) return;
      answered = true;
      network.send({ from: target, to: from, toProcess: this.#client, deliver: () => answer(reply) });
    };
    if (this.#refuses(target)) {
      this.#elsewhere(target);
      // Nobody listens there: the machine says so at once, if it is reached.
      if (!network.isCut(from, target) && !network.isCut(target, from)) back(failed(status.UNAVAILABLE, "refused"));
      return;
    }
    const deliver = () => {
      const served = this.#servers.at(target);
      if (served === undefined || served.process !== network.at(target)) return;
      const forget = served.process.onEnd(() => back(failed(status.UNAVAILABLE, "connection reset")));
      void answerOf(served, call, new AbortController().signal).then(back).then(forget);
    };
    network.send({ from, to: target, deliver });
    if (network.chance.happens(network.duplicates)) {
      network.counts.duplicated++;
      network.send({ from, to: target, deliver });
    }
  }

  /** Returns what ends it. */
  #open(
    target: string,
    call: { method: DescMethod; bytes: Buffer },
    tell: (answer: Answer | "end") => void,
  ): () => void {
    const network = this.#network;
    const from = this.#client.name;
    const cancelled = new AbortController();
    let inOrderMs = 0;
    const back = (answer: Answer | "end") => {
      const notBeforeMs = inOrderMs;
      const atMs = network.send({
        from: target,
        to: from,
        toProcess: this.#client,
        notBeforeMs,
        deliver: () => tell(answer),
      });
      if (Number.isFinite(atMs)) inOrderMs = atMs;
      else
        network.timeline.after(KEEPALIVE_MS, () => this.#client.enter(() => tell(failed(status.UNAVAILABLE, "ping"))));
    };
    if (this.#refuses(target)) {
      this.#elsewhere(target);
      back(failed(status.UNAVAILABLE, "refused"));
      return () => {};
    }
    const sentAtMs = network.send({
      from,
      to: target,
      deliver: () => {
        const served = this.#servers.at(target);
        if (served === undefined || served.process !== network.at(target)) return;
        served.process.onEnd(() => {
          if (!cancelled.signal.aborted) back(failed(status.UNAVAILABLE, "connection reset"));
        });
        void answerAll(served, call, { signal: cancelled.signal, back });
      },
    });
    if (!Number.isFinite(sentAtMs)) {
      network.timeline.after(KEEPALIVE_MS, () => this.#client.enter(() => tell(failed(status.UNAVAILABLE, "ping"))));
    }
    return () => {
      network.send({ from, to: target, deliver: () => cancelled.abort() });
    };
  }

  #refuses(target: string): boolean {
    const process = this.#network.at(target);
    return process?.alive !== true || this.#servers.at(target)?.process !== process;
  }

  #elsewhere(from: string): void {
    if (this.#target !== from) return;
    const others = this.#targets.filter((target) => target !== from);
    if (others.length > 0) this.#target = this.#network.chance.pick(others);
  }

  /** A call that was not answered in time: the connection is given up sooner or later, and another replica is tried. */
  #silent(target: string): void {
    if (this.#network.isHalfOpen(this.#client.name, target)) this.#network.reconnect(this.#client.name, target);
    this.#elsewhere(target);
  }
}

async function answerOf(
  served: Served,
  { method, bytes }: { readonly method: DescMethod; readonly bytes: Buffer },
  signal: AbortSignal,
): Promise<Answer> {
  try {
    const service = serviceOf(served, method);
    const request = decode(method.input, bytes);
    const response = await service.handle(method.localName, request, contextOf(signal));
    return { kind: "bytes", bytes: encode(method.output, response) };
  } catch (error) {
    return failureOf(served, error, method);
  }
}

async function answerAll(
  served: Served,
  { method, bytes }: { readonly method: DescMethod; readonly bytes: Buffer },
  { signal, back }: { readonly signal: AbortSignal; readonly back: (answer: Answer | "end") => void },
): Promise<void> {
  try {
    const service = serviceOf(served, method);
    const request = decode(method.input, bytes);
    const responses = service.handle(method.localName, request, contextOf(signal)) as AsyncIterable<unknown>;
    for await (const response of responses) {
      if (signal.aborted) return;
      back({ kind: "bytes", bytes: encode(method.output, response) });
    }
    back("end");
  } catch (error) {
    if (!signal.aborted) back(failureOf(served, error, method));
  }
}

function serviceOf({ services }: Served, method: DescMethod): ServedService {
  const service = services.find((one) => one.service.typeName === method.parent.typeName);
  if (service === undefined) throw new TypeError(`nobody serves ${method.parent.typeName}`);
  return service;
}

function failureOf(served: Served, error: unknown, method: DescMethod): Answer {
  const { code, details, metadata } = wireStatusOf(error);
  if (code === status.INTERNAL) served.onError(error, pathOf(method));
  return { kind: "failed", failure: { code, details, metadata } };
}

function contextOf(signal: AbortSignal) {
  return { signal, deadline: undefined, peer: "sim", clientName: undefined, header: () => undefined };
}

function failed(code: status, details: string): Answer {
  return { kind: "failed", failure: { code, details, metadata: new Metadata() } };
}

function asError(failure: Failure): ServiceError {
  return Object.assign(new Error(failure.details), { name: "ServiceError", ...failure });
}
