// A project for an agent: the template of @godwit/agent-sdk with a name in it, and a copy of the SDK, so that it needs nothing else of
// this repository. The compiler is linked to the one that is installed here, so that the project builds at once and without a
// network; `npm install` keeps the link, and fetches the same version where it leads nowhere.
//
// All of it is made in a directory of its own and then moved: nothing is left behind by what fails. That one is inside of a directory
// that is there already, and beside one that is not: on the same file system, and where its author may write.

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { Fault } from "@godwit/common/fault";

export const languages = ["assemblyscript"] as const;
export type Language = (typeof languages)[number];

export interface ProjectRequest {
  readonly name: string;
  readonly language: Language;
  /** Absolute; made if it is not there. */
  readonly directory: string;
}

export interface Project extends ProjectRequest {
  /** Of which its author makes the agent, relative to the directory. */
  readonly files: readonly string[];
}

interface Sdk {
  readonly directory: string;
  readonly compiler: string;
  readonly compilerVersion: string;
}

/** It is a file's name, an npm package's and an agent's label. */
const NAME = /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** npm installs no package into a project of the same name. */
const TAKEN = ["assemblyscript"];
const DOTTED: ReadonlyMap<string, string> = new Map([
  ["gitignore", ".gitignore"],
  ["npmrc", ".npmrc"],
]);

/** @throws Fault INVALID_ARGUMENT, NOT_READY, DISK_FAILED; nothing was touched then. */
export function newProject(request: ProjectRequest): Project {
  const { name, language, directory } = request;
  checkName(name);
  const isThere = checkDirectory(directory);
  const sdk = findSdk();
  const home = isThere ? directory : dirname(directory);
  const created = firstMissing(home);
  try {
    mkdirSync(home, { recursive: true });
    const staging = mkdtempSync(join(home, ".godwit-new-"));
    try {
      const made = join(staging, "project");
      const files = copyTemplate(join(sdk.directory, "template", language), made, (text) => fillIn(text, name, sdk));
      copySdk(sdk.directory, join(made, "vendor", "agent-sdk"));
      linkPackages(made, sdk.compiler);
      if (isThere) for (const entry of readdirSync(made)) renameSync(join(made, entry), join(directory, entry));
      else renameSync(made, directory);
      return { ...request, files };
    } finally {
      rmSync(staging, { recursive: true, force: true });
    }
  } catch (cause) {
    if (created !== undefined) rmSync(created, { recursive: true, force: true });
    throw diskFailed(directory, cause);
  }
}

function checkName(name: string): void {
  if (NAME.test(name) && !TAKEN.includes(name)) return;
  const reason = TAKEN.includes(name)
    ? `${name} is the name of a package that the project needs: choose another`
    : `${JSON.stringify(name)} is no name for an agent: 1 to 63 lower-case letters, digits and hyphens, a letter first and no hyphen last`;
  throw new Fault({ code: "INVALID_ARGUMENT", field: "NAME", reason });
}

/** Whether it is there, and empty. What is there is filled and not replaced: somebody may stand in it. */
function checkDirectory(directory: string): boolean {
  if (!existsSync(directory)) return false;
  let isEmpty: boolean;
  try {
    isEmpty = statSync(directory).isDirectory() && readdirSync(directory).length === 0;
  } catch (cause) {
    throw diskFailed(directory, cause);
  }
  if (isEmpty) return true;
  const reason = `${directory} is there already and not an empty directory: choose another, or another NAME`;
  throw new Fault({ code: "INVALID_ARGUMENT", field: "--directory", reason });
}

/** Of a path and the directories above it the uppermost that is not there. */
function firstMissing(path: string): string | undefined {
  let missing: string | undefined;
  for (let at = path; !existsSync(at); at = dirname(at)) missing = at;
  return missing;
}

function diskFailed(directory: string, cause: unknown): Fault {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new Fault({ code: "DISK_FAILED", path: directory, reason }, { cause });
}

function findSdk(): Sdk {
  const manifest = createRequire(import.meta.url).resolve("@godwit/agent-sdk/package.json");
  const directory = dirname(manifest);
  if (!existsSync(join(directory, "dist", "testing", "index.js"))) {
    throw new Fault({
      code: "NOT_READY",
      reason: `${directory} is not built: npm start builds it, and so does pnpm build`,
    });
  }
  const compilerManifest = createRequire(manifest).resolve("assemblyscript/package.json");
  const { version } = readJson(compilerManifest) as { readonly version: string };
  return { directory, compiler: dirname(compilerManifest), compilerVersion: version };
}

/** The files that it made. In a name `agent` stands for the agent's, and what begins with a dot is without it there. */
function copyTemplate(template: string, made: string, fill: (text: string) => string): string[] {
  const files = readdirSync(template, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files
    .map(({ parentPath, name }) => {
      const target = join(relative(template, parentPath), DOTTED.get(name) ?? name.replace(/^agent\./, "{{name}}."));
      const path = join(made, fill(target));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, fill(readFileSync(join(parentPath, name), "utf8")));
      return fill(target);
    })
    .sort();
}

function fillIn(text: string, name: string, { compilerVersion }: Sdk): string {
  const words = name.split("-").filter((word) => word !== "");
  const values: Readonly<Record<string, string>> = {
    name,
    // Ends in Agent, so that it is no word of the language and no class of its library, whatever the name is.
    class: `${words.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join("")}Agent`,
    tag: words.join("").toUpperCase().slice(0, 4).padEnd(4, "X"),
    compilerVersion,
  };
  return text.replace(/\{\{(\w+)\}\}/g, (_, key: string) => values[key] ?? "");
}

/** Without what is only for this repository: the sources of its JavaScript, its tests, the templates. */
function copySdk(sdk: string, target: string): void {
  const { name, version, license, type } = readJson(join(sdk, "package.json")) as Readonly<Record<string, string>>;
  const testing = { types: "./dist/testing/index.d.ts", default: "./dist/testing/index.js" };
  const assembly = { "./assembly": "./assembly/index.ts", "./assembly/exports": "./assembly/exports.ts" };
  const manifest = { name, version, private: true, license, type, exports: { ...assembly, "./testing": testing } };
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  const copied = (path: string) => statSync(path).isDirectory() || /(?<!\.test)\.(?:js|ts)$/.test(path);
  for (const folder of ["assembly", "dist/testing"]) {
    cpSync(join(sdk, folder), join(target, folder), { recursive: true, filter: copied });
  }
}

/** As npm would, but for the compiler, which stays where it is. */
function linkPackages(made: string, compiler: string): void {
  const packages = join(made, "node_modules");
  mkdirSync(join(packages, "@godwit"), { recursive: true });
  mkdirSync(join(packages, ".bin"));
  symlinkSync(join("..", "..", "vendor", "agent-sdk"), join(packages, "@godwit", "agent-sdk"));
  symlinkSync(compiler, join(packages, "assemblyscript"));
  symlinkSync(join("..", "assemblyscript", "bin", "asc.js"), join(packages, ".bin", "asc"));
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, "utf8"));
}
