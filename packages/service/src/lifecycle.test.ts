import { describe, expect, test } from "vitest";
import { Lifecycle, type Part } from "./lifecycle.ts";

const signal = new AbortController().signal;

function parts(log: string[], ...names: string[]): Part[] {
  return names.map((name) => ({
    name,
    start: async () => {
      log.push(`+${name}`);
      if (name.startsWith("bad")) throw new Error(`${name} did not start`);
    },
    stop: async () => {
      log.push(`-${name}`);
      if (name.startsWith("stuck")) throw new Error(`${name} did not stop`);
    },
  }));
}

describe("lifecycle", () => {
  test("parts start in order and stop in reverse", async () => {
    const log: string[] = [];
    const lifecycle = new Lifecycle(parts(log, "a", "b", "c"));
    await lifecycle.start(signal);
    await lifecycle.stop();
    expect(log).toEqual(["+a", "+b", "+c", "-c", "-b", "-a"]);
  });

  test("a half-finished start is undone, and its failure is the error", async () => {
    const log: string[] = [];
    const lifecycle = new Lifecycle(parts(log, "a", "bad", "c"));
    await expect(lifecycle.start(signal)).rejects.toThrow("bad did not start");
    expect(log).toEqual(["+a", "+bad", "-bad", "-a"]);
    await lifecycle.stop();
    expect(log).toHaveLength(4);
  });

  test("an abort during the start undoes it", async () => {
    const log: string[] = [];
    const controller = new AbortController();
    const [a, b] = parts(log, "a", "b") as [Part, Part];
    const aborting: Part = { name: "x", start: async () => controller.abort(new Error("stop")) };
    await expect(new Lifecycle([a, aborting, b]).start(controller.signal)).rejects.toThrow("stop");
    expect(log).toEqual(["+a", "-a"]);
  });

  test("every part is stopped whatever fails, and all failures are reported", async () => {
    const log: string[] = [];
    const events: string[] = [];
    const lifecycle = new Lifecycle(parts(log, "a", "stuck1", "stuck2"), ({ part, did }) =>
      events.push(`${part} ${did}`),
    );
    await lifecycle.start(signal);
    const error = await lifecycle.stop().catch((reason: unknown) => reason);
    if (!(error instanceof AggregateError)) throw error;
    expect(error.errors.map(String)).toEqual(["Error: stuck2 did not stop", "Error: stuck1 did not stop"]);
    expect(log.slice(3)).toEqual(["-stuck2", "-stuck1", "-a"]);
    expect(events.slice(3)).toEqual(["stuck2 failed to stop", "stuck1 failed to stop", "a stopped"]);
  });

  test("a failed start whose undoing fails too reports both", async () => {
    const error = await new Lifecycle(parts([], "stuck", "bad")).start(signal).catch((reason: unknown) => reason);
    if (!(error instanceof AggregateError)) throw error;
    expect(error.errors.map(String)).toEqual(["Error: bad did not start", "Error: stuck did not stop"]);
  });

  test("it can be started again", async () => {
    const log: string[] = [];
    const lifecycle = new Lifecycle(parts(log, "a"));
    await lifecycle.start(signal);
    await expect(lifecycle.start(signal)).rejects.toThrow("already");
    await lifecycle.stop();
    await lifecycle.start(signal);
    expect(log).toEqual(["+a", "-a", "+a"]);
  });
});
