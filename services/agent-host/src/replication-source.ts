// What replication needs of agents that run here, from the data directory.

import { Fault } from "@godwit/common/fault";
import { refOf } from "@godwit/lineage";
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
    spine: (agentId, checkpoint) => storage.spine(agentId, refOf(checkpoint)),
    receipts,
  };
}
