import { argument, option } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { formatTerm } from "@godwit/common/lease";
import { type DoubleSigning, digestFromBytes, encodeEvidence } from "@godwit/lineage";
import { defineCommand, REGISTRY_KEY } from "../command.ts";
import { EXIT } from "../exit-code.ts";
import { askForKey, checkFile, type Search, searchFiles, searchHosts } from "../operations/evidence.ts";
import { writeCarried } from "../operations/files.ts";
import { formatTime } from "../print/format.ts";

export const evidence = defineCommand({
  name: "evidence",
  summary: "Proves that a host has signed two checkpoints for one tick, to anybody who has the registry's public key.",
  details:
    "Without AGENT, --from names files: checkpoints, exports of verify, or evidence. With --check, a proof is checked without any service. Exit code 0 when something is proven, 1 when nothing is, 5 when a file cannot be read.",
  options: {
    from: option.list({ help: "Hosts to ask instead of all of them; without AGENT, files to look into." }),
    out: option.text({ optional: true, help: "Write the proof to this file." }),
    check: option.text({ optional: true, help: "Check the proof in this file; needs --registry-key." }),
    registryKey: option.text({ optional: true, ...REGISTRY_KEY }),
  },
  arguments: { agent: argument.optional("The agent: id, prefix or name.") },
  timeoutMs: 30_000,
  run: async ({ options: { from, out, check, registryKey }, arguments: { agent }, session, output }) => {
    if (check !== undefined) {
      if (registryKey === undefined)
        throw usage("--registry-key: required with --check, as the file cannot vouch for itself");
      const proves = checkFile(check, registryKey);
      output.result({ proven: true, ...proves }, () => [...provenText(proves), "this proof holds"]);
      return EXIT.ok;
    }
    const search = await searchFor({ agent, from, registryKey }, session);
    const [first, ...more] = search.found;
    if (first !== undefined && out !== undefined) writeCarried(out, encodeEvidence(first.evidence));
    const written = first === undefined ? undefined : out;
    output.result(searchJson(search, written), () => [
      ...search.found.flatMap(({ proves }) => provenText(proves)),
      ...searchText(search),
    ]);
    if (written !== undefined) {
      const rest = more.length === 0 ? "" : ` (the first of ${search.found.length})`;
      output.note(
        `written to ${written}${rest}: godwit evidence --check ${written} --registry-key ${search.registryKey}`,
      );
    }
    return first === undefined ? EXIT.failed : EXIT.ok;
  },
});

interface Wanted {
  readonly agent: string | undefined;
  readonly from: readonly string[];
  readonly registryKey: string | undefined;
}

async function searchFor(
  { agent, from, registryKey }: Wanted,
  session: Parameters<typeof searchHosts>[0],
): Promise<Search> {
  if (agent !== undefined) return await searchHosts(session, agent, { from, registryKey });
  if (from.length === 0) throw usage("AGENT: say which agent, or give files with --from, or a proof with --check");
  return searchFiles(from, registryKey ?? (await askForKey(session)));
}

function provenText({ agentId, era, major, tick, hostId, session, checkpoints, writtenAtNs }: DoubleSigning): string[] {
  const [first, second] = checkpoints;
  return [
    `host ${hostId} has signed two checkpoints for tick ${tick}, major ${formatTerm({ era, major })}, of agent ${agentId}`,
    `  ${first.digest}, written ${formatTime(writtenAtNs[0])} by its own clock`,
    `  ${second.digest}, written ${formatTime(writtenAtNs[1])}`,
    session === undefined ? "  as the agent's creator" : `  under the grant of its session ${session.bootId}`,
  ];
}

function searchText({ found, copies, silent, conflict }: Search): string[] {
  const headers = copies.reduce((sum, copy) => sum + copy.headers.length, 0);
  const names = copies.length === 0 ? "nobody" : copies.map(({ name }) => name).join(", ");
  const lines = [`${found.length} proofs in ${headers} headers from ${names}`];
  if (conflict !== undefined) {
    const both = `${digestFromBytes(conflict.knownDigest)} and ${digestFromBytes(conflict.offeredDigest)}`;
    lines.push(
      `the registry's record names a conflict at tick ${conflict.tick}, major ${formatTerm(conflict)}: ${both}`,
    );
  }
  lines.push(...silent.map(({ host, message }) => `${host} shows nothing: ${message}`));
  return lines;
}

function searchJson({ found, copies, silent, conflict, registryKey }: Search, written: string | undefined) {
  return {
    proven: found.length > 0,
    proofs: found.map(({ proves }) => proves),
    written,
    registryKey,
    copies: copies.map(({ name, hostId, headers }) => ({ name, hostId, headers: headers.length })),
    silent,
    conflict: conflict && {
      era: conflict.era,
      major: conflict.major,
      tick: conflict.tick,
      knownDigest: conflict.knownDigest,
      offeredDigest: conflict.offeredDigest,
    },
  };
}

function usage(problem: string): Fault {
  return new Fault({ code: "CONFIG_INVALID", problems: [problem] });
}
