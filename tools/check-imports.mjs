// Part of `pnpm check`: what the linters cannot say about imports and time.
//
//   - Imports point one way (docs/decisions/0001): each package only imports what LAYERS allows it, and what its
//     package.json declares; no service imports a service, nothing in packages/ imports a service.
//   - No relative import leaves its package.
//   - Packages do not depend on each other in a circle.
//   - `new Date()` is banned in production code, as Date.now is by .oxlintrc.json: time comes from a Clock.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const PURE = ["common", "proto"];
const ADAPTERS = [...PURE, "grpc", "service", "lineage", "sandbox", "migration"];

/** Which packages of the workspace the production code of each may import. */
const LAYERS = {
  common: [],
  proto: [],
  grpc: PURE,
  service: PURE,
  lineage: PURE,
  sandbox: PURE,
  migration: [...PURE, "lineage"],
  // Fakes, fault injection and the cluster of real processes: for tests, and only they may import it.
  testing: ADAPTERS,
  registry: ADAPTERS,
  pricing: ADAPTERS,
  "agent-host": ADAPTERS,
  // Of the SDK it copies files.
  cli: [...ADAPTERS, "agent-sdk"],
  simulation: [...ADAPTERS, "testing", "registry", "pricing", "agent-host"],
  "agent-sdk": [],
  // Tests and benchmarks of whole clusters; what they take of services are whole graphs, and libp2p for peers that misbehave.
  tests: [...ADAPTERS, "testing", "cli", "registry", "agent-host", "simulation"],
};

const IMPORT = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)(["'])([^"'\n]+)\1/g;

const problems = [];
const packages = findPackages();

for (const one of packages) {
  for (const file of sourcesBelow(one.directory)) checkFile(one, file);
}
checkCircles();

for (const problem of problems) console.error(problem);
if (problems.length > 0) console.error(`${problems.length} import rule(s) broken`);
process.exitCode = problems.length === 0 ? 0 : 1;

function checkFile(one, file) {
  const code = withoutComments(readFileSync(file, "utf8"));
  const where = relative(root, file);
  const isTest = one.name === "tests" || where.includes(`${sep}test${sep}`) || /\.test(-d)?\.ts$/.test(file);
  const allowed = new Set([one.name, ...(LAYERS[one.name] ?? []), ...(isTest ? ["testing", ...ADAPTERS] : [])]);

  for (const [, , specifier] of code.matchAll(IMPORT)) {
    if (specifier.startsWith(".")) {
      const target = resolve(dirname(file), specifier);
      if (!target.startsWith(one.directory + sep)) {
        problems.push(`${where}: ${specifier} leaves the package: import it by its name`);
      }
      continue;
    }
    if (!specifier.startsWith("@godwit/")) continue;
    const imported = specifier.split("/")[1];
    if (!(one.name in LAYERS)) {
      problems.push(`${where}: ${one.name} has no row in tools/check-imports.mjs: add it`);
    } else if (!allowed.has(imported)) {
      problems.push(`${where}: ${one.name} must not import @godwit/${imported}: imports point one way`);
    } else if (imported !== one.name && !one.declared.has(imported)) {
      problems.push(`${where}: @godwit/${imported} is not among the dependencies in package.json: add it there`);
    }
  }

  const mayMeasure =
    isTest || ["testing", "tests"].includes(one.name) || where.includes(join("common", "src", "clock"));
  if (!mayMeasure && /\bnew\s+Date\s*\(\s*\)/.test(code)) {
    problems.push(`${where}: new Date() reads the machine's clock: take a Clock from @godwit/common/clock`);
  }
}

function checkCircles() {
  const done = new Set();
  const visit = (name, path) => {
    if (path.includes(name)) {
      problems.push(
        `packages depend on each other in a circle: ${[...path.slice(path.indexOf(name)), name].join(" → ")}`,
      );
      return;
    }
    if (done.has(name)) return;
    const one = packages.find((candidate) => candidate.name === name);
    for (const next of one?.depends ?? []) visit(next, [...path, name]);
    done.add(name);
  };
  for (const { name } of packages) visit(name, []);
}

function findPackages() {
  const directories = [join(root, "tests")];
  for (const group of ["packages", "services"]) {
    for (const name of readdirSync(join(root, group))) directories.push(join(root, group, name));
  }
  return directories.flatMap((directory) => {
    const manifest = readManifest(directory);
    if (manifest === undefined) return [];
    const ours = (dependencies = {}) =>
      Object.keys(dependencies)
        .filter((name) => name.startsWith("@godwit/"))
        .map((name) => name.slice("@godwit/".length));
    const depends = ours(manifest.dependencies);
    // Test code may use what devDependencies names, production code only what is installed with it.
    const declared = new Set([...depends, ...ours(manifest.devDependencies)]);
    return [{ name: manifest.name.slice("@godwit/".length), directory, depends, declared }];
  });
}

function readManifest(directory) {
  try {
    return JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
  } catch {
    return undefined;
  }
}

function sourcesBelow(directory) {
  return readdirSync(directory).flatMap((name) => {
    if (["node_modules", "dist", "build", "gen"].includes(name) || name.startsWith(".")) return [];
    const path = join(directory, name);
    if (statSync(path).isDirectory()) return sourcesBelow(path);
    return name.endsWith(".ts") && !name.endsWith(".d.ts") ? [path] : [];
  });
}

/** Blanks comments out. A "//" inside a string literal is left alone. */
function withoutComments(source) {
  return source.replace(
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|\/\/[^\n]*|\/\*[\s\S]*?\*\//g,
    (match, literal) => (literal === undefined ? " " : match),
  );
}
