// The live view as lines of text. Pure.

import type { AgentRow, Overview } from "../operations/agents.ts";
import type { Host } from "../operations/hosts.ts";
import { formatBudget, formatPrice, shortIds } from "../print/format.ts";
import { type Column, table } from "../print/table.ts";

export interface Happening {
  /** Since the start. */
  readonly atMs: number;
  readonly text: string;
}

export interface ViewModel {
  readonly title: string;
  readonly overview: Overview | undefined;
  /** Why there is no newer overview. */
  readonly trouble: string | undefined;
  readonly happenings: readonly Happening[];
  readonly hints: readonly string[];
}

interface Row {
  readonly host: Host;
  /** Only the first row of a host names it. */
  readonly first: boolean;
  readonly agent: AgentRow | undefined;
}

const HAPPENINGS = 8;

export function viewLines({ title, overview, trouble, happenings, hints }: ViewModel): string[] {
  return [
    title,
    "",
    ...(overview === undefined ? ["(nobody has said yet who runs where)"] : whoRunsWhere(overview)),
    ...(trouble === undefined ? [] : [`(as of before: ${trouble})`]),
    "",
    ...happenings.slice(-HAPPENINGS).map(happeningLine),
    "",
    ...hints,
  ];
}

export function happeningLine({ atMs, text }: Happening): string {
  return `${(atMs / 1_000).toFixed(1).padStart(6)} s  ${text}`;
}

function whoRunsWhere({ hosts, agents }: Overview): string[] {
  const short = shortIds(agents.map(({ agentId }) => agentId));
  const rows = hosts.flatMap((host): Row[] => {
    const here = agents.filter(({ hostId }) => hostId === host.hostId);
    if (here.length === 0) return [{ host, first: true, agent: undefined }];
    return here.map((agent, index) => ({ host, first: index === 0, agent }));
  });
  const ofAgent =
    (value: (agent: AgentRow) => string) =>
    ({ agent }: Row) =>
      agent === undefined ? "" : value(agent);
  const columns: readonly Column<Row>[] = [
    { title: "HOST", value: ({ host, first }) => (first ? host.name : "") },
    { title: "PRICE", value: ({ host, first }) => (first ? priceOf(host) : ""), align: "right" },
    { title: "AGENT", value: ofAgent(({ agentId }) => short(agentId)) },
    { title: "NAME", value: ofAgent(({ name }) => name) },
    { title: "STATE", value: ofAgent(({ state }) => state) },
    { title: "MAJOR", value: ofAgent(({ major }) => `${major}`), align: "right" },
    { title: "TICK", value: ofAgent(({ tick }) => `${tick}`), align: "right" },
    { title: "BUDGET", value: ofAgent(({ budget }) => formatBudget(budget)), align: "right" },
  ];
  return table(columns, rows);
}

function priceOf(host: Host): string {
  if (!host.live) return "gone";
  return host.draining ? "draining" : formatPrice(host.pricePerSecond);
}
