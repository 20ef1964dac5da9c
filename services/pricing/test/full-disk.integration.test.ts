import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";

// A limit on the size of files, which only a process of its own can have, stands for the full disk.
const MAX_FILE_BLOCKS = 200;

test("a full disk is DISK_FAILED: what was written before can be read, and nothing is half-written", async () => {
  const dir = await mkdtemp(join(tmpdir(), "godwit-full-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const script = `
    import { SqlitePriceStore } from "${new URL("../src/store/sqlite-price-store.ts", import.meta.url).href}";
    const store = new SqlitePriceStore({ directory: ${JSON.stringify(dir)}, historyLimit: 10 });
    store.open();
    const write = (hosts) => store.write(hosts.map((host) => ({
      changed: true,
      price: { hostId: "host-" + host, pricePerSecond: BigInt(host), grpcAddress: "127.0.0.1:1", seenAtUnixNs: 1n },
    })));
    const codeOf = (act) => { try { act(); return "none"; } catch (error) { return error.code; } };
    let written = 0;
    let failed = "none";
    for (; failed === "none"; written += 2) failed = codeOf(() => write([written, written + 1]));
    const kept = written - 2; // the last two were not taken
    console.log(JSON.stringify({
      failed, probe: codeOf(() => store.probe()), missing: kept - store.count(),
      last: String(store.get("host-" + (kept - 1))?.pricePerSecond), expected: String(kept - 1), enough: kept > 2,
    }));
  `;
  const node = [process.execPath, "--conditions=@godwit/source", "--input-type=module", "--eval", script];
  const shell = ["-c", `ulimit -f ${MAX_FILE_BLOCKS}; exec "$@"`, "bash", ...node];
  const { stdout } = await promisify(execFile)("bash", shell, { cwd: import.meta.dirname });
  const { last, expected, ...rest } = JSON.parse(stdout) as Record<string, unknown>;
  expect(rest).toEqual({ failed: "DISK_FAILED", probe: "DISK_FAILED", missing: 0, enough: true });
  expect(last).toBe(expected);
});
