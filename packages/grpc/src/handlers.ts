import type { DescMessage, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

/** What a handler knows about the call that it answers. */
export interface CallContext {
  /** Aborts when the caller cancels, its deadline passes, or the server stops. */
  readonly signal: AbortSignal;
  /** When the caller gives up, if it said so. Wall time: for logs, never to decide. */
  readonly deadline: Date | undefined;
  /** Address of the caller. */
  readonly peer: string;
  /** Common name of the client certificate that was verified; undefined without mutual TLS. */
  readonly clientName: string | undefined;
  /** A request header, if it was sent. */
  header(name: string): string | undefined;
}

type Awaitable<T> = T | Promise<T>;
type Request<M> = M extends { input: infer I extends DescMessage } ? MessageShape<I> : never;
type Response<M> = M extends { output: infer O extends DescMessage } ? MessageInitShape<O> : never;

export type Handler<M> = M extends { methodKind: "unary" }
  ? (request: Request<M>, context: CallContext) => Awaitable<Response<M>>
  : M extends { methodKind: "server_streaming" }
    ? (request: Request<M>, context: CallContext) => AsyncIterable<Response<M>>
    : M extends { methodKind: "client_streaming" }
      ? (requests: AsyncIterable<Request<M>>, context: CallContext) => Awaitable<Response<M>>
      : M extends { methodKind: "bidi_streaming" }
        ? (requests: AsyncIterable<Request<M>>, context: CallContext) => AsyncIterable<Response<M>>
        : never;

/** One handler per method. A handler throws a Fault to refuse; what else it throws is INTERNAL to the caller. */
export type ServiceHandlers<S extends DescService> = { readonly [K in keyof S["method"]]: Handler<S["method"][K]> };

/** Handlers whose types have been checked against their service. */
export interface ServedService {
  readonly service: DescService;
  /** Calls the handler of a method, by its local name. */
  handle(method: string, request: unknown, context: CallContext): unknown;
}

/** Binds handlers, which may be the methods of an object, to the service that they implement. */
export function serve<S extends DescService>(service: S, handlers: ServiceHandlers<S>): ServedService {
  const byName = handlers as Readonly<Record<string, unknown>>;
  for (const { localName } of service.methods) {
    if (typeof byName[localName] !== "function") throw new TypeError(`${service.typeName}: no handler ${localName}`);
  }
  return {
    service,
    handle: (method, request, context) => Reflect.apply(byName[method] as () => unknown, handlers, [request, context]),
  };
}
