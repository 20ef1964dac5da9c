// Server reflection from the descriptors themselves: the bytes that protoc made, options and features included, which
// a detour through another protobuf library would lose.

import { type DescFile, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "@godwit/proto/grpc/reflection/v1/reflection";
import { status } from "@grpc/grpc-js";
import { type ServedService, serve } from "./handlers.ts";

export const V1ALPHA_PATH = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

type Response = MessageInitShape<typeof ServerReflectionResponseSchema>;
type Answer = NonNullable<Response["messageResponse"]>;

/** Reflects these services, and itself. */
export function reflection(services: readonly DescService[]): ServedService {
  const reflected = [...services, ServerReflection];
  const index = new FileIndex(reflected.map(({ file }) => file));
  const names = reflected.map(({ typeName }) => ({ name: typeName }));

  function answer({ messageRequest: asked }: ServerReflectionRequest): Answer {
    switch (asked.case) {
      case "listServices":
        return { case: "listServicesResponse", value: { service: names } };
      case "fileByFilename":
        return filesAnswer(index.files.get(asked.value), asked.value);
      case "fileContainingSymbol":
        return filesAnswer(index.symbols.get(asked.value), asked.value);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = asked.value;
        const file = index.extensions.get(containingType)?.get(extensionNumber);
        return filesAnswer(file, `extension ${extensionNumber} of ${containingType}`);
      }
      case "allExtensionNumbersOfType": {
        if (!index.symbols.has(asked.value)) return notFound(asked.value);
        const extensionNumber = [...(index.extensions.get(asked.value)?.keys() ?? [])];
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: asked.value, extensionNumber } };
      }
      default:
        return {
          case: "errorResponse",
          value: {
            errorCode: status.INVALID_ARGUMENT,
            errorMessage: "the request asks for nothing that is known here",
          },
        };
    }
  }

  return serve(ServerReflection, {
    async *serverReflectionInfo(requests): AsyncGenerator<Response> {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
      }
    },
  });
}

/** All files that the roots import, and where each symbol is. */
class FileIndex {
  readonly files = new Map<string, DescFile>();
  readonly symbols = new Map<string, DescFile>();
  readonly extensions = new Map<string, Map<number, DescFile>>();

  constructor(roots: readonly DescFile[]) {
    for (const root of roots) this.#add(root);
  }

  #add(file: DescFile): void {
    if (this.files.has(file.proto.name)) return;
    this.files.set(file.proto.name, file);
    for (const type of nestedTypes(file)) {
      this.symbols.set(type.typeName, file);
      if (type.kind === "service")
        for (const { name } of type.methods) this.symbols.set(`${type.typeName}.${name}`, file);
      if (type.kind === "message")
        for (const { name } of type.fields) this.symbols.set(`${type.typeName}.${name}`, file);
      if (type.kind === "extension") {
        const numbers = this.extensions.get(type.extendee.typeName) ?? new Map<number, DescFile>();
        this.extensions.set(type.extendee.typeName, numbers.set(type.number, file));
      }
    }
    for (const imported of file.dependencies) this.#add(imported);
  }
}

/** A file and everything that it imports, which is what generic clients expect. */
function filesAnswer(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return notFound(asked);
  const files = new Set<DescFile>();
  const collect = (next: DescFile): void => {
    if (files.has(next)) return;
    files.add(next);
    next.dependencies.forEach(collect);
  };
  collect(file);
  const fileDescriptorProto = [...files].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function notFound(asked: string): Answer {
  return { case: "errorResponse", value: { errorCode: status.NOT_FOUND, errorMessage: `${asked}: not found` } };
}
