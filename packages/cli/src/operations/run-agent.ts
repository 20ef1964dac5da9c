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
const none = new Uint8Array();

export async function runAgent(session: Session, request: RunRequest): Promise<StartedAgent> {
  const name = request.name ?? nameFromFile(request.modulePath, WASM);
  return await startAgent(session, { name, budget: request.budget, ...readProgram(request) }, request.host);
}

/** What is sent to a host. */
export interface AgentUpload {
  readonly name: string;
  /** Microcents. */
  readonly budget: bigint;
  readonly module: Uint8Array;
  readonly manifest: Uint8Array;
  /** Of the seed system, which the agent goes on from; none are empty. */
  readonly checkpoint?: Uint8Array;
  readonly receipts?: Uint8Array | undefined;
}

/** On the host with that name, id or prefix; by default on the cheapest that fits the manifest. */
export async function startAgent(
  session: Session,
  upload: AgentUpload,
  hostName: string | undefined,
): Promise<StartedAgent> {
  const { name, manifest } = upload;
  const host =
    hostName === undefined
      ? await cheapestCandidate(session, { agent: name, ...needsOf(manifest) })
      : await findHost(session, hostName);
  const { agent } = await session.host(host.grpcAddress).runAgent(frames(upload), session.call());
  if (agent === undefined) {
    const problem = { status: "INTERNAL", message: "the answer names no agent", target: host.grpcAddress };
    throw new Fault({ code: "RPC_FAILED", ...problem });
  }
  return { agent, host };
}

/** An agent's module and manifest, from their files. Throws Fault INVALID_ARGUMENT. */
export function readProgram(request: Pick<RunRequest, "modulePath" | "manifestPath">) {
  return { module: readInput(request.modulePath, "module"), manifest: readManifest(request) };
}

function* frames({ module, checkpoint = none, receipts = none, ...spec }: AgentUpload) {
  const sizes = {
    moduleBytes: BigInt(module.length),
    checkpointBytes: BigInt(checkpoint.length),
    receiptsBytes: BigInt(receipts.length),
  };
  yield { frame: { case: "spec", value: { ...spec, ...sizes } } } as const;
  for (const value of chunksOf(module)) yield { frame: { case: "moduleChunk", value } } as const;
  for (const value of chunksOf(checkpoint)) yield { frame: { case: "checkpointChunk", value } } as const;
  for (const value of chunksOf(receipts)) yield { frame: { case: "receiptsChunk", value } } as const;
  const sha256 = new Uint8Array(createHash("sha256").update(module).digest());
  yield { frame: { case: "end", value: { sha256 } } } as const;
}

function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += CHUNK_BYTES) yield bytes.subarray(from, from + CHUNK_BYTES);
}

/** Empty when none is named and none lies beside the module: an agent without capabilities. */
function readManifest({ manifestPath, modulePath }: Pick<RunRequest, "modulePath" | "manifestPath">): Uint8Array {
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

/** A name of an agent from its file's, without that ending. */
export function nameFromFile(path: string, ending: RegExp): string {
  const name = basename(path)
    .replace(ending, "")
    .replace(/[^A-Za-z0-9_.-]+/g, "-")
    .slice(0, MAX_NAME_CHARS);
  return name === "" ? "agent" : name;
}
