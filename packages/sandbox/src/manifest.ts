// What an agent's author says about it. JSON; one that cannot be understood is refused as a whole, so that no limit is lost to a typing mistake.

import { Fault } from "@godwit/common/fault";
import { type Capability, capabilities as sandboxCapabilities } from "./abi.ts";
import { pageBytes } from "./rules.ts";

export interface DeclaredCapability {
  readonly version: number;
  readonly options: Readonly<Record<string, unknown>>;
}

export interface ResourceLimits {
  /** Undefined, like 0 in the file: what the host gives. */
  readonly maxMemoryBytes: number | undefined;
  readonly maxCpuMillis: number | undefined;
  readonly maxStorageBytes: number | undefined;
}

export interface MigrationPolicy {
  readonly enabled: boolean;
  /** Microcents; undefined, like 0 in the file: any price. */
  readonly maxPricePerSecond: bigint | undefined;
  readonly preferredRegions: readonly string[];
}

/** `latest`: recovered from the newest checkpoint that there is; `strict`: only from one that is surely the last. */
export type RecoveryPolicy = "latest" | "strict";

export interface Manifest {
  readonly capabilities: ReadonlyMap<string, DeclaredCapability>;
  readonly resourceLimits: ResourceLimits;
  /** A manifest without one allows migration; one with a policy that does not say `enabled` forbids it. */
  readonly migrationPolicy: MigrationPolicy;
  readonly recoveryPolicy: RecoveryPolicy;
}

export const maxManifestBytes = 65_536;

const versionOffered = 1;
const maxCapabilities = 64;
const maxRegions = 64;
const maxNameLength = 64;
const maxMemoryBytes = 65_536 * pageBytes;
const text = new TextDecoder("utf-8", { fatal: true });

type JsonObject = Readonly<Record<string, unknown>>;

/** No bytes are an empty manifest. @throws Fault MANIFEST_INVALID that names the key. */
export function parseManifest(bytes: Uint8Array): Manifest {
  const root = bytes.length === 0 ? {} : asObject(parseJson(bytes), "the manifest");
  const recoveryPolicy = root["recovery_policy"] ?? "latest";
  if (recoveryPolicy !== "latest" && recoveryPolicy !== "strict") {
    throw invalid(`recovery_policy must be "latest" or "strict", not ${show(recoveryPolicy)}`);
  }
  return {
    capabilities: readCapabilities(section(root, "capabilities")),
    resourceLimits: readLimits(section(root, "resource_limits")),
    migrationPolicy: readMigration(section(root, "migration_policy")),
    recoveryPolicy,
  };
}

/** What an agent may use at most, as its author has declared it; what is absent is the host's to say. */
export interface DeclaredLimits {
  readonly memoryLimitBytes?: number;
  /** Of one tick. */
  readonly tickLimitMs?: number;
  readonly stateLimitBytes?: number;
}

/** T-43: declared limits hold, wherever the agent is started. */
export function declaredLimits({ resourceLimits }: Manifest): DeclaredLimits {
  const { maxMemoryBytes, maxCpuMillis, maxStorageBytes } = resourceLimits;
  return {
    ...(maxMemoryBytes === undefined ? {} : { memoryLimitBytes: maxMemoryBytes }),
    ...(maxCpuMillis === undefined ? {} : { tickLimitMs: maxCpuMillis }),
    ...(maxStorageBytes === undefined ? {} : { stateLimitBytes: maxStorageBytes }),
  };
}

/** What of a manifest a host does not have; sorted, empty if it has all. */
export function missingCapabilities(manifest: Manifest, offered: ReadonlySet<Capability>): string[] {
  const names: ReadonlySet<string> = offered;
  return [...manifest.capabilities.keys()].filter((name) => !names.has(name)).sort();
}

/** What of a manifest the sandbox links: the declared capabilities that it knows. */
export function declaredCapabilities(manifest: Manifest): ReadonlySet<Capability> {
  return new Set(sandboxCapabilities.filter((name) => manifest.capabilities.has(name)));
}

function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length > maxManifestBytes) {
    throw invalid(`it has ${bytes.length} bytes; at most ${maxManifestBytes} are read`);
  }
  try {
    return JSON.parse(text.decode(bytes)) as unknown;
  } catch (cause) {
    throw new Fault({ code: "MANIFEST_INVALID", reason: `it is not JSON (${(cause as Error).message})` }, { cause });
  }
}

function readCapabilities(declared: JsonObject | undefined): ReadonlyMap<string, DeclaredCapability> {
  const entries = Object.entries(declared ?? {});
  if (entries.length > maxCapabilities) {
    throw invalid(`it declares ${entries.length} capabilities; at most ${maxCapabilities} are allowed`);
  }
  return new Map(
    entries.map(([name, value]) => {
      if (name === "" || name.length > maxNameLength) {
        throw invalid(`a capability's name has 1 to ${maxNameLength} characters; ${show(name)} has ${name.length}`);
      }
      const path = `capabilities.${name}`;
      const capability = asObject(value, path);
      if (capability["version"] !== versionOffered) {
        throw invalid(`${path}.version must be ${versionOffered}, not ${show(capability["version"])}`);
      }
      return [name, { version: versionOffered, options: section(capability, "options", path) ?? {} }];
    }),
  );
}

function readLimits(limits: JsonObject = {}): ResourceLimits {
  const read = (key: string, max: number): number | undefined =>
    wholeNumber(limits[key], `resource_limits.${key}`, max);
  return {
    maxMemoryBytes: read("max_memory_bytes", maxMemoryBytes),
    maxCpuMillis: read("max_cpu_millis", Number.MAX_SAFE_INTEGER),
    maxStorageBytes: read("max_storage_bytes", Number.MAX_SAFE_INTEGER),
  };
}

function readMigration(policy: JsonObject | undefined): MigrationPolicy {
  if (policy === undefined) return { enabled: true, maxPricePerSecond: undefined, preferredRegions: [] };
  const enabled = policy["enabled"] ?? false;
  if (typeof enabled !== "boolean")
    throw invalid(`migration_policy.enabled must be true or false, not ${show(enabled)}`);
  const path = "migration_policy.max_price_per_second";
  const price = wholeNumber(policy["max_price_per_second"], path, Number.MAX_SAFE_INTEGER);
  return {
    enabled,
    maxPricePerSecond: price === undefined ? undefined : BigInt(price),
    preferredRegions: readRegions(policy["preferred_regions"] ?? []),
  };
}

function readRegions(regions: unknown): readonly string[] {
  const right =
    Array.isArray(regions) &&
    regions.length <= maxRegions &&
    regions.every((region) => typeof region === "string" && region !== "" && region.length <= maxNameLength);
  if (right) return regions as string[];
  throw invalid(
    `migration_policy.preferred_regions must be a list of at most ${maxRegions} names of 1 to ${maxNameLength} characters`,
  );
}

/** Undefined for an absent number and for 0, which stands for "no limit". */
function wholeNumber(value: unknown, path: string, max: number): number | undefined {
  if (value === undefined || value === null || value === 0) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0 && value <= max) return value;
  throw invalid(`${path} must be a whole number from 0 to ${max}, not ${show(value)}`);
}

function section(object: JsonObject, key: string, path?: string): JsonObject | undefined {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return value === undefined || value === null
    ? undefined
    : asObject(value, path === undefined ? key : `${path}.${key}`);
}

function asObject(value: unknown, path: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw invalid(`${path} must be an object, not ${show(value)}`);
}

function show(value: unknown): string {
  if (value === undefined) return "absent";
  // Not what is in it: JSON can be read to any depth, and written to a few thousand levels.
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  const shown = JSON.stringify(value);
  return shown.length > 40 ? `${shown.slice(0, 40)}…` : shown;
}

function invalid(reason: string): Fault {
  return new Fault({ code: "MANIFEST_INVALID", reason });
}
