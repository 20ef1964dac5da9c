import { argument, option } from "@godwit/common/config";
import { defineCommand } from "../command.ts";
import { EXIT } from "../exit-code.ts";
import { listHosts } from "../operations/hosts.ts";
import { migrateAgent } from "../operations/migrate.ts";
import { toJson } from "../print/json.ts";
import { migrationJson, migrationText } from "../print/status.ts";

export const migrate = defineCommand({
  name: "migrate",
  summary: "Moves an agent to another host, without losing or repeating a tick.",
  details:
    "To the cheapest candidate, or to --to. Prints what happens, as it happens, and how long the agent stood still. " +
    "The source carries a migration that was interrupted here to its end.",
  options: {
    to: option.text({ optional: true, help: "The host that is to have it: name, id or prefix." }),
    fallback: option.flag({ help: "With --to: go on with other candidates when that host cannot take it." }),
    migrationRetries: option.integer({
      optional: true,
      min: 1,
      max: 100,
      help: "Attempts per target, instead of the host's own setting.",
    }),
    migrationRetryDelayMs: option.duration({
      optional: true,
      min: 1,
      max: 300_000,
      help: "The first back-off, instead of the host's own setting.",
    }),
  },
  arguments: { agent: argument.required("The agent: id, prefix or name.") },
  timeoutMs: 120_000,
  run: async ({ options, arguments: { agent }, session, output, surroundings: { terminal } }) => {
    const hosts = await listHosts(session);
    const { source, events } = await migrateAgent(session, {
      agent,
      to: options.to,
      allowFallback: options.fallback,
      timeoutMs: session.timeoutMs,
      retries: options.migrationRetries,
      retryDelayMs: options.migrationRetryDelayMs,
    });
    if (output.format === "text") terminal.out(`from ${source.name}\n`);
    let outcome: string | undefined;
    for await (const message of events) {
      outcome = message.event.case;
      const at = `${message.atMs.toFixed(1).padStart(9)} ms`;
      const line =
        output.format === "json" ? toJson(migrationJson(message, hosts)) : `${at}  ${migrationText(message, hosts)}`;
      terminal.out(`${line}\n`);
    }
    return outcome === "done" ? EXIT.ok : EXIT.failed;
  },
});
