import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { systemClock } from "@godwit/common/clock";
import { afterEach, describe, expect, test } from "vitest";
import { freePort } from "./free-port.ts";

const FIXTURE = new URL("fixture-service.ts", import.meta.url).pathname;

const started = new Set<ChildProcess>();
afterEach(() => {
  for (const child of started) child.kill("SIGKILL");
  started.clear();
});

class Fixture {
  stdout = "";
  stderr = "";
  readonly child: ChildProcess;
  readonly ops: string;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  constructor(args: readonly string[], { port, env = {} }: { port: number; env?: Record<string, string> }) {
    this.ops = `http://127.0.0.1:${port}`;
    this.child = spawn(process.execPath, ["--conditions=@godwit/source", FIXTURE, ...args], {
      env: { PATH: process.env["PATH"], GODWIT_OPS_LISTEN: `127.0.0.1:${port}`, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    started.add(this.child);
    this.child.stdout?.on("data", (chunk) => {
      this.stdout += String(chunk);
    });
    this.child.stderr?.on("data", (chunk) => {
      this.stderr += String(chunk);
    });
    this.exited = once(this.child, "close").then(([code, signal]) => ({ code, signal }));
  }

  lines(): Record<string, unknown>[] {
    return this.stdout.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const signal = AbortSignal.timeout(40_000);
    while (!(await Promise.resolve(holds()).catch(() => false))) {
      if (signal.aborted) throw new Error(`${what}\n${this.stdout}\n${this.stderr}`);
      await systemClock.sleep(10, signal);
    }
  }

  logged(message: string): Promise<void> {
    return this.until(`never logged ${message}`, () => this.lines().some(({ msg }) => msg === message));
  }

  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.ops + path, { signal: AbortSignal.timeout(40_000), ...init });
  }

  post(path: string, body: unknown): Promise<Response> {
    return this.get(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }
}

async function run(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Fixture> {
  return new Fixture(args, { port: await freePort(), env });
}

async function running(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Fixture> {
  const fixture = await run(args, env);
  await fixture.logged("started");
  return fixture;
}

describe("a service from command line to exit code", () => {
  test("SIGTERM stops it in order, with 0", async () => {
    const fixture = await running();
    fixture.child.kill("SIGTERM");
    expect(await fixture.exited).toEqual({ code: 0, signal: null });
    expect(fixture.lines().map(({ msg }) => msg)).toContain("work ended");
    expect(fixture.lines().at(-1)).toMatchObject({ msg: "stopped", service: "fixture", level: "info" });
  });

  test("--help prints everything that can be set, and exits 0", async () => {
    const fixture = await run(["--help"]);
    expect(await fixture.exited).toEqual({ code: 0, signal: null });
    for (const word of [
      "godwit-fixture",
      "--work-every",
      "--grpc-listen",
      "127.0.0.1:17443",
      "GODWIT_TROUBLE",
      "init",
    ]) {
      expect(fixture.stdout).toContain(word);
    }
  });

  test("every wrong option is listed, with 2, and nothing is started", async () => {
    const fixture = await run(["--troubel", "none", "--work-every", "soon"], { GODWIT_LOG_LEVEL: "loud" });
    expect(await fixture.exited).toEqual({ code: 2, signal: null });
    expect(fixture.stdout).toBe("");
    expect(fixture.stderr).toContain("did you mean --trouble?");
    expect(fixture.stderr).toContain("--work-every");
    expect(fixture.stderr).toContain("GODWIT_LOG_LEVEL");
    expect(fixture.stderr).not.toContain(".ts:");
  });

  test("an unknown command is refused with 2, a known one runs instead of the service", async () => {
    const wrong = await run(["inti"]);
    expect(await wrong.exited).toEqual({ code: 2, signal: null });
    expect(wrong.stderr).toContain("did you mean init?");
    const right = await run(["init", "--trouble", "hang"]);
    expect(await right.exited).toEqual({ code: 0, signal: null });
    expect(right.stdout).toBe("prepared hang\n");
    const failing = await run(["fail"]);
    expect(await failing.exited).toEqual({ code: 1, signal: null });
    expect(failing.stderr).toContain("here holds a registry already");
  });

  test("certificate files that cannot be read are a wrong option", async () => {
    const fixture = await run(["--tls-cert", "/nowhere/cert.pem"]);
    expect(await fixture.exited).toEqual({ code: 2, signal: null });
    expect(fixture.stderr).toContain("--tls-cert: ENOENT");
    expect(fixture.stderr).toContain("--tls-key: required");
  });

  test.each([
    ["compose", "godwit-fixture: data is in use by another"],
    ["start", "the part did not start"],
    ["bug", "SyntaxError"],
    ["rejection", "nobody listens"],
    ["fatal", "the disk is gone"],
  ])("trouble in %s ends it with 1, and says so", async (trouble, says) => {
    const fixture = await run(["--trouble", trouble]);
    expect(await fixture.exited).toEqual({ code: 1, signal: null });
    expect(fixture.stdout + fixture.stderr).toContain(says);
  });

  test("a part that does not stop is 1", async () => {
    const fixture = await running(["--trouble", "stop"]);
    fixture.child.kill("SIGTERM");
    expect(await fixture.exited).toEqual({ code: 1, signal: null });
  });

  test("a stop that hangs is cut short", async () => {
    const fixture = await running(["--trouble", "hang", "--stop-within", "200ms"]);
    fixture.child.kill("SIGTERM");
    expect(await fixture.exited).toEqual({ code: 1, signal: null });
    expect(fixture.stderr).toContain("the stop did not come within 200 ms");
  });

  test("a second Ctrl-C ends it at once with 130", async () => {
    const fixture = await running(["--trouble", "hang"]);
    fixture.child.kill("SIGINT");
    await fixture.logged("stopping");
    fixture.child.kill("SIGINT");
    expect(await fixture.exited).toEqual({ code: 130, signal: null });
  });

  test("a port that is taken is said in words", async () => {
    const first = await running();
    const second = new Fixture([], { port: Number(new URL(first.ops).port) });
    expect(await second.exited).toEqual({ code: 1, signal: null });
    expect(second.stderr).toContain("cannot listen on 127.0.0.1");
  });
});

describe("ops HTTP", () => {
  test("/livez at once, /readyz with what is missing until nothing is, /metrics", async () => {
    const fixture = await run(["--trouble", "unready"]);
    await fixture.until("never alive", async () => (await fixture.get("/livez")).status === 200);
    const early = await fixture.get("/readyz");
    expect(early.status).toBe(503);
    expect(await early.json()).toMatchObject({
      ready: false,
      missing: expect.arrayContaining([{ part: "signal", reason: "waits for SIGUSR2" }]),
    });
    await fixture.logged("started");
    fixture.child.kill("SIGUSR2");
    await fixture.logged("ready");
    const late = await fixture.get("/readyz");
    expect([late.status, await late.json()]).toEqual([200, { ready: true, missing: [] }]);
    const metrics = await fixture.get("/metrics");
    expect(metrics.headers.get("content-type")).toContain("text/plain");
    expect(await metrics.text()).toContain("process_cpu_user_seconds_total");
    expect((await fixture.get("/nothing")).status).toBe(404);
  });

  test("crash points do not exist by default, whatever the environment says", async () => {
    const fixture = await running([], { GODWIT_CRASH_AT: "work.before" });
    expect((await fixture.post("/crash-points", { point: "work.before" })).status).toBe(404);
    expect((await fixture.get("/crash-points")).status).toBe(404);
    await fixture.logged("--crash-at is ignored without --allow-crash-points");
    await systemClock.sleep(50, AbortSignal.timeout(5_000));
    expect((await fixture.get("/livez")).status).toBe(200);
  });

  test("allowed, a point can be armed at run time: the process says it, and is gone", async () => {
    const fixture = await running(["--allow-crash-points"]);
    const answer = await fixture.post("/crash-points", { point: "work.after", nth: 2 });
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { points: ["work.before", "work.after"], armed: [{ point: "work.after", nth: 2, action: "crash" }] },
    ]);
    expect(await fixture.exited).toEqual({ code: null, signal: "SIGKILL" });
    expect(fixture.stderr).toBe("crash point work.after reached (2): crash\n");
    expect(fixture.lines().map(({ msg }) => msg)).not.toContain("work ended");
  });

  test("what was logged before a crash is in the log, to the last line", async () => {
    const fixture = await run(["--allow-crash-points"], { GODWIT_CRASH_AT: "work.before" });
    expect(await fixture.exited).toEqual({ code: null, signal: "SIGKILL" });
    expect(fixture.lines().slice(-2)).toMatchObject([{ msg: "work is looked for" }, { msg: "work begins" }]);
  });

  test("a point can be armed from the start, and may freeze instead", async () => {
    const fixture = await run(["--allow-crash-points"], { GODWIT_CRASH_AT: "work.after:3:stop" });
    await fixture.until("never stopped", () => fixture.stderr.includes("work.after reached (3): stop"));
    await expect(fixture.get("/livez", { signal: AbortSignal.timeout(200) })).rejects.toThrow();
    fixture.child.kill("SIGCONT");
    await fixture.until("never went on", async () => (await fixture.get("/livez")).status === 200);
  });

  test.each([
    [{ point: "work.never" }, "there is no"],
    [{ point: "work.after", nth: 0 }, "nth"],
    [{ point: "work.after", action: "explode" }, "action"],
    [{}, "point"],
    ["nonsense", "body"],
  ])("a wrong request to arm is refused: %o", async (body, says) => {
    const fixture = await running(["--allow-crash-points"]);
    const answer = await fixture.post("/crash-points", body);
    expect(answer.status).toBe(400);
    expect(JSON.stringify(await answer.json())).toContain(says);
    expect((await fixture.get("/livez")).status).toBe(200);
  });

  test("a wrong point at the start is a wrong option", async () => {
    const fixture = await run(["--allow-crash-points", "--crash-at", "work.never"]);
    expect(await fixture.exited).toEqual({ code: 2, signal: null });
    expect(fixture.stderr).toContain("work.never");
  });
});
