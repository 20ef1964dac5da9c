// A call as grpc-js makes it.

import type { DescMethod } from "@bufbuild/protobuf";
import { systemClock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import {
  type ClientReadableStream,
  type ClientWritableStream,
  type CallOptions as GrpcCallOptions,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import type { GrpcChannel } from "./channel.ts";
import type { RpcCall } from "./client.ts";
import { decode, encode, methodDefinition } from "./method-definition.ts";
import { faultOf } from "./status.ts";

export async function single(channel: GrpcChannel, started: RpcCall): Promise<object> {
  const { method, options, requests } = started;
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  const call = prepare(channel, started);
  const feeding = new Feeding();
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const answered = (error: ServiceError | null, response?: Buffer) => {
      release();
      if (error !== null) reject(feeding.error ?? faultOf(error, call.failed));
      else resolve(response ?? Buffer.alloc(0));
    };
    const { metadata, grpcOptions } = call;
    const raw = channel.clientForCall();
    const running =
      requests === undefined
        ? raw.makeUnaryRequest(
            path,
            requestSerialize,
            responseDeserialize,
            call.request(),
            metadata,
            grpcOptions,
            answered,
          )
        : raw.makeClientStreamRequest(path, requestSerialize, responseDeserialize, metadata, grpcOptions, answered);
    const release = onAbort(options.signal, (reason) => {
      cancelSoon(running);
      reject(reason);
    });
    if (requests !== undefined) feeding.feed(requests, running as ClientWritableStream<Buffer>, method);
  });
  return decodeResponse(bytes, { channel, method });
}

export async function* stream(channel: GrpcChannel, started: RpcCall): AsyncGenerator<object> {
  const { method, options, requests } = started;
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  const { metadata, grpcOptions, failed, request } = prepare(channel, started);
  const feeding = new Feeding();
  const raw = channel.clientForCall();
  const running: ClientReadableStream<Buffer> =
    requests === undefined
      ? raw.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request(), metadata, grpcOptions)
      : raw.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata, grpcOptions);
  // After a reader stopped reading, the cancelled call still reports that; nobody is left to hear it.
  running.on("error", () => {});
  const release = onAbort(options.signal, (reason) => {
    cancelSoon(running);
    running.destroy(reason instanceof Error ? reason : new Error("aborted", { cause: reason }));
  });
  if (requests !== undefined) feeding.feed(requests, running as unknown as ClientWritableStream<Buffer>, method);
  try {
    for await (const bytes of running) yield decodeResponse(bytes as Buffer, { channel, method });
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason;
    if (error instanceof Fault) throw error;
    throw feeding.error ?? faultOf(error as ServiceError, failed);
  } finally {
    release();
    cancelSoon(running); // nothing happens if it is over
  }
}

function prepare(channel: GrpcChannel, { method, options, request }: RpcCall) {
  options.signal?.throwIfAborted();
  const { path } = methodDefinition(method);
  const timeoutMs = options.timeoutMs ?? channel.timeoutMs;
  const failed = { method: path, target: channel.target, timeoutMs };
  if (channel.closed) {
    throw new Fault({
      code: "RPC_FAILED",
      status: "UNAVAILABLE",
      message: "the channel was closed",
      target: channel.target,
    });
  }
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.headers ?? {})) metadata.set(name, value);
  // grpc-js compares this with the system's clock at once, so no other clock would do.
  const deadline = Number.isFinite(timeoutMs) ? systemClock.now().getTime() + timeoutMs : Number.POSITIVE_INFINITY;
  const grpcOptions: GrpcCallOptions = { deadline };
  return { failed, metadata, grpcOptions, request: () => encode(method.input, request) };
}

function decodeResponse(
  bytes: Buffer,
  { channel, method }: { readonly channel: GrpcChannel; readonly method: DescMethod },
): object {
  try {
    return decode(method.output, bytes);
  } catch (cause) {
    const message = `the answer is no ${method.output.typeName}`;
    throw new Fault({ code: "RPC_FAILED", status: "INTERNAL", message, target: channel.target }, { cause });
  }
}

/** Sends what an iterable gives. Its error, if it has one, is the error of the call. */
class Feeding {
  error: unknown;

  feed(
    requests: AsyncIterable<unknown> | Iterable<unknown>,
    call: ClientWritableStream<Buffer>,
    method: DescMethod,
  ): void {
    this.#run(requests, call, method).catch((error: unknown) => {
      this.error = error;
      cancelSoon(call);
    });
  }

  async #run(
    requests: AsyncIterable<unknown> | Iterable<unknown>,
    call: ClientWritableStream<Buffer>,
    method: DescMethod,
  ): Promise<void> {
    let over = false;
    // One listener each for the whole upload, however often it has to wait.
    let goOn = () => {};
    call.once("close", () => {
      over = true;
      goOn();
    });
    call.on("drain", () => goOn());
    for await (const request of requests) {
      if (over || call.destroyed || call.writableEnded) return;
      if (call.write(encode(method.input, request))) continue;
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    }
    call.end();
  }
}

/**
 * grpc-js 1.14: a call that is cancelled in the very tick in which it was started is never reset on the wire, and the
 * server goes on with it for ever.
 */
function cancelSoon(call: { cancel(): void }): void {
  setImmediate(() => call.cancel());
}

function onAbort(signal: AbortSignal | undefined, act: (reason: unknown) => void): () => void {
  if (signal === undefined) return () => {};
  const listener = () => act(signal.reason);
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}
