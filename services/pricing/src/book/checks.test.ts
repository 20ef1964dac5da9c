import { expect, test } from "vitest";
import { checkAddress, checkHostId } from "./checks.ts";

test.each(["127.0.0.1:7460", "host-a:1", "agent-host.example.org:65535", "[::1]:7460"])(
  "%s is an address",
  (address) => {
    expect(checkAddress(address, "address")).toBe(address);
  },
);

test.each([
  "",
  "127.0.0.1",
  ":7460",
  "host:0",
  "host:65536",
  "host:-1",
  "http://host:1",
  "host name:1",
  "::1:80",
  "unix:/x",
  `${"a".repeat(300)}:1`,
])("%j is no address", (address) => {
  expect(() => checkAddress(address, "address")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});

test("a host id is an Ed25519 peer id in its one spelling", () => {
  expect(() => checkHostId("12D3KooW", "host_id")).toThrow('host_id: "12D3KooW" is no host id');
  expect(() => checkHostId("", "host_id")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});
