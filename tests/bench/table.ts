import type { Figure } from "./figures.ts";

/** Lines: the first row is the titles; the first column is text, the others are numbers. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const pad = (cell: string, column: number) => {
    const width = widths[column] ?? 0;
    return column === 0 ? cell.padEnd(width) : cell.padStart(width);
  };
  return rows.map((row) => row.map(pad).join("  ").trimEnd());
}

export function figureTable(figures: readonly Figure[]): string[] {
  const rows = figures.map(({ name, unit, value, floor, ratio, aim }) => [
    name,
    unit,
    rounded(value, unit),
    rounded(floor, unit),
    ratio.toFixed(2),
    aim === undefined ? "" : `${aim.of === "ratio" ? "ratio " : ""}≤ ${aim.atMost}`,
    aim === undefined ? "" : (aim.of === "ratio" ? ratio : value) <= aim.atMost ? "yes" : "no",
  ]);
  return table([["FIGURE", "UNIT", "VALUE", "FLOOR", "RATIO", "AIM", "MET"], ...rows]);
}

function rounded(value: number, unit: Figure["unit"]): string {
  return unit === "bytes" ? value.toFixed(0) : value.toFixed(value < 10 ? 3 : 1);
}
