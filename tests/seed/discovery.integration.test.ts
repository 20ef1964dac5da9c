// T-51: whom a real registry names as targets, before and after a restart of its own.

import { Cluster } from "@godwit/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Outlaw } from "./outlaw.ts";

let cluster: Cluster;
const open: Outlaw[] = [];
beforeAll(async () => {
  cluster = await Cluster.create();
  await cluster.startRegistry({ env: { GODWIT_FORGET_FAILURES: "3s", GODWIT_LEASE_DURATION: "40s" } });
});
afterAll(async () => {
  for (const host of open) await host[Symbol.asyncDispose]();
  await cluster?.stop();
});

test("T-51: the same order every time, also after a restart; failures pass, and who is gone is named no more", async () => {
  const { registry } = cluster;
  const named = new Map<string, string>();
  const hosts: Record<string, Outlaw> = {};
  for (const [name, price] of [
    ["dear", 50n],
    ["cheap", 5n],
    ["unknown", 0n],
    ["gone", 1n],
  ] as const) {
    const host = await Outlaw.open(cluster, name, price);
    open.push(host);
    hosts[name] = host;
    named.set(host.hostId, name);
  }
  const { cheap, dear, gone } = hosts;
  if (cheap === undefined || dear === undefined || gone === undefined) throw new Error("a host is missing");
  const candidates = async (wishes: object = {}) =>
    (await registry.directory.selectCandidates(wishes)).hosts.map(({ info }) => named.get(info?.hostId ?? ""));
  expect(await candidates()).toEqual(["gone", "cheap", "dear", "unknown"]);
  await gone.leave();
  for (let round = 0; round < 5; round++) expect(await candidates()).toEqual(["cheap", "dear", "unknown"]);
  expect(await candidates({ maxPricePerSecond: 5n })).toEqual(["cheap", "unknown"]);
  expect(await candidates({ excludedHostIds: [cheap.hostId] })).toEqual(["dear", "unknown"]);

  const since = performance.now();
  for (let times = 0; times < 4; times++) await dear.reportFailure(cheap.hostId);
  const without = await candidates();
  // Unless this machine has stood still for so long that they are forgotten already.
  if (performance.now() - since < 2_500) expect(without).toEqual(["dear", "unknown"]);
  await cluster.waitFor(async () => (await candidates())[0] === "cheap", { what: "failures are forgotten" });

  await registry.restart();
  await cluster.waitFor(async () => (await candidates()).length > 0, { what: "the registry names somebody" });
  expect(await candidates()).toEqual(["cheap", "dear", "unknown"]);
});
