import { describe, expect, test } from "vitest";
import { waitFor } from "./wait-for.ts";

describe("waitFor", () => {
  test("it gives the first answer that is neither undefined nor false, and takes errors for not yet", async () => {
    const answers: (() => number | false | undefined)[] = [
      () => undefined,
      () => false,
      () => {
        throw new Error("away");
      },
      () => 0,
    ];
    let asked = 0;
    expect(await waitFor(() => answers[asked++]?.(), { what: "an answer", everyMs: 1 })).toBe(0);
    expect(asked).toBe(4);
  });

  test("when time is up it says what did not come, the last error, and what the logs say", async () => {
    const waiting = waitFor(() => Promise.reject(new Error("connection refused")), {
      what: "agent a ticks",
      timeoutMs: 30,
      everyMs: 5,
      evidence: () => "--- host b\nlast line",
    });
    await expect(waiting).rejects.toThrow(
      "agent a ticks: not within 30 ms\nlast error: Error: connection refused\n--- host b\nlast line",
    );
  });

  test("a predicate that hangs is bounded too", async () => {
    const hanging = waitFor(() => new Promise<true>(() => {}), { what: "anything", timeoutMs: 20 });
    await expect(hanging).rejects.toThrow("anything: not within 20 ms");
  });

  test("an abort ends it with the signal's reason", async () => {
    const caller = new AbortController();
    const waiting = waitFor(() => false, { what: "anything", signal: caller.signal });
    caller.abort(new Error("the cluster was stopped"));
    await expect(waiting).rejects.toThrow("the cluster was stopped");
  });
});
