import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fault } from "@godwit/common/fault";
import { AuthorityState, RetiredReason } from "@godwit/proto/godwit/registry/v1/authority";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { FakeCluster, type FakeClusterSpec } from "./fake-cluster.ts";
import { type Ran, runCommand } from "./run-command.ts";

const AGENT_A = `aa01${"0".repeat(60)}`;
const AGENT_B = `aa02${"0".repeat(60)}`;
const FIJI = { hostId: "host-fiji", name: "fiji" };
const ALASKA = { hostId: "host-alaska", name: "alaska" };

const open: FakeCluster[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((cluster) => cluster[Symbol.asyncDispose]()));
});

async function start(spec: FakeClusterSpec): Promise<FakeCluster> {
  const cluster = await FakeCluster.start(spec);
  open.push(cluster);
  return cluster;
}

function recordOf(agentId: string, name: string, hostId: string) {
  return {
    agentId,
    name,
    state: AuthorityState.ACTIVE_OWNER,
    major: 2n,
    owner: { hostId, bootId: "boot" },
    head: { era: 0n, major: 2n, tick: 7n, digest: new Uint8Array(32) },
  };
}

function json(ran: Ran) {
  return JSON.parse(ran.out);
}

describe("ps", () => {
  const status = { agentId: AGENT_A, name: "survivor", state: "ACTIVE_OWNER", tick: 9n, budget: 2_500_000n };

  test("the registry says who owns an agent, the owner how it does", async () => {
    const cluster = await start({
      hosts: [{ ...FIJI, agents: [{ ...status, pricePerSecond: 1_000n }] }, ALASKA],
      records: [recordOf(AGENT_A, "survivor", FIJI.hostId)],
    });
    const ran = await runCommand(["ps"], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    const [titles, row] = ran.out.split("\n");
    expect(titles?.split(/\s+/)).toEqual(["AGENT", "NAME", "HOST", "STATE", "MAJOR", "TICK", "BUDGET", "PRICE"]);
    expect(row?.split(/\s+/)).toEqual(["aa010000", "survivor", "fiji", "ACTIVE_OWNER", "2", "9", "2.5", "0.001/s"]);
  });

  test("JSON has stable names, and amounts as decimal strings", async () => {
    const cluster = await start({
      hosts: [{ ...FIJI, agents: [{ ...status, budget: 9_000_000_000_000_000n }] }],
      records: [recordOf(AGENT_A, "survivor", FIJI.hostId)],
    });
    expect(json(await runCommand(["ps", "--json"], cluster))).toEqual([
      {
        agentId: AGENT_A,
        name: "survivor",
        hostId: FIJI.hostId,
        host: "fiji",
        era: "0",
        major: "2",
        state: "ACTIVE_OWNER",
        reason: "",
        tick: "9",
        budget: "9000000000000000",
        pricePerSecond: "0",
        fromOwner: true,
      },
    ]);
  });

  test("a host that does not answer costs its agents their figures, not the others theirs", async () => {
    const silent = { listAgents: () => Promise.reject(new Fault({ code: "NOT_READY", reason: "starting" })) };
    const cluster = await start({
      hosts: [
        { ...FIJI, agents: [status] },
        { ...ALASKA, handlers: silent },
      ],
      records: [recordOf(AGENT_A, "survivor", FIJI.hostId), recordOf(AGENT_B, "keeper", ALASKA.hostId)],
    });
    const ran = await runCommand(["ps"], cluster);
    expect(ran.code).toBe(0);
    expect(ran.err).toContain("note: host alaska does not answer");
    expect(ran.out).toMatch(/aa02\S+ +keeper +alaska +ACTIVE_OWNER +2 +7 +- +-/);
    expect(ran.out).toMatch(/aa01\S+ +survivor +fiji +ACTIVE_OWNER +2 +9 +2.5/);
  });

  test("a host that advertises an address of another network is called where --host-address says", async () => {
    const elsewhere = { listAgents: () => Promise.reject(new Fault({ code: "NOT_READY", reason: "starting" })) };
    const cluster = await start({
      hosts: [
        { ...FIJI, handlers: elsewhere },
        { ...ALASKA, agents: [{ ...status, hostId: FIJI.hostId }] },
      ],
      records: [recordOf(AGENT_A, "survivor", FIJI.hostId)],
    });
    const [alaska, fiji] = json(await runCommand(["hosts", "--json"], cluster));
    const pair = `${fiji.grpcAddress}=${alaska.grpcAddress}`;
    const ran = await runCommand(["ps", "--host-address", pair], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/aa01\S+ +survivor +fiji +ACTIVE_OWNER +2 +9 +2.5/);
  });

  test.each(["host-a", "host-a:7460", "host-a=127.0.0.1:1", "=127.0.0.1:1", "host-a:7460=127.0.0.1:1=x"])(
    "--host-address %s is refused",
    async (pair) => {
      const ran = await runCommand(["ps", "--host-address", pair], { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" });
      expect(ran.code).toBe(2);
      expect(ran.err).toContain("is not a pair like host-a:7460=127.0.0.1:7461");
    },
  );

  test("an agent whose host is gone is said to be without one; a terminated one is not listed", async () => {
    const terminated = { payload: new Uint8Array(1), signature: new Uint8Array(64) };
    const cluster = await start({
      hosts: [{ ...FIJI, live: false }],
      records: [
        recordOf(AGENT_A, "survivor", FIJI.hostId),
        { ...recordOf(AGENT_B, "gone", FIJI.hostId), state: AuthorityState.RETIRED, terminated },
      ],
    });
    const ran = await runCommand(["ps"], cluster);
    expect(ran.out).toContain("ACTIVE_OWNER (its host is gone)");
    expect(ran.out).not.toContain("aa02");
  });

  test("a stopped agent is shown with its reason", async () => {
    const stopped = { state: AuthorityState.RETIRED, reason: RetiredReason.STOPPED };
    const cluster = await start({ hosts: [FIJI], records: [{ ...recordOf(AGENT_A, "s", FIJI.hostId), ...stopped }] });
    expect((await runCommand(["ps"], cluster)).out).toContain("RETIRED (stopped)");
  });

  test("without agents it says how to start one", async () => {
    const cluster = await start({ hosts: [FIJI] });
    expect((await runCommand(["ps"], cluster)).out).toBe("no agents: start one with godwit run AGENT.wasm\n");
    expect(json(await runCommand(["ps", "--json"], cluster))).toEqual([]);
  });
});

describe("names", () => {
  const records = [recordOf(AGENT_A, "survivor", FIJI.hostId), recordOf(AGENT_B, "survivor", FIJI.hostId)];

  test("a prefix of several agents is ambiguous: exit code 3, with what it could be", async () => {
    const cluster = await start({ hosts: [FIJI], records });
    const ran = await runCommand(["describe", "aa0"], cluster);
    expect(ran).toMatchObject({ code: 3, out: "" });
    expect(ran.err).toMatch(/^error: AMBIGUOUS_ID: aa0 could be aa01.*, aa02.*: give more characters\n$/);
  });

  test("a name of several agents is ambiguous, a name of one is enough", async () => {
    const cluster = await start({ hosts: [FIJI], records });
    expect(await runCommand(["describe", "survivor"], cluster)).toMatchObject({ code: 3 });
    const other = await start({ hosts: [FIJI], records: records.slice(0, 1) });
    expect((await runCommand(["describe", "survivor"], other)).out).toContain(AGENT_A);
  });

  test("an unknown agent and an unknown host: exit code 3", async () => {
    const cluster = await start({ hosts: [FIJI], records });
    expect(await runCommand(["stop", "bb"], cluster)).toMatchObject({ code: 3 });
    const ran = await runCommand(["peers", "tonga"], cluster);
    expect(ran).toMatchObject({ code: 3 });
    expect(ran.err).toBe("error: HOST_UNKNOWN: there is no host tonga: list the hosts to see which there are\n");
  });
});

describe("failures", () => {
  test("a registry that is not there: exit code 4, and what to do, in one line", async () => {
    const cluster = await start({ hosts: [] });
    const ran = await runCommand(["ps", "--registry", "127.0.0.1:1"], cluster);
    expect(ran.code).toBe(4);
    expect(ran.err).toMatch(/^error: REGISTRY_UNAVAILABLE: .*npm start.*--registry.*\n$/);
    expect(ran.err.trimEnd()).not.toContain("\n");
  });

  test("with --json the error is JSON too", async () => {
    const cluster = await start({ hosts: [] });
    const ran = await runCommand(["--json", "describe", "ff"], cluster);
    expect(ran.out).toBe("");
    expect(JSON.parse(ran.err)).toMatchObject({ error: { code: "AGENT_UNKNOWN", exitCode: 3 } });
  });

  test.each([
    [["migrate"], "AGENT: required"],
    [["migrate", "a", "--migration-retries", "0"], "--migration-retries"],
    [["run", "x.wasm", "--budget", "-1"], "--budget"],
    [["ps", "--registry", "nowhere"], "--registry"],
    [["ps", "--nonsense"], "there is no such option"],
    [["ps", "more"], "not expected"],
    [["fly"], "there is no such command"],
    [["migrat"], "did you mean migrate?"],
    [["--json"], "no command"],
  ])("wrong usage %j: exit code 2, nothing is called", async (argv, problem) => {
    const ran = await runCommand(argv, { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" });
    expect(ran).toMatchObject({ code: 2, out: "" });
    expect(ran.err).toContain(problem);
  });

  test("every command has its help, without a cluster", async () => {
    const nowhere = { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" };
    const { out } = await runCommand(["--help"], nowhere);
    for (const name of [
      "run",
      "import",
      "inspect",
      "ps",
      "describe",
      "logs",
      "migrate",
      "fund",
      "recover",
      "stop",
      "hosts",
      "drain",
      "prices",
    ]) {
      expect(out).toContain(`  ${name} `);
      const help = await runCommand([name, "--help"], nowhere);
      expect(help.code).toBe(0);
      expect(help.out).toContain(`Usage: godwit ${name}`);
    }
  });

  test("an interrupted command ends at once with exit code 130, and prints no error", async () => {
    const interruption = new AbortController();
    const hanging = { listAgents: () => new Promise<never>(() => {}) };
    const cluster = await start({ hosts: [], authority: hanging });
    const running = runCommand(["ps"], { ...addresses(cluster), signal: interruption.signal });
    setTimeout(() => interruption.abort(new Error("interrupted")), 50);
    expect(await running).toEqual({ code: 130, out: "", err: "" });
  });
});

describe("run", () => {
  const directory = mkdtempSync(join(tmpdir(), "godwit-run-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const module = join(directory, "my agent.wasm");
  const bytes = new Uint8Array(300_000).fill(7);
  const manifest =
    '{"capabilities":{"clock":{"version":1}},"migration_policy":{"enabled":true,"max_price_per_second":10000}}';
  writeFileSync(module, bytes);
  writeFileSync(join(directory, "my agent.manifest.json"), manifest);

  async function startHost() {
    const seen: { spec?: unknown; bytes: number; sha256?: string; asked?: unknown } = { bytes: 0 };
    const cluster = await start({
      hosts: [
        {
          ...FIJI,
          handlers: {
            runAgent: async (requests) => {
              for await (const { frame } of requests) {
                if (frame.case === "spec") seen.spec = frame.value;
                if (frame.case === "moduleChunk") seen.bytes += frame.value.length;
                if (frame.case === "end") seen.sha256 = Buffer.from(frame.value.sha256).toString("hex");
              }
              const { name, budget } = seen.spec as { name: string; budget: bigint };
              return { agent: { agentId: AGENT_A, name, budget, state: "ACTIVE_OWNER", pricePerSecond: 1_000n } };
            },
          },
        },
      ],
      directory: {
        selectCandidates: (request) => {
          seen.asked = { price: request.maxPricePerSecond, capabilities: request.requiredCapabilities };
          return { hosts: [{ info: { ...FIJI, grpcAddress: "" } }] };
        },
      },
    });
    return { cluster, seen };
  }

  test("module, the manifest beside it and budget arrive whole, and end with size and digest", async () => {
    const { cluster, seen } = await startHost();
    const ran = await runCommand(["run", module, "--on", "fiji", "--budget", "2.5"], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toContain("runs on fiji");
    expect(ran.out).toContain(AGENT_A);
    expect(seen.bytes).toBe(bytes.length);
    expect(seen.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(seen.spec).toMatchObject({ name: "my-agent", budget: 2_500_000n, moduleBytes: 300_000n });
    expect(Buffer.from((seen.spec as { manifest: Uint8Array }).manifest).toString()).toBe(manifest);
  });

  test("without --on the registry is asked for what the manifest needs", async () => {
    const { cluster, seen } = await startHost();
    await runCommand(["run", module], cluster);
    expect(seen.asked).toEqual({ price: 10_000n, capabilities: ["clock"] });
  });

  test("a module without a manifest beside it has no capabilities; a manifest that is named must exist", async () => {
    const { cluster, seen } = await startHost();
    const alone = join(directory, "alone.wasm");
    writeFileSync(alone, bytes);
    expect(await runCommand(["run", alone, "--on", "fiji"], cluster)).toMatchObject({ code: 0 });
    expect((seen.spec as { manifest: Uint8Array }).manifest).toHaveLength(0);

    const missing = await runCommand(["run", alone, "--manifest", join(directory, "no.json")], cluster);
    expect(missing).toMatchObject({ code: 2 });
    expect(missing.err).toMatch(/^error: INVALID_ARGUMENT: manifest: there is no file/);
    expect(await runCommand(["run", join(directory, "no.wasm")], cluster)).toMatchObject({ code: 2 });
  });

  test("a manifest that is no JSON is refused before anything is sent", async () => {
    const { cluster, seen } = await startHost();
    const bad = join(directory, "bad.json");
    writeFileSync(bad, "{");
    const ran = await runCommand(["run", module, "--manifest", bad], cluster);
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.err).toContain("MANIFEST_INVALID");
    expect(seen.spec).toBeUndefined();
  });

  test("no host that fits: NO_CANDIDATE, with what was looked for", async () => {
    const cluster = await start({ hosts: [FIJI], directory: { selectCandidates: () => ({ hosts: [] }) } });
    const ran = await runCommand(["run", module], cluster);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/NO_CANDIDATE: .*clock.*10000/);
  });
});

describe("migrate", () => {
  const records = [recordOf(AGENT_A, "survivor", FIJI.hostId)];
  const attempt = {
    atMs: 0.5,
    event: { case: "attempt", value: { targetHostId: ALASKA.hostId, attempt: 1 } },
  } as const;
  const done = {
    atMs: 12.25,
    event: { case: "done", value: { targetHostId: ALASKA.hostId, major: 3n, tick: 8n, blackoutMs: 4.5, totalMs: 12 } },
  } as const;
  const givenUp = {
    atMs: 9,
    event: { case: "givenUp", value: { code: "NO_CANDIDATE", message: "nobody", state: "ACTIVE_OWNER" } },
  } as const;

  test("prints what happens and the blackout; exit code 0 when it is done", async () => {
    const asked: unknown[] = [];
    const cluster = await start({
      hosts: [
        {
          ...FIJI,
          handlers: {
            async *migrateAgent(request) {
              asked.push(request);
              yield attempt;
              yield { atMs: 3, event: { case: "step", value: { step: "prepared" } } };
              yield done;
            },
          },
        },
        ALASKA,
      ],
      records,
    });
    const argv = ["migrate", "survivor", "--to", "alaska", "--migration-retries", "5", "--migration-retry-delay", "2s"];
    const ran = await runCommand([...argv, "--timeout", "30s"], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toContain("from fiji\n");
    expect(ran.out).toContain("0.5 ms  to alaska");
    expect(ran.out).toContain("3.0 ms  prepared");
    expect(ran.out).toContain("runs on alaska from tick 9, major 3: blackout 4.50 ms, 12.00 ms in all");
    expect(asked).toMatchObject([
      {
        agentId: AGENT_A,
        targetHostId: ALASKA.hostId,
        allowFallback: false,
        timeoutMs: 30_000,
        retries: 5,
        retryDelayMs: 2_000,
      },
    ]);
  });

  test("as JSON: one event a line", async () => {
    const handlers = {
      async *migrateAgent() {
        yield attempt;
        yield done;
      },
    };
    const cluster = await start({ hosts: [{ ...FIJI, handlers }, ALASKA], records });
    const { out } = await runCommand(["migrate", AGENT_A, "--json"], cluster);
    expect(
      out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toMatchObject([
      { atMs: 0.5, event: "attempt", target: "alaska", targetHostId: ALASKA.hostId, attempt: 1 },
      { atMs: 12.25, event: "done", target: "alaska", major: "3", tick: "8", blackoutMs: 4.5 },
    ]);
  });

  test("exit code 1 when it was given up, and when the host broke off without a word", async () => {
    const giveUp = {
      async *migrateAgent() {
        yield givenUp;
      },
    };
    const breakOff = {
      async *migrateAgent() {
        yield attempt;
      },
    };
    for (const handlers of [giveUp, breakOff]) {
      const cluster = await start({ hosts: [{ ...FIJI, handlers }, ALASKA], records });
      expect(await runCommand(["migrate", AGENT_A], cluster)).toMatchObject({ code: 1 });
    }
  });

  test("to where it is already: wrong usage", async () => {
    const cluster = await start({ hosts: [FIJI], records });
    expect(await runCommand(["migrate", AGENT_A, "--to", "fiji"], cluster)).toMatchObject({ code: 2 });
  });

  test("an agent whose host is gone is not migrated: recover is the way", async () => {
    const cluster = await start({ hosts: [{ ...FIJI, live: false }], records });
    const ran = await runCommand(["migrate", AGENT_A], cluster);
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.err).toMatch(/AGENT_NOT_RUNNING: .*its host fiji is gone.*recover it first/);
  });
});

describe("recover, stop, drain", () => {
  const records = [recordOf(AGENT_A, "survivor", FIJI.hostId)];
  const status = { agentId: AGENT_A, name: "survivor", state: "ACTIVE_OWNER", major: 3n, tick: 9n };

  test("recover goes to the owner's host, else to the live holder of the newest checkpoint", async () => {
    const handlers = { recoverAgent: () => ({ agent: status }) };
    const alive = await start({ hosts: [{ ...FIJI, handlers }, ALASKA], records });
    expect((await runCommand(["recover", AGENT_A], alive)).out).toContain("ACTIVE_OWNER on fiji, major 3");

    const holders = [{ session: { hostId: ALASKA.hostId, bootId: "b" } }];
    const dead = await start({
      hosts: [
        { ...FIJI, live: false },
        { ...ALASKA, handlers },
      ],
      records,
      authority: { getAgent: () => ({ record: records[0], holders, ownerSessionVoid: true }) },
    });
    expect((await runCommand(["recover", AGENT_A], dead)).out).toContain("on alaska");

    const nobody = await start({ hosts: [{ ...FIJI, live: false }], records });
    expect((await runCommand(["recover", AGENT_A], nobody)).err).toContain("NO_CANDIDATE");
  });

  test("stop asks the owner; --delete is passed on", async () => {
    const asked: unknown[] = [];
    const stopAgent = (request: unknown) => {
      asked.push(request);
      return { agent: { ...status, state: "RETIRED" } };
    };
    const cluster = await start({ hosts: [{ ...FIJI, handlers: { stopAgent } }], records });
    expect((await runCommand(["stop", "survivor"], cluster)).out).toContain("RETIRED after tick 9");
    expect((await runCommand(["stop", "survivor", "--delete"], cluster)).out).toContain("gone for good");
    expect(asked).toMatchObject([{ delete: false }, { agentId: AGENT_A, delete: true }]);
  });

  test("drain marks a host by its name, and --undo takes that back", async () => {
    const drainHost = ({ hostId, draining }: { hostId: string; draining: boolean }) => {
      return { host: { info: { hostId, name: "fiji" }, draining, live: true } };
    };
    const cluster = await start({ hosts: [FIJI], directory: { drainHost } });
    expect((await runCommand(["drain", "fiji"], cluster)).out).toBe("fiji is draining and takes no agents\n");
    expect(json(await runCommand(["drain", "fiji", "--undo", "--json"], cluster))).toMatchObject({ draining: false });
  });
});

describe("hosts, prices, peers", () => {
  test("hosts come with price and state", async () => {
    const cluster = await start({
      hosts: [
        { ...FIJI, price: 2_000n },
        { ...ALASKA, live: false, price: 0n },
      ],
    });
    const { out } = await runCommand(["hosts"], cluster);
    expect(out).toMatch(/alaska +host-alaska +gone +- /);
    expect(out).toMatch(/fiji +host-fiji +live +0.002\/s /);
  });

  test("a scan asks all live hosts, and says who did not answer and why", async () => {
    const asked: unknown[] = [];
    const cluster = await start({
      hosts: [FIJI, ALASKA, { hostId: "host-korea", name: "korea", live: false }],
      pricing: {
        scanPrices: (request) => {
          asked.push(request.targets.map(({ hostId }) => hostId));
          return {
            prices: [{ hostId: FIJI.hostId, pricePerSecond: 500n }],
            missing: [{ hostId: ALASKA.hostId, code: "DEADLINE_EXCEEDED", message: "too slow" }],
          };
        },
      },
    });
    const { out } = await runCommand(["prices", "--scan"], cluster);
    expect(asked).toEqual([["host-alaska", "host-fiji"]]);
    expect(out).toContain("0.0005/s");
    expect(out).toContain("alaska did not: DEADLINE_EXCEEDED: too slow");
  });

  test("peers are named", async () => {
    const connectedPeers = () => ({
      peers: [{ hostId: ALASKA.hostId, address: "/ip4/127.0.0.1/tcp/1", inbound: true }],
    });
    const cluster = await start({ hosts: [{ ...FIJI, handlers: { connectedPeers } }, ALASKA] });
    expect((await runCommand(["peers", "fiji"], cluster)).out).toMatch(/alaska +host-alaska +inbound +\/ip4/);
  });
});

describe("logs", () => {
  const records = [recordOf(AGENT_A, "survivor", FIJI.hostId)];
  const line = (index: number) => ({
    atUnixNs: BigInt(index),
    major: 2n,
    tick: BigInt(index),
    origin: "agent",
    line: `line ${index}`,
  });

  test("prints so many lines of before, and ends", async () => {
    const asked: unknown[] = [];
    const handlers = {
      async *followLogs({ tail, follow }: { tail: number; follow: boolean }) {
        asked.push({ tail, follow });
        yield line(1);
        yield { ...line(2), origin: "host" };
      },
    };
    const cluster = await start({ hosts: [{ ...FIJI, handlers }], records });
    const { out, code } = await runCommand(["logs", "-n", "2", "survivor"], cluster);
    expect(code).toBe(0);
    expect(asked).toEqual([{ tail: 2, follow: false }]);
    expect(out).toMatch(/fiji {2}2:1 {2}line 1\n.*fiji {2}2:2 {2}\[host\] line 2\n$/);
  });

  test("followed, it goes on where the agent goes, and prints no line twice", async () => {
    let owner = FIJI.hostId;
    const first = {
      async *followLogs() {
        yield line(1);
        owner = ALASKA.hostId; // it moves, and the old host ends the stream
      },
    };
    const second = {
      async *followLogs() {
        yield line(1);
        yield line(2);
        await new Promise(() => {});
      },
    };
    const cluster = await start({
      hosts: [
        { ...FIJI, handlers: first },
        { ...ALASKA, handlers: second },
      ],
      authority: { getAgent: () => ({ record: recordOf(AGENT_A, "survivor", owner), holders: [] }) },
    });
    const interruption = new AbortController();
    const ran = await runCommand(["logs", "--follow", AGENT_A], {
      ...addresses(cluster),
      signal: interruption.signal,
      onOut: (text) => {
        if (text.includes("line 2")) interruption.abort(new Error("enough"));
      },
    });
    expect(ran.code).toBe(130);
    expect(ran.out.match(/line \d/g)).toEqual(["line 1", "line 2"]);
    expect(ran.out).toContain("alaska");
  });
});

describe("describe", () => {
  test("record, holders, history and the owner's own words, as text and as JSON", async () => {
    const record = recordOf(AGENT_A, "survivor", FIJI.hostId);
    const checkpoint = { era: 0n, major: 2n, tick: 6n, digest: new Uint8Array(32).fill(1) };
    const cluster = await start({
      hosts: [
        { ...FIJI, handlers: { getAgent: () => ({ agent: { agentId: AGENT_A, state: "ACTIVE_OWNER", tick: 9n } }) } },
        ALASKA,
      ],
      authority: {
        getAgent: () => ({ record, holders: [{ session: { hostId: ALASKA.hostId, bootId: "b" }, checkpoint }] }),
        getAgentHistory: () => ({
          entries: [{ command: "claim", major: 2n, tick: 5n, state: AuthorityState.ACTIVE_OWNER, note: "from alaska" }],
        }),
      },
    });
    const { out } = await runCommand(["describe", AGENT_A], cluster);
    expect(out).toContain(AGENT_A);
    expect(out).toContain("Owner:    fiji");
    expect(out).toContain("Local status: ACTIVE_OWNER");
    expect(out).toContain("Holders: alaska, major 2, tick 6");
    expect(out).toMatch(/claim +2 +5 +ACTIVE_OWNER/);
    expect(json(await runCommand(["describe", AGENT_A, "--json"], cluster))).toMatchObject({
      record: { agentId: AGENT_A, state: "ACTIVE_OWNER", owner: "fiji", headTick: "7" },
      status: { tick: "9" },
      holders: [{ host: "alaska", tick: "6", digest: "01".repeat(32) }],
      history: [{ command: "claim", major: "2", note: "from alaska" }],
    });
  });

  test("an owner that does not answer is said so", async () => {
    const getAgent = () => Promise.reject(new Fault({ code: "AGENT_NOT_HERE", agentId: AGENT_A }));
    const records = [recordOf(AGENT_A, "survivor", FIJI.hostId)];
    const cluster = await start({ hosts: [{ ...FIJI, handlers: { getAgent } }], records });
    expect((await runCommand(["describe", AGENT_A], cluster)).out).toContain("fiji does not say: AGENT_NOT_HERE");
  });
});

function addresses({ registry, pricing }: FakeCluster) {
  return { registry, pricing };
}
