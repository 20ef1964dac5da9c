import { readFileSync } from "node:fs";
import { Fault } from "@godwit/common/fault";
import type { ClientTls } from "@godwit/grpc";

/** Paths of PEM files, as the services' options name them. */
export interface TlsFiles {
  readonly tlsCa: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
}

/** Undefined when none is given: plain text. Throws Fault CONFIG_INVALID, with everything that is wrong. */
export function readTls({ tlsCa, tlsCert, tlsKey }: TlsFiles): ClientTls | undefined {
  if (tlsCa === undefined && tlsCert === undefined && tlsKey === undefined) return undefined;
  const problems: string[] = [];
  if (tlsCert === undefined && tlsKey !== undefined) problems.push("--tls-cert: required with --tls-key");
  if (tlsKey === undefined && tlsCert !== undefined) problems.push("--tls-key: required with --tls-cert");
  const read = (flag: string, path: string | undefined) => {
    try {
      return path === undefined ? undefined : readFileSync(path);
    } catch (error) {
      problems.push(`${flag}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  const ca = read("--tls-ca", tlsCa);
  const cert = read("--tls-cert", tlsCert);
  const key = read("--tls-key", tlsKey);
  if (problems.length > 0) throw new Fault({ code: "CONFIG_INVALID", problems });
  return { ca, ...(cert === undefined || key === undefined ? {} : { identity: { cert, key } }) };
}
