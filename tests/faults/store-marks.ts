// What the replicas of a registry say of a loss: each in its answers and in its log, the runs that were killed included.

import { fromBinary } from "@bufbuild/protobuf";
import { type Mark, MarkSchema } from "@godwit/proto/godwit/registry/v1/session";
import type { RegistryNode } from "@godwit/testing";

/** What a replica logs about marks, by message. */
const messages = {
  written: /A new mark was written/,
  began: /^quarantine: only session commands are served/,
  ended: /^this registry has ended the quarantine/,
  served: /^mark adopted: everything is served/,
} as const;

interface MarkLine {
  readonly what: keyof typeof messages;
  readonly registry: string;
  readonly incarnation: string;
}

export async function markOf({ name, sessions }: RegistryNode, signal: AbortSignal): Promise<Mark> {
  const { mark } = await sessions.describeRegistry({}, { signal });
  if (mark === undefined) throw new Error(`${name} shows no mark`);
  return fromBinary(MarkSchema, mark.payload);
}

/** The same mark everywhere, newer than that, and out of quarantine. */
export async function recoveredFrom(
  registries: readonly RegistryNode[],
  above: bigint,
  signal: AbortSignal,
): Promise<Mark | undefined> {
  const marks = await Promise.all(registries.map((registry) => markOf(registry, signal)));
  const [first] = marks;
  const over = marks.every(({ counter, quarantine }) => counter > above && !quarantine);
  return over && new Set(marks.map(({ incarnation }) => incarnation)).size === 1 ? first : undefined;
}

/** Where their logs end now. */
export function logEnds(registries: readonly RegistryNode[]): readonly number[] {
  return registries.map(({ process }) => process.log.count);
}

/** One incarnation, one end of quarantine: every offence in words, of what was logged since `from`. */
export function wrongMarks(
  registries: readonly RegistryNode[],
  from: readonly number[],
  incarnation: string,
): readonly string[] {
  const lines = registries.flatMap((registry, index) => linesOf(registry, from[index] ?? 0));
  const wrong: string[] = [];
  for (const what of ["written", "ended"] as const) {
    const found = lines.filter((line) => line.what === what);
    if (found.length !== 1 || found[0]?.incarnation !== incarnation) {
      wrong.push(`the quarantine of ${incarnation} was ${what} ${found.length} times: ${JSON.stringify(found)}`);
    }
  }
  for (const { name } of registries) {
    const served = lines.some(
      (line) => line.registry === name && line.what === "served" && line.incarnation === incarnation,
    );
    if (!served) wrong.push(`${name} never said that ${incarnation} is served`);
  }
  const others = lines.filter((line) => line.what !== "served" && line.incarnation !== incarnation);
  if (others.length > 0) wrong.push(`there was another incarnation than ${incarnation}: ${JSON.stringify(others)}`);
  return wrong;
}

function linesOf({ name, process }: RegistryNode, from: number): readonly MarkLine[] {
  return process.log.lines(from).flatMap((text) => {
    const { msg, incarnation } = parsed(text);
    const what = (Object.keys(messages) as (keyof typeof messages)[]).find((key) => messages[key].test(msg));
    return what === undefined ? [] : [{ what, registry: name, incarnation }];
  });
}

/** Nothing for a line that is no log line: what node itself prints when it is killed. */
function parsed(text: string): { readonly msg: string; readonly incarnation: string } {
  try {
    const line = JSON.parse(text) as { readonly msg?: unknown; readonly incarnation?: unknown };
    return { msg: String(line.msg), incarnation: String(line.incarnation) };
  } catch {
    return { msg: "", incarnation: "" };
  }
}
