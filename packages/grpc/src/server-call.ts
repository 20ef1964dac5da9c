// From a call of grpc-js to a handler and back, for all four kinds of methods.
//
// An upload that was cut off looks complete for a moment: the iterator of requests ends normally, and only about a
// millisecond later does the call turn out to be cancelled. We wait a little and look, which catches nearly all of
// them; a protocol that uploads needs a last message that says so, with size and digest.

import type { DescMethod } from "@bufbuild/protobuf";
import { type Clock, untilAborted } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import { type ServerDuplexStream, status, type UntypedHandleCall } from "@grpc/grpc-js";
import type { CallContext, ServedService } from "./handlers.ts";
import { decode, encode, pathOf } from "./method-definition.ts";
import { wireStatusOf } from "./status.ts";

/** The grace in which a cut upload shows itself. */
const CUT_UPLOAD_SHOWS_AFTER_MS = 3;

export interface CallParts {
  readonly clock: Clock;
  /** Aborts when the server stops: streams, which would go on for ever, end then. */
  readonly stopping: AbortSignal;
  /** Told of whatever a handler threw that is no Fault. */
  readonly onError: (error: unknown, method: string) => void;
  /** Told of every call that has ended. */
  readonly onCall: (call: EndedCall) => void;
}

export interface EndedCall {
  readonly method: string;
  /** OK, or the name of the gRPC status. */
  readonly status: string;
  readonly seconds: number;
}

/** What all four kinds of calls have; which of it is there depends on the kind. */
type Call = ServerDuplexStream<Buffer, Buffer> & { readonly request: Buffer };
type Answer = (error: ReturnType<typeof wireStatusOf> | null, response?: Buffer) => void;

export function callHandler(served: ServedService, method: DescMethod, parts: CallParts): UntypedHandleCall {
  const streams = {
    requests: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responses: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
  };
  const handler = (call: Call, answer?: Answer): void => {
    void answerCall({ served, method, parts, streams }, call, answer);
  };
  return handler as unknown as UntypedHandleCall;
}

interface Route {
  readonly served: ServedService;
  readonly method: DescMethod;
  readonly parts: CallParts;
  readonly streams: { readonly requests: boolean; readonly responses: boolean };
}

/** Never rejects: whatever happens is answered, reported, or the caller is gone. */
async function answerCall({ served, method, parts, streams }: Route, call: Call, answer?: Answer): Promise<void> {
  const path = pathOf(method);
  const startedMs = parts.clock.monotonicMs();
  const ended = (code: status) => {
    parts.onCall({ method: path, status: status[code], seconds: (parts.clock.monotonicMs() - startedMs) / 1_000 });
  };
  using context = new Context(call, path, streams.responses ? parts.stopping : undefined);
  try {
    const request = streams.requests ? requests(call, method, context, parts) : readRequest(method, call.request);
    const result = served.handle(method.localName, request, context);
    if (streams.responses) {
      await sendAll(result as AsyncIterable<unknown>, method, call, context.signal);
      call.end();
    } else {
      answer?.(null, encode(method.output, await result));
    }
    ended(status.OK);
  } catch (error) {
    const wire = wireStatusOf(error);
    const gone = context.signal.aborted && (error === context.signal.reason || isAbort(error));
    if (!gone && (!isFault(error) || error.code === "INTERNAL")) parts.onError(error, path);
    if (streams.responses) call.emit("error", wire);
    else answer?.(wire);
    ended(gone && !isFault(error) ? status.CANCELLED : wire.code);
  }
}

class Context implements CallContext, Disposable {
  readonly #abort = new AbortController();
  readonly #call: Call;
  readonly #stopping: AbortSignal | undefined;
  readonly #onStopping = () => this.#abort.abort(new Fault({ code: "SHUTTING_DOWN" }));
  #open = true;

  constructor(call: Call, path: string, stopping: AbortSignal | undefined) {
    this.#call = call;
    this.#stopping = stopping;
    call.on("cancelled", () => {
      if (this.#open) this.#abort.abort(new Fault({ code: "CANCELLED", what: path }));
    });
    // Whatever goes wrong on the wire ends in "cancelled"; without a listener it would end the process.
    call.on("error", () => {});
    if (stopping?.aborted === true) this.#onStopping();
    else stopping?.addEventListener("abort", this.#onStopping, { once: true });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get deadline(): Date | undefined {
    const deadline = this.#call.getDeadline();
    if (deadline instanceof Date) return deadline;
    return Number.isFinite(deadline) ? new Date(deadline) : undefined;
  }

  get peer(): string {
    return this.#call.getPeer();
  }

  get clientName(): string | undefined {
    const name: unknown = this.#call.getAuthContext().sslPeerCertificate?.subject?.CN;
    return typeof name === "string" ? name : undefined;
  }

  header(name: string): string | undefined {
    const value = this.#call.metadata.get(name)[0];
    return typeof value === "string" ? value : undefined;
  }

  [Symbol.dispose](): void {
    this.#open = false;
    this.#stopping?.removeEventListener("abort", this.#onStopping);
  }
}

async function* requests(call: Call, method: DescMethod, { signal }: CallContext, parts: CallParts) {
  try {
    for await (const bytes of call) yield readRequest(method, bytes);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  await parts.clock.sleep(CUT_UPLOAD_SHOWS_AFTER_MS, signal);
  if (call.cancelled) throw new Fault({ code: "CANCELLED", what: pathOf(method) });
}

function readRequest(method: DescMethod, bytes: Buffer): object {
  try {
    return decode(method.input, bytes);
  } catch (cause) {
    const reason = `these bytes are no ${method.input.typeName}: encode one with the schema that this server reflects`;
    throw new Fault({ code: "INVALID_ARGUMENT", field: "request", reason }, { cause });
  }
}

async function sendAll(responses: AsyncIterable<unknown>, method: DescMethod, call: Call, signal: AbortSignal) {
  for await (const response of responses) {
    signal.throwIfAborted();
    if (!call.write(encode(method.output, response))) await drained(call, signal);
  }
  signal.throwIfAborted();
}

async function drained(call: Call, signal: AbortSignal): Promise<void> {
  let onDrain = () => {};
  try {
    await untilAborted(signal, () => {
      return new Promise<void>((resolve) => {
        onDrain = resolve;
        call.once("drain", onDrain);
      });
    });
  } finally {
    call.off("drain", onDrain);
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}
