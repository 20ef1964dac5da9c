import { randomUUID } from "node:crypto";
import { test } from "vitest";
import { readCaller } from "../src/grpc/checks.ts";
import { decodeRecord, encodeRecord } from "../src/authority/record-codec.ts";
import { TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { layGround, storeKinds } from "./fixtures/stores.ts";
const time = async (name: string, n: number, f: () => unknown) => {
  for (let i = 0; i < n / 4; i++) await f();
  const s: number[] = [];
  for (let i = 0; i < n; i++) { const t = performance.now(); await f(); s.push(performance.now() - t); }
  s.sort((a, b) => a - b);
  console.log(name.padEnd(40), (s[n >> 1]! * 1000).toFixed(0), "us p50", (s[Math.floor(n*.1)]! * 1000).toFixed(0), "p10");
};
test.each(storeKinds)("%s", async (kind) => {
  await using ground = await layGround(kind);
  await using registry = await TestRegistry.start(ground);
  const host = await TestHost.open(registry);
  const held = await host.acquire(registry);
  const { store, keeper } = registry.graph;
  const mark = (await store.readMark())!;
  const rec = (await store.readAgents(mark, { agentIds: [held.agentId], withHolders: false })).agents[0]!.record!;
  await time(kind + " decodeRecord", 2000, () => decodeRecord(rec));
  const known = decodeRecord(rec);
  await time(kind + " encodeRecord", 2000, () => encodeRecord(known.record));
  await time(kind + " readCaller", 2000, () => readCaller(host.caller as never));
  await time(kind + " readAgents", 1000, () => store.readAgents(mark, { caller: host.session, agentIds: [held.agentId], withHolders: false }));
  await time(kind + " readAgents+holders", 1000, () => store.readAgents(mark, { agentIds: [held.agentId], withHolders: true }));
  await time(kind + " readSessions", 1000, () => store.readSessions(mark, [host.session]));
  const revert = async () => { held.record = (await registry.authority.revertHandoff({ command: host.command(held.agentId, held.record.revision) })).record!; };
  await time(kind + " grpc revert", 1000, revert);
  await time(kind + " grpc get", 1000, () => registry.authority.getAgent({ agentId: held.agentId }));
  await time(kind + " grpc describe", 1000, () => registry.sessions.describeRegistry({}));
  await time(kind + " grpc renew", 1000, () => host.renew(registry));
  const authority = (registry.graph as any).authority;
  let revision = held.record.revision;
  if (authority) await time(kind + " authority.execute revert", 1000, async () => {
    const a = await authority.execute({ command: { kind: "revert_handoff", id: randomUUID(), incarnation: host.incarnation, agentId: held.agentId, caller: host.session, revision }, secret: host.secret });
    revision = a.record.record.revision;
  });
  void keeper;
}, 60_000);
