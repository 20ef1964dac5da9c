// EI-3 on a whole state: what the record's walk says of a checkpoint agrees with who descends from whom.

import { compareTerms } from "@godwit/common/lease";
import type { Digests } from "./digests.ts";
import type { Rules } from "./rules.ts";
import { type Ghost, type Store, shortRef } from "./world.ts";

/** `undefined` when all is well. A record that nobody confirmed since the store forgot says nothing yet (GA-9). */
export function lineagesOf(
  rules: Rules,
  digests: Digests,
  { record, mark, identity }: Store,
  { terms }: Ghost,
): string | undefined {
  if (record === undefined || mark?.storeIdentity !== identity || record.incarnation !== mark.incarnation)
    return undefined;
  if (record.afterLoss !== undefined) return undefined;
  if (record.conflict !== undefined) return "EI-11: two checkpoints of one major and tick were committed";
  for (const { base, last } of terms) {
    for (const seen of last === undefined ? [base] : [base, last]) {
      if (compareTerms(seen, record) >= 0) continue;
      const standing = rules.standing(record.bases, record.head, seen, record);
      if (standing === "divergent") return `EI-3: ${shortRef(seen)} and the record's lineage are two`;
      if (record.forced !== undefined && compareTerms(seen, record.forced) < 0) continue;
      const kept = digests.descends(record.head, seen);
      if (kept && standing !== "on-lineage")
        return `EI-3: ${shortRef(seen)} is on the chain and the walk says ${standing}`;
      const baseOfPresent = record.bases[0]?.startedFrom;
      const older =
        baseOfPresent !== undefined && compareTerms(record.bases[0] as { era: bigint; major: bigint }, record) === 0;
      if (!kept && older && standing === "on-lineage") {
        return `EI-3: ${shortRef(seen)} was given up and the walk says ${standing}`;
      }
    }
  }
  return undefined;
}
