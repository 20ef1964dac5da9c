#!/usr/bin/env node
// Plain JavaScript for any Node: the command itself needs Node 24, and takes the workspace's own when this one is older.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const OLDEST_NODE = 24;
const here = dirname(fileURLToPath(import.meta.url));
const main = join(here, "..", "dist", "main.js");

if (!existsSync(main))
  fail("godwit is not built yet: run `npm start` or `npm test` in the repository once, which builds it");
if (Number(process.versions.node.split(".")[0]) >= OLDEST_NODE) {
  await import(main);
} else {
  const node = workspaceNode();
  if (node === undefined) fail(`this is Node ${process.versions.node}, and godwit needs Node ${OLDEST_NODE} or later`);
  runWith(node);
}

function workspaceNode() {
  for (let directory = here; ; directory = dirname(directory)) {
    const node = join(directory, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node");
    if (existsSync(node)) return node;
    if (dirname(directory) === directory) return undefined;
  }
}

function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // Ctrl-C reaches the child by itself, as it is in the same process group; who sends a signal by number means the child.
  process.on("SIGINT", () => {});
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.once("error", (error) => fail(`${node} could not be started: ${error.message}`));
  child.once("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}
