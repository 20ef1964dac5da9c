import { defineConfig } from "vitest/config";

const source = { resolve: { conditions: ["@godwit/source"] } };

export default defineConfig({
  ...source,
  ssr: source,
  test: {
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["{packages,services}/*/src/**/*.test.ts"], pool: "threads" },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["{packages,services}/*/test/**/*.integration.test.ts"],
          pool: "forks",
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        // Real processes: they measure leases in seconds, so one file at a time.
        extends: true,
        test: {
          name: "cluster",
          include: ["tests/cluster/**/*.integration.test.ts"],
          pool: "forks",
          testTimeout: 90_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
