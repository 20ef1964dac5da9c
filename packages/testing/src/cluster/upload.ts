import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RunAgentRequestSchema } from "@godwit/proto/godwit/host/v1/host";

export interface RunOptions {
  /** Microcents. */
  readonly budget: bigint;
  readonly name?: string;
  /** As JSON; no capabilities when unset. */
  readonly manifest?: object;
}

type Frame = MessageInitShape<typeof RunAgentRequestSchema>;

const CHUNK_BYTES = 64 * 1024;

/** The frames of RunAgent for a module on disk: what it is, its bytes, its end. */
export async function* uploadFrames(wasmPath: string, { budget, name, manifest }: RunOptions): AsyncGenerator<Frame> {
  const module = await readFile(wasmPath);
  const spec = {
    name: name ?? "agent",
    manifest: manifest === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(manifest)),
    budget,
    moduleBytes: BigInt(module.length),
  };
  yield { frame: { case: "spec", value: spec } };
  for (let at = 0; at < module.length; at += CHUNK_BYTES) {
    yield { frame: { case: "moduleChunk", value: new Uint8Array(module.subarray(at, at + CHUNK_BYTES)) } };
  }
  const sha256 = new Uint8Array(createHash("sha256").update(module).digest());
  yield { frame: { case: "end", value: { sha256 } } };
}
