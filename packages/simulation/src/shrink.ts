// Fewer faults with which a seed still fails: halves, then quarters, down to single ones, are left out as long as it does.

import { runSeed, type SeedReport, type SeedRules } from "./run-seed.ts";

/** Undefined when the seed does not fail. Ends early with what there is when the signal aborts. */
export async function shrink(
  rules: SeedRules,
  say: (text: string) => void,
  signal: AbortSignal,
): Promise<SeedReport | undefined> {
  const fails = async (ids: readonly number[] | undefined): Promise<SeedReport | undefined> => {
    const { print: _print, ...quiet } = rules;
    const report = await runSeed({ ...quiet, ...(ids && { onlyFaults: new Set(ids) }) });
    return report.violations.length > 0 || report.bugs.length > 0 ? report : undefined;
  };
  let best = await fails(rules.onlyFaults && [...rules.onlyFaults]);
  if (best === undefined) return undefined;
  let left = best.faults.map(({ id }) => id);
  say(`it fails with ${left.length} faults`);
  for (let size = Math.ceil(left.length / 2); size >= 1 && !signal.aborted; ) {
    let smaller = false;
    for (let at = 0; at < left.length && !signal.aborted; ) {
      const without = [...left.slice(0, at), ...left.slice(at + size)];
      const report = await fails(without);
      if (report === undefined) {
        at += size;
        continue;
      }
      best = report;
      left = report.faults.map(({ id }) => id);
      smaller = true;
      say(`it fails with ${left.length}`);
    }
    if (size === 1 && !smaller) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return best;
}
