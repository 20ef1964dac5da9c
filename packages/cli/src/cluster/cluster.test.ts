import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import type { AgentRow } from "../operations/agents.ts";
import type { Host } from "../operations/hosts.ts";
import { planCluster } from "./plan.ts";
import { choosePorts } from "./ports.ts";
import { Screen } from "./screen.ts";
import { viewLines } from "./view.ts";

describe("ports", () => {
  const all = ({ registry, pricing, hosts }: Awaited<ReturnType<typeof choosePorts>>) =>
    [registry, pricing, ...hosts].flatMap(({ grpc, ops }) => [grpc, ops]);

  test("with a base they are that and the ones after it, free or not", async () => {
    const ports = await choosePorts({ hosts: 2, from: 20_000 });
    expect(all(ports)).toEqual([20_000, 20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007]);
  });

  test("any: each is free, and none is given twice", async () => {
    const ports = all(await choosePorts({ hosts: 5, from: "any" }));
    expect(ports).toHaveLength(14);
    expect(new Set(ports).size).toBe(14);
    expect(Math.min(...ports)).toBeGreaterThan(1_023);
  });

  test("of the usual ones, one that is taken is replaced and the others are kept", async () => {
    const taken = createServer();
    const isOurs = await new Promise<boolean>((resolve) => {
      taken.once("error", () => resolve(false)); // somebody else has it: just as taken
      taken.listen(7_462, "127.0.0.1", () => resolve(true));
    });
    try {
      const { hosts } = await choosePorts({ hosts: 3, from: "usual" });
      expect(hosts[2]?.grpc).not.toBe(7_462);
      expect(new Set(hosts.map(({ grpc }) => grpc)).size).toBe(3);
    } finally {
      if (isOurs) taken.close();
    }
  });
});

describe("plan", () => {
  const ports = {
    registry: { grpc: 1, ops: 2 },
    pricing: { grpc: 3, ops: 4 },
    hosts: Array.from({ length: 10 }, (_, index) => ({ grpc: 10 + index, ops: 20 + index })),
  };
  const plan = planCluster({ ports, dataDir: "/data", redisUrl: undefined, losesFirstHandoff: false });

  test("hosts have names, directories and prices of their own, and know the others' addresses", () => {
    expect(new Set(plan.hosts.map(({ name }) => name)).size).toBe(10);
    expect(new Set(plan.hosts.map(({ env }) => env["GODWIT_DATA"])).size).toBe(10);
    expect(new Set(plan.hosts.map(({ env }) => env["GODWIT_PRICE"])).size).toBe(10);
    expect(new Set(plan.hosts.slice(0, 3).map(({ env }) => env["GODWIT_CAPABILITIES"])).size).toBeGreaterThan(1);
    for (const { env } of plan.hosts) {
      expect(env).toMatchObject({ GODWIT_REGISTRY: "127.0.0.1:1", GODWIT_PRICING: "127.0.0.1:3" });
    }
  });

  test("any of them can run the survivor", () => {
    for (const { env } of plan.hosts) {
      expect(env["GODWIT_CAPABILITIES"]?.split(",")).toEqual(
        expect.arrayContaining(["clock", "rand", "log", "pricing"]),
      );
    }
  });

  test("Redis and faults only where they were asked for: the dearest host alone loses a handoff", () => {
    expect(plan.registry.env).not.toHaveProperty("GODWIT_REDIS");
    for (const { env } of plan.hosts) expect(env).not.toHaveProperty("GODWIT_ALLOW_CRASH_POINTS");
    const other = planCluster({ ports, dataDir: "/data", redisUrl: "redis://x", losesFirstHandoff: true });
    expect(other.registry.env).toMatchObject({ GODWIT_REDIS: "redis://x" });
    const faulty = other.hosts.filter(({ env }) => env["GODWIT_STREAM_FAULTS"] !== undefined);
    expect(faulty.map(({ name }) => name)).toEqual([other.dearest]);
    const prices = other.hosts.map(({ env }) => Number(env["GODWIT_PRICE"]));
    expect(faulty[0]?.env["GODWIT_PRICE"]).toBe(String(Math.max(...prices)));
  });
});

describe("live view", () => {
  const host = (name: string, more: Partial<Host> = {}): Host => ({
    hostId: `id-${name}`,
    name,
    grpcAddress: "",
    addresses: [],
    capabilities: [],
    pricePerSecond: 1_000n,
    labels: {},
    draining: false,
    live: true,
    consecutiveFailures: 0,
    lastSeenUnixNs: 0n,
    ...more,
  });
  const agent: AgentRow = {
    agentId: "aa".repeat(32),
    name: "survivor",
    hostId: "id-fiji",
    host: "fiji",
    state: "HANDOFF_INITIATED",
    reason: "",
    era: 0n,
    major: 12n,
    tick: 123_456n,
    budget: 9_999_999n,
    pricePerSecond: 1_000n,
    fromOwner: true,
  };
  const model = {
    title: "Godwit",
    overview: { hosts: [host("alaska", { live: false }), host("fiji"), host("hawaii")], agents: [agent], silent: [] },
    trouble: undefined,
    happenings: Array.from({ length: 20 }, (_, index) => ({ atMs: index * 1_000, text: `event ${index}` })),
    hints: ["Ctrl-C stops everything."],
  };

  test("each host has a row, with what runs there, and it fits into 80 columns", () => {
    const lines = viewLines(model);
    expect(lines.find((line) => line.startsWith("fiji"))).toMatch(
      /0.001\/s +aaaaaaaa +survivor +HANDOFF_INITIATED +12 /,
    );
    expect(lines.find((line) => line.startsWith("alaska"))).toContain("gone");
    expect(lines.some((line) => line.startsWith("hawaii"))).toBe(true);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  test("the newest events are shown, with their time; what is shown when nobody answers is said to be old", () => {
    const text = viewLines({ ...model, trouble: "REGISTRY_UNAVAILABLE" }).join("\n");
    expect(text).toContain("  19.0 s  event 19");
    expect(text).not.toContain("event 1\n");
    expect(text).toContain("REGISTRY_UNAVAILABLE");
  });

  test("a screen draws over what it drew before, and never more than fits", () => {
    let out = "";
    const terminal = {
      out: (text: string) => {
        out += text;
      },
      err: () => {},
      isTerminal: true,
      columns: () => 10,
      rows: () => 4,
    };
    const screen = new Screen(terminal);
    screen.draw(["one", "two is far too long", "three", "four", "five"]);
    expect(out).toBe("\x1b[0Jone\ntwo is f…\nthree\n");
    out = "";
    screen.draw(["again"]);
    expect(out).toBe("\x1b[3F\x1b[0Jagain\n");
  });
});
