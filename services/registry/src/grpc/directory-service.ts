import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ServedService, serve } from "@godwit/grpc";
import { DirectoryService, type HostInfo, type HostSchema, Outcome } from "@godwit/proto/godwit/registry/v1/directory";
import type { Directory, HostView } from "../directory/directory.ts";
import {
  invalid,
  readBatch,
  readCaller,
  readHostId,
  readHostRef,
  readIncarnation,
  readPageSize,
  readText,
} from "./checks.ts";

const MAX_ENTRIES = 64;
const MAX_CANDIDATES = 100;
const DEFAULT_CANDIDATES = 16;

export interface DirectoryServiceRules {
  readonly maxFailures: number;
}

export function directoryService(directory: Directory, rules: DirectoryServiceRules): ServedService {
  return serve(DirectoryService, {
    async registerHost({ caller, incarnation, info }) {
      await directory.register({
        caller: readCaller(caller),
        incarnation: readIncarnation(incarnation),
        info: readInfo(info),
      });
      return {};
    },

    async getHost({ hostId }) {
      return { host: wireHost(await directory.get(readHostRef(hostId))) };
    },

    async listHosts({ pageSize, pageToken }) {
      const page = {
        pageSize: readPageSize(pageSize),
        pageToken: pageToken === "" ? "" : readHostId(pageToken, "page_token"),
      };
      const { hosts, nextPageToken } = await directory.list(page);
      return { hosts: hosts.map(wireHost), nextPageToken };
    },

    async drainHost({ hostId, draining }) {
      return { host: wireHost(await directory.drain(readHostRef(hostId), draining)) };
    },

    async selectCandidates(request) {
      const { maxPricePerSecond, requiredCapabilities, excludedHostIds, maxFailures, limit } = request;
      if (limit > MAX_CANDIDATES) throw invalid("limit", `${limit} is too large: at most ${MAX_CANDIDATES}`);
      const hosts = await directory.select({
        maxPricePerSecond: maxPricePerSecond === 0n ? undefined : maxPricePerSecond,
        requiredCapabilities: readBatch(requiredCapabilities, "required_capabilities"),
        excludedHostIds: readBatch(excludedHostIds, "excluded_host_ids"),
        maxFailures: maxFailures ?? rules.maxFailures,
        limit: limit === 0 ? DEFAULT_CANDIDATES : limit,
      });
      return { hosts: hosts.map(wireHost) };
    },

    async reportOutcome({ caller, incarnation, hostId, outcome }) {
      if (outcome !== Outcome.SUCCESS && outcome !== Outcome.FAILURE)
        throw invalid("outcome", "give success or failure");
      const consecutiveFailures = await directory.reportOutcome({
        caller: readCaller(caller),
        incarnation: readIncarnation(incarnation),
        hostId: readHostId(hostId, "host_id"),
        failed: outcome === Outcome.FAILURE,
      });
      return { consecutiveFailures };
    },
  });
}

function readInfo(info: HostInfo | undefined): HostInfo {
  if (info === undefined) throw invalid("info", "it is missing");
  readHostId(info.hostId, "info.host_id");
  readText(info.name, { field: "info.name", maxChars: 128 });
  readText(info.grpcAddress, { field: "info.grpc_address", maxChars: 256 });
  const texts = { "info.addresses": info.addresses, "info.capabilities": info.capabilities };
  for (const [field, values] of Object.entries(texts)) {
    if (values.length > MAX_ENTRIES) throw invalid(field, `give at most ${MAX_ENTRIES}, not ${values.length}`);
    for (const value of values) {
      if (value === "") throw invalid(field, "one of them is empty");
      readText(value, { field, maxChars: 256 });
    }
  }
  const labels = Object.entries(info.labels);
  if (labels.length > MAX_ENTRIES) throw invalid("info.labels", `give at most ${MAX_ENTRIES}, not ${labels.length}`);
  for (const label of labels.flat()) readText(label, { field: "info.labels", maxChars: 256 });
  return info;
}

function wireHost({
  info,
  draining,
  live,
  consecutiveFailures,
  lastSeenAtMs,
}: HostView): MessageInitShape<typeof HostSchema> {
  return { info, draining, live, consecutiveFailures, lastSeenUnixNs: BigInt(lastSeenAtMs) * 1_000_000n };
}
