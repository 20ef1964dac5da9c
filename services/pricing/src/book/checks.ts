import { Fault } from "@godwit/common/fault";
import { isHostId } from "@godwit/lineage";

const ADDRESS = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})$/;

/** The host id itself, if it is one. Throws Fault INVALID_ARGUMENT. */
export function checkHostId(hostId: string, field: string): string {
  if (isHostId(hostId)) return hostId;
  throw new Fault({ code: "INVALID_ARGUMENT", field, reason: `${quote(hostId)} is no host id (12D3KooW…)` });
}

/** The address itself, if it is host:port with a port that can be dialled. Throws Fault INVALID_ARGUMENT. */
export function checkAddress(address: string, field: string): string {
  const port = Number(ADDRESS.exec(address)?.[1]);
  if (port >= 1 && port <= 65_535) return address;
  const reason = `${quote(address)} is no address: write it like 127.0.0.1:7460`;
  throw new Fault({ code: "INVALID_ARGUMENT", field, reason });
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
