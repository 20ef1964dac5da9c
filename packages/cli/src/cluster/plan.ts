// Which processes a cluster consists of, and how each is configured. Pure: ports and directories are given.

import { join } from "node:path";
import type { PortPlan, ServicePorts } from "./ports.ts";

export interface ServicePlan {
  /** "registry", "pricing", or the host's name. */
  readonly name: string;
  readonly service: "registry" | "pricing" | "agent-host";
  readonly grpcAddress: string;
  readonly opsUrl: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface ClusterPlan {
  readonly registry: ServicePlan;
  readonly pricing: ServicePlan;
  readonly hosts: readonly ServicePlan[];
  /** The name of the host that asks most. */
  readonly dearest: string;
}

export interface PlanRules {
  readonly ports: PortPlan;
  readonly dataDir: string;
  /** Undefined: the registry's embedded store. */
  readonly redisUrl: string | undefined;
  /** Whether the dearest host loses the first agent that is handed to it: cut after the source has sent it all. */
  readonly losesFirstHandoff: boolean;
}

/** Where godwits live and rest. */
const NAMES = ["alaska", "hawaii", "fiji", "tasmania", "auckland", "sydney", "korea", "shanghai"];

interface Offer {
  /** Microcents a second. */
  readonly price: bigint;
  readonly capabilities: readonly string[];
}

/** Different prices and capabilities; each can run what declares no more than clock, rand, log and pricing. */
const OFFERS: readonly Offer[] = [
  { price: 1_000n, capabilities: ["clock", "rand", "log", "pricing"] },
  { price: 2_000n, capabilities: ["clock", "rand", "log", "wallet", "pricing"] },
  { price: 4_000n, capabilities: ["clock", "rand", "log", "pricing"] },
];

export function planCluster({ ports, dataDir, redisUrl, losesFirstHandoff }: PlanRules): ClusterPlan {
  const plan = (name: string, service: ServicePlan["service"], at: ServicePorts, env: Record<string, string>) => ({
    name,
    service,
    grpcAddress: `127.0.0.1:${at.grpc}`,
    opsUrl: `http://127.0.0.1:${at.ops}`,
    env: {
      GODWIT_DATA: join(dataDir, service === "agent-host" ? join("hosts", name) : name),
      GODWIT_GRPC_LISTEN: `127.0.0.1:${at.grpc}`,
      GODWIT_OPS_LISTEN: `127.0.0.1:${at.ops}`,
      ...env,
    },
  });

  const registry = plan("registry", "registry", ports.registry, redisUrl ? { GODWIT_REDIS: redisUrl } : {});
  const pricing = plan("pricing", "pricing", ports.pricing, {});
  const offers = ports.hosts.map((_, index) => ({ name: hostName(index), ...offerOf(index) }));
  const dearest = offers.reduce((dear, offer) => (offer.price > dear.price ? offer : dear)).name;
  const hosts = ports.hosts.map((at, index) => {
    const { name, price, capabilities } = offers[index] as (typeof offers)[number];
    const fault = { GODWIT_ALLOW_CRASH_POINTS: "true", GODWIT_STREAM_FAULTS: "receive:handoff-end:cut-before" };
    return plan(name, "agent-host", at, {
      GODWIT_NAME: name,
      GODWIT_REGISTRY: registry.grpcAddress,
      GODWIT_PRICING: pricing.grpcAddress,
      GODWIT_P2P_LISTEN: "/ip4/127.0.0.1/tcp/0",
      GODWIT_PRICE: String(price),
      GODWIT_CAPABILITIES: capabilities.join(","),
      ...(losesFirstHandoff && name === dearest ? fault : {}),
    });
  });
  return { registry, pricing, hosts, dearest };
}

function hostName(index: number): string {
  const name = NAMES[index % NAMES.length] ?? "host";
  const round = Math.floor(index / NAMES.length);
  return round === 0 ? name : `${name}-${round + 1}`;
}

/** Each round of the offers is dearer than the one before. */
function offerOf(index: number): Offer {
  const offer = OFFERS[index % OFFERS.length] as Offer;
  return { ...offer, price: offer.price + 300n * BigInt(Math.floor(index / OFFERS.length)) };
}
