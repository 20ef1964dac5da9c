import { create, createFileRegistry, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { isFault } from "@godwit/common/fault";
import { Health, HealthCheckResponse_ServingStatus as Status } from "@godwit/proto/grpc/health/v1/health";
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from "@godwit/proto/grpc/reflection/v1/reflection";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { client } from "../src/index.ts";
import { echoFileBytes, setUp } from "./echo.ts";

describe("health", () => {
  test("nothing serves until it is said, and then each as it is said", async () => {
    await using setup = await setUp({});
    const health = client(setup.channel(), Health);
    expect((await health.check({})).status).toBe(Status.NOT_SERVING);
    setup.server.health.setAll("serving");
    setup.server.health.set("godwit.test.Echo", "not-serving");
    expect((await health.check({})).status).toBe(Status.SERVING);
    expect((await health.check({ service: "godwit.test.Echo" })).status).toBe(Status.NOT_SERVING);
    const { statuses } = await health.list({});
    expect(Object.keys(statuses).sort()).toEqual(["", "godwit.test.Echo"]);
  });

  test("a service that is not there is refused", async () => {
    await using setup = await setUp({});
    const error = await client(setup.channel(), Health)
      .check({ service: "nope" })
      .catch((reason: unknown) => reason);
    expect(isFault(error, "SERVICE_UNKNOWN")).toBe(true);
  });

  test("a watcher hears the present status and every change, and the end", async () => {
    await using setup = await setUp({});
    const seen: Status[] = [];
    const watching = (async () => {
      for await (const { status } of client(setup.channel(), Health).watch({})) {
        seen.push(status);
        if (seen.length === 1) setup.server.health.set("", "serving");
        if (seen.length === 2) setup.server.health.set("", "not-serving");
        if (seen.length === 3) void setup.server.stop();
      }
    })();
    await expect(watching).rejects.toMatchObject({ detail: { code: "SHUTTING_DOWN" } });
    expect(seen).toEqual([Status.NOT_SERVING, Status.SERVING, Status.NOT_SERVING]);
  });
});

/** A client that knows nothing but the reflection protocol, over the path of either version. */
class GenericClient implements Disposable {
  readonly #client: Client;
  readonly #path: string;

  constructor(address: string, path: string) {
    this.#client = new Client(address, credentials.createInsecure());
    this.#path = path;
  }

  async ask(messageRequest: { case: "listServices" | "fileContainingSymbol" | "fileByFilename"; value: string }) {
    const call = this.#client.makeBidiStreamRequest(
      this.#path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, new Uint8Array(bytes)),
      { deadline: Date.now() + 40_000 },
    );
    call.write(
      Buffer.from(toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest }))),
    );
    call.end();
    for await (const answer of call)
      return (answer as ReturnType<typeof create<typeof ServerReflectionResponseSchema>>).messageResponse;
    throw new Error("no answer");
  }

  async callByName(service: string, method: string, json: Record<string, string>): Promise<unknown> {
    const answer = await this.ask({ case: "fileContainingSymbol", value: service });
    if (answer.case !== "fileDescriptorResponse") throw new Error(answer.case);
    const file = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importedFirst(file) }));
    const found = registry.getService(service)?.methods.find(({ name }) => name === method);
    if (found === undefined) throw new Error("not reflected");
    const { input, output } = found;
    return await new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/${service}/${method}`,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => toJson(output, fromBinary(output, new Uint8Array(bytes))),
        toBinary(input, fromJson(input, json)),
        (error, response) => (error === null ? resolve(response) : reject(error)),
      );
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function importedFirst(files: FileDescriptorProto[]): FileDescriptorProto[] {
  return files.toReversed();
}

describe("reflection", () => {
  test.each(["v1", "v1alpha"])(
    "%s: a client that has only the answers lists services and calls one",
    async (version) => {
      await using setup = await setUp({ unary: ({ value }) => ({ value: `hello ${value}` }) });
      setup.server.health.setAll("serving");
      const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
      using generic = new GenericClient(setup.server.address, path);

      const listed = await generic.ask({ case: "listServices", value: "" });
      if (listed.case !== "listServicesResponse") throw new Error(listed.case);
      expect(listed.value.service.map(({ name }) => name)).toEqual([
        "godwit.test.Echo",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
      ]);
      expect(await generic.callByName("grpc.health.v1.Health", "Check", {})).toEqual({ status: "SERVING" });
    },
  );

  test("the answer is the very bytes of the descriptor, and what it imports", async () => {
    await using setup = await setUp({});
    const answers = client(setup.channel(), ServerReflection).serverReflectionInfo([
      { messageRequest: { case: "fileContainingSymbol", value: "godwit.test.Echo.Unary" } },
      { messageRequest: { case: "fileByFilename", value: "google/protobuf/wrappers.proto" } },
      { messageRequest: { case: "fileContainingSymbol", value: "no.such.Symbol" } },
      { messageRequest: { case: undefined } },
    ]);
    const seen = [];
    for await (const { messageResponse } of answers) seen.push(messageResponse);
    const [withImports, imported, unknown, empty] = seen;
    if (withImports?.case !== "fileDescriptorResponse") throw new Error("no files");
    expect(withImports.value.fileDescriptorProto).toHaveLength(2);
    expect(Buffer.from(withImports.value.fileDescriptorProto[0] ?? []).equals(Buffer.from(echoFileBytes))).toBe(true);
    expect(imported?.case).toBe("fileDescriptorResponse");
    expect(unknown).toMatchObject({ case: "errorResponse", value: { errorCode: 5 } });
    expect(empty).toMatchObject({ case: "errorResponse", value: { errorCode: 3 } });
  });
});
