import { isFault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { type ClientTls, client, type ServerTls } from "../src/index.ts";
import { Authority } from "./certificates.ts";
import { Echo, setUp } from "./echo.ts";

const ours = new Authority("our authority");
const theirs = new Authority("another authority");
const registry = ours.issue("registry.test");

function served(tls: ServerTls) {
  return setUp({ unary: (_, { clientName }) => ({ value: `${clientName}` }) }, { tls });
}

/** The name that the server saw, or the status of the refusal. */
async function callWith(tls: ClientTls | undefined, server: ServerTls = { ...registry, clientCa: ours.cert }) {
  await using setup = await served(server);
  const echo = client(setup.channel({ tls, timeoutMs: 40_000 }), Echo);
  try {
    return (await echo.unary({})).value;
  } catch (error) {
    if (isFault(error, "RPC_FAILED")) return error.detail.status;
    throw error;
  }
}

describe("TLS", () => {
  test("with mutual TLS the server knows who calls", async () => {
    const tls = { ca: ours.cert, identity: ours.issue("host-a"), serverName: "registry.test" };
    expect(await callWith(tls)).toBe("host-a");
  });

  test("without a client authority anybody who trusts the server may call", async () => {
    expect(await callWith({ ca: ours.cert, serverName: "registry.test" }, registry)).toBe("undefined");
  });

  test.each<[string, ClientTls | undefined]>([
    ["no certificate", { ca: ours.cert, serverName: "registry.test" }],
    ["one of another authority", { ca: ours.cert, identity: theirs.issue("host-a"), serverName: "registry.test" }],
    ["trust in another authority", { ca: theirs.cert, identity: ours.issue("host-a"), serverName: "registry.test" }],
    ["another server in mind", { ca: ours.cert, identity: ours.issue("host-a"), serverName: "pricing.test" }],
    ["plain text", undefined],
  ])("a client with %s gets nowhere", async (_, tls) => {
    expect(await callWith(tls)).toBe("UNAVAILABLE");
  });
});
