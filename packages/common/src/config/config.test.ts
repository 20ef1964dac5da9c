import { describe, expect, expectTypeOf, test } from "vitest";
import { isFault } from "../fault/index.ts";
import { argument, EnvReader, formatAddress, option, readCommandLine } from "./index.ts";

function problemsOf(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (error) {
    if (isFault(error, "CONFIG_INVALID")) return error.detail.problems;
    throw error;
  }
  return [];
}

describe("environment reader", () => {
  function read(env: Record<string, string | undefined>) {
    const reader = new EnvReader(env, "GODWIT_");
    const durationMs = reader.duration("LEASE_DURATION", { fallback: 10_000, min: 500, max: 300_000 });
    const renewEveryMs = reader.duration("LEASE_RENEW_EVERY", { fallback: 3_000, min: 100 });
    reader.require(renewEveryMs * 2 < durationMs, "LEASE_RENEW_EVERY must be under half of LEASE_DURATION");
    return reader.finish({
      redisUrl: reader.text("REDIS_URL"),
      port: reader.integer("PORT", { fallback: 7_443, min: 1, max: 65_535 }),
      strict: reader.flag("STRICT"),
      store: reader.choice("STORE", ["embedded", "redis"], { fallback: "embedded" }),
      labels: reader.list("LABELS"),
      price: reader.money("PRICE", { fallback: 1n }),
      lease: { durationMs, renewEveryMs },
    });
  }

  test("values are typed and fall back", () => {
    const config = read({
      GODWIT_REDIS_URL: "redis://x",
      GODWIT_PORT: "",
      GODWIT_LABELS: "a, b,",
      GODWIT_PRICE: "0.5",
    });
    expect(config).toEqual({
      redisUrl: "redis://x",
      port: 7_443,
      strict: false,
      store: "embedded",
      labels: ["a", "b"],
      price: 500_000n,
      lease: { durationMs: 10_000, renewEveryMs: 3_000 },
    });
    expectTypeOf(config.store).toEqualTypeOf<"embedded" | "redis">();
  });

  test("one fault names every bad variable", () => {
    const env = { GODWIT_PORT: "0", GODWIT_STRICT: "perhaps", GODWIT_STORE: "disk", GODWIT_PRICE: "-1" };
    const problems = problemsOf(() => read(env));
    expect(problems.map((problem) => problem.split(":")[0])).toEqual([
      "GODWIT_REDIS_URL",
      "GODWIT_PORT",
      "GODWIT_STRICT",
      "GODWIT_STORE",
      "GODWIT_PRICE",
    ]);
  });

  test("a relation is checked, but not when one of its variables is wrong by itself", () => {
    const relation = "LEASE_RENEW_EVERY must be under half of LEASE_DURATION";
    const redis = { GODWIT_REDIS_URL: "redis://x" };
    expect(problemsOf(() => read({ ...redis, GODWIT_LEASE_RENEW_EVERY: "9s" }))).toEqual([relation]);
    expect(problemsOf(() => read({ ...redis, GODWIT_LEASE_DURATION: "1" }))).toHaveLength(1);
    expect(problemsOf(() => read({ ...redis, GODWIT_LEASE_DURATION: "1" }))).not.toContain(relation);
  });

  test.each([
    ["10s", 10_000],
    ["500ms", 500],
    ["750", 750],
    ["1.5m", 90_000],
    ["1h", 3_600_000],
  ])("the duration %s is %i ms", (text, ms) => {
    expect(new EnvReader({ D: text }, "").duration("D")).toBe(ms);
  });

  test.each(["10 s", "-1s", "s", "1e3", "NaN", "1d", "9".repeat(50)])("%s is no duration", (text) => {
    const reader = new EnvReader({ D: text }, "");
    reader.duration("D");
    expect(problemsOf(() => reader.finish({}))).toHaveLength(1);
  });
});

describe("address", () => {
  const read = (text: string) => {
    const options = { listen: option.address({ fallback: { host: "127.0.0.1", port: 1 }, help: "Where." }) };
    const result = readCommandLine({ name: "x", summary: "x", options }, { argv: [`--listen=${text}`], env: {} });
    if (result.kind !== "run") throw new Error("help");
    return result.options.listen;
  };

  test.each([
    ["127.0.0.1:7443", { host: "127.0.0.1", port: 7_443 }],
    ["registry.local:0", { host: "registry.local", port: 0 }],
    ["[::1]:7443", { host: "::1", port: 7_443 }],
  ])("%s is an address", (text, address) => {
    expect(read(text)).toEqual(address);
    expect(formatAddress(read(text))).toBe(text);
  });

  test.each(["7443", ":7443", "host", "host:", "host:65536", "host:-1", "::1:7443", "http://host:1", "a b:1"])(
    "%s is none",
    (text) => {
      expect(problemsOf(() => read(text))).toHaveLength(1);
    },
  );
});

describe("command line", () => {
  const commandLine = {
    name: "godwit-host",
    summary: "Runs agents.",
    options: {
      leaseDurationMs: option.duration({ fallback: 10_000, min: 500, help: "How long a lease lasts." }),
      leaseRenewEveryMs: option.duration({ fallback: 3_000, help: "How often it is renewed." }),
      registry: option.text({ help: "Where the registry listens." }),
      migrationRetries: option.integer({ fallback: 3, min: 1, help: "Attempts per target." }),
      price: option.money({ fallback: 250_000n, help: "Price of a second." }),
      maxState: option.bytes({ fallback: 8 * 2 ** 20, help: "The largest state." }),
      json: option.flag({ short: "j", help: "Print JSON." }),
      color: option.flag({ fallback: true, help: "Print in colour." }),
      mode: option.choice(["strict", "latest"], { fallback: "latest", help: "Which checkpoints count." }),
      label: option.list({ help: "A label." }),
      tlsCert: option.text({ optional: true, help: "A certificate file." }),
    },
    relations: [
      {
        of: ["leaseDurationMs", "leaseRenewEveryMs"] as const,
        holds: (o: { leaseRenewEveryMs: number; leaseDurationMs: number }) =>
          o.leaseRenewEveryMs * 2 < o.leaseDurationMs,
        otherwise: "--lease-renew-every must be under half of --lease-duration",
      },
    ],
  };
  const read = (argv: readonly string[], env: Record<string, string> = {}) => {
    const result = readCommandLine(commandLine, { argv, env: { GODWIT_REGISTRY: "127.0.0.1:7443", ...env } });
    if (result.kind !== "run") throw new Error("help");
    return result.options;
  };

  test("one declaration gives flag, variable, check and type", () => {
    const options = read(["--lease-duration", "20s", "--price=0.5", "-j", "--no-color", "--max-state", "64KiB"]);
    expectTypeOf(options.leaseDurationMs).toEqualTypeOf<number>();
    expectTypeOf(options.mode).toEqualTypeOf<"strict" | "latest">();
    expectTypeOf(options.tlsCert).toEqualTypeOf<string | undefined>();
    expect(options).toEqual({
      leaseDurationMs: 20_000,
      leaseRenewEveryMs: 3_000,
      registry: "127.0.0.1:7443",
      migrationRetries: 3,
      price: 500_000n,
      maxState: 65_536,
      json: true,
      color: false,
      mode: "latest",
      label: [],
      tlsCert: undefined,
    });
  });

  test("a flag wins over the variable, the variable over the fallback", () => {
    expect(read([]).migrationRetries).toBe(3);
    expect(read([], { GODWIT_MIGRATION_RETRIES: "5" }).migrationRetries).toBe(5);
    expect(read(["--migration-retries", "7"], { GODWIT_MIGRATION_RETRIES: "5" }).migrationRetries).toBe(7);
    expect(read([], { GODWIT_MIGRATION_RETRIES: "" }).migrationRetries).toBe(3);
  });

  test("a list may be repeated or written with commas; nothing else may be repeated", () => {
    expect(read(["--label", "a,b", "--label=c"]).label).toEqual(["a", "b", "c"]);
    expect(problemsOf(() => read(["--mode", "strict", "--mode", "latest"]))).toEqual(["--mode: given more than once"]);
  });

  test("an unknown flag is refused, with the one that was meant", () => {
    expect(problemsOf(() => read(["--lease-durtion", "10s"]))).toEqual([
      "--lease-durtion: there is no such option: did you mean --lease-duration?",
    ]);
    expect(problemsOf(() => read(["--lease"]))[0]).toContain("did you mean --lease-");
    expect(problemsOf(() => read(["--xyzzy"]))[0]).toContain("--help lists them");
    expect(problemsOf(() => read(["--no-price"]))).toHaveLength(1);
  });

  test("every problem is reported at once, with the flag or the variable that it came from", () => {
    const problems = problemsOf(() =>
      readCommandLine(commandLine, {
        argv: ["--migration-retries", "0", "--price", "-1", "--mode", "loose", "--label"],
        env: { GODWIT_LEASE_DURATION: "soon" },
      }),
    );
    expect(problems.map((problem) => problem.split(":")[0])).toEqual([
      "--label",
      "GODWIT_LEASE_DURATION",
      "--registry or GODWIT_REGISTRY",
      "--migration-retries",
      "--price",
      "--mode",
    ]);
  });

  test("a flag does not swallow the next flag as its value", () => {
    expect(problemsOf(() => read(["--registry", "--json"]))[0]).toContain("--registry: needs a value");
    expect(read(["--registry=-x"]).registry).toBe("-x");
  });

  test("a relation is checked when both sides are right", () => {
    const relation = "--lease-renew-every must be under half of --lease-duration";
    expect(problemsOf(() => read(["--lease-renew-every", "6s"]))).toEqual([relation]);
    expect(problemsOf(() => read(["--lease-renew-every", "6s", "--lease-duration", "1"]))).not.toContain(relation);
  });

  test("--help wins over every problem and names each flag, variable and default", () => {
    for (const argv of [["--help"], ["-h"], ["--nonsense", "--help"]]) {
      const result = readCommandLine(commandLine, { argv, env: {} });
      if (result.kind !== "help") throw new Error("ran");
      expect(result.text).toContain("Usage: godwit-host [options]");
      expect(result.text).toContain("--lease-duration DURATION");
      expect(result.text).toContain("[GODWIT_LEASE_DURATION, default 10s]");
      expect(result.text).toContain("[GODWIT_REGISTRY, required]");
      expect(result.text).toContain("[GODWIT_PRICE, default 0.25]");
      expect(result.text).toContain("[GODWIT_MAX_STATE, default 8MiB]");
    }
  });

  test("arguments are named, counted and typed", () => {
    const migrate = {
      name: "godwit migrate",
      summary: "Moves an agent.",
      options: {},
      arguments: {
        agent: argument.required("The agent."),
        host: argument.optional("Where to."),
        rest: argument.many("More."),
      },
    };
    const run = (...argv: string[]) => {
      const result = readCommandLine(migrate, { argv, env: {} });
      if (result.kind !== "run") throw new Error("help");
      return result.arguments;
    };
    expectTypeOf(run).returns.toEqualTypeOf<{
      readonly agent: string;
      readonly host: string | undefined;
      readonly rest: readonly string[];
    }>();
    expect(run("a")).toEqual({ agent: "a", host: undefined, rest: [] });
    expect(run("a", "b", "c", "--", "-d")).toEqual({ agent: "a", host: "b", rest: ["c", "-d"] });
    expect(problemsOf(() => run())).toEqual(["AGENT: required: The agent."]);
    const strict = { name: "x", summary: "x", options: {} };
    expect(problemsOf(() => readCommandLine(strict, { argv: ["oops"], env: {} }))).toEqual(['"oops": not expected']);
  });
});
