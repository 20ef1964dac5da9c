// How often each thing that nobody may count on can happen in one run. Packed into one integer, three bits each.

export const budgetNames = [
  "ticks",
  "migrations",
  "losses",
  "duplicates",
  "crashes",
  "expiries",
  "releases",
  "wipes",
  "rollbacks",
  "forces",
] as const;

export type BudgetName = (typeof budgetNames)[number];
export type Budgets = Readonly<Partial<Record<BudgetName, number>>>;

export const budgetBits = budgetNames.length * 3;

export function packBudgets(budgets: Budgets): number {
  return budgetNames.reduce((packed, name, at) => {
    const amount = budgets[name] ?? 0;
    if (amount > 7) throw new RangeError(`at most 7 ${name}`);
    return packed | (amount << (3 * at));
  }, 0);
}

/** What has to be taken from packed budgets for one of each name. */
export function costOf(...names: readonly BudgetName[]): number {
  return names.reduce((packed, name) => packed + (1 << (3 * budgetNames.indexOf(name))), 0);
}

/** Whether every budget in `cost` is there. A cost has at most one of each. */
export function canPay(packed: number, cost: number): boolean {
  if (cost === 0) return true;
  for (let at = 0; at < budgetNames.length; at++) {
    if (((cost >>> (3 * at)) & 7) > ((packed >>> (3 * at)) & 7)) return false;
  }
  return true;
}

export function left(packed: number, name: BudgetName): number {
  return (packed >>> (3 * budgetNames.indexOf(name))) & 7;
}

export function describeBudgets(packed: number): string {
  return budgetNames
    .map((name, at) => ({ name, amount: (packed >>> (3 * at)) & 7 }))
    .filter(({ amount }) => amount > 0)
    .map(({ name, amount }) => `${name} ${amount}`)
    .join(", ");
}
