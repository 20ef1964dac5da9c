// Ports of 127.0.0.1 for the services of a cluster: the usual ones when they are free, so that commands find them.

import { createServer } from "node:net";

export interface PortPlan {
  readonly registry: ServicePorts;
  readonly pricing: ServicePorts;
  readonly hosts: readonly ServicePorts[];
}

export interface ServicePorts {
  readonly grpc: number;
  readonly ops: number;
}

const REGISTRY: ServicePorts = { grpc: 7_443, ops: 8_443 };
const PRICING: ServicePorts = { grpc: 7_450, ops: 8_450 };
const FIRST_HOST: ServicePorts = { grpc: 7_460, ops: 8_460 };

export interface PortRules {
  readonly hosts: number;
  /** "usual": those above, each replaced when it is taken. "any": whatever is free. A number: that and the ones after it. */
  readonly from: "usual" | "any" | number;
}

export async function choosePorts({ hosts, from }: PortRules): Promise<PortPlan> {
  const wanted = wantedPorts(hosts, from);
  const free = await Promise.all(wanted.map(async (port) => (from === "any" ? false : await canListen(port))));
  const taken = wanted.filter((_, index) => !free[index]);
  // With a base, the ports are what was asked for: a service that cannot have its own says so.
  const others = typeof from === "number" ? taken : await freePorts(taken.length);
  const given = wanted.map((port, index) => (free[index] ? port : (others.shift() ?? port)));

  const pair = (index: number): ServicePorts => ({ grpc: given[index * 2] ?? 0, ops: given[index * 2 + 1] ?? 0 });
  return { registry: pair(0), pricing: pair(1), hosts: Array.from({ length: hosts }, (_, index) => pair(index + 2)) };
}

function wantedPorts(hosts: number, from: PortRules["from"]): number[] {
  if (typeof from === "number") return Array.from({ length: (hosts + 2) * 2 }, (_, index) => from + index);
  const usual = [REGISTRY, PRICING];
  for (let host = 0; host < hosts; host++) usual.push({ grpc: FIRST_HOST.grpc + host, ops: FIRST_HOST.ops + host });
  return usual.flatMap(({ grpc, ops }) => [grpc, ops]);
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** All are held until all are known, so that none is given twice. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once("error", reject);
          server.listen({ port: 0, host: "127.0.0.1", exclusive: true }, () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
