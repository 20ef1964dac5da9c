// The connection to Redis: it comes and goes, and says why.
//
// GA-6  The library queues nothing while it is down and sends nothing again by itself. A command that is not answered in
//       time has an unknown outcome, and says so (STORE_UNAVAILABLE).
// A connection that answers nothing for a while is dropped and made anew: it may be half open.

import { Fault, isFault } from "@godwit/common/fault";
import { type ChainableCommander, Redis } from "ioredis";
import type { Logger } from "pino";
import { MarkMismatch } from "../store/registry-store.ts";
import { defineScripts } from "./scripts.ts";

export interface RedisConnectionRules {
  readonly url: string;
  /** Of connecting, and of each command. */
  readonly timeoutMs: number;
}

const MAX_RECONNECT_DELAY_MS = 1_000;
const FIRST_RECONNECT_DELAY_MS = 25;
/** So many unanswered commands in a row, and the connection is taken for dead. */
const UNANSWERED_UNTIL_DROPPED = 3;

export class RedisConnection {
  readonly where: string;
  readonly #redis: Redis;
  readonly #rules: RedisConnectionRules;
  readonly #logger: Logger;
  #trouble: string | undefined = "no connection yet";
  #unanswered = 0;

  constructor(rules: RedisConnectionRules, logger: Logger) {
    this.#rules = rules;
    this.#logger = logger;
    this.where = withoutCredentials(rules.url);
    this.#redis = new Redis(rules.url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: null,
      commandTimeout: rules.timeoutMs,
      connectTimeout: rules.timeoutMs,
      keepAlive: 10_000,
      retryStrategy: (times) => Math.min(FIRST_RECONNECT_DELAY_MS * 2 ** Math.min(times, 8), MAX_RECONNECT_DELAY_MS),
    });
    defineScripts(this.#redis);
    this.#redis.on("ready", () => this.#connected());
    this.#redis.on("error", (error: Error) => this.#failed(this.#redacted(error)));
    this.#redis.on("close", () => this.#failed("the connection is closed"));
  }

  /** Why it cannot be used; undefined when it can. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Waits for the first connection, but no longer than a command may take; goes on trying afterwards. */
  async start(): Promise<void> {
    await this.#redis.connect().catch(() => {}); // the reason is in `trouble`
  }

  async stop(): Promise<void> {
    this.#redis.disconnect(false);
  }

  /** Throws Fault STORE_UNAVAILABLE for whatever goes wrong on the way to Redis or in it. */
  async run<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    try {
      const result = await work(this.#redis);
      this.#answered();
      return result;
    } catch (error) {
      throw this.#fault(error);
    }
  }

  /** The replies of a pipeline, in order; the first error fails it all. */
  async pipeline(build: (pipeline: ChainableCommander) => void): Promise<readonly unknown[]> {
    return await this.run(async (redis) => {
      const pipeline = redis.pipeline();
      build(pipeline);
      const replies = (await pipeline.exec()) ?? [];
      return replies.map(([error, reply]) => {
        if (error !== null) throw error;
        return reply;
      });
    });
  }

  #connected(): void {
    this.#logger.info({ where: this.where }, "connected to Redis");
    this.#trouble = undefined;
    this.#unanswered = 0;
    this.#redis.info("persistence").then(
      (info) => {
        if (info.includes("aof_enabled:0")) {
          this.#logger.warn("this Redis keeps no append-only file: a restart of it loses every agent");
        }
      },
      () => {}, // the next command says what is wrong
    );
  }

  #answered(): void {
    this.#unanswered = 0;
    if (this.#redis.status === "ready") this.#trouble = undefined;
  }

  #failed(reason: string): void {
    // The close that follows an error says less than the error.
    if (reason === "the connection is closed" && this.#trouble !== undefined) return;
    if (this.#trouble !== reason) this.#logger.warn({ where: this.where, reason }, "Redis cannot be used");
    this.#trouble = reason;
  }

  #fault(error: unknown): unknown {
    if (isFault(error) || error instanceof MarkMismatch || !(error instanceof Error)) return error;
    const timedOut = error.message === "Command timed out";
    const reason = timedOut
      ? `${this.where} did not answer within ${this.#rules.timeoutMs} ms`
      : (this.#trouble ?? this.#redacted(error));
    if (timedOut) {
      this.#failed(reason);
      if (++this.#unanswered >= UNANSWERED_UNTIL_DROPPED) {
        this.#unanswered = 0;
        this.#redis.disconnect(true);
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

function withoutCredentials(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
