import { Fault } from "@godwit/common/fault";
import type { Checkpoint } from "@godwit/lineage";
import { type AgentInstance, declaredLimits } from "@godwit/sandbox";
import type { AgentIdentity, SupervisorParts } from "./supervisor-parts.ts";

/** An instance at the state of a checkpoint. Throws Fault MODULE_INVALID, STATE_INVALID; rejects with the signal's reason. */
export async function instantiate(
  { storage, sandbox }: Pick<SupervisorParts, "storage" | "sandbox">,
  { agentId, capabilities, manifest, moduleDigest }: AgentIdentity,
  { state }: Checkpoint,
  signal: AbortSignal,
): Promise<AgentInstance> {
  const bytes = await storage.getBlob(moduleDigest);
  if (bytes === undefined) throw new Fault({ code: "MODULE_INVALID", reason: "it is not in the data directory" });
  const module = await sandbox.compile(bytes, capabilities);
  return await sandbox.start({ agentId, module, capabilities, ...declaredLimits(manifest), state, signal });
}
