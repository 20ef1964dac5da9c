import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@godwit/common/clock";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { ServiceProcess, type ServiceProcessSpec } from "../src/process/index.ts";
import { freePort } from "./free-port.ts";

// A service reduced to what its supervisor sees of it.
const SERVICE = `
import { createServer } from "node:http";
const behaviour = process.env.GODWIT_BEHAVIOUR ?? "";
if (behaviour === "die") { console.error("cannot open the store"); process.exit(3); }
console.log("started as", behaviour || "usual");
const posted = [];
createServer((request, response) => {
  if (request.method === "POST") {
    request.on("data", (data) => posted.push(String(data)));
    request.on("end", () => { console.log("posted", request.url, posted.join("")); response.writeHead(request.url === "/crash-points" ? 204 : 404).end("no such path"); });
    return;
  }
  response.writeHead(behaviour === "unready" ? 503 : 200).end(behaviour === "unready" ? "waiting for the registry" : "ready");
}).listen(Number(process.env.GODWIT_PORT), "127.0.0.1");
process.on("SIGTERM", () => {
  if (behaviour === "stubborn") return console.log("not now");
  console.log("goodbye");
  process.exit(0);
});
`;

describe("ServiceProcess", () => {
  let dir: string;
  const signal = AbortSignal.timeout(600_000);

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "godwit-process-"));
    await writeFile(join(dir, "main.mjs"), SERVICE);
  });
  afterAll(() => rm(dir, { recursive: true }));

  async function service(changes: Partial<ServiceProcessSpec> = {}): Promise<ServiceProcess> {
    const port = await freePort();
    const patience = { readyWithinMs: 40_000, stopWithinMs: 40_000 };
    const opsUrl = `http://127.0.0.1:${port}`;
    const spec = { name: "service a", entry: join(dir, "main.mjs"), opsUrl, ...patience, ...changes };
    const process = new ServiceProcess({ ...spec, env: { GODWIT_PORT: String(port), ...changes.env } }, systemClock);
    onTestFinished(() => process.kill());
    return process;
  }

  test("it starts, becomes ready, says goodbye on SIGTERM and ends with its code", async () => {
    const process = await service();
    process.start();
    await process.ready(signal);
    expect(isAlive(process.pid)).toBe(true);
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    expect(process.pid).toBeUndefined();
    expect(process.logs()).toEqual(["started as usual", "goodbye"]);
  });

  test("SP-3 after a kill -9 a restart has the same port; the extra environment is for one run", async () => {
    const process = await service();
    process.start();
    await process.ready(signal);
    await process.kill();
    expect(process.lastExit).toEqual({ code: null, signal: "SIGKILL" });
    await process.restart(signal, { GODWIT_BEHAVIOUR: "crashing" });
    expect(process.logs()).toEqual(["started as crashing"]);
    await process.restart(signal);
    expect(process.logs()).toEqual(["started as usual"]);
  });

  test("one that does not stop in time is killed, and its log says so", async () => {
    const process = await service({ env: { GODWIT_BEHAVIOUR: "stubborn" }, stopWithinMs: 100 });
    process.start();
    await process.ready(signal);
    expect(await process.stop()).toEqual({ code: null, signal: "SIGKILL" });
    expect(process.logs()).toContain("[service a did not stop in time and was killed]");
  });

  test("a paused one stops too, and answers again when it is resumed", async () => {
    const process = await service();
    process.start();
    await process.ready(signal);
    process.pause();
    await expect(process.ready(AbortSignal.timeout(100))).rejects.toThrow();
    process.resume();
    await process.ready(signal);
    process.pause();
    expect(await process.stop()).toEqual({ code: 0, signal: null });
  });

  test("one that ends before it is ready fails with its exit and its last words", async () => {
    const process = await service({ env: { GODWIT_BEHAVIOUR: "die" } });
    process.start();
    await expect(process.ready(signal)).rejects.toMatchObject({
      code: "NOT_READY",
      message: expect.stringMatching(/service a: it ended with code 3.*cannot open the store/s) as unknown,
    });
  });

  test("one that is never ready fails with what /readyz said", async () => {
    const process = await service({ env: { GODWIT_BEHAVIOUR: "unready" }, readyWithinMs: 3_000 });
    process.start();
    const answers = () =>
      fetch(`${process.opsUrl}/readyz`, { signal }).then(
        () => true,
        () => false,
      );
    while (!(await answers())) await systemClock.sleep(10, signal);
    await expect(process.ready(signal)).rejects.toThrow("after 3000 ms /readyz says: 503: waiting for the registry");
  });

  test("a file that is not there is told", async () => {
    const process = await service({ entry: join(dir, "missing.mjs") });
    process.start();
    await expect(process.ready(signal)).rejects.toThrow("Cannot find module");
  });

  test("a line is waited for, in the present run only, and its absence is told when the process ends", async () => {
    const process = await service();
    process.start();
    expect(await process.waitForLog(/started as \w+/, signal)).toBe("started as usual");
    await process.ready(signal);
    const goodbye = process.waitForLog("goodbye", signal);
    await process.restart(signal);
    expect(await goodbye).toBe("goodbye");
    await expect(process.waitForLog("goodbye", AbortSignal.timeout(50))).rejects.toThrow();
    const never = process.waitForLog("never", signal);
    const told = expect(never).rejects.toThrow("it ended by SIGKILL without printing never");
    await process.kill();
    await told;
  });

  test("the ops HTTP is posted to, and a refusal is told", async () => {
    const process = await service();
    process.start();
    await process.ready(signal);
    await process.postOps("/crash-points", { name: "source.before-begin" }, signal);
    await process.waitForLog('posted /crash-points {"name":"source.before-begin"}', signal);
    await expect(process.postOps("/elsewhere", {}, signal)).rejects.toThrow("404: no such path");
  });

  test("SP-1 it does not outlive a supervisor that was killed", async () => {
    const port = await freePort();
    const supervisor = `
      import { systemClock } from "@godwit/common/clock";
      import { ServiceProcess } from "${new URL("../src/process/index.ts", import.meta.url).href}";
      const service = new ServiceProcess({ name: "a", entry: ${JSON.stringify(join(dir, "main.mjs"))},
        opsUrl: "http://127.0.0.1:${port}", env: { GODWIT_PORT: "${port}" } }, systemClock);
      service.start();
      await service.ready(AbortSignal.timeout(60_000));
      console.log(service.pid);
      setInterval(() => {}, 1_000);
    `;
    const args = ["--conditions=@godwit/source", "--input-type=module", "--eval", supervisor];
    const child = spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [printed] = (await once(child.stdout, "data", { signal })) as [Buffer];
    const pid = Number(printed.toString());
    expect(isAlive(pid)).toBe(true);
    child.kill("SIGKILL");
    while (isAlive(pid)) await systemClock.sleep(10, signal);
  });
});

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
}
