// The models that `pnpm explore` walks through (issue 4, acceptance 1), each with what can happen in it, and how often.

import type { System } from "./engine/search.ts";
import { Cluster, type ClusterOptions } from "./model/cluster.ts";
import { Replicas, type ReplicasOptions } from "./model/replicas.ts";

export interface Model {
  readonly name: string;
  readonly about: string;
  /** Who is in it, and what can happen how often. */
  readonly limits: string;
  readonly make: (onRow: (row: string) => void) => System;
}

interface ClusterModel {
  readonly name: string;
  readonly about: string;
  readonly options: ClusterOptions;
}

interface ReplicasModel {
  readonly name: string;
  readonly about: string;
  readonly options: ReplicasOptions;
}

const two = ["A", "B"];
const three = ["A", "B", "C"];

const clusters: readonly ClusterModel[] = [
  {
    name: "creation",
    about: "an agent is created, answers are lost and come twice, the creator crashes",
    options: {
      hosts: two,
      begins: "acquiring",
      strangers: true,
      budgets: { ticks: 1, losses: 1, duplicates: 1, crashes: 1 },
    },
  },
  {
    name: "creation-void",
    about: "a session that ends while an agent is created, with nobody else there",
    options: { hosts: ["A"], begins: "acquiring", budgets: { ticks: 2, losses: 1, expiries: 2 } },
  },
  {
    name: "migration",
    about: "a migration with lost and doubled messages and cut streams",
    options: { hosts: two, budgets: { ticks: 2, migrations: 2, losses: 2, duplicates: 1 } },
  },
  {
    name: "crash-migration",
    about: "a migration while hosts crash and messages are lost",
    options: { hosts: two, strangers: true, budgets: { ticks: 2, migrations: 1, losses: 1, crashes: 1 } },
  },
  {
    name: "crash-migration-three",
    about: "the same beside a third host with an older checkpoint",
    options: { hosts: three, budgets: { ticks: 1, migrations: 1, crashes: 1 } },
  },
  {
    name: "void-crash",
    about: "a session that ends under a living host, and a crash",
    options: { hosts: two, budgets: { ticks: 2, expiries: 1, crashes: 1, losses: 1 } },
  },
  {
    name: "void-migration",
    about: "a session that ends in the middle of a migration",
    options: { hosts: two, budgets: { ticks: 1, migrations: 1, expiries: 1, losses: 1 } },
  },
  {
    name: "release-crash",
    about: "an agent that is stopped, drained, declared in doubt or terminated, and a crash",
    options: { hosts: two, strangers: true, budgets: { ticks: 2, releases: 1, crashes: 1 } },
  },
  {
    name: "release-losses",
    about: "an agent that is given up, and answers that are lost or come twice",
    options: { hosts: two, budgets: { ticks: 1, releases: 1, losses: 1, duplicates: 1 } },
  },
  {
    name: "forced",
    about: "an operator's choice for an agent that was given up or declared in doubt",
    options: { hosts: two, budgets: { ticks: 2, releases: 1, forces: 1 } },
  },
  {
    name: "wipe-creation",
    about: "the store is wiped while an agent is created",
    options: { hosts: two, begins: "acquiring", strangers: true, budgets: { ticks: 1, wipes: 1 } },
  },
  {
    name: "wipe-forced",
    about: "an operator's choice after the store was wiped",
    options: { hosts: two, budgets: { ticks: 1, wipes: 1, forces: 1 } },
  },
  {
    name: "wipe-migration",
    about: "the store is wiped in the middle of a migration",
    options: { hosts: two, budgets: { ticks: 1, migrations: 1, wipes: 1 } },
  },
  {
    name: "rollback-migration",
    about: "the store is rolled back in the middle of a migration",
    options: { hosts: two, budgets: { ticks: 1, migrations: 1, rollbacks: 1 } },
  },
  {
    name: "wipe-void",
    about: "the store is wiped, and a session ends",
    options: { hosts: two, budgets: { ticks: 1, wipes: 1, expiries: 1 } },
  },
  {
    name: "rollback-void",
    about: "the store is rolled back, and a session ends",
    options: { hosts: two, budgets: { ticks: 1, rollbacks: 1, expiries: 1 } },
  },
  {
    name: "wipe-release",
    about: "the store is wiped while an agent is given up",
    options: { hosts: two, budgets: { ticks: 1, wipes: 1, releases: 1 } },
  },
  {
    name: "wipe-losses",
    about: "the store is wiped, and messages are lost or come twice, what brings the agent back among them",
    options: { hosts: two, budgets: { ticks: 1, wipes: 1, losses: 1, duplicates: 1 } },
  },
  {
    name: "wipe-crash-migration",
    about: "the store is wiped while hosts crash and migrate",
    options: { hosts: two, budgets: { ticks: 1, migrations: 1, wipes: 1, crashes: 1 } },
  },
  // With two losses, a tick and a second holder there are more than two million sets of messages in flight: apart.
  {
    name: "two-wipes-crash",
    about: "the store is wiped twice, and a host crashes, beside another holder",
    options: { hosts: two, budgets: { wipes: 2, crashes: 1 } },
  },
  {
    name: "two-wipes-crash-ticks",
    about: "the same on one host, which goes on writing checkpoints",
    options: { hosts: ["A"], budgets: { ticks: 2, wipes: 2, crashes: 1 } },
  },
  {
    name: "wipe-rollback",
    about: "the store is wiped and rolled back to before, beside another holder",
    options: { hosts: two, budgets: { wipes: 1, rollbacks: 1 } },
  },
  {
    name: "wipe-rollback-crash",
    about: "the same on one host, which goes on writing checkpoints and crashes",
    options: { hosts: ["A"], budgets: { ticks: 2, wipes: 1, rollbacks: 1, crashes: 1 } },
  },
];

const replicas: readonly ReplicasModel[] = [
  {
    name: "replicas-close",
    about: "two registry replicas that look at sessions, close the silent ones, and are slow; time passes in steps",
    options: { renewals: 1, openings: 1, wipes: 0 },
  },
  {
    name: "replicas-quarantine",
    about: "two registry replicas on a store that is wiped: one mark, and who ends the quarantine",
    options: { renewals: 0, openings: 0, wipes: 1 },
  },
];

function limitsOf(hosts: readonly string[], budgets: object): string {
  const amounts = Object.entries(budgets).map(([what, amount]) => `${what} ${amount}`);
  return `hosts ${hosts.join(", ")}; at most ${amounts.join(", ")}`;
}

export const models: readonly Model[] = [
  ...clusters.map(
    ({ name, about, options }): Model => ({
      name,
      about,
      limits: limitsOf(options.hosts, options.budgets),
      make: (onRow) => new Cluster({ ...options, onRow }),
    }),
  ),
  ...replicas.map(
    ({ name, about, options }): Model => ({
      name,
      about,
      limits: limitsOf(["A", "B"], options),
      make: (onRow) => new Replicas({ ...options, onRow }),
    }),
  ),
];
