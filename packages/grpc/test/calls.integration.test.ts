import { type Clock, systemClock } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import { describe, expect, onTestFinished, test } from "vitest";
import { type CallContext, client, GrpcChannel } from "../src/index.ts";
import { Echo, event, setUp } from "./echo.ts";

const clock: Clock = systemClock;
const text = (value: string) => ({ value });

async function collect(messages: AsyncIterable<{ value: string }>): Promise<string[]> {
  const values: string[] = [];
  for await (const { value } of messages) values.push(value);
  return values;
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: unknown) => error,
  );
}

/** Waits until the signal aborts, and says why it did. */
function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason), { once: true }));
}

describe("the four kinds of methods", () => {
  test("unary: request, response, headers and peer", async () => {
    await using setup = await setUp({
      unary: ({ value }, context) =>
        text(`${value} ${context.header("x-who")} ${context.peer.startsWith("127.0.0.1:")}`),
    });
    const echo = client(setup.channel(), Echo);
    expect((await echo.unary(text("hello"), { headers: { "x-who": "me" } })).value).toBe("hello me true");
    expect(setup.calls).toMatchObject([{ method: "/godwit.test.Echo/Unary", status: "OK" }]);
  });

  test("server streaming: every message, in order, under backpressure", async () => {
    const big = "x".repeat(10_000);
    await using setup = await setUp({
      async *download() {
        for (let i = 0; i < 500; i++) yield text(`${i}${big}`);
      },
    });
    const echo = client(setup.channel(), Echo);
    const values = await collect(echo.download(text("")));
    expect(values.map((value) => Number.parseInt(value, 10))).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });

  test("client streaming: every message, in order, and one answer", async () => {
    const big = "x".repeat(10_000);
    await using setup = await setUp({ upload: async (requests) => text(`${(await collect(requests)).length}`) });
    const echo = client(setup.channel(), Echo);
    const requests = Array.from({ length: 500 }, () => text(big));
    const warnings: string[] = [];
    const onWarning = ({ name }: Error) => warnings.push(name);
    process.on("warning", onWarning);
    onTestFinished(() => void process.off("warning", onWarning));
    expect((await echo.upload(requests)).value).toBe("500");
    // It waits many times for the other side, and leaves nothing on the call each time.
    expect(warnings).not.toContain("MaxListenersExceededWarning");
  });

  test("bidirectional: answers come while requests are still being sent", async () => {
    await using setup = await setUp({
      async *talk(requests) {
        for await (const { value } of requests) yield text(value.toUpperCase());
      },
    });
    const answered = event();
    const requests = (async function* () {
      yield text("a");
      await answered.promise;
      yield text("b");
    })();
    const values: string[] = [];
    for await (const { value } of client(setup.channel(), Echo).talk(requests)) {
      values.push(value);
      answered.resolve();
    }
    expect(values).toEqual(["A", "B"]);
  });

  test("the answer to an upload may come before its end", async () => {
    await using setup = await setUp({
      upload: async (requests) => {
        for await (const { value } of requests) return text(`enough: ${value}`);
        return text("nothing");
      },
    });
    const requests = (async function* () {
      yield text("first");
      await new Promise(() => {}); // there is more, but never comes
    })();
    expect((await client(setup.channel(), Echo).upload(requests)).value).toBe("enough: first");
  });
});

describe("deadlines", () => {
  test("GH-8: a call that is not answered ends at its deadline, on both sides", async () => {
    const reason = event<unknown>();
    await using setup = await setUp({
      unary: async (_, { signal, deadline }) => {
        expect(deadline?.getTime()).toBeGreaterThan(0);
        reason.resolve(await aborted(signal));
        throw signal.reason;
      },
    });
    const error = await failure(client(setup.channel({ timeoutMs: 3_000 }), Echo).unary(text("")));
    if (!isFault(error, "DEADLINE_EXCEEDED")) throw error;
    expect(error.detail.afterMs).toBe(3_000);
    expect(error.detail.what).toContain("/godwit.test.Echo/Unary");
    expect(isFault(await reason.promise, "CANCELLED")).toBe(true);
    expect(setup.errors).toEqual([]);
  });

  test("a call may give its own deadline, and a stream may have none", async () => {
    await using setup = await setUp({
      async *download(_, { signal, deadline }) {
        yield text(String(deadline));
        await (deadline === undefined ? clock.sleep(100, signal) : aborted(signal));
        yield text("late");
      },
    });
    const echo = client(setup.channel({ timeoutMs: 50 }), Echo);
    expect(isFault(await failure(collect(echo.download(text("")))), "DEADLINE_EXCEEDED")).toBe(true);
    const endless = { timeoutMs: Number.POSITIVE_INFINITY };
    expect(await collect(echo.download(text(""), endless))).toEqual(["undefined", "late"]);
  });
});

describe("cancellation", () => {
  test("an abort ends the call at once with its reason, and reaches the server", async () => {
    const started = event();
    const stopped = event<unknown>();
    await using setup = await setUp({
      unary: async (_, { signal }) => {
        started.resolve();
        stopped.resolve(await aborted(signal));
        throw signal.reason;
      },
    });
    const controller = new AbortController();
    const call = client(setup.channel(), Echo).unary(text(""), { signal: controller.signal });
    await started.promise;
    controller.abort(new Error("changed my mind"));
    await expect(call).rejects.toThrow("changed my mind");
    expect(isFault(await stopped.promise, "CANCELLED")).toBe(true);
    expect(setup.errors).toEqual([]);
  });

  test("a call that is aborted in the tick in which it starts does not leave the server with it", async () => {
    await using setup = await setUp(
      {
        unary: () => text("the channel is warm now"),
        upload: async (_, { signal }) => {
          throw signal.aborted ? signal.reason : await aborted(signal);
        },
      },
      { stopWithinMs: 120_000 },
    );
    const echo = client(setup.channel(), Echo);
    await echo.unary(text(""));
    for (let i = 0; i < 20; i++) {
      const requests = (async function* () {
        yield text("first");
        await new Promise(() => {});
      })();
      const controller = new AbortController();
      const call = expect(echo.upload(requests, { signal: controller.signal })).rejects.toThrow("at once");
      for (let microtask = 0; microtask < i % 4; microtask++) await Promise.resolve();
      controller.abort(new Error("at once"));
      await call;
    }
    await echo.unary(text("")); // by now the server has seen all of them
    const stopMs = clock.monotonicMs();
    await setup.server.stop();
    expect(clock.monotonicMs() - stopMs).toBeLessThan(40_000); // with a call that is still there, it waits for longer
  });

  test("a call that was aborted before is not made", async () => {
    await using setup = await setUp({ unary: () => text("made") });
    const signal = AbortSignal.abort(new Error("before"));
    const echo = client(setup.channel(), Echo);
    await expect(echo.unary(text(""), { signal })).rejects.toThrow("before");
    await expect(collect(echo.download(text(""), { signal }))).rejects.toThrow("before");
    expect(setup.calls).toEqual([]);
  });

  test("a reader that stops reading ends the server's stream", async () => {
    const ended = event();
    await using setup = await setUp({
      async *download(_, { signal }) {
        try {
          for (;;) {
            yield text("more");
            await clock.sleep(1, signal);
          }
        } finally {
          ended.resolve();
        }
      },
    });
    for await (const { value } of client(setup.channel(), Echo).download(text(""))) {
      expect(value).toBe("more");
      break;
    }
    await ended.promise;
    expect(setup.errors).toEqual([]);
  });

  test("an abort in the middle of a stream is thrown to its reader", async () => {
    await using setup = await setUp({
      async *download(_, { signal }) {
        yield text("first");
        await aborted(signal);
        throw signal.reason;
      },
    });
    const controller = new AbortController();
    const values: string[] = [];
    const reading = (async () => {
      for await (const { value } of client(setup.channel(), Echo).download(text(""), { signal: controller.signal })) {
        values.push(value);
        controller.abort(new Error("enough"));
      }
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(values).toEqual(["first"]);
  });

  test("an upload that was cut off is not taken for a complete one", async () => {
    const received = event();
    const outcome = event<unknown>();
    await using setup = await setUp({
      upload: async (requests) => {
        try {
          const values: string[] = [];
          for await (const { value } of requests) {
            values.push(value);
            received.resolve();
          }
          outcome.resolve(values);
        } catch (error) {
          outcome.resolve(error);
          throw error;
        }
        return text("complete");
      },
    });
    const controller = new AbortController();
    const requests = (async function* () {
      yield text("first");
      await new Promise(() => {});
    })();
    const call = client(setup.channel(), Echo).upload(requests, { signal: controller.signal });
    await received.promise;
    controller.abort(new Error("cut"));
    await expect(call).rejects.toThrow("cut");
    expect(isFault(await outcome.promise, "CANCELLED")).toBe(true);
  });

  test("when the source of an upload fails, that is the error of the call", async () => {
    await using setup = await setUp({ upload: async (requests) => text(`${(await collect(requests)).length}`) });
    const requests = (async function* () {
      yield text("first");
      throw new Error("disk is gone");
    })();
    await expect(client(setup.channel(), Echo).upload(requests)).rejects.toThrow("disk is gone");
  });
});

describe("errors", () => {
  test("a fault arrives with its code and data", async () => {
    await using setup = await setUp({
      unary: () => {
        throw new Fault({ code: "STALE_REVISION", offered: 3n, current: 2n ** 70n });
      },
      async *download() {
        yield text("one");
        throw new Fault({ code: "CAPABILITY_MISSING", missing: ["net", "ür"] });
      },
    });
    const echo = client(setup.channel(), Echo);
    const error = await failure(echo.unary(text("")));
    if (!isFault(error, "STALE_REVISION")) throw error;
    expect(error.detail).toEqual({ code: "STALE_REVISION", offered: 3n, current: 2n ** 70n });

    const values: string[] = [];
    const streaming = (async () => {
      for await (const { value } of echo.download(text(""))) values.push(value);
    })();
    expect(await failure(streaming)).toMatchObject({ detail: { code: "CAPABILITY_MISSING", missing: ["net", "ür"] } });
    expect(values).toEqual(["one"]);
    expect(setup.errors).toEqual([]);
    expect(setup.calls.map((call) => call.status)).toEqual(["FAILED_PRECONDITION", "FAILED_PRECONDITION"]);
  });

  test("a fault whose data is huge still arrives, cut", async () => {
    const huge = "ü".repeat(1_000_000);
    await using setup = await setUp({
      unary: () => {
        throw new Fault({ code: "INVALID_ARGUMENT", field: huge, reason: huge });
      },
    });
    const error = await failure(client(setup.channel(), Echo).unary(text("")));
    if (!isFault(error, "INVALID_ARGUMENT")) throw error;
    expect(error.detail.reason.length).toBeLessThan(1_000);
  });

  test("an unknown exception is INTERNAL to the caller, and its text stays in our log", async () => {
    const bug = new Error("secret 42");
    await using setup = await setUp({
      unary: () => {
        throw bug;
      },
      upload: () => Promise.reject(bug),
      async *download() {
        yield text("first");
        throw bug;
      },
    });
    const echo = client(setup.channel(), Echo);
    for (const call of [() => echo.unary(text("")), () => echo.upload([]), () => collect(echo.download(text("")))]) {
      const error = await failure(call());
      if (!isFault(error, "RPC_FAILED")) throw error;
      expect(error.detail.status).toBe("INTERNAL");
      expect(JSON.stringify([error.detail, String(error), String(error.cause)])).not.toContain("secret");
    }
    expect(setup.errors).toEqual([bug, bug, bug]);
  });

  test("an answer that is not of its type is a bug too, and tells nothing", async () => {
    const value = {
      toString() {
        throw new Error("secret 42");
      },
    };
    await using setup = await setUp({ unary: () => ({ value }) as unknown as { value: string } });
    const error = await failure(client(setup.channel(), Echo).unary(text("")));
    if (!isFault(error, "RPC_FAILED")) throw error;
    expect(error.detail.message).toBe("internal error");
    expect(setup.errors).toHaveLength(1);
  });

  test("a request that is no such message is refused", async () => {
    await using setup = await setUp({ unary: () => text("fine") });
    const channel = setup.channel();
    const error = await new Promise<{ code: number } | null>((resolve) => {
      const asIs = (bytes: Buffer) => bytes;
      channel
        .clientForCall()
        .makeUnaryRequest("/godwit.test.Echo/Unary", asIs, asIs, Buffer.from([0x0a, 0xff]), resolve);
    });
    expect(error?.code).toBe(3);
    expect(setup.errors).toEqual([]);
  });

  test("a request above the limit is refused, and the server lives on", async () => {
    await using setup = await setUp({ unary: ({ value }) => text(`${value.length}`) }, { maxMessageBytes: 1_000 });
    const echo = client(setup.channel(), Echo);
    const error = await failure(echo.unary(text("x".repeat(2_000))));
    if (!isFault(error, "RPC_FAILED")) throw error;
    expect(error.detail.status).toBe("RESOURCE_EXHAUSTED");
    expect((await echo.unary(text("x"))).value).toBe("1");
  });

  test("a server that is not there is RPC_FAILED with UNAVAILABLE, and names it", async () => {
    const target = await (async () => {
      await using setup = await setUp({});
      return setup.server.address;
    })();
    using channel = new GrpcChannel({ target, timeoutMs: 40_000 });
    const error = await failure(client(channel, Echo).unary(text("")));
    if (!isFault(error, "RPC_FAILED")) throw error;
    expect(error.detail).toMatchObject({ status: "UNAVAILABLE", target });
  });

  test("a closed channel fails at once, with words", async () => {
    const channel = new GrpcChannel({ target: "127.0.0.1:1", timeoutMs: 2_000 });
    channel.close();
    expect(await failure(client(channel, Echo).unary(text("")))).toMatchObject({ detail: { code: "RPC_FAILED" } });
  });
});

describe("stopping", () => {
  test("a call that runs is let finish, a new one is refused", async () => {
    const started = event<CallContext>();
    const go = event();
    await using setup = await setUp({
      unary: async (_, context) => {
        started.resolve(context);
        await go.promise;
        return text("done");
      },
    });
    const running = client(setup.channel(), Echo).unary(text(""));
    const { signal } = await started.promise;
    const stopped = setup.server.stop();
    expect(signal.aborted).toBe(false);
    go.resolve();
    expect((await running).value).toBe("done");
    await stopped;
  });

  test("streams end at once, with a fault that says so", async () => {
    await using setup = await setUp(
      {
        async *download(_, { signal }) {
          yield text("first");
          await clock.sleep(600_000, signal);
        },
      },
      { stopWithinMs: 120_000 },
    );
    const stream = client(setup.channel(), Echo).download(text(""))[Symbol.asyncIterator]();
    await stream.next();
    const startMs = clock.monotonicMs();
    const stopped = setup.server.stop();
    const error = await failure(stream.next());
    expect(isFault(error, "SHUTTING_DOWN")).toBe(true);
    await stopped;
    expect(clock.monotonicMs() - startMs).toBeLessThan(40_000);
    expect(setup.errors).toEqual([]);
  });

  test("a call that does not end is cut after the grace", async () => {
    const started = event();
    await using setup = await setUp(
      {
        unary: async () => {
          started.resolve();
          return await new Promise(() => {});
        },
      },
      { stopWithinMs: 50 },
    );
    const running = failure(client(setup.channel(), Echo).unary(text("")));
    await started.promise;
    await setup.server.stop();
    expect(isFault(await running, "RPC_FAILED", "CANCELLED")).toBe(true);
  });

  test("a server that was stopped can be started again", async () => {
    await using setup = await setUp({ unary: () => text("again") });
    await setup.server.stop();
    await setup.server.stop();
    await setup.server.start();
    expect((await client(setup.channel(), Echo).unary(text(""))).value).toBe("again");
  });

  test("a port that is taken is a fault that names it", async () => {
    await using setup = await setUp({});
    await expect(setUp({}, { port: setup.server.port })).rejects.toMatchObject({
      detail: { code: "LISTEN_FAILED", address: setup.server.address },
    });
  });
});
