import { argument, option } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { formatMoney } from "@godwit/common/money";
import { digestOf, type LineageOwner, type Orphan, type OrphanKind, type ReceiptTotals } from "@godwit/lineage";
import type { HistoryEntry } from "@godwit/proto/godwit/registry/v1/authority";
import { defineCommand, REGISTRY_KEY } from "../command.ts";
import { EXIT } from "../exit-code.ts";
import { writeCarried } from "../operations/files.ts";
import { type Host, listHosts, nameOf } from "../operations/hosts.ts";
import {
  type Copy,
  exportOf,
  type Verdict,
  type Verification,
  verifyAgent,
  verifyFile,
} from "../operations/lineage.ts";
import { beginningOf, choicesBetween } from "../operations/registry-word.ts";
import { formatMs, formatTime } from "../print/format.ts";
import { importedText } from "../print/inspection.ts";
import { type Column, table } from "../print/table.ts";

export const verify = defineCommand({
  name: "verify",
  summary: "Checks an agent's lineage with the registry's public key, and prints who owned it when, and why.",
  details:
    "With --file, an export is checked without any service. Exit code 0 when it holds, also with rollbacks and orphans, which are said; 1 when it does not, or contradicts the registry; 5 when a file cannot be read.",
  options: {
    from: option.list({ help: "Hosts whose copies are checked: name, id or prefix. By default the owner's." }),
    all: option.flag({ help: "Ask every host, and say of each what it shows." }),
    export: option.text({ optional: true, help: "Write what was shown to this file." }),
    file: option.text({ optional: true, help: "Check what was exported to this file; no service is asked." }),
    registryKey: option.text({ optional: true, ...REGISTRY_KEY }),
  },
  arguments: { agent: argument.optional("The agent: id, prefix or name. Needed unless --file is given.") },
  timeoutMs: 30_000,
  run: async ({ options, arguments: { agent }, session, output }) => {
    const { file, registryKey, from, all } = options;
    if (file === undefined && agent === undefined) throw usage("AGENT: say which agent, or give an export with --file");
    if (file !== undefined && (from.length > 0 || all))
      throw usage("--file: no host is asked, so --from and --all say nothing");
    const [hosts, verification] =
      file === undefined
        ? await Promise.all([listHosts(session), verifyAgent(session, agent ?? "", { from, all, registryKey })])
        : [[], verifyFile(file, { agent, registryKey })];
    if (options.export !== undefined) writeCarried(options.export, exportOf(verification));
    output.result(verificationJson(verification, hosts), () => verificationText(verification, hosts));
    if (options.export !== undefined)
      output.note(`written to ${options.export}: godwit verify --file reads it anywhere`);
    return verification.holds ? EXIT.ok : EXIT.failed;
  },
});

const ORPHANS: Readonly<Record<OrphanKind, string>> = {
  "after-base": "newer than what the next owner started from",
  "given-up": "given up by a choice between two checkpoints of one tick",
  conflicting: "of two checkpoints of one tick, between which nobody has chosen",
  "off-lineage": "of a major from which nothing on the lineage descends",
};

const VERDICTS: Readonly<Record<Verdict, string>> = {
  valid: "the lineage holds",
  "valid-with-remarks": "the lineage holds, with what is said above",
  broken: "the lineage does NOT hold",
  contradicted: "the lineage holds by its signatures, and CONTRADICTS the registry: one of the two is not what it was",
};

export function verificationText(verification: Verification, hosts: readonly Host[]): string[] {
  const { report, problems, contradictions, verdict } = verification;
  const host = (hostId: string | undefined) => nameOf(hosts, hostId);
  const columns: readonly Column<LineageOwner>[] = [
    { title: "MAJOR", value: majorOf, align: "right" },
    { title: "OWNER", value: ({ hostId }) => host(hostId) },
    { title: "ORIGIN", value: ({ origin }) => origin },
    { title: "FROM", value: ({ fromHostId }) => host(fromHostId) },
    { title: "GRANTED", value: ({ grantedAtNs }) => formatTime(grantedAtNs ?? 0n) },
    { title: "FIRST TICK", value: ({ firstTick }) => `${firstTick}`, align: "right" },
    { title: "LAST SEEN", value: ({ lastTickSeen }) => `${lastTickSeen}`, align: "right" },
    { title: "CHARGED", value: ({ receipts }) => formatMoney(receipts.cost), align: "right" },
    { title: "NOTE", value: (owner) => noteOf(owner) },
  ];
  return [
    ...table(columns, report.owners),
    ...summaryOf(verification),
    ...report.orphans.map((orphan) => `orphan: ${orphanText(orphan, host)}`),
    ...report.forks.map(({ settledBy, tick, ...term }) => {
      const end = settledBy === undefined ? "NOT SETTLED" : `left behind by major ${majorOf(settledBy)}`;
      return `fork: two checkpoints of tick ${tick}, major ${majorOf(term)}, ${end}; godwit evidence makes a proof of it`;
    }),
    ...wordText(verification, hosts),
    ...problems.map(({ kind, detail }) => `problem: ${kind}: ${detail}`),
    ...contradictions.map(({ kind, detail }) => `CONTRADICTION: ${kind}: ${detail}`),
    VERDICTS[verdict],
  ];
}

function summaryOf({ report, copies, headers, registryKey, keyFrom }: Verification): string[] {
  const { receipts, checkpoints, gaps, orphans, genesis } = report;
  const imported = genesis?.imported;
  const names = copies.map(({ name }) => name).join(", ");
  const keys = {
    caller: "as given",
    registry: "as the registry says itself: pin it with --registry-key",
    file: "as the file says itself: give yours with --registry-key to rely on this",
  };
  const shown = copies.map((copy) => {
    const count = orphansIn(copy, orphans).length;
    return `${copy.name} shows ${copy.headers.length} headers, ${count} of them orphans`;
  });
  return [
    ...(imported === undefined ? [] : [`it goes on from ${importedText(imported)}: by its creator's word`]),
    ...(copies.length > 1 ? shown : []),
    `${headers} headers from ${names}; ${checkpoints} checkpoints on the lineage, ${gaps} gaps, ${orphans.length} orphans`,
    `${receipts.count} receipts: ${formatMoney(receipts.cost)} units for ${formatMs(Number(receipts.elapsedNs) / 1e6)} of run time`,
    ...fundedText(receipts),
    `registry's key ${registryKey}, ${keys[keyFrom]}`,
  ];
}

function fundedText({ fundings, funded }: ReceiptTotals): string[] {
  if (fundings === 0) return [];
  return [`${fundings === 1 ? "1 funding" : `${fundings} fundings`}: ${formatMoney(funded)} units`];
}

function orphansIn({ headers }: Copy, orphans: readonly Orphan[]): readonly Orphan[] {
  const digests = new Set(headers.map(({ payload }) => digestOf(payload)));
  return orphans.filter(({ digest }) => digests.has(digest));
}

function majorOf({ era, major }: { readonly era: bigint; readonly major: bigint }): string {
  return era === 0n ? `${major}` : `${era}.${major}`;
}

function noteOf({ rollback, afterStoreLoss, skippedMajors, imported }: LineageOwner): string {
  const notes: string[] = [];
  if (imported !== undefined) notes.push("taken over from the seed system");
  if (afterStoreLoss) notes.push("after store loss");
  if (rollback !== undefined) {
    const proof = rollback.held ? "" : ", by its own word";
    const surprise = rollback.declared ? "" : ", unknown to it then";
    notes.push(`rolled back from tick ${rollback.fromTick}: ${rollback.ticks} ticks given up${proof}${surprise}`);
  }
  if (skippedMajors > 0n) notes.push(`${skippedMajors} majors before it left nothing`);
  return notes.join("; ");
}

function orphanText(orphan: Orphan, host: (hostId: string) => string): string {
  return `tick ${orphan.tick} of major ${majorOf(orphan)} by ${host(orphan.hostId)} (${orphan.digest.slice(0, 12)}): ${ORPHANS[orphan.kind]}`;
}

/** Why owners changed: no signature says that. */
function wordText({ report, history }: Verification, hosts: readonly Host[]): string[] {
  const title = "Why, by the registry's word (its history is not signed):";
  if (history === undefined) return [`${title} not asked, or it does not say`];
  const named = (note: string) =>
    hosts.reduce((text, { hostId }) => text.replaceAll(hostId, nameOf(hosts, hostId)), note);
  const line = (entry: HistoryEntry) =>
    `  major ${majorOf(entry)}  ${formatTime(entry.atUnixNs)}  ${entry.command}${entry.note === "" ? "" : `: ${named(entry.note)}`}`;
  const lines = report.owners.flatMap((owner, index) => {
    const before = report.owners[index - 1];
    const choices = before === undefined ? [] : choicesBetween(history, before, owner);
    const beginning = beginningOf(history, owner);
    const silence = `  major ${majorOf(owner)}  its history does not go back to this, or was lost with its store`;
    return [...choices.map(line).reverse(), beginning === undefined ? silence : line(beginning)];
  });
  return [title, ...lines];
}

function verificationJson(verification: Verification, hosts: readonly Host[]) {
  const { agentId, copies, headers, report, problems, contradictions, verdict, holds, history } = verification;
  const [first] = copies;
  return {
    agentId,
    verdict,
    holds,
    from: first.name,
    fromHostId: first.hostId,
    copies: copies.map((copy) => ({
      name: copy.name,
      hostId: copy.hostId,
      headers: copy.headers.length,
      orphans: orphansIn(copy, report.orphans).map(({ digest }) => digest),
    })),
    headers,
    registryKey: verification.registryKey,
    registryKeyFrom: verification.keyFrom,
    imported: report.genesis?.imported,
    checkpoints: report.checkpoints,
    gaps: report.gaps,
    owners: report.owners.map((owner) => {
      const beginning = history && beginningOf(history, owner);
      const word = beginning && {
        atUnixNs: beginning.atUnixNs,
        command: beginning.command,
        note: beginning.note,
        owner: beginning.owner?.hostId,
      };
      return { ...owner, host: nameOf(hosts, owner.hostId), registrySays: word };
    }),
    head: report.head,
    orphans: report.orphans.map((orphan) => ({ ...orphan, host: nameOf(hosts, orphan.hostId) })),
    forks: report.forks,
    receipts: report.receipts,
    problems,
    contradictions,
    historyKnown: history !== undefined,
  };
}

function usage(problem: string): Fault {
  return new Fault({ code: "CONFIG_INVALID", problems: [problem] });
}
