import type { SignedBytes } from "@godwit/common/lease";
import { fromProtoSigned, readHeader, verifyLineage } from "@godwit/lineage";
import type { HostNode, RegistryNode } from "@godwit/testing";

interface Asked {
  readonly host: HostNode;
  readonly registry: RegistryNode;
  readonly agentId: string;
  readonly signal: AbortSignal;
}

/**
 * That the agent's lineage holds, and that the receipts on it account for every tick from 1 to the newest checkpoint once.
 * Throws an Error that says what is wrong.
 */
export async function checkLineage({ host, registry, agentId, signal }: Asked): Promise<void> {
  const { publicKey } = await registry.sessions.describeRegistry({}, { signal });
  const headers: SignedBytes[] = [];
  for await (const { header } of host.host.getLineage({ agentId }, { signal })) {
    if (header !== undefined) headers.push(fromProtoSigned(header));
  }
  const { problems, gaps } = verifyLineage(headers, new Uint8Array(publicKey));
  const wrong = problems.map(({ kind, detail }) => `${kind}: ${detail}`);
  if (gaps > 0) wrong.push(`${gaps} gaps: headers are missing`);

  let next = 1n;
  for (const { payload } of headers.toReversed()) {
    const { tick, receipts } = readHeader(payload);
    for (const { firstTick, lastTick } of receipts) {
      if (firstTick !== next) wrong.push(`tick ${next} is followed by ${firstTick}`);
      next = lastTick + 1n;
    }
    if (tick !== next - 1n) wrong.push(`the checkpoint of tick ${tick} accounts for ${next - 1n} ticks`);
  }
  if (wrong.length > 0) throw new Error(`the lineage of agent ${agentId} does not hold:\n${wrong.join("\n")}`);
}
