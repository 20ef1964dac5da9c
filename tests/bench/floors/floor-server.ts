// The other end of the floors, in a process of its own as the services are: a bare grpc-js method and a TCP sink, both on
// loopback. It ends with its standard input, so that none outlives its benchmark.
//
// gRPC  /floor/Call: the request's first four bytes are how many bytes to answer.
// gRPC  /floor/Stored: the same, after one bare Redis script, on the Redis whose address is the only argument.
// TCP   four bytes of length, then so many bytes: answered with one byte when the last has come.

import { createServer, type Socket } from "node:net";
import { Server, ServerCredentials, type UntypedHandleCall } from "@grpc/grpc-js";
import { Redis } from "ioredis";
import { bareScript } from "../registry/measuring.ts";

const asIs = (bytes: Buffer): Buffer => bytes;
const answer: UntypedHandleCall = (
  { request }: { readonly request: Buffer },
  reply: (error: null, bytes: Buffer) => void,
) => reply(null, Buffer.alloc(request.readUInt32BE(0)));

const grpc = new Server();
grpc.register("/floor/Call", answer, asIs, asIs, "unary");

const [, , redisUrl] = process.argv;
if (redisUrl !== undefined) {
  const script = bareScript(new Redis(redisUrl), { bytes: 700 });
  const stored: UntypedHandleCall = (
    { request }: { readonly request: Buffer },
    reply: (error: null, bytes: Buffer) => void,
  ) => void script().then(() => reply(null, Buffer.alloc(request.readUInt32BE(0))));
  grpc.register("/floor/Stored", stored, asIs, asIs, "unary");
}
const grpcPort = await new Promise<number>((resolve, reject) => {
  grpc.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
    error === null ? resolve(port) : reject(error),
  );
});

const sink = createServer({ noDelay: true }, (socket: Socket) => {
  let header = Buffer.alloc(0);
  let left = 0;
  socket.on("error", () => socket.destroy());
  socket.on("data", (data: Buffer) => {
    let rest = data;
    if (left === 0) {
      header = Buffer.concat([header, rest]);
      if (header.length < 4) return;
      left = header.readUInt32BE(0);
      rest = header.subarray(4);
      header = Buffer.alloc(0);
    }
    left -= rest.length;
    if (left === 0) socket.write(Buffer.of(1));
  });
});
await new Promise<void>((resolve) => sink.listen(0, "127.0.0.1", resolve));
const address = sink.address();
if (address === null || typeof address === "string") throw new Error("the sink has no port");

process.stdout.write(`${JSON.stringify({ grpcPort, tcpPort: address.port })}\n`);
process.on("SIGINT", () => {}); // the benchmark is told too, and closes our input when it is done
process.stdin.on("end", () => process.exit(0)).resume();
