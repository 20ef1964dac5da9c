import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFault } from "@godwit/common/fault";
import { describe, expect, onTestFinished, test } from "vitest";
import { readTls } from "./tls.ts";

const none = { tlsCa: undefined, tlsCert: undefined, tlsKey: undefined };

function problemsOf(act: () => unknown): readonly string[] {
  try {
    act();
  } catch (error) {
    if (isFault(error, "CONFIG_INVALID")) return error.detail.problems;
    throw error;
  }
  return [];
}

describe("TLS files of the command", () => {
  test("none: plain text; an authority alone, or with our own certificate and key: what they hold", () => {
    const path = mkdtempSync(join(tmpdir(), "godwit-tls-"));
    onTestFinished(() => rmSync(path, { recursive: true, force: true }));
    const file = (name: string) => {
      writeFileSync(join(path, name), name);
      return join(path, name);
    };
    expect(readTls(none)).toBeUndefined();
    const tlsCa = file("ca");
    expect(readTls({ ...none, tlsCa })).toEqual({ ca: Buffer.from("ca") });
    expect(readTls({ tlsCa, tlsCert: file("cert"), tlsKey: file("key") })).toEqual({
      ca: Buffer.from("ca"),
      identity: { cert: Buffer.from("cert"), key: Buffer.from("key") },
    });
  });

  test("everything that is wrong is said at once", () => {
    const problems = problemsOf(() => readTls({ tlsCa: "/nowhere/ca", tlsCert: "/nowhere/cert", tlsKey: undefined }));
    expect(problems).toEqual([
      "--tls-key: required with --tls-cert",
      expect.stringMatching(/^--tls-ca: ENOENT/),
      expect.stringMatching(/^--tls-cert: ENOENT/),
    ]);
    expect(problemsOf(() => readTls({ ...none, tlsKey: "/nowhere/key" }))).toContain(
      "--tls-cert: required with --tls-key",
    );
  });
});
