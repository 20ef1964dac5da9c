// What a checkpoint takes over from an earlier one of its lineage, of money and of fundings.
//
// I6   What the checkpoint before left, of budget and of remainder, is what the next one charges to.
// §11  No funding is forgotten, so none is applied twice.

import { fundingsLost } from "./fundings.ts";
import type { Header } from "./header.ts";
import { remainderBefore } from "./header-rules.ts";
import { budgetBefore } from "./receipt.ts";

/** Why `header` cannot descend from `before`, whose digest tells whether it is the one just before it. */
export function carriedProblem(before: { readonly header: Header; readonly digest: string }, header: Header) {
  if (header.previous !== before.digest) return fundingsLost(before.header, header, "far");
  return moneyProblem(before.header, header) ?? fundingsLost(before.header, header, "next");
}

function moneyProblem(before: Header, header: Header): string | undefined {
  const [first] = header.receipts;
  if (first === undefined) return undefined;
  if (budgetBefore(first) !== before.budget) return "does not charge to the budget that was left";
  const remainder = remainderBefore(header);
  if (remainder !== undefined && remainder !== before.remainder) return "does not carry the remainder that was left";
  return undefined;
}
