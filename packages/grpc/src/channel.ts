import { ChannelCredentials, Client } from "@grpc/grpc-js";
import { DEFAULT_MAX_MESSAGE_BYTES } from "./server.ts";

export interface ChannelRules {
  /** "host:port", or any other name that grpc-js resolves. */
  readonly target: string;
  /** The deadline of every call that does not give its own. */
  readonly timeoutMs: number;
  /** PEM. Without it: plain text. */
  readonly tls?: ClientTls | undefined;
  /** The largest response that is taken. */
  readonly maxMessageBytes?: number;
}

export interface ClientTls {
  /** Whom to trust; by default what the machine trusts. */
  readonly ca?: Buffer | undefined;
  /** Our own certificate and key, for servers that ask for one. */
  readonly identity?: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  /** The name in the server's certificate, if it is not the one in the target. */
  readonly serverName?: string | undefined;
}

/** A connection, made when it is first used and again when it broke. Any number of clients may share it. */
export class GrpcChannel {
  readonly target: string;
  readonly timeoutMs: number;
  /** For the clients of this package. */
  readonly raw: Client;
  #closed = false;

  constructor({ target, timeoutMs, tls, maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES }: ChannelRules) {
    this.target = target;
    this.timeoutMs = timeoutMs;
    this.raw = new Client(target, credentialsOf(tls), {
      "grpc.max_receive_message_length": maxMessageBytes,
      // Back within a second when the other end is: leases are renewed over this.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1_000,
      "grpc.keepalive_time_ms": 10_000,
      "grpc.keepalive_timeout_ms": 3_000,
      // A DNS record must not be able to make us send a command again.
      "grpc.service_config_disable_resolution": 1,
      ...(tls?.serverName === undefined
        ? {}
        : { "grpc.ssl_target_name_override": tls.serverName, "grpc.default_authority": tls.serverName }),
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Calls that run are finished; new ones fail. */
  close(): void {
    this.#closed = true;
    this.raw.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function credentialsOf(tls: ClientTls | undefined): ChannelCredentials {
  if (tls === undefined) return ChannelCredentials.createInsecure();
  return ChannelCredentials.createSsl(tls.ca ?? null, tls.identity?.key ?? null, tls.identity?.cert ?? null);
}
