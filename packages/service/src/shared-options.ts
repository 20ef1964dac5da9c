// The options that every service has, and what is made of them.

import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { type Address, formatAddress, option, type ValuesOf } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { LOG_LEVELS } from "./logger.ts";

export interface Ports {
  readonly grpc: number;
  readonly ops: number;
}

/** Everything listens on loopback unless it is told otherwise. */
export function sharedOptions({ grpc, ops }: Ports) {
  const host = "127.0.0.1";
  return {
    grpcListen: option.address({ fallback: { host, port: grpc }, help: "Where gRPC listens." }),
    grpcAdvertise: option.text({
      optional: true,
      help: "The address at which others reach our gRPC, when that is not where it listens.",
    }),
    opsListen: option.address({ fallback: { host, port: ops }, help: "Where /livez, /readyz and /metrics listen." }),
    tlsCert: option.text({ optional: true, help: "A PEM file: the certificate to serve gRPC with, and to call with." }),
    tlsKey: option.text({ optional: true, help: "A PEM file: the key of --tls-cert." }),
    tlsCa: option.text({
      optional: true,
      help: "A PEM file: whose certificates are trusted. Callers then need one of these.",
    }),
    logLevel: option.choice(LOG_LEVELS, { fallback: "info", help: "The least that is logged." }),
    stopWithinMs: option.duration({
      fallback: 8_000,
      min: 100,
      help: "How long a stop may take; then it is cut short.",
    }),
    allowCrashPoints: option.flag({ help: "For tests: lets this process be made to crash at named points." }),
    crashAt: option.list({ help: "For tests: POINT, POINT:2 (the second time) or POINT:1:stop (freeze instead)." }),
  };
}

export type SharedOptions = ReturnType<typeof sharedOptions>;
export type SharedValues = ValuesOf<SharedOptions>;

export interface Tls {
  /** For a gRPC server. */
  readonly server: { readonly cert: Buffer; readonly key: Buffer; readonly clientCa?: Buffer | undefined };
  /** For a gRPC channel. */
  readonly client: {
    readonly ca?: Buffer | undefined;
    readonly identity: { readonly cert: Buffer; readonly key: Buffer };
  };
}

/** Undefined when no certificate was given: plain text. Throws Fault CONFIG_INVALID for a file that cannot be read. */
export async function readTls({ tlsCert, tlsKey, tlsCa }: SharedValues): Promise<Tls | undefined> {
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) return undefined;
  const problems: string[] = [];
  if (tlsCert === undefined) problems.push("--tls-cert: required with --tls-key or --tls-ca");
  if (tlsKey === undefined) problems.push("--tls-key: required with --tls-cert or --tls-ca");
  const read = async (flag: string, path: string | undefined) => {
    if (path === undefined) return Buffer.alloc(0);
    try {
      return await readFile(path);
    } catch (error) {
      problems.push(`${flag}: ${error instanceof Error ? error.message : String(error)}`);
      return Buffer.alloc(0);
    }
  };
  const cert = await read("--tls-cert", tlsCert);
  const key = await read("--tls-key", tlsKey);
  const ca = tlsCa === undefined ? undefined : await read("--tls-ca", tlsCa);
  if (problems.length > 0) throw new Fault({ code: "CONFIG_INVALID", problems });
  return { server: { cert, key, clientCa: ca }, client: { ca, identity: { cert, key } } };
}

const EVERYWHERE = new Set(["0.0.0.0", "::", "::0"]);

/** What others are told: what the operator says, else where we listen, by this machine's name when that is everywhere. */
export function advertisedAddress(advertise: string | undefined, { host, port }: Address): string {
  return advertise ?? formatAddress({ host: EVERYWHERE.has(host) ? hostname() : host, port });
}
