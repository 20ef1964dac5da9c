// Hosts: who they are, how to reach them, and how they fared as targets, shared by everybody (GH-7).
//
// Failures are counted in a row and forgotten after a while, so that no host is out for ever. That uses wall time, which may
// be wrong: it orders hosts and decides nothing about authority.

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { type HostInfo, HostInfoSchema } from "@godwit/proto/godwit/registry/v1/directory";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import { authenticate, type Caller } from "../sessions/caller.ts";
import type { DirectoryStore, SessionStore, StoredHost } from "../store/registry-store.ts";
import { selectCandidates, type Wishes } from "./select-candidates.ts";

export interface HostView {
  readonly info: HostInfo;
  readonly draining: boolean;
  readonly live: boolean;
  readonly consecutiveFailures: number;
  readonly lastSeenAtMs: number;
}

export interface DirectoryParts {
  readonly store: DirectoryStore & SessionStore;
  readonly keeper: MarkKeeper;
  readonly clock: Clock;
}

export interface DirectoryRules {
  /** Failures older than this are forgotten. */
  readonly forgetFailuresMs: number;
}

export interface HostPage {
  readonly hosts: readonly HostView[];
  readonly nextPageToken: string;
}

/** How many ids an AMBIGUOUS_ID names. */
const MAX_MATCHES = 5;

export class Directory {
  readonly #parts: DirectoryParts;
  readonly #rules: DirectoryRules;

  constructor(parts: DirectoryParts, rules: DirectoryRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  /** Throws the faults of `authenticate`; INVALID_ARGUMENT when the host speaks for another. */
  async register(request: {
    readonly caller: Caller;
    readonly incarnation: string;
    readonly info: HostInfo;
  }): Promise<void> {
    const { keeper, store, clock } = this.#parts;
    const { caller, info } = request;
    const { hostId } = caller.session;
    if (info.hostId !== hostId) {
      throw new Fault({ code: "INVALID_ARGUMENT", field: "info.host_id", reason: "give the id of the calling host" });
    }
    await keeper.under(async ({ mark }) => {
      await authenticate(store, mark, request);
      const host = { info: toBinary(HostInfoSchema, info), seenAtMs: clock.now().getTime() };
      const outcome = await store.putHost(mark.bytes, caller.session, host);
      if (outcome === "caller-void") throw new Fault({ code: "SESSION_VOID", hostId });
    });
  }

  /** By id, prefix of one id, or name of one host. Throws Fault HOST_UNKNOWN, AMBIGUOUS_ID. */
  async get(idOrName: string): Promise<HostView> {
    const hosts = await this.#all();
    const exact = hosts.find(({ info }) => info.hostId === idOrName);
    if (exact !== undefined) return exact;
    const named = hosts.filter(({ info }) => info.name === idOrName);
    const matches = named.length > 0 ? named : hosts.filter(({ info }) => info.hostId.startsWith(idOrName));
    const [only, ...others] = matches;
    if (only === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId: idOrName });
    if (others.length > 0) {
      const ids = matches.slice(0, MAX_MATCHES).map(({ info }) => info.hostId);
      throw new Fault({ code: "AMBIGUOUS_ID", prefix: idOrName, matches: ids });
    }
    return only;
  }

  async list({ pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string }): Promise<HostPage> {
    const hosts = (await this.#all()).filter(({ info }) => info.hostId > pageToken);
    const page = hosts.slice(0, pageSize);
    return { hosts: page, nextPageToken: hosts.length > pageSize ? (page.at(-1)?.info.hostId ?? "") : "" };
  }

  /** Throws Fault HOST_UNKNOWN, AMBIGUOUS_ID. */
  async drain(idOrName: string, draining: boolean): Promise<HostView> {
    const { keeper, store } = this.#parts;
    const { info } = await this.get(idOrName);
    const outcome = await keeper.under(({ mark }) => store.setDraining(mark.bytes, info.hostId, draining));
    if (outcome === "unknown-host") throw new Fault({ code: "HOST_UNKNOWN", hostId: idOrName });
    return await this.get(info.hostId);
  }

  async select(wishes: Wishes): Promise<readonly HostView[]> {
    return selectCandidates(await this.#all(), wishes);
  }

  /** The failures in a row afterwards. Throws the faults of `authenticate`; HOST_UNKNOWN. */
  async reportOutcome(request: {
    readonly caller: Caller;
    readonly incarnation: string;
    readonly hostId: string;
    readonly failed: boolean;
  }): Promise<number> {
    const { keeper, store, clock } = this.#parts;
    const { caller, hostId, failed } = request;
    return await keeper.under(async ({ mark }) => {
      await authenticate(store, mark, request);
      const outcome = await store.countOutcome(mark.bytes, caller.session, {
        hostId,
        failed,
        atMs: clock.now().getTime(),
        forgetAfterMs: this.#rules.forgetFailuresMs,
      });
      if (outcome.kind === "counted") return outcome.failures;
      if (outcome.kind === "unknown-host") throw new Fault({ code: "HOST_UNKNOWN", hostId });
      throw new Fault({ code: "SESSION_VOID", hostId: caller.session.hostId });
    });
  }

  /** Hosts that are not to be given agents, by id. */
  async draining(): Promise<ReadonlySet<string>> {
    return new Set((await this.#all()).filter(({ draining }) => draining).map(({ info }) => info.hostId));
  }

  async #all(): Promise<readonly HostView[]> {
    const { keeper, store, clock } = this.#parts;
    const stored = await keeper.under(({ mark }) => store.readHosts(mark.bytes));
    const nowMs = clock.now().getTime();
    return stored.map((host) => this.#view(host, nowMs));
  }

  #view({ info, draining, live, failures, lastFailureAtMs, lastSeenAtMs }: StoredHost, nowMs: number): HostView {
    const forgotten = nowMs - lastFailureAtMs >= this.#rules.forgetFailuresMs;
    return {
      info: fromBinary(HostInfoSchema, info),
      draining,
      live,
      consecutiveFailures: forgotten ? 0 : failures,
      lastSeenAtMs,
    };
  }
}
