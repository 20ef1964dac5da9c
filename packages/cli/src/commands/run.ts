import { argument, option } from "@godwit/common/config";
import { MICROCENTS_PER_UNIT } from "@godwit/common/money";
import { defineCommand } from "../command.ts";
import { runAgent } from "../operations/run-agent.ts";
import { formatBudget, formatPrice } from "../print/format.ts";
import { statusJson } from "../print/status.ts";

export const run = defineCommand({
  name: "run",
  summary: "Starts an agent.",
  details:
    "On the cheapest live host that fits its manifest, unless --on names another. The manifest is the file beside the " +
    "module whose name ends in .manifest.json, if there is one.",
  options: {
    manifest: option.text({ optional: true, help: "Its manifest, a JSON file." }),
    budget: option.money({ fallback: MICROCENTS_PER_UNIT, help: "What it may spend, in units." }),
    name: option.text({ optional: true, help: "A label; by default the name of the module's file." }),
    on: option.text({ optional: true, help: "The host to run it: name, id or prefix." }),
  },
  arguments: { module: argument.required("The agent's module, a .wasm file.") },
  timeoutMs: 30_000,
  run: async ({ options, arguments: { module }, session, output }) => {
    const { agent, host } = await runAgent(session, {
      modulePath: module,
      manifestPath: options.manifest,
      budget: options.budget,
      name: options.name,
      host: options.on,
    });
    output.result({ ...statusJson(agent), host: host.name }, () => [
      `${agent.name} runs on ${host.name} at ${formatPrice(agent.pricePerSecond)} with a budget of ${formatBudget(agent.budget)}`,
      agent.agentId,
    ]);
    return undefined;
  },
});
