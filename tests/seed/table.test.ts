// docs/seed-holes.md says where each hole is proven to be closed. It is right, and so are the titles.

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const numbers = Array.from({ length: 56 }, (_, index) => `T-${`${index + 1}`.padStart(2, "0")}`);
/** T-54 is about the seed's own demonstration. */
const cannotApply = ["T-54"];

interface Row {
  readonly closedBy: string;
  readonly files: readonly string[];
}

const rows = new Map<string, Row>();
for (const line of readFileSync(join(root, "docs/seed-holes.md"), "utf8").split("\n")) {
  const [, number = "", hole = "", closedBy = "", provenBy = ""] = line.split("|").map((cell) => cell.trim());
  if (!/^T-\d\d$/.test(number)) continue;
  if (rows.has(number) || hole === "" || closedBy === "") throw new Error(`a row that is not one: ${line}`);
  rows.set(number, { closedBy, files: [...provenBy.matchAll(/`([^`]+)`/g)].map(([, file = ""]) => file) });
}

/** Numbers in the titles of tests, by file. */
const titled = new Map<string, Set<string>>();
for (const file of globSync("{packages,services,tests}/**/*.test.ts", { cwd: root, exclude: isElsewhere })) {
  if (file === "tests/seed/table.test.ts") continue;
  const text = readFileSync(join(root, file), "utf8");
  // Titles only: a comment proves nothing.
  const titles = [...text.matchAll(/^(?!\s*\/\/).*["'`]([^"'`\n]*\bT-\d\d\b[^"'`\n]*)["'`]/gm)].map(
    ([, title = ""]) => title,
  );
  const found = new Set(titles.flatMap((title) => title.match(/\bT-\d\d\b/g) ?? []));
  if (found.size > 0) titled.set(file, found);
}

describe("docs/seed-holes.md", () => {
  test("has one row for each hole", () => {
    expect([...rows.keys()].toSorted()).toEqual(numbers);
  });

  test.each(numbers)("%s: the files of its row have it in a title, or the row says why there is none", (number) => {
    const { files, closedBy } = rows.get(number) ?? { files: [], closedBy: "" };
    for (const file of files) expect(titled.get(file) ?? new Set(), file).toContain(number);
    if (cannotApply.includes(number)) expect(closedBy).toContain("cannot apply");
    else expect(files.length).toBeGreaterThan(0);
  });

  test("names every test that has a hole's number in its title", () => {
    const unnamed = [...titled].flatMap(([file, found]) =>
      [...found].filter((number) => !rows.get(number)?.files.includes(file)).map((number) => `${number} in ${file}`),
    );
    expect(unnamed).toEqual([]);
  });
});

function isElsewhere(path: string): boolean {
  return /(^|\/)(node_modules|dist|build)$/.test(path);
}
