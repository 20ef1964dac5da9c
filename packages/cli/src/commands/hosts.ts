import { argument, option } from "@godwit/common/config";
import { defineCommand } from "../command.ts";
import { findHost, type Host, listHosts, setDraining } from "../operations/hosts.ts";
import { formatPrice, formatTime, shortHostId } from "../print/format.ts";
import type { Column } from "../print/table.ts";

const COLUMNS: readonly Column<Host>[] = [
  { title: "HOST", value: ({ name }) => name },
  { title: "ID", value: ({ hostId }) => shortHostId(hostId) },
  { title: "STATE", value: stateOf },
  { title: "PRICE", value: ({ pricePerSecond }) => formatPrice(pricePerSecond), align: "right" },
  { title: "FAILURES", value: ({ consecutiveFailures }) => `${consecutiveFailures}`, align: "right" },
  { title: "SEEN", value: ({ lastSeenUnixNs }) => formatTime(lastSeenUnixNs) },
  { title: "CAPABILITIES", value: ({ capabilities }) => capabilities.join(",") },
];

export const hosts = defineCommand({
  name: "hosts",
  summary: "Lists hosts: their price, capabilities and health.",
  options: {},
  run: async ({ session, output }) => {
    output.list(await listHosts(session), COLUMNS, "no hosts: start one, and it tells the registry");
    return undefined;
  },
});

export const drain = defineCommand({
  name: "drain",
  summary: "Marks a host as draining: no agent is sent there any more.",
  options: { undo: option.flag({ help: "Let it take agents again." }) },
  arguments: { host: argument.required("The host: name, id or prefix.") },
  run: async ({ options: { undo }, arguments: { host }, session, output }) => {
    const { hostId } = await findHost(session, host);
    const changed = await setDraining(session, hostId, !undo);
    output.result(changed, () => [
      changed.draining ? `${changed.name} is draining and takes no agents` : `${changed.name} takes agents`,
    ]);
    return undefined;
  },
});

export const peers = defineCommand({
  name: "peers",
  summary: "Lists the hosts that have an open libp2p connection to a host.",
  options: {},
  arguments: { host: argument.required("The host: name, id or prefix.") },
  run: async ({ arguments: { host }, session, output }) => {
    const [known, asked] = await Promise.all([listHosts(session), findHost(session, host)]);
    const answer = await session.host(asked.grpcAddress).connectedPeers({}, session.call());
    const rows = answer.peers.map(({ hostId, address, inbound }) => ({
      hostId,
      host: known.find((candidate) => candidate.hostId === hostId)?.name ?? "",
      address,
      direction: inbound ? "inbound" : "outbound",
    }));
    const columns: readonly Column<(typeof rows)[number]>[] = [
      { title: "HOST", value: (row) => row.host || "-" },
      { title: "ID", value: (row) => row.hostId },
      { title: "DIRECTION", value: (row) => row.direction },
      { title: "ADDRESS", value: (row) => row.address },
    ];
    output.list(rows, columns, `${asked.name} has no open connections`);
    return undefined;
  },
});

function stateOf({ live, draining }: Host): string {
  return live ? (draining ? "draining" : "live") : "gone";
}
