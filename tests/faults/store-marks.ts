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
  readonly atMs: number;
}

/** Between two lines of two processes of one machine. */
const clockSlackMs = 100;

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

/** One incarnation, one end of quarantine, not before its time: every offence in words, of what was logged since `from`. */
export function wrongMarks(
  registries: readonly RegistryNode[],
  from: readonly number[],
  { incarnation, lastsMs }: { readonly incarnation: string; readonly lastsMs: number },
): readonly string[] {
  const lines = registries.flatMap((registry, index) => linesOf(registry, from[index] ?? 0));
  const wrong: string[] = [];
  for (const what of ["written", "ended"] as const) {
    const found = lines.filter((line) => line.what === what);
    if (found.length !== 1 || found[0]?.incarnation !== incarnation) {
      wrong.push(`the quarantine of ${incarnation} was ${what} ${found.length} times: ${JSON.stringify(found)}`);
    }
  }
  const [written, ended] = (["written", "ended"] as const).map((what) => lines.find((line) => line.what === what));
  if (written !== undefined && ended !== undefined && ended.atMs - written.atMs < lastsMs - clockSlackMs) {
    wrong.push(`the quarantine of ${incarnation} lasted ${ended.atMs - written.atMs} ms: ${lastsMs} ms are the least`);
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
    const { msg, ...rest } = parsed(text);
    const what = (Object.keys(messages) as (keyof typeof messages)[]).find((key) => messages[key].test(msg));
    return what === undefined ? [] : [{ what, registry: name, ...rest }];
  });
}

/** Nothing for a line that is no log line: what node itself prints when it is killed. */
function parsed(text: string): { readonly msg: string; readonly incarnation: string; readonly atMs: number } {
  try {
    const { msg, incarnation, time } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return { msg: String(msg), incarnation: String(incarnation), atMs: Date.parse(String(time)) };
  } catch {
    return { msg: "", incarnation: "", atMs: Number.NaN };
  }
}
