// What is printed of weaknesses and of what became of them.

const columns = process.stdout.columns ?? 160;

export function listLines(mutants) {
  const width = Math.max(...mutants.map(({ name }) => name.length));
  return mutants.flatMap(({ name, rules, weakness, catchers }) => [
    `${name.padEnd(width)}  ${rules.join(", ")}: ${weakness}`,
    ...catchers.map(({ line }) => `${" ".repeat(width)}    ${line}`),
  ]);
}

/** A line for each, then the rules and how many weaknesses of each were noticed. */
export function tableLines(results) {
  const rows = results.map(({ name, rules, verdict, seconds, catcher, by, reason }) => [
    name,
    rules.join(", "),
    `${seconds.toFixed(1)} s`,
    verdict === "caught" ? shortOf(catcher) : verdict,
    by ?? reason ?? "",
  ]);
  const head = ["weakness", "rule", "time", "noticed by", "as"];
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at].length)));
  const line = (row) =>
    row
      .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at])))
      .join("  ")
      .slice(0, Math.max(columns, 160))
      .trimEnd();
  return [line(head), ...rows.map(line), "", ...ruleLines(results)];
}

function ruleLines(results) {
  const byRule = new Map();
  for (const { rules, verdict, name, reason } of results) {
    for (const rule of rules) {
      const of = byRule.get(rule) ?? { caught: 0, all: 0, redundant: [] };
      of.all++;
      if (verdict === "caught") of.caught++;
      if (verdict === "redundant") of.redundant.push(`${name}: ${reason}`);
      byRule.set(rule, of);
    }
  }
  const rules = [...byRule].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  const needed = rules.map(([rule, { caught, all }]) => `${rule} ${caught}/${all}`);
  const redundant = rules.flatMap(([rule, of]) => of.redundant.map((why) => `redundant: ${rule}, ${why}`));
  return [`noticed, by rule: ${needed.join("  ")}`, ...redundant];
}

/** The file's own name is enough. */
function shortOf(catcher) {
  const [tool, first = "", ...rest] = catcher.split(" ");
  return tool === "vitest" ? (first.split("/").at(-1) ?? first) : [tool, first, ...rest].join(" ");
}
