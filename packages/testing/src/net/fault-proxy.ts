import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Flow } from "./flow.ts";
import { freePort } from "./free-port.ts";
import { Weather, type WeatherCounts } from "./weather.ts";

// A TCP proxy on loopback for everything that a network does to a connection. Faults are asked for per direction, and
// `counts` tells which of them fired: a test that did not see its fault fire has proved nothing.

export type Direction = "to-server" | "to-client";

const BOTH: readonly Direction[] = ["to-server", "to-client"];

export interface FaultProxyOptions {
  readonly targetPort: number;
  /** 127.0.0.1 when unset. */
  readonly targetHost?: string;
  /** A free one when unset. */
  readonly listenPort?: number;
}

export interface FaultCounts {
  readonly connections: number;
  /** The server did not take the connection; the client's was reset. */
  readonly refused: number;
  readonly toServer: WeatherCounts;
  readonly toClient: WeatherCounts;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket | undefined;
  readonly flows: readonly Flow[];
}

export class FaultProxy implements AsyncDisposable {
  readonly port: number;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #server: Server;
  readonly #weather: Readonly<Record<Direction, Weather>> = { "to-server": new Weather(), "to-client": new Weather() };
  readonly #links = new Set<Link>();
  #connections = 0;
  #refused = 0;
  #stopped = false;

  static async start({ targetPort, targetHost = "127.0.0.1", listenPort }: FaultProxyOptions): Promise<FaultProxy> {
    // Half-open is a state of its own here: an end in one direction must not end the other.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    const port = listenPort ?? (await freePort());
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return new FaultProxy(server, port, { host: targetHost, port: targetPort });
  }

  private constructor(server: Server, port: number, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
    this.port = port;
    server.on("connection", (client: Socket) => void this.#accept(client));
  }

  /** Where to connect to: `127.0.0.1:port`. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get counts(): FaultCounts {
    return {
      connections: this.#connections,
      refused: this.#refused,
      toServer: this.#weather["to-server"].counts,
      toClient: this.#weather["to-client"].counts,
    };
  }

  /**
   * Ends the connection that carries the last of the next `bytes` bytes as soon as that is forwarded: the receiver gets
   * exactly these bytes and then the end, the sender a reset. Fires once; 0 cuts at the first byte and lets nothing through.
   */
  cutAfter(bytes: number, direction: Direction): void {
    this.#weather[direction].cutAfter(bytes);
  }

  /** Every byte arrives that much later, in order; 0 ends it. */
  delay(ms: number, ...directions: readonly Direction[]): void {
    for (const weather of this.#in(directions)) weather.delayMs = ms;
  }

  /**
   * Half-open: after `bytes` more bytes nothing arrives, and neither does an end or a reset; each side believes in a
   * connection that is none. `heal` resets the connections that lost something.
   */
  swallowAfter(bytes: number, ...directions: readonly Direction[]): void {
    for (const weather of this.#in(directions)) weather.swallowAfter(bytes);
  }

  /** Nothing passes, new connections included, until `heal`; what was sent meanwhile arrives then. One-way when a direction is given. */
  partition(...directions: readonly Direction[]): void {
    for (const weather of this.#in(directions)) weather.hold();
  }

  heal(): void {
    for (const weather of Object.values(this.#weather)) weather.clear();
    for (const link of [...this.#links]) {
      if (link.flows.some(({ dead }) => dead)) this.#end(link);
    }
  }

  /** Heals, and takes back cuts that have not fired and delays: the next test begins with a sound network. */
  calm(): void {
    for (const weather of Object.values(this.#weather)) weather.calm();
    this.heal();
  }

  /** Resets every connection that there is now. */
  cutAll(): void {
    for (const link of [...this.#links]) this.#end(link);
  }

  /** Takes no more connections and resets those that there are. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const weather of Object.values(this.#weather)) weather.clear();
    this.cutAll();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #in(directions: readonly Direction[]): Weather[] {
    return (directions.length === 0 ? BOTH : directions).map((direction) => this.#weather[direction]);
  }

  async #accept(client: Socket): Promise<void> {
    this.#connections++;
    client.on("error", () => {}); // its close tells the flow
    const waiting: Link = { client, server: undefined, flows: [] };
    this.#links.add(waiting);
    // The packets that open a connection do not pass either.
    for (const weather of Object.values(this.#weather)) if (weather.holding) await weather.untilOpen();
    this.#links.delete(waiting);
    if (client.destroyed || this.#stopped) return;

    const server = connect({ ...this.#target, allowHalfOpen: true });
    const dialling: Link = { client, server, flows: [] };
    this.#links.add(dialling);
    const connected = await opened(server);
    this.#links.delete(dialling);
    if (!connected || this.#stopped) {
      this.#refused++;
      client.resetAndDestroy();
      server.destroy();
      return;
    }
    this.#join(client, server);
  }

  #join(client: Socket, server: Socket): void {
    const onCut = () => this.#forget(link);
    const flows = [
      new Flow(client, server, this.#weather["to-server"], onCut),
      new Flow(server, client, this.#weather["to-client"], onCut),
    ];
    const link: Link = { client, server, flows };
    this.#links.add(link);
    void Promise.all(flows.map((flow) => flow.run())).then(() => this.#forget(link));
    client.resume();
  }

  #end(link: Link): void {
    link.client.resetAndDestroy();
    link.server?.resetAndDestroy();
    this.#forget(link);
  }

  #forget(link: Link): void {
    for (const flow of link.flows) flow.stop();
    // A link whose flows swallowed the end stays known: heal has to reset it.
    if (link.flows.some(({ dead }) => dead) && !link.client.destroyed) return;
    this.#links.delete(link);
  }
}

/** False when the server cannot be reached. Its later errors are left to its close. */
function opened(server: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    server.once("connect", () => resolve(true));
    server.on("error", () => resolve(false));
    server.once("close", () => resolve(false));
  });
}
