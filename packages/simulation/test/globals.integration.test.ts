import { afterEach, expect, test } from "vitest";
import { defaultAgentDirectory } from "../src/agent-directory.ts";
import { runSeed } from "../src/run-seed.ts";
import { ignoreEndedProcesses } from "../src/unhandled.ts";

ignoreEndedProcesses();

/** Of the services and what they are made of; the simulation itself may yield to Node, and gRPC's channels are not in it. */
const OURS = /\/(?:services\/[\w-]+|packages\/(?:common|lineage|migration|sandbox|service))\/src\//;

const real = {
  setTimeout,
  setInterval,
  now: Date.now,
  random: Math.random,
  performanceNow: performance.now.bind(performance),
};

afterEach(() => {
  Object.assign(globalThis, { setTimeout: real.setTimeout, setInterval: real.setInterval });
  Date.now = real.now;
  Math.random = real.random;
  performance.now = real.performanceNow;
});

test("no code of a host or a registry asks the machine for time, chance or a timer", { timeout: 300_000 }, async () => {
  const seen = new Set<string>();
  const watched = <A extends readonly unknown[], R>(name: string, original: (...args: A) => R) => {
    return function (this: unknown, ...args: A): R {
      const [, , caller = ""] = (new Error().stack ?? "").split("\n");
      if (OURS.test(caller)) seen.add(`${name} ${caller.trim()}`);
      return Reflect.apply(original, this, args) as R;
    };
  };
  Object.assign(globalThis, {
    setTimeout: watched("setTimeout", real.setTimeout),
    setInterval: watched("setInterval", real.setInterval),
  });
  Date.now = watched("Date.now", real.now);
  Math.random = watched("Math.random", real.random);
  performance.now = watched("performance.now", real.performanceNow);

  const shape = { hosts: 3, registries: 2, agents: 3, tickEveryMs: 1_000 };
  const report = await runSeed({ seed: 21, agentDirectory: defaultAgentDirectory, shape, lengthMs: 60_000 });
  expect(report.violations).toEqual([]);
  expect(report.migrations).toBeGreaterThan(0);
  expect([...seen]).toEqual([]);
});
