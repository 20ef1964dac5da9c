import { writeFile } from "node:fs/promises";

/** One measured number beside what it costs at least on this machine, measured in the same run. */
export interface Figure {
  readonly name: string;
  readonly unit: "ms" | "us" | "bytes";
  readonly value: number;
  readonly floor: number;
  /** `value / floor`. */
  readonly ratio: number;
  /** The most that the value, or the ratio, is meant to be; for the table only. */
  readonly aim?: { readonly of: "value" | "ratio"; readonly atMost: number } | undefined;
}

export function figure(measured: Omit<Figure, "ratio">): Figure {
  return { ...measured, ratio: measured.value / measured.floor };
}

/** The sample that `share` of all samples do not exceed. Throws for no samples. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new RangeError("there are no samples");
  return value;
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

export async function writeFigures(file: string, bench: string, figures: readonly Figure[]): Promise<void> {
  const plain = figures.map(({ name, unit, value, floor, ratio }) => ({ name, unit, value, floor, ratio }));
  await writeFile(file, `${JSON.stringify({ bench, figures: plain }, undefined, 2)}\n`);
}
