// Builds the agents that are written in C, Rust and Go, into agents/*/build: what is missing, or whose sources have changed.
//
//   node tools/build-agents.mjs           also installs clang, lld and rustc from the distribution's packages, if we may
//   node tools/build-agents.mjs survivor-rust
//
// They are no packages of the workspace, so that a build of it needs no other compiler than its own. C and Rust are always built,
// and that they cannot be is an error; Go is built where its compiler is there.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { root, say } from "./bootstrap.mjs";
import { bringPackages } from "./distribution.mjs";

/** `find` says where a compiler is that can build for wasm32, if there is one; `as` is the variable that tells build.sh. */
const AGENTS = [
  {
    name: "survivor-c",
    as: "CLANG",
    find: () => candidates("clang").find(buildsWasm),
    packages: ["clang", "lld"],
    what: "clang and lld with their WebAssembly targets are",
    elsewhere: "for example: brew install llvm lld",
  },
  {
    name: "survivor-rust",
    as: "RUSTC",
    // That of a rustup without the target may be first on the PATH, that of the distribution behind it.
    find: () => candidates("rustc").find(hasWasmLibrary),
    packages: ["rustc", "libstd-rust-dev-wasm32", "lld"],
    what: "rustc with the library for wasm32-unknown-unknown is",
    elsewhere: "or run: rustup target add wasm32-unknown-unknown",
  },
  {
    name: "survivor-go",
    as: "GO",
    find: () => [...candidates("go"), "/usr/local/go/bin/go"].find(exportsToWasm),
    what: "Go 1.24 or later",
  },
];

/** For a check of npm test. `bring`: compilers that are needed and not there are installed, if we may. */
export function buildAgents({ names = AGENTS.map(({ name }) => name), bring }) {
  const said = [];
  for (const agent of AGENTS.filter(({ name }) => names.includes(name))) {
    const result = buildAgent(agent, { bring });
    if (result.problem !== undefined) return { status: 1, output: result.problem };
    if (result.note !== undefined) said.push(result.note);
  }
  for (const note of said) say(note);
  return { status: 0, output: "" };
}

function buildAgent(agent, { bring }) {
  const { name } = agent;
  const directory = join(root, "agents", name);
  const stamp = join(directory, "build", ".built-from");
  const wanted = digestOf(directory);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return {};

  const compiler = findCompiler(agent, { bring });
  if (compiler === undefined) {
    if (agent.packages === undefined) {
      rmSync(join(directory, "build"), { recursive: true, force: true }); // of other sources than there are now
      return { note: `${name} was left out: there is no ${agent.what} on this machine` };
    }
    return { problem: `${name}: ${agent.what} needed; node tools/build-agents.mjs brings what is missing` };
  }
  // A reader never sees half a module, nor does a second build at the same time.
  const fresh = mkdtempSync(join(directory, "build-"));
  try {
    const began = performance.now();
    const env = { ...process.env, BUILD_TO: fresh, [agent.as]: compiler };
    const { status, stdout, stderr, error } = spawnSync("sh", [join(directory, "build.sh")], { env, encoding: "utf8" });
    if (status !== 0) {
      return { problem: `${name} was not built by ${compiler}\n${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}` };
    }
    const build = join(directory, "build");
    mkdirSync(build, { recursive: true });
    const { size } = statSync(join(fresh, `${name}.wasm`));
    for (const file of readdirSync(fresh)) renameSync(join(fresh, file), join(build, file));
    writeFileSync(stamp, wanted);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    return { note: `${name} was built by ${compiler} in ${seconds} s: ${size} bytes` };
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

function findCompiler({ find, packages, what, elsewhere }, { bring }) {
  const found = find();
  if (found !== undefined || packages === undefined || !bring) return found;
  bringPackages(packages, { what, elsewhere });
  return find();
}

/** As the PATH has it, and where distributions put it. */
function candidates(program) {
  return [program, `/usr/bin/${program}`];
}

/** The clang of macOS has no such target; and the linker is a package of its own. */
function buildsWasm(clang) {
  const options = ["--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-x", "c", "-", "-o", "/dev/null"];
  return spawnSync(clang, options, { input: "" }).status === 0;
}

function hasWasmLibrary(rustc) {
  const { status, stdout } = spawnSync(rustc, ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"], {
    encoding: "utf8",
  });
  return status === 0 && existsSync(stdout.trim());
}

function exportsToWasm(go) {
  const { status, stdout } = spawnSync(go, ["env", "GOVERSION"], {
    encoding: "utf8",
    env: { ...process.env, GOTOOLCHAIN: "local" },
  });
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
  return status === 0 && (Number(major) > 1 || Number(minor) >= 24);
}

function digestOf(directory) {
  const hash = createHash("sha256");
  for (const file of sourcesBelow(directory))
    hash
      .update(`${relative(directory, file)}\n`)
      .update(readFileSync(file))
      .update("\n");
  return hash.digest("hex");
}

function sourcesBelow(directory) {
  return readdirSync(directory, { withFileTypes: true })
    .filter(({ name }) => name === "build.sh" || !(name.startsWith("build") || name.endsWith(".md")))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      return entry.isDirectory() ? sourcesBelow(path) : [path];
    });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const names = process.argv.slice(2);
  const unknown = names.find((name) => !AGENTS.some((agent) => agent.name === name));
  const { status, output } =
    unknown === undefined
      ? buildAgents({ ...(names.length > 0 ? { names } : {}), bring: true })
      : { status: 2, output: `there is no agent ${unknown}: there are ${AGENTS.map(({ name }) => name).join(", ")}` };
  if (status !== 0) console.error(`error: ${output}`);
  process.exitCode = status;
}
