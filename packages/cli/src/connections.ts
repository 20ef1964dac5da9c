// Where the services are when nobody says: a running `npm start` writes that to .godwit/cluster.json, and commands that
// are run in that directory or below find it there.

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Connections {
  /** host:port of its gRPC; of several replicas with commas, in the order in which they are tried. */
  readonly registry: string;
  readonly pricing: string;
}

/** How a host is reached from here whose gRPC address is one of another network: of containers, behind a forwarded port. */
export type HostAddresses = ReadonlyMap<string, string>;

/** `pairs`: ADVERTISED=REACHED, both host:port. Of two for the same address the later one holds. */
export function readHostAddresses(pairs: readonly string[]): HostAddresses {
  return new Map(
    pairs.map((pair): [string, string] => {
      const at = pair.indexOf("=");
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

export interface ClusterFile extends Connections {
  /** Of the process that runs the cluster. */
  readonly pid: number;
}

export const DEFAULT_CONNECTIONS: Connections = { registry: "127.0.0.1:7443", pricing: "127.0.0.1:7450" };

const FILE = join(".godwit", "cluster.json");

/** The cluster that runs here, or the default ports. */
export function findConnections(workingDirectory: string): Connections {
  for (let directory = workingDirectory; ; directory = dirname(directory)) {
    const found = readCluster(directory);
    if (found !== undefined) return found;
    if (dirname(directory) === directory) return DEFAULT_CONNECTIONS;
  }
}

/** Undefined when there is no file, or it is of a cluster that is gone. */
export function readCluster(directory: string): ClusterFile | undefined {
  try {
    const content: unknown = JSON.parse(readFileSync(join(directory, FILE), "utf8"));
    return isClusterFile(content) && isAlive(content.pid) ? content : undefined;
  } catch {
    return undefined; // missing, or not ours: the defaults have to do
  }
}

export function writeCluster(directory: string, cluster: ClusterFile): void {
  const path = join(directory, FILE);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify(cluster, undefined, 2)}\n`);
  renameSync(`${path}.new`, path);
}

export function removeCluster(directory: string): void {
  rmSync(join(directory, FILE), { force: true });
}

function isClusterFile(value: unknown): value is ClusterFile {
  if (typeof value !== "object" || value === null) return false;
  const { registry, pricing, pid } = value as Partial<Record<keyof ClusterFile, unknown>>;
  return typeof registry === "string" && typeof pricing === "string" && Number.isSafeInteger(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // it lives, as somebody else's
  }
}
