import { argument, option } from "@godwit/common/config";
import { formatMoney } from "@godwit/common/money";
import type { LineageOwner } from "@godwit/lineage";
import { defineCommand } from "../command.ts";
import { EXIT } from "../exit-code.ts";
import { type Host, listHosts, nameOf } from "../operations/hosts.ts";
import { type Verification, verifyAgent } from "../operations/lineage.ts";
import { formatMs } from "../print/format.ts";
import { type Column, table } from "../print/table.ts";

export const verify = defineCommand({
  name: "verify",
  summary: "Checks an agent's lineage with the registry's public key, and prints who owned it when.",
  details: "Exit code 1 when it does not hold.",
  options: { from: option.text({ optional: true, help: "The host whose copy is checked: name, id or prefix." }) },
  arguments: { agent: argument.required("The agent: id, prefix or name.") },
  timeoutMs: 30_000,
  run: async ({ options: { from }, arguments: { agent }, session, output }) => {
    const [hosts, verification] = await Promise.all([listHosts(session), verifyAgent(session, agent, from)]);
    output.result(verificationJson(verification, hosts), () => verificationText(verification, hosts));
    return verification.holds ? EXIT.ok : EXIT.failed;
  },
});

export function verificationText(verification: Verification, hosts: readonly Host[]): string[] {
  const { report, problems, holds, headers, from } = verification;
  const columns: readonly Column<LineageOwner>[] = [
    { title: "MAJOR", value: ({ era, major }) => (era === 0n ? `${major}` : `${era}.${major}`), align: "right" },
    { title: "OWNER", value: ({ hostId }) => nameOf(hosts, hostId) },
    { title: "ORIGIN", value: ({ origin }) => origin },
    { title: "FIRST TICK", value: ({ firstTick }) => `${firstTick}`, align: "right" },
    { title: "LAST SEEN", value: ({ lastTickSeen }) => `${lastTickSeen}`, align: "right" },
    {
      title: "NOTE",
      value: ({ rolledBackFromTick: tick }) => (tick === undefined ? "" : `rolled back from tick ${tick}`),
    },
  ];
  const { receipts, checkpoints, gaps, orphans } = report;
  return [
    ...table(columns, report.owners),
    `${headers} headers from ${from.name}; ${checkpoints} checkpoints on the lineage, ${gaps} gaps, ${orphans.length} orphans`,
    `${receipts.count} receipts: ${formatMoney(receipts.cost)} units for ${formatMs(Number(receipts.elapsedNs) / 1e6)} of run time`,
    ...problems.map(({ kind, detail }) => `problem: ${kind}: ${detail}`),
    holds ? "the lineage holds" : "the lineage does NOT hold",
  ];
}

function verificationJson({ agentId, from, headers, report, problems, holds }: Verification, hosts: readonly Host[]) {
  return {
    agentId,
    holds,
    from: from.name,
    fromHostId: from.hostId,
    headers,
    checkpoints: report.checkpoints,
    gaps: report.gaps,
    owners: report.owners.map((owner) => ({ ...owner, host: nameOf(hosts, owner.hostId) })),
    head: report.head,
    orphans: report.orphans,
    receipts: report.receipts,
    problems,
  };
}
