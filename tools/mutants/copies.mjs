// Copies of the tree in which weaknesses are put back, so that the tree itself is never touched: under the system's
// temporary directory, with a git repository of their own that borrows the objects of the tree's, and dependencies of
// their own. What is not committed is in them too, but for what git ignores.

import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { environment, root } from "../bootstrap.mjs";
import { git } from "./patches.mjs";

/** Made once for a run; `close` removes everything. */
export class Copies {
  #directory = mkdtempSync(join(tmpdir(), "godwit-mutants-"));
  #running = new Set();
  #repository;

  /** `committed`: of the last commit, without what has changed since. */
  constructor({ committed }) {
    this.#repository = join(this.#directory, "repository.git");
    must(git(this.#directory, ["init", "-q", "--bare", this.#repository]));
    const objects = git(root, ["rev-parse", "--git-path", "objects"]);
    if (objects.status === 0) {
      const from = resolve(root, objects.output.trim());
      writeFileSync(join(this.#repository, "objects", "info", "alternates"), `${from}\n`);
    } else if (committed) {
      throw new Error("--committed needs a git repository, and this is none");
    }
    must(
      git(root, [`--git-dir=${this.#repository}`, "update-ref", "HEAD", committed ? this.#head() : this.#snapshot()]),
    );
  }

  get directory() {
    return this.#directory;
  }

  #head() {
    return must(git(root, ["rev-parse", "HEAD"])).trim();
  }

  /** A commit of all that is there, which only the copies' own repository knows. */
  #snapshot() {
    const there = [`--git-dir=${this.#repository}`, `--work-tree=${root}`];
    must(git(root, [...there, "add", "-A", "."]));
    const tree = must(git(root, [...there, "write-tree"])).trim();
    const who = ["-c", "user.name=mutants", "-c", "user.email=mutants@localhost"];
    return must(git(root, [...who, ...there, "commit-tree", tree, "-m", "the tree as it is"])).trim();
  }

  /** A clean copy, without dependencies. */
  checkOut(name) {
    const tree = join(this.#directory, name);
    must(git(this.#directory, [`--git-dir=${this.#repository}`, "worktree", "add", "-q", "--detach", tree, "HEAD"]));
    this.freshTemporary(tree);
    return tree;
  }

  /** A clean copy with its dependencies. */
  async make(name) {
    const tree = this.checkOut(name);
    const args = ["install", "--offline", "--frozen-lockfile", "--ignore-scripts", "--reporter=append-only"];
    const { status, output } = await this.run("pnpm", args, { tree });
    if (status !== 0) throw new Error(`a copy's dependencies could not be installed\n${last(output, 15)}`);
    return tree;
  }

  /** The agents' WASM, which the simulator runs: built in the first copy, copied to the others. */
  async bringAgents(tree, from) {
    for (const agent of readdirSync(join(tree, "agents"))) {
      if (!existsSync(join(tree, "agents", agent, "package.json"))) continue;
      const build = join("agents", agent, "build");
      if (from !== undefined && existsSync(join(from, build))) {
        cpSync(join(from, build), join(tree, build), { recursive: true });
        continue;
      }
      const { status, output } = await this.run("pnpm", ["run", "build"], { tree, cwd: join(tree, "agents", agent) });
      if (status !== 0) throw new Error(`agent ${agent} could not be built\n${last(output, 15)}`);
    }
  }

  /** Where what runs in a copy keeps what is temporary. */
  temporary(tree) {
    return `${tree}.tmp`;
  }

  freshTemporary(tree) {
    rmSync(this.temporary(tree), { recursive: true, force: true });
    mkdirSync(this.temporary(tree));
  }

  /** Runs a program in a copy; it and what it started are gone when this resolves. `status` is null for one that took too long. */
  run(command, args, { tree, cwd = tree, limitMs = 600_000, env = {} }) {
    return new Promise((done) => {
      const options = { cwd, detached: true, stdio: ["ignore", "pipe", "pipe"] };
      const child = spawn(command, args, {
        ...options,
        env: { ...environmentOf(tree), TMPDIR: this.temporary(tree), NO_COLOR: "1", ...env },
      });
      let output = "";
      let late = false;
      const end = () => {
        try {
          process.kill(-child.pid, "SIGKILL");
        } catch {} // gone already
      };
      const timer = setTimeout(() => {
        late = true;
        end();
      }, limitMs);
      this.#running.add(end);
      const settle = (status) => {
        clearTimeout(timer);
        end();
        this.#running.delete(end);
        done({ status: late ? null : status, output });
      };
      child.stdout.on("data", (bytes) => {
        output += bytes;
      });
      child.stderr.on("data", (bytes) => {
        output += bytes;
      });
      child.once("error", (error) => {
        output += error.message;
        settle(1);
      });
      child.once("close", (code) => settle(code ?? 1));
    });
  }

  close() {
    for (const end of this.#running) end();
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** As in the tree, but with the copy's own programs first. */
function environmentOf(tree) {
  const env = environment();
  return { ...env, PATH: `${join(tree, "node_modules", ".bin")}:${env.PATH}` };
}

function must({ status, output }) {
  if (status !== 0) throw new Error(`git: ${output.trim()}`);
  return output;
}

function last(output, lines) {
  return output.trimEnd().split("\n").slice(-lines).join("\n");
}
