// Which modules may become agents. Nothing of a module has run, or was compiled, when this says no.

import {
  agentExports,
  type Capability,
  describeType,
  type ExportRule,
  type HostcallName,
  hostcalls,
  hostModules,
  isHostcall,
  sameType,
} from "../abi.ts";
import { pageBytes } from "../rules.ts";
import { isWasi, type WasiName, wasiModule, wasiType } from "../wasi-abi.ts";
import { ModuleRefused } from "./reader.ts";
import { functionType, type ImportedFunction, type ModuleShape, readShape } from "./shape.ts";

export interface ModuleLimits {
  readonly maxModuleBytes: number;
  readonly maxMemoryBytes: number;
}

/** What the runtime must know of a module to run it as an agent. */
export interface AdmittedShape extends ModuleShape {
  /** The functions of the host that it imports, each once. */
  readonly hostcalls: readonly HostcallName[];
  /** Of WASI. */
  readonly wasi: readonly WasiName[];
  readonly memoryExport: string;
  /** Without it a state that is not empty cannot be handed back to the agent. */
  readonly hasMalloc: boolean;
}

/** Tables and their elements stand outside linear memory, so they need bounds of their own. */
export const maxTables = 16;
export const maxTableElements = 65_536;

/** @throws ModuleRefused whose text completes "the module …". */
export function admit(bytes: Uint8Array): AdmittedShape {
  const shape = readShape(bytes);
  checkMemory(shape);
  checkTables(shape);
  const imported = new Set<HostcallName>();
  const wasi = new Set<WasiName>();
  for (const entry of shape.imports) {
    if (entry.module === wasiModule) wasi.add(checkWasi(entry));
    else imported.add(checkImport(entry));
  }
  checkExports(shape);

  const memory = shape.exports.find(({ kind }) => kind === "memory");
  if (memory === undefined) throw new ModuleRefused('does not export its memory; export it as "memory"');
  return {
    ...shape,
    hostcalls: [...imported],
    wasi: [...wasi],
    memoryExport: memory.name,
    hasMalloc: shape.exports.some(({ name }) => name === "malloc"),
  };
}

/** @throws ModuleRefused */
export function checkSize(bytes: Uint8Array, { maxModuleBytes }: ModuleLimits): void {
  if (bytes.length <= maxModuleBytes) return;
  throw new ModuleRefused(`has ${bytes.length} bytes; at most ${maxModuleBytes} are admitted`);
}

/** The pages that the agent's memory may grow to: its own maximum if that is lower than what it may have. @throws ModuleRefused */
export function memoryPages({ memories }: ModuleShape, allowedPages: number): number {
  const [memory] = memories;
  const min = memory?.min ?? 0;
  if (min > allowedPages) {
    throw new ModuleRefused(
      `needs ${min * pageBytes} bytes of memory to begin with; it may have ${allowedPages * pageBytes}`,
    );
  }
  return Math.min(allowedPages, memory?.max ?? allowedPages);
}

/** Deny by default. @throws ModuleRefused that names each function together with the capability that it needs. */
export function checkDeclared(needed: readonly HostcallName[], declared: ReadonlySet<Capability>): void {
  const undeclared = needed.filter((name) => !declared.has(hostcalls[name].capability));
  if (undeclared.length === 0) return;
  const named = undeclared.map((name) => `${name} (capability "${hostcalls[name].capability}")`).join(", ");
  throw new ModuleRefused(`imports ${named}, which its manifest does not declare`);
}

function checkMemory({ memories }: ModuleShape): void {
  if (memories.length === 0) throw new ModuleRefused("has no memory");
  if (memories.length > 1) throw new ModuleRefused(`has ${memories.length} memories; one is offered`);
}

function checkTables(shape: ModuleShape): void {
  if (shape.tables.length > maxTables) {
    throw new ModuleRefused(`has ${shape.tables.length} tables; at most ${maxTables} are admitted`);
  }
  for (const { min } of shape.tables) {
    if (min > maxTableElements) {
      throw new ModuleRefused(`has a table of ${min} elements; at most ${maxTableElements} are admitted`);
    }
  }
}

function checkImport({ module, name, type }: ImportedFunction): HostcallName {
  if (!hostModules.has(module) || !isHostcall(name)) {
    throw new ModuleRefused(
      `imports ${module}.${name}, which hosts do not offer; "igor" and "godwit" have ${Object.keys(hostcalls).join(", ")}`,
    );
  }
  if (!sameType(type, hostcalls[name])) {
    throw new ModuleRefused(
      `imports ${module}.${name} as ${describeType(type)}; it is ${describeType(hostcalls[name])}`,
    );
  }
  return name;
}

function checkWasi({ module, name, type }: ImportedFunction): WasiName {
  if (!isWasi(name)) throw new ModuleRefused(`imports ${module}.${name}, which WASI preview 1 does not have`);
  if (!sameType(type, wasiType(name))) {
    throw new ModuleRefused(
      `imports ${module}.${name} as ${describeType(type)}; it is ${describeType(wasiType(name))}`,
    );
  }
  return name;
}

function checkExports(shape: ModuleShape): void {
  for (const [name, rule] of Object.entries(agentExports) as [string, ExportRule][]) {
    const found = shape.exports.find((entry) => entry.name === name);
    if (found === undefined) {
      if (rule.required)
        throw new ModuleRefused(`does not export ${name} ${rule.types.map(describeType).join(" or ")}`);
      continue;
    }
    const type = found.kind === "function" ? functionType(shape, found.index) : undefined;
    if (type === undefined) throw new ModuleRefused(`exports ${name} as a ${found.kind}; it must be a function`);
    if (!rule.types.some((right) => sameType(right, type))) {
      throw new ModuleRefused(
        `exports ${name} as ${describeType(type)}; it must be ${rule.types.map(describeType).join(" or ")}`,
      );
    }
  }
}
