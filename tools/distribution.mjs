// What the package registry does not have comes from the distribution's packages.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fail, say } from "./bootstrap.mjs";

/** Installs packages of Debian and its relatives, or ends the process with a line that says what to do. */
export function bringPackages(names, { what, elsewhere }) {
  const list = names.join(" ");
  const apt = ["/usr/bin/apt-get", "/bin/apt-get"].find((path) => existsSync(path));
  if (apt === undefined) fail(`${what} needed: install with your package manager, ${elsewhere}`);
  if (process.getuid?.() !== 0) fail(`${what} needed: run \`sudo apt-get install -y ${list}\` and start again`);

  say(`installing ${names.join(", ")} from the distribution's packages`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const rest of [["update"], ["install", "-y", "--no-install-recommends", ...names]]) {
    const { status, stdout, stderr } = spawnSync(apt, ["-q", ...rest], { env, encoding: "utf8" });
    if (status === 0) continue;
    const text = `${stdout ?? ""}${stderr ?? ""}`.trimEnd().split("\n").slice(-10).join("\n");
    fail(`${what} needed, and \`apt-get ${rest.join(" ")}\` failed: install yourself and start again\n${text}`);
  }
}
