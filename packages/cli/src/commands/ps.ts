import { option } from "@godwit/common/config";
import { defineCommand } from "../command.ts";
import { type AgentRow, overview } from "../operations/agents.ts";
import { findHost } from "../operations/hosts.ts";
import { formatBudget, formatPrice, shortIds } from "../print/format.ts";
import type { Column } from "../print/table.ts";

export const ps = defineCommand({
  name: "ps",
  summary: "Lists agents: who runs them, their state, tick, budget and price.",
  options: { on: option.text({ optional: true, help: "Only those of this host: name, id or prefix." }) },
  run: async ({ options, session, output }) => {
    const host = options.on === undefined ? undefined : await findHost(session, options.on);
    const { agents, silent } = await overview(session);
    for (const { host: silentHost, message } of silent) {
      output.note(`host ${silentHost.name} does not answer, so its agents are as the registry has them: ${message}`);
    }
    const shown = agents.filter(({ hostId }) => host === undefined || hostId === host.hostId);
    output.list(shown, columns(agents), "no agents: start one with godwit run AGENT.wasm");
    return undefined;
  },
});

function columns(agents: readonly AgentRow[]): readonly Column<AgentRow>[] {
  const short = shortIds(agents.map(({ agentId }) => agentId));
  return [
    { title: "AGENT", value: ({ agentId }) => short(agentId) },
    { title: "NAME", value: ({ name }) => name },
    { title: "HOST", value: ({ host, hostId }) => host ?? hostId ?? "-" },
    { title: "STATE", value: ({ state, reason }) => (reason === "" ? state : `${state} (${reason})`) },
    { title: "MAJOR", value: ({ era, major }) => (era === 0n ? `${major}` : `${era}.${major}`), align: "right" },
    { title: "TICK", value: ({ tick }) => `${tick}`, align: "right" },
    { title: "BUDGET", value: ({ budget }) => formatBudget(budget), align: "right" },
    { title: "PRICE", value: ({ pricePerSecond }) => formatPrice(pricePerSecond), align: "right" },
  ];
}
