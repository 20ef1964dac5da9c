export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  /** Numbers read best when their ends are below each other. */
  readonly align?: "left" | "right";
}

const GAP = "  ";

/** Lines of a table, its titles first; as wide as what is in it, and cut at `maxColumns`. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], maxColumns = Infinity): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ value }) => value(row)))];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => (line[index] ?? "").length)));
  return cells.map((line) => {
    const padded = line.map((cell, index) => {
      const width = widths[index] ?? 0;
      return columns[index]?.align === "right" ? cell.padStart(width) : cell.padEnd(width);
    });
    return clip(padded.join(GAP).trimEnd(), maxColumns);
  });
}

/** Not longer than `columns`, with a mark where something was cut. */
export function clip(line: string, columns: number): string {
  return line.length > columns ? `${line.slice(0, Math.max(0, columns - 1))}…` : line;
}
