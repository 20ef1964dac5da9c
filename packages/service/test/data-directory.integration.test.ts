import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { lockDataDirectory } from "../src/data-directory/index.ts";

describe("lockDataDirectory", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "godwit-data-"));
  });
  afterEach(() => rm(dir, { recursive: true }));

  test("it makes the directory, and one has it at a time, within a process too", () => {
    const path = join(dir, "not", "there", "yet");
    const first = lockDataDirectory(path, "pricing");
    expect(first.path).toBe(path);
    expect(() => lockDataDirectory(path, "pricing")).toThrow(
      expect.objectContaining({
        code: "DATA_DIRECTORY_LOCKED",
        message: expect.stringContaining(`pricing, process ${process.pid}`),
      }),
    );
    first.unlock();
    first.unlock();
    using again = lockDataDirectory(path, "pricing");
    expect(again.path).toBe(path);
  });

  test("another process is refused while the owner lives, and gets it as soon as that was killed", async () => {
    const holder = `
      import { lockDataDirectory } from "${new URL("../src/data-directory/index.ts", import.meta.url).href}";
      lockDataDirectory(${JSON.stringify(dir)}, "registry");
      console.log("locked");
      setInterval(() => {}, 1_000);
    `;
    const args = ["--conditions=@godwit/source", "--input-type=module", "--eval", holder];
    const child = spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(child.stdout, "data", { signal: AbortSignal.timeout(60_000) });
    expect(() => lockDataDirectory(dir, "registry")).toThrow(`in use by registry, process ${child.pid}`);
    child.kill("SIGKILL");
    await once(child, "exit");
    lockDataDirectory(dir, "registry").unlock();
  });

  test("what is no directory is told, and left as it is", async () => {
    const file = join(dir, "file");
    await writeFile(file, "not a directory");
    expect(() => lockDataDirectory(file, "registry")).toThrow(expect.objectContaining({ code: "DISK_FAILED" }));
    expect(() => lockDataDirectory(join(file, "below"), "registry")).toThrow(
      expect.objectContaining({ code: "DISK_FAILED" }),
    );
    await access(file);
  });
});
