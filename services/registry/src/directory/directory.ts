// Hosts: who they are, how to reach them, and how they fared as targets, shared by everybody (GH-7).
//
// Failures are counted in a row and forgotten after a while, so that no host is out for ever. That uses wall time, which may
// be wrong: it orders hosts and decides nothing about authority.
// A question costs one round trip for what changed (known-hosts.ts), and one for when the hosts of the answer were seen.

import { toBinary } from "@bufbuild/protobuf";
import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { type HostInfo, HostInfoSchema } from "@godwit/proto/godwit/registry/v1/directory";
import type { Mark } from "../mark/mark.ts";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import { authenticate, type Caller } from "../sessions/caller.ts";
import { sameBytes } from "../store/bytes.ts";
import type { DirectoryStore, SessionStore } from "../store/registry-store.ts";
import { type KnownHost, KnownHosts } from "./known-hosts.ts";
import { bestOf, MAX_SHORTLIST, shortlist, type Wishes } from "./select-candidates.ts";
import { firstThat } from "./sorted.ts";

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
  #known: KnownHosts | undefined;
  /** Which of many equal hosts are looked at first, from one selection to the next. */
  #turn = 0;

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
    return await this.#look(async (known, views) => {
      const [view] = await views([find(known, idOrName)]);
      if (view === undefined) throw new Error("a host that was found has no view");
      return view;
    });
  }

  async list({ pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string }): Promise<HostPage> {
    return await this.#look(async ({ byId }, views) => {
      const begin = firstThat(byId, ({ hostId }) => hostId > pageToken);
      const more = byId.length > begin + pageSize;
      const hosts = await views(byId.slice(begin, begin + pageSize));
      return { hosts, nextPageToken: more ? (hosts.at(-1)?.info.hostId ?? "") : "" };
    });
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
    return await this.#look(async ({ byPrice }, views) => {
      const nowMs = this.#parts.clock.now().getTime();
      const turn = this.#turn;
      this.#turn = (turn + MAX_SHORTLIST) % Math.max(1, byPrice.length);
      const found = shortlist(byPrice, wishes, { turn, failuresOf: (host) => this.#failuresOf(host, nowMs) });
      return bestOf(await views(found), wishes.limit);
    });
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
    return await this.#look(async ({ byId }) => {
      return new Set(byId.filter(({ draining }) => draining).map(({ hostId }) => hostId));
    });
  }

  /** `work` is given what is known of all hosts by now, and how to see some of them as they are shown. */
  async #look<T>(
    work: (known: KnownHosts, views: (hosts: readonly KnownHost[]) => Promise<readonly HostView[]>) => Promise<T>,
  ): Promise<T> {
    return await this.#parts.keeper.under(async ({ mark }) => {
      const known = this.#under(mark);
      await known.refresh();
      return await work(known, (hosts) => this.#views(mark, hosts));
    });
  }

  #under({ bytes }: Mark): KnownHosts {
    if (this.#known === undefined || !sameBytes(this.#known.mark, bytes)) {
      this.#known = new KnownHosts(this.#parts.store, bytes);
    }
    return this.#known;
  }

  async #views(mark: Mark, hosts: readonly KnownHost[]): Promise<readonly HostView[]> {
    const { store, clock } = this.#parts;
    const seen = await store.readHostsSeen(
      mark.bytes,
      hosts.map(({ hostId }) => hostId),
    );
    const nowMs = clock.now().getTime();
    return hosts.map((host, at) => ({
      info: host.info,
      draining: host.draining,
      live: host.live,
      consecutiveFailures: this.#failuresOf(host, nowMs),
      lastSeenAtMs: seen[at] ?? 0,
    }));
  }

  #failuresOf({ failures, lastFailureAtMs }: KnownHost, nowMs: number): number {
    return nowMs - lastFailureAtMs >= this.#rules.forgetFailuresMs ? 0 : failures;
  }
}

function find(known: KnownHosts, idOrName: string): KnownHost {
  const exact = known.get(idOrName);
  if (exact !== undefined) return exact;
  const named = known.byId.filter(({ info }) => info.name === idOrName);
  const matches = named.length > 0 ? named : known.byId.filter(({ hostId }) => hostId.startsWith(idOrName));
  const [only, ...others] = matches;
  if (only === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId: idOrName });
  if (others.length > 0) {
    const ids = matches.slice(0, MAX_MATCHES).map(({ hostId }) => hostId);
    throw new Fault({ code: "AMBIGUOUS_ID", prefix: idOrName, matches: ids });
  }
  return only;
}
