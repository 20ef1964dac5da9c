import { createServer } from "node:net";
import { systemRandom } from "@godwit/common/clock";

// Below the ports of outgoing connections, which could take one in the moment between; drawn by lot, since several files of
// tests run at once. (packages/testing has the same for everybody else; it stands on this package.)
const FIRST_PORT = 11_000;
const LAST_PORT = 14_999;

const given = new Set<number>();

/** A TCP port of 127.0.0.1 that nobody listens on, never the same twice in one process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(systemRandom() * (LAST_PORT - FIRST_PORT + 1));
    if (given.has(port)) continue;
    given.add(port);
    if (await canListen(port)) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
