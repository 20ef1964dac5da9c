import { defineConfig } from "vitest/config";

const source = { resolve: { conditions: ["@godwit/source"] } };

// Bounds for what hangs, not for what is slow: a machine that is shared with others takes ten times as long, and is not wrong.
const patience = { testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 40_000 } } };

export default defineConfig({
  ...source,
  ssr: source,
  test: {
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["{packages,services}/*/src/**/*.test.ts"], pool: "threads", ...patience },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["{packages,services}/*/test/**/*.integration.test.ts"],
          pool: "forks",
          ...patience,
        },
      },
      {
        // What the seed got wrong (docs/seed-holes.md): real processes too, with leases that a busy machine keeps.
        extends: true,
        test: {
          name: "seed",
          include: ["tests/seed/**/*.{integration.,}test.ts"],
          pool: "forks",
          maxWorkers: 3, // they wait more than they work
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        // Real processes whose leases last seconds: they wait more than they work, and few of them have to share the processors.
        extends: true,
        test: {
          name: "cluster",
          include: ["tests/{cluster,faults}/**/*.integration.test.ts"],
          pool: "forks",
          testTimeout: 180_000,
          hookTimeout: 180_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
