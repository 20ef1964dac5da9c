import { argument, option } from "@godwit/common/config";
import { clock, defineCommand } from "../command.ts";
import { importAgent } from "../operations/import-agent.ts";
import { formatBudget, formatPrice } from "../print/format.ts";
import { seedCheckpointJson } from "../print/inspection.ts";
import { statusJson } from "../print/status.ts";

export const importCommand = defineCommand({
  name: "import",
  summary: "Takes over an agent of the seed system, from its checkpoint.",
  details:
    "It goes on from the state of that checkpoint, of format 2, 3 or 4, as a new agent whose lineage begins with the file's digest. " +
    "Stop its old host first, and import it once: nothing can tell that somebody goes on from the same file elsewhere. The manifest is found as by godwit run.",
  options: {
    wasm: option.text({ help: "Its module, a .wasm file: the very one that made the checkpoint." }),
    manifest: option.text({ optional: true, help: "Its manifest, a JSON file." }),
    receipts: option.text({
      optional: true,
      help: "Its receipts, a file of the seed system: checked, and named in its genesis.",
    }),
    budget: option.money({ optional: true, help: "What it may spend, in units, instead of what the checkpoint has." }),
    name: option.text({ optional: true, help: "A label; by default the name of the checkpoint's file." }),
    key: option.text({
      optional: true,
      pattern: /^[0-9a-f]{64}$/,
      expected: "a public key as 64 lower-case hex digits",
      help: "The agent's public key in the seed system, in hex: a checkpoint that is not signed by it is refused.",
    }),
    on: option.text({ optional: true, help: "The host to run it: name, id or prefix." }),
  },
  arguments: { checkpoint: argument.required("Its checkpoint, a file of the seed system.") },
  timeoutMs: 60_000,
  run: async ({ options, arguments: { checkpoint: checkpointPath }, session, output }) => {
    const { agent, host, checkpoint, receipts, remarks } = await importAgent(session, {
      checkpointPath,
      receiptsPath: options.receipts,
      modulePath: options.wasm,
      manifestPath: options.manifest,
      budget: options.budget,
      name: options.name,
      host: options.on,
      key: options.key,
      now: clock.now(),
    });
    const imported = { ...seedCheckpointJson(checkpoint), receipts };
    output.result({ ...statusJson(agent), host: host.name, imported, remarks }, () => [
      `${agent.name} goes on on ${host.name} from tick ${checkpoint.tick} of the seed system, at ${formatPrice(agent.pricePerSecond)} with a budget of ${formatBudget(agent.budget)}`,
      ...(receipts === undefined
        ? []
        : [`its ${receipts.count} receipts are in order, up to tick ${receipts.lastTick}`]),
      agent.agentId,
    ]);
    for (const remark of remarks) output.note(remark);
    return undefined;
  },
});
