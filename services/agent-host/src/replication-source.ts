// What replication needs of agents that run here, from the data directory.

import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { digestOf, refOf } from "@godwit/lineage";
import type { ReplicationSource } from "./replication/index.ts";
import type { DataDirectory } from "./storage/index.ts";

export function replicationSource(
  storage: DataDirectory,
  receipts: (agentId: string) => readonly Uint8Array[],
): ReplicationSource {
  const blob = async (agentId: string, digest: string | undefined): Promise<Uint8Array> => {
    const bytes = digest === undefined ? undefined : await storage.getBlob(digest);
    if (bytes === undefined) throw new Fault({ code: "AGENT_NOT_HERE", agentId });
    return bytes;
  };
  return {
    module: (agentId) => blob(agentId, storage.agent(agentId)?.moduleDigest),
    manifest: (agentId) => blob(agentId, storage.agent(agentId)?.manifestDigest),
    spine: async (agentId, checkpoint, known) => above(storage.walkSpine(agentId, refOf(checkpoint)), known),
    receipts,
  };
}

/** Of an agent that lives long most is known, so it is not read. */
function above(spine: Iterable<SignedBytes>, known: string | undefined): readonly SignedBytes[] {
  const unknown: SignedBytes[] = [];
  for (const signed of spine) {
    if (digestOf(signed.payload) === known) break;
    unknown.push(signed);
  }
  return unknown;
}
