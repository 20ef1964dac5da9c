import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { runCommand } from "./run-command.ts";

const NOBODY = { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" };

function place(): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "godwit-new-")));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function create(name: string, directory: string, ...more: readonly string[]) {
  return runCommand(["new", name, "--directory", directory, ...more], NOBODY);
}

describe("godwit new", () => {
  test("makes a project that builds and whose tests pass at once, with no network and no installation", async () => {
    const directory = join(place(), "deep", "price-watcher");
    const ran = await create("price-watcher", directory);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toContain(`price-watcher is in ${directory}; the agent is assembly/price-watcher.ts`);
    const env = { ...process.env, npm_config_offline: "true", npm_config_update_notifier: "false" };
    const tested = await promisify(execFile)("npm", ["test"], { cwd: directory, env });
    expect(tested.stdout).toMatch(/pass 3\n/);
    expect(tested.stdout).toMatch(/fail 0\n/);
    expect(existsSync(join(directory, "build", "price-watcher.wasm"))).toBe(true);
    expect(existsSync(join(directory, "build", "price-watcher.manifest.json"))).toBe(true);
  });

  test("what is wrong with an agent's constructor is said by its tests", async () => {
    const directory = join(place(), "ticker");
    await create("ticker", directory);
    const file = join(directory, "assembly", "ticker.ts");
    writeFileSync(file, readFileSync(file, "utf8").replace('"TICK"', '"TIC"'));
    const failed: unknown = await promisify(execFile)("npm", ["test"], { cwd: directory }).catch(
      (error: unknown) => error,
    );
    expect((failed as { readonly stdout: string }).stdout).toContain("a tag has four ASCII characters");
  });

  test.each(["a new one", "an empty one"])("a directory with a name as long as names may be: %s", async (which) => {
    const directory = join(place(), "d".repeat(255));
    if (which === "an empty one") mkdirSync(directory);
    expect(await create("ticker", directory)).toMatchObject({ code: 0, err: "" });
    const made = readdirSync(directory);
    expect(made).toEqual(expect.arrayContaining([".npmrc", "node_modules", "package.json"]));
    expect(made.filter((name) => name.startsWith(".godwit"))).toEqual([]);
    expect(readdirSync(dirname(directory))).toHaveLength(1);
  });

  test("what it makes has the name everywhere, a class and a tag of it, and no path of this repository but the links", async () => {
    const directory = join(place(), "x");
    await create("a-b9", directory);
    const agent = readFileSync(join(directory, "assembly", "a-b9.ts"), "utf8");
    expect(agent).toContain("class AB9Agent extends Agent");
    expect(agent).toContain('super("a-b9", "AB9X", 1)');
    const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter(
      (entry) => entry.isFile() && !entry.parentPath.includes("node_modules"),
    );
    expect(files.map(({ name }) => name)).toEqual(
      expect.arrayContaining([".gitignore", ".npmrc", "a-b9.manifest.json", "a-b9.test.js", "package.json"]),
    );
    for (const { parentPath, name } of files) {
      const text = readFileSync(join(parentPath, name), "utf8");
      expect(text, name).not.toContain("{{");
      expect(text, name).not.toContain(process.cwd());
    }
  });

  test("an empty directory is filled; with --json the files are listed", async () => {
    const directory = place();
    const ran = await create("ticker", directory, "--json");
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(ran.out)).toEqual({
      name: "ticker",
      language: "assemblyscript",
      directory,
      files: [
        ".gitignore",
        ".npmrc",
        "README.md",
        "asconfig.json",
        "assembly/ticker.ts",
        "assembly/tsconfig.json",
        "package.json",
        "test/ticker.test.js",
        "ticker.manifest.json",
      ],
    });
    expect(readdirSync(directory)).toContain("vendor");
  });

  test.each(["", "a/b", "../up", "Ticker", "1st", "x-", "a_b", "a".repeat(64), "assemblyscript"])(
    "the name %j is refused, and nothing is touched: exit code 2",
    async (name) => {
      const parent = place();
      const ran = await create(name, join(parent, "x"));
      expect(ran).toMatchObject({ code: 2, out: "" });
      expect(ran.err).toContain("NAME: ");
      expect(readdirSync(parent)).toEqual([]);
    },
  );

  test("a directory with something in it, or a file in its place, is left as it is: exit code 2", async () => {
    const parent = place();
    mkdirSync(join(parent, "full"));
    writeFileSync(join(parent, "full", "mine.txt"), "mine");
    writeFileSync(join(parent, "file"), "mine");
    for (const target of ["full", "file"]) {
      const ran = await create("ticker", join(parent, target));
      expect(ran).toMatchObject({ code: 2, out: "" });
      expect(ran.err).toContain("is there already and not an empty directory");
    }
    const left = readdirSync(parent, { recursive: true });
    expect(left).toHaveLength(3);
    expect(left).toEqual(expect.arrayContaining(["file", "full", join("full", "mine.txt")]));
  });

  test("what cannot be written leaves nothing behind: exit code 5", async () => {
    const parent = place();
    writeFileSync(join(parent, "file"), "mine");
    const ran = await create("ticker", join(parent, "file", "ticker"));
    expect(ran).toMatchObject({ code: 5, out: "" });
    expect(readdirSync(parent)).toEqual(["file"]);
    const tooLong = await create("ticker", join(parent, "a", "b".repeat(256), "ticker"));
    expect(tooLong).toMatchObject({ code: 5, out: "" });
    expect(readdirSync(parent)).toEqual(["file"]);
  });

  test("a language that there is not is wrong usage", async () => {
    const parent = place();
    const ran = await create("ticker", join(parent, "x"), "--language", "cobol");
    expect(ran).toMatchObject({ code: 2, out: "" });
    expect(readdirSync(parent)).toEqual([]);
  });
});
