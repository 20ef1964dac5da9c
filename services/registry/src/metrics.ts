import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** Labels are closed sets: never an agent or a host. */
export function createRegistryMetrics(register: Registry) {
  const registers = [register];
  return {
    commands: new Counter({
      name: "registry_commands_total",
      help: "Authority commands, by command and outcome (done, repeated, or the refusal)",
      labelNames: ["command", "outcome"] as const,
      registers,
    }),
    commandSeconds: new Histogram({
      name: "registry_command_seconds",
      help: "Time to decide and apply a command, by command",
      labelNames: ["command"] as const,
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 3],
      registers,
    }),
    contention: new Counter({
      name: "registry_apply_conflicts_total",
      help: "Changes that were decided anew because the record had moved on",
      registers,
    }),
    storeLosses: new Counter({
      name: "registry_store_losses_total",
      help: "Times that this registry took the store for one that may have forgotten, by reason",
      labelNames: ["because"] as const,
      registers,
    }),
    quarantine: new Gauge({
      name: "registry_quarantine",
      help: "1 while only session commands are served, or nothing, for the sake of the store's mark",
      registers,
    }),
    quarantineRemaining: new Gauge({
      name: "registry_quarantine_remaining_seconds",
      help: "How long this registry has yet to watch the quarantine before it may end it",
      registers,
    }),
    markCounter: new Gauge({
      name: "registry_mark_counter",
      help: "Counter of the store's mark: 0 until it forgets",
      registers,
    }),
    openSessions: new Gauge({ name: "registry_open_sessions", help: "Sessions that are not closed", registers }),
    sessionsOpened: new Counter({ name: "registry_sessions_opened_total", help: "Sessions opened", registers }),
    sessionsClosed: new Counter({
      name: "registry_sessions_closed_total",
      help: "Sessions closed, by reason (asked, earlier-boot, silent)",
      labelNames: ["because"] as const,
      registers,
    }),
    renewals: new Counter({
      name: "registry_renewals_total",
      help: "Lease renewals, by outcome",
      labelNames: ["outcome"] as const,
      registers,
    }),
    offers: new Counter({ name: "registry_offers_total", help: "Agents offered to a holder", registers }),
    offersWaiting: new Gauge({ name: "registry_offers_waiting", help: "Agents that wait to be offered", registers }),
    offerStreams: new Gauge({ name: "registry_offer_streams", help: "Holders that listen for offers here", registers }),
  };
}

export type RegistryMetrics = ReturnType<typeof createRegistryMetrics>;
