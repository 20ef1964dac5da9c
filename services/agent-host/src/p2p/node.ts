// The host's libp2p node: TCP, noise, yamux, one key for ever, limits on everything.
//
// Who may do what is not decided at the connection, since the answer has to be one that the peer can read: protocols check
// the peer when a stream is opened (known-peers.ts). What is decided here is how much of anything there may be.

import { ClassifiedFault } from "@godwit/common/retry";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { type Identify, identify } from "@libp2p/identify";
import type { Libp2p, Stream } from "@libp2p/interface";
import { noise } from "@libp2p/noise";
import { peerIdFromString } from "@libp2p/peer-id";
import { type Ping, ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { asError, type ByteStream } from "./framed-stream.ts";

export interface P2pRules {
  /** 32 bytes: the host's Ed25519 key, from which its id is made. */
  readonly seed: Uint8Array;
  /** Multiaddrs. */
  readonly listen: readonly string[];
  /** What others are told, when that is not where it listens. */
  readonly announce: readonly string[];
  readonly maxConnections: number;
}

export interface ConnectedPeer {
  readonly hostId: string;
  readonly address: string;
  readonly direction: "inbound" | "outbound";
}

/** Serves one stream; who is at its other end was proven by noise. Must not throw. */
export type StreamHandler = (stream: ByteStream, remoteHostId: string) => Promise<void>;

export interface ProtocolLimits {
  /** On one connection. */
  readonly maxInboundStreams: number;
  readonly maxOutboundStreams: number;
}

/** What protocols need of the node. */
export interface StreamOpener {
  readonly hostId: string;
  /**
   * Over the connection that there is, or a new one. Throws ClassifiedFault PEER_UNREACHABLE (retriable). Resolving does
   * not mean that the peer lets us in: only an answer does.
   */
  open(
    peer: { readonly hostId: string; readonly addresses: readonly string[] },
    protocol: string,
    signal: AbortSignal,
  ): Promise<ByteStream>;
}

export interface StreamServer {
  serve(protocol: string, limits: ProtocolLimits, handler: StreamHandler): Promise<void>;
  unserve(protocol: string): Promise<void>;
}

/** A paused stream may hold all that the peer was allowed to send. */
const WINDOW_BYTES = 4 * 1024 * 1024;
const UPGRADE_TIMEOUT_MS = 10_000;

export class P2pNode implements StreamOpener, StreamServer {
  readonly #node: Libp2p<{ identify: Identify; ping: Ping }>;
  readonly #limits = new Map<string, ProtocolLimits>();

  /** Not started: it neither listens nor dials yet. */
  static async create({ seed, listen, announce, maxConnections }: P2pRules): Promise<P2pNode> {
    const node = await createLibp2p({
      start: false,
      privateKey: await generateKeyPairFromSeed("Ed25519", seed),
      addresses: { listen: [...listen], announce: [...announce] },
      transports: [tcp({ dialOpts: { noDelay: true }, listenOpts: { noDelay: true } })],
      connectionEncrypters: [noise()],
      streamMuxers: [
        yamux({ streamOptions: { maxStreamWindowSize: WINDOW_BYTES, maxReadBufferLength: 2 * WINDOW_BYTES } }),
      ],
      services: { identify: identify(), ping: ping() },
      connectionManager: {
        maxConnections,
        inboundUpgradeTimeout: UPGRADE_TIMEOUT_MS,
        // Per second and address; hosts behind one address are many, and the limit above holds anyway.
        inboundConnectionThreshold: maxConnections,
      },
      // Addresses of hosts come from the registry; private ones are as good as any.
      connectionGater: { denyDialMultiaddr: () => false },
    });
    return new P2pNode(node);
  }

  private constructor(node: Libp2p<{ identify: Identify; ping: Ping }>) {
    this.#node = node;
  }

  get hostId(): string {
    return this.#node.peerId.toString();
  }

  async start(): Promise<void> {
    await this.#node.start();
  }

  async stop(): Promise<void> {
    await this.#node.stop();
  }

  /** Multiaddrs that others are told, without the peer id. Empty before the start. */
  addresses(): readonly string[] {
    return this.#node.getMultiaddrs().map((address) => withoutPeer(address).toString());
  }

  /** Who has an open connection to this host, or from it. */
  connectedPeers(): readonly ConnectedPeer[] {
    return this.#node
      .getConnections()
      .filter(({ status }) => status === "open")
      .map(({ remotePeer, remoteAddr, direction }) => ({
        hostId: remotePeer.toString(),
        address: withoutPeer(remoteAddr).toString(),
        direction,
      }));
  }

  async serve(protocol: string, limits: ProtocolLimits, handler: StreamHandler): Promise<void> {
    this.#limits.set(protocol, limits);
    await this.#node.handle(
      protocol,
      async (stream, connection) => {
        try {
          await handler(stream, connection.remotePeer.toString());
        } catch (cause) {
          stream.abort(asError(cause));
        }
      },
      limits,
    );
  }

  async unserve(protocol: string): Promise<void> {
    await this.#node.unhandle(protocol);
  }

  async open(
    { hostId, addresses }: { readonly hostId: string; readonly addresses: readonly string[] },
    protocol: string,
    signal: AbortSignal,
  ): Promise<Stream> {
    const unreachable = (cause: unknown): ClassifiedFault => {
      const reason = asError(cause).message;
      return new ClassifiedFault("retriable", { code: "PEER_UNREACHABLE", hostId, reason }, { cause });
    };
    try {
      const peer = peerIdFromString(hostId);
      const [open] = this.#node.getConnections(peer).filter(({ status }) => status === "open");
      if (open === undefined && addresses.length === 0) throw new Error("the registry knows no address of it");
      // The peer's id in the address makes noise prove that it is that host.
      const connection =
        open ??
        (await this.#node.dial(
          addresses.map((address) => withoutPeer(multiaddr(address)).encapsulate(`/p2p/${hostId}`)),
          { signal },
        ));
      try {
        const maxOutboundStreams = this.#limits.get(protocol)?.maxOutboundStreams;
        return await connection.newStream(protocol, {
          signal,
          ...(maxOutboundStreams === undefined ? {} : { maxOutboundStreams }),
        });
      } catch (cause) {
        // A connection whose other end is gone without a word opens no stream: the next attempt dials anew.
        if (signal.aborted) connection.abort(asError(cause));
        throw cause;
      }
    } catch (cause) {
      throw unreachable(cause);
    }
  }
}

function withoutPeer(address: Multiaddr): Multiaddr {
  const [transport = ""] = address.toString().split("/p2p/");
  return multiaddr(transport);
}
