import { Fault, isFault } from "@godwit/common/fault";
import type { Host as WireHost } from "@godwit/proto/godwit/registry/v1/directory";
import type { Session } from "../session.ts";

/** A host as the registry knows it. */
export interface Host {
  readonly hostId: string;
  readonly name: string;
  readonly grpcAddress: string;
  /** libp2p. */
  readonly addresses: readonly string[];
  readonly capabilities: readonly string[];
  /** Microcents a second; undefined: not known. */
  readonly pricePerSecond: bigint | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly draining: boolean;
  /** It has a session that is not closed. */
  readonly live: boolean;
  readonly consecutiveFailures: number;
  readonly lastSeenUnixNs: bigint;
}

const PAGE = 500;

export async function listHosts(session: Session): Promise<readonly Host[]> {
  const hosts: Host[] = [];
  let pageToken = "";
  do {
    const page = await session.directory.listHosts({ pageSize: PAGE, pageToken }, session.call());
    hosts.push(...page.hosts.map(fromWire));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return hosts.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.hostId < b.hostId ? -1 : 1));
}

/** `name`: a host's name, its id, or a prefix of that. Faults: HOST_UNKNOWN, AMBIGUOUS_ID. */
export async function findHost(session: Session, name: string): Promise<Host> {
  const { host } = await session.directory.getHost({ hostId: name }, session.call());
  if (host === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId: name });
  return fromWire(host);
}

/** Undefined for a host that the registry does not know any more. */
export async function knownHost(session: Session, hostId: string): Promise<Host | undefined> {
  try {
    return await findHost(session, hostId);
  } catch (error) {
    if (isFault(error, "HOST_UNKNOWN")) return undefined;
    throw error;
  }
}

export async function setDraining(session: Session, hostId: string, draining: boolean): Promise<Host> {
  const { host } = await session.directory.drainHost({ hostId, draining }, session.call());
  if (host === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId });
  return fromWire(host);
}

/** The cheapest of those that could run an agent. Faults: NO_CANDIDATE. */
export async function cheapestCandidate(
  session: Session,
  needs: { readonly agent: string; readonly maxPricePerSecond: bigint; readonly capabilities: readonly string[] },
): Promise<Host> {
  const request = {
    maxPricePerSecond: needs.maxPricePerSecond,
    requiredCapabilities: [...needs.capabilities],
    limit: 1,
  };
  const { hosts } = await session.directory.selectCandidates(request, session.call());
  const [first] = hosts;
  if (first !== undefined) return fromWire(first);
  const wanted = needs.capabilities.length === 0 ? "" : ` with ${needs.capabilities.join(", ")}`;
  const limit = needs.maxPricePerSecond === 0n ? "" : ` for at most ${needs.maxPricePerSecond} microcents a second`;
  const reason = `no live host${wanted}${limit}: list the hosts to see what they offer`;
  throw new Fault({ code: "NO_CANDIDATE", agentId: needs.agent, reason });
}

/** For people: "fiji", or the end of the id of a host that nobody knows. */
export function nameOf(hosts: readonly Host[], hostId: string | undefined): string {
  if (hostId === undefined || hostId === "") return "-";
  const name = hosts.find((host) => host.hostId === hostId)?.name;
  return name === undefined || name === "" ? `…${hostId.slice(-8)}` : name;
}

export function fromWire({ info, draining, live, consecutiveFailures, lastSeenUnixNs }: WireHost): Host {
  const price = info?.pricePerSecond ?? 0n;
  return {
    hostId: info?.hostId ?? "",
    name: info?.name ?? "",
    grpcAddress: info?.grpcAddress ?? "",
    addresses: info?.addresses ?? [],
    capabilities: info?.capabilities ?? [],
    pricePerSecond: price === 0n ? undefined : price,
    labels: info?.labels ?? {},
    draining,
    live,
    consecutiveFailures,
    lastSeenUnixNs,
  };
}
