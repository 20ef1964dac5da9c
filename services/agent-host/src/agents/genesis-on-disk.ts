import type { CheckpointRef } from "@godwit/common/lease";
import { readHeader } from "@godwit/lineage";
import type { DataDirectory } from "../storage/index.ts";

/** Bytes of the agent's genesis: at the end of the spine of any checkpoint that is held. Throws the faults of `spineFrom`. */
export async function genesisOnDisk(
  storage: DataDirectory,
  agentId: string,
  ref: CheckpointRef,
): Promise<Uint8Array | undefined> {
  const first = (await storage.spineFrom(agentId, ref)).at(-1);
  return first && readHeader(first.payload).genesis;
}
