// A service's own metrics, as whoever watches it sees them.

import type { ClusterNode } from "@godwit/testing";

/** Value by name, with labels as they are written. The lag of the event loop is that since the last time that it was asked for. */
export async function metricsOf(node: Pick<ClusterNode, "opsUrl">): Promise<ReadonlyMap<string, number>> {
  const answer = await fetch(`${node.opsUrl}/metrics`);
  if (!answer.ok) throw new Error(`${node.opsUrl}/metrics answered ${answer.status}`);
  const lines = (await answer.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

export async function residentBytes(node: Pick<ClusterNode, "opsUrl">): Promise<number> {
  const bytes = (await metricsOf(node)).get("process_resident_memory_bytes");
  if (bytes === undefined) throw new Error("the metrics have no resident memory");
  return bytes;
}
