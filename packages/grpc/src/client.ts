// Typed calls over a channel. Every call has a deadline; what fails is a Fault, or the reason of the caller's signal.

import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

export interface CallOptions {
  /** Its abort ends the call at once; the error is its reason. */
  readonly signal?: AbortSignal | undefined;
  /** For the whole call, streams included. By default the channel's; Infinity for a stream without an end. */
  readonly timeoutMs?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

type Stream<T> = AsyncIterable<T> | Iterable<T>;

/** One call: of `request` and `requests` the one that the method's kind wants. */
export interface RpcCall {
  readonly method: DescMethod;
  readonly options: CallOptions;
  readonly request?: unknown;
  readonly requests?: Stream<unknown>;
}

/** What clients send their calls over: a GrpcChannel, or whatever else takes a call to its service. */
export interface RpcChannel {
  /** A call with one answer. */
  single(call: RpcCall): Promise<object>;
  /** A call with many; it starts when it is first read, and ends when its reader stops reading. */
  stream(call: RpcCall): AsyncIterable<object>;
}

type Request<M> = M extends { input: infer I extends DescMessage } ? MessageInitShape<I> : never;
type Response<M> = M extends { output: infer O extends DescMessage } ? MessageShape<O> : never;

type Call<M> = M extends { methodKind: "unary" }
  ? (request: Request<M>, options?: CallOptions) => Promise<Response<M>>
  : M extends { methodKind: "server_streaming" }
    ? (request: Request<M>, options?: CallOptions) => AsyncIterable<Response<M>>
    : M extends { methodKind: "client_streaming" }
      ? (requests: Stream<Request<M>>, options?: CallOptions) => Promise<Response<M>>
      : M extends { methodKind: "bidi_streaming" }
        ? (requests: Stream<Request<M>>, options?: CallOptions) => AsyncIterable<Response<M>>
        : never;

/** One function per method. A stream's call starts when it is first read, and ends when its reader stops reading. */
export type ServiceClient<S extends DescService> = { readonly [K in keyof S["method"]]: Call<S["method"][K]> };

export function client<S extends DescService>(channel: RpcChannel, service: S): ServiceClient<S> {
  const calls = service.methods.map((method) => [method.localName, callOf(channel, method)]);
  return Object.fromEntries(calls);
}

function callOf(channel: RpcChannel, method: DescMethod) {
  switch (method.methodKind) {
    case "unary":
      return (request: unknown, options: CallOptions = {}) => channel.single({ method, options, request });
    case "client_streaming":
      return (requests: Stream<unknown>, options: CallOptions = {}) => channel.single({ method, options, requests });
    case "server_streaming":
      return (request: unknown, options: CallOptions = {}) => channel.stream({ method, options, request });
    case "bidi_streaming":
      return (requests: Stream<unknown>, options: CallOptions = {}) => channel.stream({ method, options, requests });
  }
}
