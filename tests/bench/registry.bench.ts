// What the registry's answers cost, beside what they cannot do without (registry/*.ts say what each figure is).

import { option } from "@godwit/common/config";
import { type Results, type Run, runBench } from "./program.ts";
import { measureCandidates } from "./registry/candidates.ts";
import { measureCommands } from "./registry/commands.ts";
import { measureReassert } from "./registry/reassert.ts";
import { measureReports } from "./registry/reports.ts";

const options = {
  only: option.list({
    fallback: ["commands", "candidates", "reports", "reassert"],
    help: "Of commands, candidates, reports, reassert.",
    pattern: /^(commands|candidates|reports|reassert)$/,
  }),
  rounds: option.integer({
    fallback: 15,
    min: 1,
    max: 1_000,
    help: "Rounds; everything of commands is measured in each.",
  }),
  calls: option.integer({ fallback: 200, min: 1, max: 100_000, help: "Calls of each kind in a round." }),
  agents: option.integer({ fallback: 10_000, min: 1, max: 100_000, help: "Agents of the session that owns many." }),
  hosts: option.integer({ fallback: 10_000, min: 1, max: 100_000, help: "Hosts among which candidates are selected." }),
  selections: option.integer({ fallback: 2_000, min: 1, max: 100_000, help: "Calls of SelectCandidates." }),
  reports: option.integer({ fallback: 10, min: 1, max: 1_000, help: "Batches of report_heads, of 1,000 agents each." }),
  backHosts: option.integer({
    fallback: 100,
    min: 1,
    max: 1_000,
    help: "Hosts that come back after a loss of the store.",
  }),
  backAgents: option.integer({ fallback: 200, min: 1, max: 1_000, help: "Agents of each of them." }),
} as const;

await runBench({
  name: "registry",
  summary:
    "Measures authority commands, renewals, candidates among many hosts, batches of reports and what hosts bring back after a loss of the store, beside bare gRPC and bare Redis.",
  options,
  run,
});

async function run({ options: of, signal, say }: Run<typeof options>): Promise<Results> {
  const input = { signal, say };
  const parts: Readonly<Record<string, () => Promise<Results>>> = {
    commands: () => measureCommands(of, input),
    candidates: () => measureCandidates(of, input),
    reports: () => measureReports(of, input),
    reassert: () => measureReassert({ hosts: of.backHosts, agents: of.backAgents }, input),
  };
  const done: Results[] = [];
  for (const [name, part] of Object.entries(parts)) if (of.only.includes(name)) done.push(await part());
  return { figures: done.flatMap(({ figures }) => figures), notes: done.flatMap(({ notes }) => notes) };
}
