import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export type HostMetrics = ReturnType<typeof createHostMetrics>;

/** What an agent-host counts. Labels are closed sets. */
export function createHostMetrics(
  register: Registry,
  now: {
    readonly agents: () => number;
    readonly stagedHandoffs: () => number;
    readonly leaseRemainingSeconds: () => number;
  },
) {
  const registers = [register];
  new Gauge({
    name: "agent_host_agents",
    help: "Agents under a supervisor",
    registers,
    collect() {
      this.set(now.agents());
    },
  });
  new Gauge({
    name: "agent_host_staged_handoffs",
    help: "Incoming handoffs on the disk that are neither taken up nor dropped; 0 unless one is under way",
    registers,
    collect() {
      this.set(now.stagedHandoffs());
    },
  });
  new Gauge({
    name: "agent_host_lease_remaining_seconds",
    help: "Until this host stops ticking unless a renewal is answered",
    registers,
    collect() {
      this.set(now.leaseRemainingSeconds());
    },
  });
  return {
    ticks: new Counter({
      name: "agent_host_ticks_total",
      help: "Ticks, by outcome",
      labelNames: ["outcome"] as const,
      registers,
    }),
    tickSeconds: new Histogram({
      name: "agent_host_tick_seconds",
      help: "Time inside agent_tick, of ticks that were committed",
      buckets: [0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1],
      registers,
    }),
    checkpoints: new Counter({
      name: "agent_host_checkpoints_total",
      help: "Checkpoints committed by this host as an owner",
      registers,
    }),
    checkpointBytes: new Counter({
      name: "agent_host_checkpoint_bytes_total",
      help: "State bytes in committed checkpoints",
      registers,
    }),
    replicaPushes: new Counter({
      name: "agent_host_replica_pushes_total",
      help: "Checkpoints pushed to other hosts, by outcome",
      labelNames: ["outcome"] as const,
      registers,
    }),
    migrations: new Counter({
      name: "agent_host_migrations_total",
      help: "Migrations started here, by outcome",
      labelNames: ["outcome"] as const,
      registers,
    }),
    blackoutSeconds: new Histogram({
      name: "agent_host_migration_blackout_seconds",
      help: "End of the last tick here to the arrival of STARTED",
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30],
      registers,
    }),
    replayedTicks: new Counter({
      name: "agent_host_replayed_ticks_total",
      help: "Committed ticks of own agents that were run again, by outcome",
      labelNames: ["outcome"] as const,
      registers,
    }),
    replaySeconds: new Counter({
      name: "agent_host_replay_seconds_total",
      help: "Time in workers that was spent on running ticks of own agents again",
      registers,
    }),
    workersLost: new Counter({
      name: "agent_host_workers_lost_total",
      help: "Sandbox workers that were ended because of an agent",
      registers,
    }),
  };
}
