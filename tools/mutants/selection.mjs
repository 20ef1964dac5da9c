// Which of the weaknesses: a part of them, or some that change from day to day.

import { createHash } from "node:crypto";

/** `text` is I/N, I from 1. Undefined for anything else. */
export function shard(mutants, text) {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text)?.map(Number) ?? [];
  if (index === undefined || index < 1 || index > count) return undefined;
  return mutants.filter((_, at) => at % count === index - 1);
}

/** `count` of them, the same ones for the same word. */
export function share(mutants, count, word) {
  const lot = ({ name }) => createHash("sha256").update(`${word}/${name}`).digest("hex");
  const drawn = mutants.map((mutant) => ({ mutant, lot: lot(mutant) })).sort((a, b) => (a.lot < b.lot ? -1 : 1));
  return drawn.slice(0, count).map(({ mutant }) => mutant);
}
