// Ops: a client that has none of our code but the standard reflection protocol sees and steers a registry.

import { create, createFileRegistry, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import {
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "@godwit/proto/grpc/reflection/v1/reflection";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { layGround, storeKinds } from "./fixtures/stores.ts";

const REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const CALL_WITHIN_MS = 40_000;

type Question =
  | { readonly case: "listServices"; readonly value: string }
  | { readonly case: "fileContainingSymbol"; readonly value: string };

class GenericClient implements Disposable {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure());
  }

  async listServices(): Promise<readonly string[]> {
    const answer = await this.#ask({ case: "listServices", value: "" });
    if (answer.case !== "listServicesResponse") throw new Error(`answered ${answer.case}`);
    return answer.value.service.map(({ name }) => name);
  }

  /** Learns the method from the server, and speaks JSON with it. */
  async call(service: string, method: string, request: JsonValue): Promise<JsonValue> {
    const answer = await this.#ask({ case: "fileContainingSymbol", value: service });
    if (answer.case !== "fileDescriptorResponse") throw new Error(`answered ${answer.case}`);
    const file = importedFirst(
      answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes)),
    );
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file }));
    const found = registry.getService(service)?.methods.find(({ name }) => name === method);
    if (found === undefined) throw new Error(`${service}/${method} is not reflected`);
    const { input, output } = found;
    return await new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/${service}/${method}`,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => toJson(output, fromBinary(output, new Uint8Array(bytes)), { registry }),
        toBinary(input, fromJson(input, request, { registry })),
        { deadline: Date.now() + CALL_WITHIN_MS },
        (error, response) => (error === null ? resolve(response ?? null) : reject(error)),
      );
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  async #ask(messageRequest: Question): Promise<ServerReflectionResponse["messageResponse"]> {
    const call = this.#client.makeBidiStreamRequest(
      REFLECTION,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, new Uint8Array(bytes)),
      { deadline: Date.now() + CALL_WITHIN_MS },
    );
    const request = create(ServerReflectionRequestSchema, { messageRequest });
    call.write(Buffer.from(toBinary(ServerReflectionRequestSchema, request)));
    call.end();
    for await (const answer of call) return (answer as ServerReflectionResponse).messageResponse;
    throw new Error("the stream ended without an answer");
  }
}

/** A server may send the files of a symbol in any order; a registry wants imports before what imports them. */
function importedFirst(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const ordered = new Set<FileDescriptorProto>();
  const add = (file: FileDescriptorProto | undefined) => {
    if (file === undefined || ordered.has(file)) return;
    for (const name of file.dependency) add(byName.get(name));
    ordered.add(file);
  };
  for (const file of files) add(file);
  return [...ordered];
}

describe.each(storeKinds)("a generic gRPC client and a registry on the %s store", (kind) => {
  test("with server reflection alone it lists agents and hosts, reads one, and drains a host", async () => {
    await using ground = await layGround(kind);
    await using registry = await TestRegistry.start(ground);
    const [host, other] = [await TestHost.open(registry), await TestHost.open(registry)];
    await host.register(registry, { name: "north", capabilities: ["clock"], pricePerSecond: 7n });
    await other.register(registry, { name: "south" });
    const held = await host.acquire(registry, { name: "wanderer" });
    using generic = new GenericClient(registry.address);

    const authority = "godwit.registry.v1.AuthorityService";
    const directory = "godwit.registry.v1.DirectoryService";
    expect(await generic.listServices()).toEqual(expect.arrayContaining([authority, directory]));

    expect(await generic.call(authority, "ListAgents", {})).toMatchObject({
      records: [{ agentId: held.agentId, name: "wanderer", owner: { hostId: host.hostId } }],
    });
    expect(await generic.call(authority, "GetAgent", { agentId: held.agentId.slice(0, 16) })).toMatchObject({
      record: { agentId: held.agentId, revision: "1" },
    });
    const { hosts } = (await generic.call(directory, "ListHosts", {})) as { hosts: { info: { name: string } }[] };
    expect(hosts.map(({ info }) => info.name).toSorted()).toEqual(["north", "south"]);
    expect(await generic.call(directory, "GetHost", { hostId: "north" })).toMatchObject({
      host: { live: true, info: { hostId: host.hostId, capabilities: ["clock"], pricePerSecond: "7" } },
    });

    expect(await generic.call(directory, "DrainHost", { hostId: "north", draining: true })).toMatchObject({
      host: { draining: true, info: { hostId: host.hostId } },
    });
    const found = await registry.directory.selectCandidates({});
    expect(found.hosts.map(({ info }) => info?.name)).toEqual(["south"]);
    await expect(generic.call(directory, "GetHost", { hostId: "nowhere" })).rejects.toMatchObject({
      details: expect.stringContaining("nowhere"),
    });
  });
});
