import { Fault } from "@godwit/common/fault";
import type { ServiceClient } from "@godwit/grpc";
import { DirectoryService } from "@godwit/proto/godwit/registry/v1/directory";
import { describe, expect, test } from "vitest";
import { firstOf } from "./replicas.ts";

type Directory = ServiceClient<typeof DirectoryService>;

const gone = new Fault({ code: "RPC_FAILED", status: "UNAVAILABLE", message: "nobody", target: "a:1" });
const refused = new Fault({ code: "HOST_UNKNOWN", hostId: "x" });

/** A replica that fails with what it is told, and counts how often it was asked. */
function replica(error?: Fault) {
  const asked = { times: 0 };
  const getHost = () => {
    asked.times += 1;
    return error === undefined ? Promise.resolve({}) : Promise.reject(error);
  };
  return { asked, client: { getHost } as unknown as Directory };
}

function among(...replicas: readonly ReturnType<typeof replica>[]): Directory {
  const clients = replicas.map(({ client }) => client);
  return firstOf(DirectoryService, clients, { index: 0 });
}

describe("replicas of the registry", () => {
  test("the first that answers is asked, and is asked first from then on", async () => {
    const [first, second, third] = [replica(gone), replica(), replica()];
    const directory = among(first, second, third);
    for (let call = 0; call < 3; call++) await directory.getHost({});
    expect([first, second, third].map(({ asked }) => asked.times)).toEqual([1, 3, 0]);
  });

  test.each([
    gone,
    new Fault({ code: "NOT_READY", reason: "no store" }),
    new Fault({ code: "STORE_UNAVAILABLE", reason: "no store" }),
    new Fault({ code: "SHUTTING_DOWN" }),
    new Fault({ code: "DEADLINE_EXCEEDED", what: "the answer", afterMs: 1 }),
  ])("one that cannot work is passed over: $code", async (error) => {
    const second = replica();
    await among(replica(error), second).getHost({});
    expect(second.asked.times).toBe(1);
  });

  test("a refusal is an answer: nobody else is asked", async () => {
    const second = replica();
    await expect(among(replica(refused), second).getHost({})).rejects.toBe(refused);
    expect(second.asked.times).toBe(0);
  });

  test("when none is there, each was asked once, and the last one's error is told", async () => {
    const [first, second] = [replica(refused), replica(gone)];
    await expect(among(second, replica(gone)).getHost({})).rejects.toBe(gone);
    expect(second.asked.times).toBe(1);
    expect(first.asked.times).toBe(0);
  });
});
