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
