// Starting an agent: its module, its manifest, and the host that is to run it.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { Fault } from "@godwit/common/fault";
import type { AgentStatus } from "@godwit/proto/godwit/host/v1/host";
import type { Session } from "../session.ts";
import { cheapestCandidate, findHost, type Host } from "./hosts.ts";

export interface RunRequest {
  readonly modulePath: string;
  /** By default the file beside the module that ends in .manifest.json, if there is one. */
  readonly manifestPath: string | undefined;
  /** Microcents. */
  readonly budget: bigint;
  /** By default the name of the module's file. */
  readonly name: string | undefined;
  /** By default the cheapest host that fits the manifest. */
  readonly host: string | undefined;
}

export interface StartedAgent {
  readonly agent: AgentStatus;
  readonly host: Host;
}

/** Below the size limit of a message, and enough of it for few messages. */
const CHUNK_BYTES = 128 * 1024;
const MAX_NAME_CHARS = 63;
const WASM = /\.wasm$/;

export async function runAgent(session: Session, request: RunRequest): Promise<StartedAgent> {
  const module = readInput(request.modulePath, "module");
  const manifest = readManifest(request);
  const name = request.name ?? nameFromFile(request.modulePath);
  const host =
    request.host === undefined
      ? await cheapestCandidate(session, { agent: name, ...needsOf(manifest) })
      : await findHost(session, request.host);

  const spec = { name, manifest, budget: request.budget, moduleBytes: BigInt(module.length) };
  const { agent } = await session.host(host.grpcAddress).runAgent(frames(spec, module), session.call());
  if (agent === undefined) {
    const problem = { status: "INTERNAL", message: "the answer names no agent", target: host.grpcAddress };
    throw new Fault({ code: "RPC_FAILED", ...problem });
  }
  return { agent, host };
}

interface Spec {
  readonly name: string;
  readonly manifest: Uint8Array;
  readonly budget: bigint;
  readonly moduleBytes: bigint;
}

function* frames(spec: Spec, module: Uint8Array) {
  yield { frame: { case: "spec", value: spec } } as const;
  for (let from = 0; from < module.length; from += CHUNK_BYTES) {
    yield { frame: { case: "moduleChunk", value: module.subarray(from, from + CHUNK_BYTES) } } as const;
  }
  const sha256 = new Uint8Array(createHash("sha256").update(module).digest());
  yield { frame: { case: "end", value: { sha256 } } } as const;
}

/** Empty when none is named and none lies beside the module: an agent without capabilities. */
function readManifest({ manifestPath, modulePath }: RunRequest): Uint8Array {
  if (manifestPath !== undefined) return readInput(manifestPath, "manifest");
  if (!WASM.test(modulePath)) return new Uint8Array();
  try {
    return new Uint8Array(readFileSync(modulePath.replace(WASM, ".manifest.json")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Uint8Array();
    throw unreadable("manifest", modulePath.replace(WASM, ".manifest.json"), error);
  }
}

function readInput(path: string, field: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw unreadable(field, path, error);
  }
}

function unreadable(field: string, path: string, cause: unknown): Fault {
  const { code } = cause as NodeJS.ErrnoException;
  const reason = code === "ENOENT" ? `there is no file ${path}` : `${path} cannot be read (${code ?? String(cause)})`;
  return new Fault({ code: "INVALID_ARGUMENT", field, reason }, { cause });
}

/** What to ask the registry for. The host checks the manifest itself: here, what is not as it should be asks for nothing. */
function needsOf(manifest: Uint8Array): { maxPricePerSecond: bigint; capabilities: readonly string[] } {
  if (manifest.length === 0) return { maxPricePerSecond: 0n, capabilities: [] };
  const content = parseManifest(manifest);
  const declared = content["capabilities"];
  const capabilities = typeof declared === "object" && declared !== null ? Object.keys(declared) : [];
  const policy = content["migration_policy"] as { max_price_per_second?: unknown } | null | undefined;
  const limit = policy?.max_price_per_second;
  const isLimit = typeof limit === "number" && Number.isSafeInteger(limit) && limit > 0;
  return { maxPricePerSecond: isLimit ? BigInt(limit) : 0n, capabilities };
}

function parseManifest(manifest: Uint8Array): Record<string, unknown> {
  try {
    const content: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(manifest));
    if (typeof content === "object" && content !== null && !Array.isArray(content)) {
      return content as Record<string, unknown>;
    }
    throw new Fault({ code: "MANIFEST_INVALID", reason: "it is not a JSON object" });
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw new Fault({ code: "MANIFEST_INVALID", reason: `it is not JSON (${(cause as Error).message})` }, { cause });
  }
}

function nameFromFile(path: string): string {
  const name = basename(path)
    .replace(WASM, "")
    .replace(/[^A-Za-z0-9_.-]+/g, "-")
    .slice(0, MAX_NAME_CHARS);
  return name === "" ? "agent" : name;
}
