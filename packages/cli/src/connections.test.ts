import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { DEFAULT_CONNECTIONS, findConnections, readCluster, removeCluster, writeCluster } from "./connections.ts";

describe("connections", () => {
  const cluster = { registry: "127.0.0.1:1001", pricing: "127.0.0.1:1002", pid: process.pid };
  const fresh = () => {
    const directory = mkdtempSync(join(tmpdir(), "godwit-connections-"));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    return directory;
  };

  test("a cluster that runs is found from its directory and from below", () => {
    const directory = fresh();
    const below = join(directory, "a", "b");
    mkdirSync(below, { recursive: true });
    writeCluster(directory, cluster);
    expect(findConnections(directory)).toEqual(cluster);
    expect(findConnections(below)).toEqual(cluster);
    removeCluster(directory);
    expect(findConnections(below)).toEqual(DEFAULT_CONNECTIONS);
  });

  test("the file of a cluster that is gone is not believed", () => {
    const directory = fresh();
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    writeCluster(directory, { ...cluster, pid });
    expect(readCluster(directory)).toBeUndefined();
  });

  test.each(["", "{", "null", "[]", '{"registry":1,"pricing":"x","pid":1}', '{"registry":"x","pricing":"x"}'])(
    "a file that holds %j is not believed",
    (content) => {
      const directory = fresh();
      mkdirSync(join(directory, ".godwit"));
      writeFileSync(join(directory, ".godwit", "cluster.json"), content);
      expect(findConnections(directory)).toEqual(DEFAULT_CONNECTIONS);
    },
  );
});
