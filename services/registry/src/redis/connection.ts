// The connection to Redis: it comes and goes, and says why.
//
// GA-6  A client of the library is one connection: it never reconnects, queues nothing and sends nothing again by itself. So a
//       command that was begun on one connection cannot end up on the next, not even one that the library splits in two (a
//       script that the server does not know). The next connection is another client, and the first thing on it is the
//       question which server this is. Every command is admitted by that answer before it is sent.
// A command that is not answered in time has an unknown outcome, and says so (STORE_UNAVAILABLE). A connection that answers
// nothing for a while is dropped and made anew: it may be half open.

import type { Clock } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import { type ChainableCommander, Redis } from "ioredis";
import type { Logger } from "pino";
import { MarkMismatch, StepRefused } from "../store/registry-store.ts";
import { readServerInfo } from "./identity.ts";
import { defineScripts } from "./scripts.ts";

export interface RedisConnectionParts {
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RedisConnectionRules {
  readonly url: string;
  /** Of connecting, and of each command. */
  readonly timeoutMs: number;
}

/** A connection whose server is known. */
interface Link {
  readonly redis: Redis;
  /** Of the server, as it last said on this connection. */
  identity: string;
}

/** Throws, before anything is sent, when a step is not for the server with this identity. */
export type Admission = (liveIdentity: string) => void;

const MAX_RECONNECT_DELAY_MS = 1_000;
const FIRST_RECONNECT_DELAY_MS = 25;
/** So many unanswered commands in a row, and the connection is taken for dead. */
const UNANSWERED_UNTIL_DROPPED = 3;

export class RedisConnection {
  readonly where: string;
  readonly #parts: RedisConnectionParts;
  readonly #rules: RedisConnectionRules;
  #running = new AbortController();
  #connecting: Promise<void> = Promise.resolve();
  #link: Link | undefined;
  #trouble: string | undefined = "no connection yet";
  #unanswered = 0;

  constructor(parts: RedisConnectionParts, rules: RedisConnectionRules) {
    this.#parts = parts;
    this.#rules = rules;
    this.where = withoutCredentials(rules.url);
  }

  /** Why it cannot be used; undefined when it can. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Waits for the first try to connect, but no longer than a command may take; goes on trying afterwards. */
  async start(): Promise<void> {
    this.#running = new AbortController();
    const { promise: tried, resolve } = Promise.withResolvers<void>();
    this.#connecting = this.#stayConnected(this.#running.signal, resolve);
    const { clock } = this.#parts;
    await Promise.race([tried, clock.sleep(this.#rules.timeoutMs, this.#running.signal).catch(() => {})]);
  }

  async stop(): Promise<void> {
    this.#running.abort();
    this.#link?.redis.disconnect(false);
    await this.#connecting;
  }

  /** Throws what the admission throws, and Fault STORE_UNAVAILABLE for whatever goes wrong on the way to Redis or in it. */
  async run<T>(admission: Admission, work: (redis: Redis) => Promise<T>): Promise<T> {
    const link = this.#link;
    if (link === undefined) throw new Fault({ code: "STORE_UNAVAILABLE", reason: this.#trouble ?? "no connection" });
    admission(link.identity);
    return await this.#answer(link, work);
  }

  /** The replies of a pipeline, in order; the first error fails it all. */
  async pipeline(admission: Admission, build: (pipeline: ChainableCommander) => void): Promise<readonly unknown[]> {
    return await this.run(admission, async (redis) => {
      const pipeline = redis.pipeline();
      build(pipeline);
      const replies = (await pipeline.exec()) ?? [];
      return replies.map(([error, reply]) => {
        if (error !== null) throw error;
        return reply;
      });
    });
  }

  /**
   * Asks the server again which one it is, and for a value, on one connection: a primary that became a replica and a primary
   * again is another one, although the connection stayed.
   */
  async identify(key: string): Promise<{ readonly identity: string; readonly value: Uint8Array | undefined }> {
    const link = this.#link;
    const anyStore = () => {};
    return await this.run(anyStore, async (redis) => {
      const [info, replication, value] = await Promise.all([
        redis.info("server"),
        redis.info("replication"),
        redis.getBuffer(key),
      ]);
      const identity = this.#check(`${info}\n${replication}`);
      if (link !== undefined) link.identity = identity;
      return { identity, value: value === null ? undefined : new Uint8Array(value) };
    });
  }

  async #stayConnected(signal: AbortSignal, tried: () => void): Promise<void> {
    const { clock, logger } = this.#parts;
    for (let failures = 0; !signal.aborted; failures++) {
      const redis = this.#client();
      const ended = new Promise<void>((resolve) => redis.once("end", () => resolve()));
      const drop = () => redis.disconnect(false);
      signal.addEventListener("abort", drop, { once: true });
      try {
        await redis.connect();
        this.#link = {
          redis,
          identity: this.#check(`${await redis.info("server")}\n${await redis.info("replication")}`),
        };
        this.#trouble = undefined;
        this.#unanswered = 0;
        failures = 0;
        logger.info({ where: this.where, identity: this.#link.identity }, "connected to Redis");
        tried();
        await this.#warnOfLosses(redis);
        await ended;
      } catch (error) {
        this.#failed(error instanceof Error ? this.#redacted(error) : String(error));
      } finally {
        this.#link = undefined;
        signal.removeEventListener("abort", drop);
        redis.disconnect(false);
      }
      this.#failed(CLOSED);
      tried();
      const delayMs = Math.min(FIRST_RECONNECT_DELAY_MS * 2 ** Math.min(failures, 8), MAX_RECONNECT_DELAY_MS);
      await clock.sleep(delayMs, signal).catch(() => {});
    }
  }

  #client(): Redis {
    const redis = new Redis(this.#rules.url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: null,
      commandTimeout: this.#rules.timeoutMs,
      connectTimeout: this.#rules.timeoutMs,
      keepAlive: 10_000,
      retryStrategy: () => null, // another connection is another client
      reconnectOnError: () => false,
    });
    defineScripts(redis);
    redis.on("error", (error: Error) => this.#failed(this.#redacted(error)));
    return redis;
  }

  /** The identity of a primary. Throws for a replica: what is written there is lost, and what is read there is old. */
  #check(info: string): string {
    const { identity, role } = readServerInfo(info);
    if (role !== "master") {
      const reason = `${this.where} is a replica: give the registry the address of the primary`;
      this.#failed(reason);
      this.#link?.redis.disconnect(false); // until it leads again, or another one has its address
      throw new Error(reason);
    }
    return identity;
  }

  async #warnOfLosses(redis: Redis): Promise<void> {
    try {
      if (!(await redis.info("persistence")).includes("aof_enabled:0")) return;
      this.#parts.logger.warn("this Redis keeps no append-only file: a restart of it loses every agent");
    } catch {
      // the next command says what is wrong
    }
  }

  async #answer<T>(link: Link, work: (redis: Redis) => Promise<T>): Promise<T> {
    try {
      const result = await work(link.redis);
      this.#unanswered = 0;
      if (this.#link === link) this.#trouble = undefined;
      return result;
    } catch (error) {
      throw this.#fault(link, error);
    }
  }

  #failed(reason: string): void {
    // The close that follows an error says less than the error.
    if ((reason === CLOSED || reason === CLOSED_BY_LIBRARY) && this.#trouble !== undefined) return;
    if (this.#trouble !== reason) this.#parts.logger.warn({ where: this.where, reason }, "Redis cannot be used");
    this.#trouble = reason;
  }

  #fault(link: Link, error: unknown): unknown {
    if (isFault(error) || error instanceof MarkMismatch || error instanceof StepRefused || !(error instanceof Error)) {
      return error;
    }
    const timedOut = error.message === "Command timed out";
    const reason = timedOut
      ? `${this.where} did not answer within ${this.#rules.timeoutMs} ms`
      : (this.#trouble ?? this.#redacted(error));
    if (timedOut && this.#link === link) {
      this.#failed(reason);
      if (++this.#unanswered >= UNANSWERED_UNTIL_DROPPED) {
        this.#unanswered = 0;
        link.redis.disconnect(false);
      }
    }
    return new Fault({ code: "STORE_UNAVAILABLE", reason }, { cause: error });
  }

  #redacted({ message }: Error): string {
    const { username, password } = new URL(this.#rules.url);
    return [password, decodeURIComponent(password), username]
      .filter((secret) => secret !== "")
      .reduce((text, secret) => text.replaceAll(secret, "***"), message || "no connection");
  }
}

const CLOSED = "the connection is closed";
const CLOSED_BY_LIBRARY = "Connection is closed.";

function withoutCredentials(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
