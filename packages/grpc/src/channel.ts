import { systemClock } from "@godwit/common/clock";
import { ChannelCredentials, Client, connectivityState } from "@grpc/grpc-js";
import type { RpcCall, RpcChannel } from "./client.ts";
import { single, stream } from "./grpc-call.ts";
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
  /** How long calls wait for one and the same attempt to connect; then the next one begins another. */
  readonly connectWithinMs?: number;
}

export interface ClientTls {
  /** Whom to trust; by default what the machine trusts. */
  readonly ca?: Buffer | undefined;
  /** Our own certificate and key, for servers that ask for one. */
  readonly identity?: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  /** The name in the server's certificate, if it is not the one in the target. */
  readonly serverName?: string | undefined;
}

/** Two calls may fail before; leases are renewed over this, and a lease has room for that. */
const CONNECT_WITHIN_MS = 3_000;

/**
 * A connection, made when it is first used and again when it broke. Any number of clients may share it.
 *
 * grpc-js has no limit for an attempt to connect: where packets vanish it stays with one for as long as the operating
 * system does, which is minutes, and does not notice that the network is back, by another way perhaps. So the attempt
 * is thrown away when calls have waited for it long enough. Nothing was sent on it, so nothing is sent twice.
 */
export class GrpcChannel implements RpcChannel {
  readonly target: string;
  readonly timeoutMs: number;
  readonly #rules: ChannelRules;
  #client: Client;
  /** Since when calls have found no connection, on the machine's monotonic clock. */
  #waitingSinceMs: number | undefined;
  #closed = false;

  constructor(rules: ChannelRules) {
    this.target = rules.target;
    this.timeoutMs = rules.timeoutMs;
    this.#rules = rules;
    this.#client = this.#connect();
  }

  single(call: RpcCall): Promise<object> {
    return single(this, call);
  }

  stream(call: RpcCall): AsyncIterable<object> {
    return stream(this, call);
  }

  /** For the calls of this package: what a call is started on, now. */
  clientForCall(): Client {
    const nowMs = systemClock.monotonicMs();
    if (this.#closed || this.#client.getChannel().getConnectivityState(false) === connectivityState.READY) {
      this.#waitingSinceMs = undefined;
      return this.#client;
    }
    this.#waitingSinceMs ??= nowMs;
    if (nowMs - this.#waitingSinceMs < (this.#rules.connectWithinMs ?? CONNECT_WITHIN_MS)) return this.#client;
    const stuck = this.#client;
    this.#client = this.#connect();
    this.#waitingSinceMs = nowMs;
    stuck.close(); // calls that wait for its connection fail, those on an older connection go on
    return this.#client;
  }

  #connect(): Client {
    const { target, tls, maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES } = this.#rules;
    return new Client(target, credentialsOf(tls), {
      "grpc.max_receive_message_length": maxMessageBytes,
      // Back within a second when the other end is: leases are renewed over this.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1_000,
      // A connection that went silent is found out while the lease still has room for a renewal on another one.
      "grpc.keepalive_time_ms": 3_000,
      "grpc.keepalive_timeout_ms": 3_000,
      // Names are looked up again as often as connections are tried.
      "grpc.dns_min_time_between_resolutions_ms": 1_000,
      // An attempt to connect that was thrown away must not be found again in a pool.
      "grpc.use_local_subchannel_pool": 1,
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
    this.#client.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function credentialsOf(tls: ClientTls | undefined): ChannelCredentials {
  if (tls === undefined) return ChannelCredentials.createInsecure();
  return ChannelCredentials.createSsl(tls.ca ?? null, tls.identity?.key ?? null, tls.identity?.cert ?? null);
}
