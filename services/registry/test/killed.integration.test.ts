// A real registry process on the embedded store: killed, it may have forgotten; stopped, it has not.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "@godwit/testing";
import { expect, test } from "vitest";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const patience = { timeout: 60_000, interval: 50 };
const leases = ["--lease-duration", "1500ms", "--lease-grace", "500ms", "--renew-every", "100ms"];

interface Process extends AsyncDisposable {
  /** What `/readyz` says; empty while nobody answers. */
  readonly readyz: () => Promise<string>;
  end(signal: NodeJS.Signals): Promise<void>;
  readonly log: () => string;
}

/** What `registry init` says, and whether it succeeded. */
async function init(data: string): Promise<{ readonly code: number | null; readonly said: string }> {
  const args = ["--conditions=@godwit/source", main, "init", "--data", data];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
  child.stderr.on("data", (bytes: Buffer) => (said += bytes.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, said };
}

async function registry(data: string): Promise<Process> {
  const ops = `127.0.0.1:${await freePort()}`;
  const listen = ["--grpc-listen", "127.0.0.1:0", "--ops-listen", ops];
  const child: ChildProcess = spawn(
    process.execPath,
    ["--conditions=@godwit/source", main, "--data", data, ...listen, ...leases],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let log = "";
  child.stdout?.on("data", (bytes: Buffer) => (log += bytes.toString()));
  child.stderr?.on("data", (bytes: Buffer) => (log += bytes.toString()));
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "close");
  };
  return {
    readyz: async () =>
      await fetch(`http://${ops}/readyz`).then(
        (answer) => answer.text(),
        () => "",
      ),
    end,
    log: () => log,
    [Symbol.asyncDispose]: () => end("SIGKILL"),
  };
}

test("GA-6: kill -9 leaves no note, so the next start begins with a quarantine; SIGTERM leaves one", async () => {
  const data = await mkdtemp(join(tmpdir(), "godwit-registry-"));
  try {
    await using first = await registry(data);
    await expect.poll(first.readyz, patience).toContain('"ready":true');
    expect(first.log()).not.toContain("may have forgotten");
    await first.end("SIGKILL");

    await using second = await registry(data);
    await expect.poll(second.log, patience).toContain("may have forgotten writes");
    await expect.poll(second.readyz, patience).toContain('"ready":true');
    expect(second.log()).toContain("this registry has ended the quarantine");
    await second.end("SIGTERM");

    await using third = await registry(data);
    await expect.poll(third.readyz, patience).toContain('"ready":true');
    expect(third.log()).not.toContain("may have forgotten");
    await third.end("SIGTERM");
  } finally {
    await rm(data, { recursive: true, force: true });
  }
});

test("§2: init makes key and first mark, the first start goes on with them, and a second init changes nothing", async () => {
  const data = await mkdtemp(join(tmpdir(), "godwit-registry-"));
  try {
    const first = await init(data);
    expect(first.said).toContain("incarnation");
    expect(first.code).toBe(0);
    const second = await init(data);
    expect(second.code).not.toBe(0);
    expect(second.said).toContain("holds a registry already: nothing was changed");
    await using started = await registry(data);
    await expect.poll(started.readyz, patience).toContain('"ready":true');
    expect(started.log()).not.toContain("may have forgotten");
    await started.end("SIGTERM");
  } finally {
    await rm(data, { recursive: true, force: true });
  }
});
