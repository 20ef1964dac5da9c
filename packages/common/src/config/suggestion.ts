/** ": did you mean --lease-duration?" for the nearest known flag, or nothing when none is near. */
export function suggestion(unknown: string, known: readonly string[]): string {
  let nearest: string | undefined;
  let fewest = Math.max(2, Math.floor(unknown.length / 3)) + 1;
  for (const name of known) {
    const edits = name.startsWith(unknown) && unknown.length > 2 ? 1 : editDistance(unknown, name);
    if (edits < fewest) {
      fewest = edits;
      nearest = name;
    }
  }
  return nearest === undefined ? "; --help lists them" : `: did you mean --${nearest}?`;
}

/** How many letters have to be added, removed or replaced. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    above = current;
  }
  return above[b.length] ?? 0;
}
