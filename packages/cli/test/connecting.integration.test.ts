import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { FakeCluster } from "./fake-cluster.ts";
import { runCommand } from "./run-command.ts";

const NOBODY = "127.0.0.1:1";

async function start() {
  return await FakeCluster.start({ hosts: [{ hostId: "host-1", name: "alaska" }] });
}

describe("where the registry is", () => {
  test("of several addresses the first that answers is asked, before and after the command's name", async () => {
    await using cluster = await start();
    const several = `${NOBODY},${cluster.registry}`;
    for (const argv of [
      ["hosts", "--registry", several],
      ["--registry", several, "hosts"],
    ]) {
      const ran = await runCommand(argv, { registry: NOBODY, pricing: NOBODY });
      expect(ran).toMatchObject({ code: 0 });
      expect(ran.out).toContain("alaska");
    }
  });

  test("when none of them answers all are named: exit code 4", async () => {
    const ran = await runCommand(["hosts", "--registry", `${NOBODY},127.0.0.1:2`], {
      registry: NOBODY,
      pricing: NOBODY,
    });
    expect(ran).toMatchObject({ code: 4 });
    expect(ran.err).toContain("nothing answers at 127.0.0.1:1, 127.0.0.1:2");
  });

  test("a list with something else in it is wrong usage", async () => {
    for (const wrong of [`${NOBODY},`, `${NOBODY},nowhere`, ","]) {
      const ran = await runCommand(["hosts", "--registry", wrong], { registry: NOBODY, pricing: NOBODY });
      expect(ran).toMatchObject({ code: 2 });
    }
  });

  test("with --tls-ca nothing is said in plain text: a registry without TLS does not answer", async () => {
    await using cluster = await start();
    const path = mkdtempSync(join(tmpdir(), "godwit-ca-"));
    onTestFinished(() => rmSync(path, { recursive: true, force: true }));
    const ca = join(path, "ca.pem");
    writeFileSync(ca, rootCertificates[0] ?? "");
    expect(await runCommand(["hosts"], cluster)).toMatchObject({ code: 0 });
    expect(await runCommand(["--tls-ca", ca, "hosts"], cluster)).toMatchObject({ code: 4 });
    expect(await runCommand(["hosts", "--tls-cert", ca], cluster)).toMatchObject({ code: 2 });
  });
});
