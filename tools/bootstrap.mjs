// Brings a fresh clone to the point where everything runs: pnpm, the dependencies (Node 24 among them), the build.
//
// Runs on whatever Node the newcomer has, so it is plain ESM without dependencies. Each step is skipped when its
// result is there, and says in one line what it does when it is not.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const OLDEST_NODE = 20;
const toolsDir = join(root, ".tools");
const rootBin = join(root, "node_modules", ".bin");
/** Says for which lockfile and which package.json files node_modules was installed. */
const installStamp = join(root, "node_modules", ".godwit-installed");

/** Ends the process with one line that says what is wrong and what to do. */
export function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

export function say(message) {
  console.log(`· ${message}`);
}

/** Installs what is missing and builds. Returns the path of the workspace's Node 24. */
export function bootstrap() {
  const node = prepare();
  if (!existsSync(join(root, "packages", "cli", "dist", "main.js"))) say("building, the first time");
  const { status, output } = build();
  if (status !== 0) fail(`the build failed\n${tail(output, 60)}`);
  return node;
}

/** Installs what is missing. Returns the path of the workspace's Node 24. */
export function prepare() {
  checkNode();
  install(bringPnpm());
  return workspaceNode();
}

/** Builds what has changed since the last time; `output` says what went wrong if the status is not 0. */
export function build() {
  return capture(join(rootBin, "turbo"), ["run", "build", "--output-logs=errors-only", "--no-color"]);
}

/** The environment for everything that is started here: our pnpm and our Node first, and no telemetry. */
export function environment() {
  return {
    ...process.env,
    PATH: [rootBin, join(toolsDir, "node_modules", ".bin"), process.env.PATH].join(":"),
    TURBO_TELEMETRY_DISABLED: "1",
    TURBO_NO_UPDATE_NOTIFIER: "1",
    DO_NOT_TRACK: "1",
  };
}

/**
 * Runs a program in the foreground and resolves with its exit code. Ctrl-C reaches it by itself, since it is in the
 * same process group: what is done here is to wait for it, instead of leaving before it has cleaned up.
 */
export function run(command, args, { env = {} } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", env: { ...environment(), ...env } });
    const forward = (signal) => child.kill(signal);
    const ignore = () => {};
    process.on("SIGINT", ignore);
    process.on("SIGTERM", forward);
    process.on("SIGHUP", forward);
    child.once("error", (error) => {
      console.error(`error: ${command} could not be started: ${error.message}`);
      resolve(1);
    });
    child.once("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 1)));
  });
}

function checkNode() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < OLDEST_NODE) {
    fail(`this is Node ${process.versions.node}: install Node ${OLDEST_NODE} or later and start again`);
  }
  if (process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64")) return;
  if (major < 24) {
    fail(
      `for ${process.platform} on ${process.arch} the workspace cannot bring its own Node: install Node 24 and start again`,
    );
  }
}

/** Node 24 from the workspace's own dependencies, or this very Node where there is none for the platform. */
function workspaceNode() {
  const own = join(rootBin, "node");
  if (existsSync(own)) return own;
  if (Number(process.versions.node.split(".")[0]) >= 24) return process.execPath;
  return fail("Node 24 was not installed with the dependencies: remove node_modules and start again");
}

/** The pinned pnpm, in .tools/, so that nothing outside of this folder changes. Returns the path of its program. */
function bringPnpm() {
  const { version } = readJson(join(root, "package.json")).devEngines.packageManager;
  const program = join(toolsDir, "node_modules", ".bin", "pnpm");
  const installed = join(toolsDir, "node_modules", "pnpm", "package.json");
  if (existsSync(program) && existsSync(installed) && readJson(installed).version === version) return program;

  say(`bringing pnpm ${version} into .tools/`);
  mkdirSync(toolsDir, { recursive: true });
  // A package.json of its own: otherwise npm would look at the workspace's.
  writeFileSync(join(toolsDir, "package.json"), '{ "private": true }\n');
  const args = ["install", "--prefix", toolsDir, "--no-audit", "--no-fund", "--loglevel=error", `pnpm@${version}`];
  const { status, output } = capture("npm", args, { cwd: toolsDir });
  if (status !== 0) {
    const cause = /ENOENT/.test(output) && status === null ? "npm was not found" : "npm could not install it";
    fail(
      `pnpm ${version} is needed, and ${cause}: check that npm works and its registry can be reached\n${tail(output)}`,
    );
  }
  return program;
}

function install(pnpm) {
  const wanted = installDigest();
  if (existsSync(join(root, "node_modules", ".modules.yaml")) && readText(installStamp) === wanted) return;

  say("installing the dependencies, which takes a while the first time");
  const { status, output } = capture(pnpm, ["install", "--frozen-lockfile", "--reporter=append-only"]);
  if (status !== 0) {
    if (output.includes("ERR_PNPM_OUTDATED_LOCKFILE")) {
      fail(
        "pnpm-lock.yaml does not fit the package.json files: run .tools/node_modules/.bin/pnpm install and commit it",
      );
    }
    fail(`the dependencies could not be installed: check that the package registry can be reached\n${tail(output)}`);
  }
  writeFileSync(installStamp, wanted);
}

function capture(command, args, { cwd = root } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    env: environment(),
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}${result.error ? `${result.error.message}\n` : ""}`;
  return { status: result.status, output };
}

/** Changes with everything that an install depends on. */
function installDigest() {
  const hash = createHash("sha256");
  const files = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", "tests/package.json"];
  for (const group of ["packages", "services", "agents"]) {
    for (const name of readdirSync(join(root, group)).sort()) files.push(`${group}/${name}/package.json`);
  }
  for (const file of files) hash.update(`${file}\n${readText(join(root, file)) ?? ""}\n`);
  return hash.digest("hex");
}

function readText(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function readJson(path) {
  const text = readText(path);
  if (text === undefined) fail(`${path} is missing: is this a whole clone of the repository?`);
  return JSON.parse(text);
}

function tail(output, lines = 20) {
  return output.trimEnd().split("\n").slice(-lines).join("\n");
}
