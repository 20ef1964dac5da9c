// godwit simulate, as a person calls it: on agents that behave, and on one that goes wrong in every way.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Ran, type RunRules, runCommand } from "./run-command.ts";

const repository = fileURLToPath(new URL("../../../", import.meta.url));
const run = promisify(execFile);
const built = (name: string) => join(repository, "agents", name, "build", `${name}.wasm`);
const moods = { traps: 1, loops: 2, forgets: 3, drops: 4 } as const;

// Also brings their compilers, if it may.
await run(process.execPath, ["tools/build-agents.mjs"], { cwd: repository });

let folder: string;
const moody = (mood: keyof typeof moods) => join(folder, `${mood}.wasm`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "godwit-simulate-"));
  const clang = process.env["CLANG"] ?? "clang";
  const source = fileURLToPath(new URL("./moody.c", import.meta.url));
  await Promise.all(
    Object.entries(moods).map(async ([mood, number]) => {
      const to = join(folder, `${mood}.wasm`);
      await run(clang, ["--target=wasm32", "-O1", "-nostdlib", "-Wl,--no-entry", `-DMOOD=${number}`, "-o", to, source]);
      const manifest = { capabilities: { log: { version: 1 } } };
      await writeFile(to.replace(/wasm$/, "manifest.json"), JSON.stringify(manifest));
    }),
  );
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Where nothing answers, and nothing is to be asked. */
const nowhere = { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" };
/** A tick that is quick may still stand still for a while, on a machine that has others to run. */
const patient = ["--tick-timeout", "20s"];

function simulate(words: readonly string[], rules: Partial<RunRules> = {}): Promise<Ran> {
  return runCommand(["simulate", ...patient, ...words], { ...nowhere, ...rules });
}

describe("with a seed", () => {
  test("two runs print the same to the byte, another seed prints something else, and every tick verifies", async () => {
    const seeded = (seed: string) => simulate([built("survivor-c"), "--ticks", "25", "--seed", seed, "--verify"]);
    const [first, again, other] = [await seeded("7"), await seeded("7"), await seeded("8")];
    expect(first).toEqual(again);
    expect(first.out).not.toBe(other.out);
    expect(first).toMatchObject({ code: 0, err: "" });
    const lines = first.out.trimEnd().split("\n");
    expect(lines.slice(0, 3)).toEqual([
      expect.stringMatching(
        /^2025-01-01T00:00:00Z {2}1 {2}born at 2025-01-01T00:00:00.000Z on a host of price 1000; mark /,
      ),
      "2025-01-01T00:00:09Z  10  tick 10: 9.0 s old, 0 moves, 0 gaps",
      "2025-01-01T00:00:19Z  20  tick 20: 19.0 s old, 0 moves, 0 gaps",
    ]);
    expect(lines.slice(3)).toEqual([
      "25 ticks in 25.00 ms of run time, verified 25",
      "budget 0.999975 left, 0.000025 spent at 0.001/s",
      expect.stringMatching(/^state 328 bytes, sha256 [0-9a-f]{64}$/),
      "done; its last state is the same after it was resumed",
    ]);
  });

  test("the survivors of all compilers print the same", async () => {
    const always = ["survivor-c", "survivor-rust", "survivor"];
    const names = existsSync(built("survivor-go")) ? [...always, "survivor-go"] : always;
    const printed = await Promise.all(
      names.map(async (name) => {
        const ran = await simulate([built(name), "--ticks", "30", "--seed", "1", "--verify"]);
        return { name, ...ran };
      }),
    );
    const [first] = printed;
    expect(first?.out).toContain("verified 30");
    // Go's runtime draws random bytes of its own before it begins.
    const shown = (name: string, out = "") =>
      name === "survivor-go" ? out.replace(/; mark [0-9a-f]+/, "").replace(/sha256 \w+/, "") : out;
    for (const { name, out, ...rest } of printed) {
      expect({ name, ...rest, out: shown(name, out) }).toEqual({
        name,
        code: 0,
        err: "",
        out: shown(name, first?.out),
      });
    }
  });
});

describe("what goes wrong is said, and ends with exit code 1", () => {
  test("a tick that traps: what it said before is printed as thrown away, and the ticks before it count", async () => {
    const { code, out } = await simulate([moody("traps"), "--ticks", "5", "--seed", "1"]);
    expect(code).toBe(1);
    expect(out).toContain("2025-01-01T00:00:00Z  0  hello\n");
    expect(out).toContain("2025-01-01T00:00:02Z  3  [thrown away] now it comes\n");
    expect(out).toContain("\n2 ticks in 2.00 ms");
    expect(out).toMatch(/\nFAILED: tick 3 \(trap\): agent_tick trapped: unreachable\n$/);
  });

  test("a tick that does not end is ended", async () => {
    const words = ["simulate", moody("loops"), "--ticks", "5", "--seed", "1", "--tick-timeout", "200ms"];
    const { code, out } = await runCommand(words, nowhere);
    expect(code).toBe(1);
    expect(out).toMatch(/\nFAILED: tick 3 \(time-out\): /);
  });

  test("an agent that keeps something beside its state is found by --verify, at the tick where it matters", async () => {
    const words = [moody("forgets"), "--ticks", "5", "--seed", "1"];
    expect(await simulate(words)).toMatchObject({ code: 0 });
    const { code, out } = await simulate([...words, "--verify"]);
    expect(code).toBe(1);
    expect(out).toContain("2 ticks in 2.00 ms of run time, verified 2\n");
    expect(out).toMatch(
      /\nDIVERGED: tick 3: the state after it is another one: the first of 8 bytes that differs is at 0\n$/,
    );
  });

  test("an agent that does not take up its state is found at the end, also without --verify", async () => {
    const { code, out } = await simulate([moody("drops"), "--ticks", "2", "--seed", "1"]);
    expect(code).toBe(1);
    expect(out).toMatch(/\nNOT RESTORED: after agent_resume, agent_checkpoint gives another state: .* at 0\n$/);
  });
});

describe("money", () => {
  test("a budget that ends ends the run: the tick that cannot be paid is thrown away, what is left is taken", async () => {
    const { code, out } = await simulate([moody("drops"), "--seed", "1", "--budget", "0.0025", "--price", "1"]);
    expect(code).toBe(1); // see above
    expect(out).toContain("2025-01-01T00:00:02Z  3  [thrown away] now it comes\n2 ticks in 2.00 ms of run time\n");
    const ended = await simulate([
      built("survivor-c"),
      "--seed",
      "1",
      "--budget",
      "0.00325",
      "--price",
      "0.01",
      "--verify",
    ]);
    expect(ended).toMatchObject({ code: 0, err: "" });
    expect(ended.out).toContain(
      "\n325 ticks in 325.00 ms of run time, verified 325\nbudget 0 left, 0.00325 spent at 0.01/s\n",
    );
    expect(ended.out).toContain("its budget has ended: the next tick costs more than is left\n");
  });
});

describe("without a seed", () => {
  test("the clock is the machine's; Ctrl-C ends it cleanly with the summary and 130", async () => {
    const interruption = new AbortController();
    const began = Date.now();
    const { code, out, err } = await simulate([built("survivor-c"), "--every", "1ms"], {
      signal: interruption.signal,
      onOut: (text) => {
        if (text.includes("tick 20:")) interruption.abort(new Error("interrupted by SIGINT"));
      },
    });
    expect({ code, err }).toEqual({ code: 130, err: "" });
    const born = /born at (\S+) /.exec(out)?.[1] ?? "";
    expect(Date.parse(born)).toBeGreaterThanOrEqual(began - 1);
    expect(out).toMatch(/\nstate 328 bytes, sha256 [0-9a-f]{64}\ninterrupted\n$/);
  });

  test("--json: a line for each line of its log, and the summary last", async () => {
    const { code, out } = await simulate([built("survivor-rust"), "--ticks", "10", "--json", "--verify"]);
    const values = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(code).toBe(0);
    expect(values[0]).toMatchObject({ tick: "1", discarded: false, line: expect.stringMatching(/^born at/) as string });
    expect(values.at(-1)).toMatchObject({ end: { kind: "ticks" }, ticks: "10", verified: "10", stateBytes: 328 });
  });
});

describe("what a host would refuse is refused", () => {
  const manifests = {
    "a capability that it does not declare": [{ capabilities: {} }, "MODULE_INVALID"],
    "one that no host has": [{ capabilities: { log: { version: 1 }, teleport: { version: 1 } } }, "CAPABILITY_MISSING"],
    "an unknown version": [{ capabilities: { log: { version: 99 } } }, "MANIFEST_INVALID"],
    "more memory than there is": [
      { capabilities: { log: { version: 1 } }, resource_limits: { max_memory_bytes: 134_217_728 } },
      "MEMORY_TOO_LARGE",
    ],
    "less memory than it begins with": [
      { capabilities: { log: { version: 1 } }, resource_limits: { max_memory_bytes: 65_536 } },
      "MODULE_INVALID",
    ],
    "a price above its limit": [
      { capabilities: { log: { version: 1 } }, migration_policy: { enabled: true, max_price_per_second: 999 } },
      "PRICE_TOO_HIGH",
    ],
  } as const;

  test.each(Object.entries(manifests))("%s", async (name, [manifest, fault]) => {
    const file = join(folder, `${name}.json`);
    await writeFile(file, JSON.stringify(manifest));
    const { code, out, err } = await simulate([moody("traps"), "--ticks", "1", "--manifest", file]);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(`error: ${fault}: `);
  });

  test("a module that is not there is wrong usage", async () => {
    expect(await simulate([join(folder, "nothing.wasm"), "--ticks", "1"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("there is no file") as string,
    });
  });
});

describe("docs/agents-other-languages.md", async () => {
  const page = await readFile(join(repository, "docs", "agents-other-languages.md"), "utf8");
  const hasGo = existsSync(built("survivor-go"));
  const languages = ["c", "rust", ...(hasGo ? ["go"] : [])] as const;

  test.each(languages)(
    "the program in %s is built by the command below it, and every tick of it verifies",
    async (language) => {
      const [, program, command] =
        new RegExp(`\`\`\`${language}\n([^]*?)\`\`\`\n\n\`\`\`sh\n([^]*?)\`\`\``).exec(page) ?? [];
      const to = await mkdtemp(join(folder, "docs-"));
      const source = join(to, `counter.${language === "rust" ? "rs" : language}`);
      await writeFile(source, program ?? "");
      await copyFile(join(repository, "agents", "survivor-c", "godwit.h"), join(to, "godwit.h"));
      await writeFile(
        join(to, "counter.manifest.json"),
        JSON.stringify({ capabilities: { log: { version: 1 }, clock: { version: 1 } } }),
      );
      // The distribution's compilers first: a rustup need not have the target. Go where tools/build-agents.mjs finds it.
      await run("sh", ["-euc", command ?? ""], {
        cwd: to,
        env: { ...process.env, PATH: `/usr/bin:${process.env["PATH"]}:/usr/local/go/bin` },
      });

      const { code, out } = await simulate([join(to, "counter.wasm"), "--ticks", "3", "--seed", "1", "--verify"]);
      expect(out).toContain("2025-01-01T00:00:02Z  3  tick");
      expect(out).toContain("3 ticks in 3.00 ms of run time, verified 3\n");
      expect(code).toBe(0);
    },
  );
});
