// protobuf-es descriptors as grpc-js wants them.
//
// What we send is encoded before grpc-js gets it, and what a server receives is decoded in our own code: a message
// that does not fit is then our error to word, and its text never reaches the other side by way of the library.

import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";

/** The name that travels: /godwit.host.v1.HostService/ListAgents. */
export function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

/** Requests and responses are bytes on both sides. */
export function methodDefinition(method: DescMethod): MethodDefinition<Buffer, Buffer> {
  const { methodKind } = method;
  return {
    path: pathOf(method),
    originalName: method.localName,
    requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
    responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

/** Throws when the value does not fit the message: a bug of the caller. */
export function encode(schema: DescMessage, value: unknown): Buffer {
  const bytes = toBinary(schema, create(schema, value as MessageInitShape<DescMessage>));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A `bytes` field of the result is a view into `bytes`: copy what is kept. Throws when these are no such message. */
export function decode(schema: DescMessage, bytes: Buffer): object {
  // A plain view: from a Buffer, `bytes` fields would be Buffers too.
  return fromBinary(schema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
