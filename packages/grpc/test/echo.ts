// A service with all four kinds of methods, made at run time from a descriptor, so that nothing is generated for tests.

import { create, createFileRegistry, type DescService, toBinary } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_wrappers,
  type StringValueSchema,
} from "@bufbuild/protobuf/wkt";
import { systemClock } from "@godwit/common/clock";
import {
  type EndedCall,
  GrpcChannel,
  GrpcServer,
  type GrpcServerRules,
  type ServedService,
  type ServiceHandlers,
  serve,
} from "../src/index.ts";

interface Method<K extends string> {
  methodKind: K;
  input: typeof StringValueSchema;
  output: typeof StringValueSchema;
}

type EchoMethods = {
  unary: Method<"unary">;
  download: Method<"server_streaming">;
  upload: Method<"client_streaming">;
  talk: Method<"bidi_streaming">;
};

const text = ".google.protobuf.StringValue";

const file = create(FileDescriptorProtoSchema, {
  name: "godwit/test/echo.proto",
  package: "godwit.test",
  syntax: "proto3",
  dependency: ["google/protobuf/wrappers.proto"],
  service: [
    {
      name: "Echo",
      method: [
        { name: "Unary", inputType: text, outputType: text },
        { name: "Download", inputType: text, outputType: text, serverStreaming: true },
        { name: "Upload", inputType: text, outputType: text, clientStreaming: true },
        { name: "Talk", inputType: text, outputType: text, clientStreaming: true, serverStreaming: true },
      ],
    },
  ],
});

export const echoFileBytes = toBinary(FileDescriptorProtoSchema, file);

const registry = createFileRegistry(
  create(FileDescriptorSetSchema, { file: [file_google_protobuf_wrappers.proto, file] }),
);

export const Echo = registry.getService("godwit.test.Echo") as DescService as GenService<EchoMethods>;

export type EchoHandlers = ServiceHandlers<typeof Echo>;

/** What a test does not use refuses to be called. */
export function echo(handlers: Partial<EchoHandlers>): ServedService {
  const unused = () => {
    throw new Error("this test does not use that");
  };
  return serve(Echo, { unary: unused, download: unused, upload: unused, talk: unused, ...handlers });
}

export class Setup implements AsyncDisposable {
  readonly errors: unknown[] = [];
  readonly calls: EndedCall[] = [];
  readonly server: GrpcServer;
  #channels: GrpcChannel[] = [];

  constructor(services: readonly ServedService[], rules: Partial<GrpcServerRules> = {}) {
    const onError = (error: unknown) => this.errors.push(error);
    const onCall = (call: EndedCall) => this.calls.push(call);
    this.server = new GrpcServer(
      { services, clock: systemClock, onError, onCall },
      { host: "127.0.0.1", port: 0, ...rules },
    );
  }

  channel(rules: Partial<ConstructorParameters<typeof GrpcChannel>[0]> = {}): GrpcChannel {
    const channel = new GrpcChannel({ target: this.server.address, timeoutMs: 40_000, ...rules });
    this.#channels.push(channel);
    return channel;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const channel of this.#channels) channel.close();
    await this.server.stop();
  }
}

export async function setUp(handlers: Partial<EchoHandlers>, rules: Partial<GrpcServerRules> = {}): Promise<Setup> {
  const setup = new Setup([echo(handlers)], rules);
  await setup.server.start();
  return setup;
}

/** A promise and its end, for tests that wait for what happens on the other side. */
export function event<T = void>() {
  return Promise.withResolvers<T>();
}
