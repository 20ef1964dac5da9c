import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { client, GrpcChannel, type ServiceClient } from "@godwit/grpc";
import { PricingService } from "@godwit/proto/godwit/pricing/v1/pricing";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "@godwit/proto/grpc/health/v1/health";
import { ServerReflection } from "@godwit/proto/grpc/reflection/v1/reflection";
import { ServiceProcess } from "@godwit/service/process";
import { freePort, waitFor } from "@godwit/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FakeHost } from "./fake-host.ts";

// The service as a process of its own, from its sources; hosts are real gRPC servers.

const ENTRY = new URL("../src/main.ts", import.meta.url).pathname;
const signal = AbortSignal.timeout(900_000);
/** What a host that does not answer costs a scan; one that does answer has that long on a machine with others to run. */
const scanTimeoutMs = 4_000;

async function launch(dir: string, env: Readonly<Record<string, string>> = {}) {
  const [grpcPort, opsPort] = await Promise.all([freePort(), freePort()]);
  const process = new ServiceProcess(
    {
      name: "pricing",
      entry: ENTRY,
      nodeArgs: ["--conditions=@godwit/source"],
      opsUrl: `http://127.0.0.1:${opsPort}`,
      readyWithinMs: 120_000,
      stopWithinMs: 60_000,
      env: {
        GODWIT_DATA: dir,
        GODWIT_GRPC_LISTEN: `127.0.0.1:${grpcPort}`,
        GODWIT_OPS_LISTEN: `127.0.0.1:${opsPort}`,
        ...env,
      },
    },
    systemClock,
  );
  process.start();
  const channel = new GrpcChannel({ target: `127.0.0.1:${grpcPort}`, timeoutMs: 60_000 });
  return { process, channel, pricing: client(channel, PricingService) };
}

async function faultOf(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return isFault(error) ? error.detail : error;
}

function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

describe("pricing", () => {
  let dir: string;
  let service: Awaited<ReturnType<typeof launch>>;
  let pricing: ServiceClient<typeof PricingService>;
  const hosts: FakeHost[] = [];

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "godwit-pricing-"));
    service = await launch(join(dir, "data"), { GODWIT_HISTORY: "5", GODWIT_SCAN_TIMEOUT: `${scanTimeoutMs}ms` });
    await service.process.ready(signal);
    pricing = service.pricing;
  });
  afterAll(async () => {
    service.channel.close();
    await service.process.kill();
    await rm(dir, { recursive: true });
  });

  let a: FakeHost;
  let b: FakeHost;
  const host = async () => {
    const started = await FakeHost.start();
    hosts.push(started);
    return started;
  };
  beforeEach(async () => {
    a = await host();
    b = await host();
  });
  afterEach(async () => {
    await Promise.all(hosts.splice(0).map((each) => each[Symbol.asyncDispose]()));
  });

  describe("ReportPrice", () => {
    test("a signed price is in the book, and each change is in the history, newest first", async () => {
      const first = nowNs();
      await pricing.reportPrice(a.state({ pricePerSecond: 5n, statedAtUnixNs: first }));
      await pricing.reportPrice(a.state({ pricePerSecond: 5n, statedAtUnixNs: first + 1n }));
      await pricing.reportPrice(a.state({ pricePerSecond: 7n, statedAtUnixNs: first + 2n }));
      const { price } = await pricing.getPrice({ hostId: a.hostId });
      expect(price).toMatchObject({ ...a.target, pricePerSecond: 7n });
      expect(price?.seenAtUnixNs).toBeGreaterThan(first - 60_000_000_000n);
      const { prices } = await pricing.getPriceHistory({ hostId: a.hostId });
      expect(prices.map(({ pricePerSecond }) => pricePerSecond)).toEqual([7n, 5n]);
    });

    test("the history is bounded", async () => {
      for (let i = 1n; i <= 8n; i++) {
        await pricing.reportPrice(a.state({ pricePerSecond: i, statedAtUnixNs: nowNs() + i }));
      }
      const { prices } = await pricing.getPriceHistory({ hostId: a.hostId });
      expect(prices.map(({ pricePerSecond }) => pricePerSecond)).toEqual([8n, 7n, 6n, 5n, 4n]);
      expect((await pricing.getPriceHistory({ hostId: a.hostId, limit: 2 })).prices).toHaveLength(2);
    });

    test("PB-2 an older statement is refused, and the very same one again is not", async () => {
      const newest = a.state({ pricePerSecond: 5n, statedAtUnixNs: nowNs() });
      await pricing.reportPrice(newest);
      await pricing.reportPrice(newest);
      const older = a.state({ pricePerSecond: 1n, statedAtUnixNs: 1n });
      expect(await faultOf(pricing.reportPrice(older))).toMatchObject({
        code: "INVALID_ARGUMENT",
        field: "statement.stated_at_unix_ns",
      });
      expect((await pricing.getPrice({ hostId: a.hostId })).price?.pricePerSecond).toBe(5n);
    });

    test("PB-1 nobody names another's price, or changes what was signed", async () => {
      const forged = a.state({ pricePerSecond: 0n, statedAtUnixNs: nowNs(), hostId: b.hostId });
      expect(await faultOf(pricing.reportPrice(forged))).toMatchObject({ code: "SIGNATURE_INVALID" });
      const { statement, signature } = a.state({ pricePerSecond: 9n, statedAtUnixNs: nowNs() });
      for (let i = 0; i < statement.length; i++) {
        const changed = new Uint8Array(statement);
        changed[i] = (changed[i] ?? 0) ^ 1;
        const detail = await faultOf(pricing.reportPrice({ statement: changed, signature }));
        expect(["SIGNATURE_INVALID", "INVALID_ARGUMENT"]).toContain((detail as { code: string }).code);
      }
      expect(await faultOf(pricing.reportPrice({ statement, signature: new Uint8Array() }))).toMatchObject({
        code: "SIGNATURE_INVALID",
      });
      for (const each of [a, b]) {
        expect(await faultOf(pricing.getPrice({ hostId: each.hostId }))).toEqual({
          code: "HOST_UNKNOWN",
          hostId: each.hostId,
        });
      }
    });

    test.each([
      ["no statement", { statement: new Uint8Array(), signature: new Uint8Array(64) }, "statement.host_id"],
      ["noise", { statement: new Uint8Array(200).fill(0xff), signature: new Uint8Array(64) }, "statement"],
    ])("%s is refused", async (_, request, field) => {
      expect(await faultOf(pricing.reportPrice(request))).toMatchObject({ code: "INVALID_ARGUMENT", field });
    });

    test("a price that is none, an address that is none, a time to come: refused, with what is wrong", async () => {
      const refused = async (stated: Parameters<FakeHost["state"]>[0]) =>
        (await faultOf(pricing.reportPrice(a.state(stated)))) as { field?: string };
      const at = nowNs();
      expect(await refused({ pricePerSecond: 2n ** 64n - 1n, statedAtUnixNs: at })).toMatchObject({
        field: "statement.price_per_second",
      });
      expect(await refused({ pricePerSecond: 1n, statedAtUnixNs: at, grpcAddress: "nowhere" })).toMatchObject({
        field: "statement.grpc_address",
      });
      expect(await refused({ pricePerSecond: 1n, statedAtUnixNs: at + 7_200_000_000_000n })).toMatchObject({
        field: "statement.stated_at_unix_ns",
      });
    });
  });

  describe("ScanPrices", () => {
    test("T-52: hosts that answer are listed cheapest first; whoever is silent, lies or refuses is missing, with the reason", async () => {
      const [hangs, lies, refuses, greedy, cheap] = await Promise.all([host(), host(), host(), host(), host()]);
      const alsoHang = await Promise.all([host(), host(), host()]);
      for (const each of alsoHang) each.behaviour = "hangs";
      hangs.behaviour = "hangs";
      lies.behaviour = "lies about its id";
      refuses.behaviour = "refuses";
      greedy.behaviour = "asks for nonsense";
      a.pricePerSecond = 30n;
      cheap.pricePerSecond = 0n;
      const silent = createServer(); // accepts, and never says a word
      await once(silent.listen(0, "127.0.0.1"), "listening");
      const silentTarget = { hostId: b.hostId, grpcAddress: `127.0.0.1:${(silent.address() as AddressInfo).port}` };
      const down = { hostId: b.hostId, grpcAddress: `127.0.0.1:${await freePort()}` };
      const unknown = { hostId: (await host()).hostId, grpcAddress: "" };

      const targets = [a, hangs, ...alsoHang, lies, refuses, greedy, cheap].map(({ target }) => target);
      const before = performance.now();
      const scan = await pricing.scanPrices({ targets: [...targets, down, silentTarget, unknown, a.target] });
      expect(performance.now() - before).toBeLessThan(4 * scanTimeoutMs); // five of them wait that long, all at once
      silent.close();

      expect(scan.prices.map(({ hostId, pricePerSecond }) => [hostId, pricePerSecond])).toEqual([
        [cheap.hostId, 0n],
        [a.hostId, 30n],
      ]);
      const reason = (target: { hostId: string; grpcAddress: string }) =>
        scan.missing.find((each) => each.hostId === target.hostId && each.grpcAddress === target.grpcAddress);
      expect(scan.missing).toHaveLength(10);
      expect(reason(hangs.target)?.code).toBe("DEADLINE_EXCEEDED");
      expect(reason(silentTarget)?.code).toBe("DEADLINE_EXCEEDED");
      expect(reason(lies.target)).toMatchObject({ code: "PEER_UNREACHABLE" });
      expect(reason(lies.target)?.message).toContain("answers as host 12D3KooWsomebodyElse");
      expect(reason(refuses.target)?.code).toBe("SHUTTING_DOWN");
      expect(reason(greedy.target)?.code).toBe("INVALID_ARGUMENT");
      expect(reason(down)?.code).toBe("PEER_UNREACHABLE");
      expect(reason(down)?.message).toContain("ECONNREFUSED");
      expect(reason(unknown)?.code).toBe("HOST_UNKNOWN");
      expect(a.asked).toBe(1);
      await waitFor(() => hangs.waiting === 0, { what: "the hanging host is let go" });

      expect((await pricing.getPrice({ hostId: cheap.hostId })).price?.pricePerSecond).toBe(0n);
      expect(await faultOf(pricing.getPrice({ hostId: lies.hostId }))).toMatchObject({ code: "HOST_UNKNOWN" });
    });

    test("a scan without targets asks every host of the book, where the host has said that it is", async () => {
      const tag = nowNs();
      await pricing.reportPrice(a.state({ pricePerSecond: 5n, statedAtUnixNs: tag }));
      a.pricePerSecond = 6n;
      const scan = await pricing.scanPrices({ timeoutMs: 20_000 });
      expect(scan.prices.find(({ hostId }) => hostId === a.hostId)?.pricePerSecond).toBe(6n);
      expect((await pricing.getPrice({ hostId: a.hostId })).price?.pricePerSecond).toBe(6n);
      const byId = await pricing.scanPrices({ targets: [{ hostId: a.hostId }] });
      expect(byId.prices).toMatchObject([{ hostId: a.hostId, grpcAddress: a.grpcAddress }]);
    });

    test("PB-1 an answer from another address than the signed one is given, and not booked", async () => {
      await pricing.reportPrice(a.state({ pricePerSecond: 5n, statedAtUnixNs: nowNs(), grpcAddress: "127.0.0.1:1" }));
      a.pricePerSecond = 1n;
      const scan = await pricing.scanPrices({ targets: [a.target] });
      expect(scan.prices).toMatchObject([{ pricePerSecond: 1n, grpcAddress: a.grpcAddress }]);
      const { price } = await pricing.getPrice({ hostId: a.hostId });
      expect(price).toMatchObject({ pricePerSecond: 5n, grpcAddress: "127.0.0.1:1" });
    });

    test("a caller that gives up ends the questions too", async () => {
      a.behaviour = "hangs";
      const caller = new AbortController();
      const scan = pricing.scanPrices({ targets: [a.target], timeoutMs: 30_000 }, { signal: caller.signal });
      await waitFor(() => a.waiting === 1, { what: "the host is asked" });
      caller.abort(new Error("no longer wanted"));
      await expect(scan).rejects.toThrow("no longer wanted");
      await waitFor(() => a.waiting === 0, { what: "the host is let go" });
    });

    test("bad targets and limits are refused before anybody is asked", async () => {
      const fieldOf = async (request: Parameters<typeof pricing.scanPrices>[0]) =>
        ((await faultOf(pricing.scanPrices(request))) as { field?: string }).field;
      expect(await fieldOf({ targets: [a.target, { hostId: "x", grpcAddress: "127.0.0.1:1" }] })).toBe(
        "targets[1].host_id",
      );
      expect(await fieldOf({ targets: [{ hostId: a.hostId, grpcAddress: "http://127.0.0.1:1" }] })).toBe(
        "targets[0].grpc_address",
      );
      expect(await fieldOf({ targets: [a.target], timeoutMs: 30_001 })).toBe("timeout_ms");
      const many = Array.from({ length: 1_001 }, () => a.target);
      expect(await faultOf(pricing.scanPrices({ targets: many }))).toMatchObject({
        code: "RESOURCE_LIMIT",
        limit: 1_000,
      });
      expect(a.asked).toBe(0);
    });
  });

  test("prices are listed in pages, cheapest first, each host once", async () => {
    const at = nowNs();
    await pricing.reportPrice(a.state({ pricePerSecond: 400n, statedAtUnixNs: at }));
    await pricing.reportPrice(b.state({ pricePerSecond: 300n, statedAtUnixNs: at }));
    const listed: { hostId: string; pricePerSecond: bigint }[] = [];
    let pageToken = "";
    do {
      const page = await pricing.listPrices({ pageSize: 1, pageToken });
      listed.push(...page.prices);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(listed).toEqual((await pricing.listPrices({})).prices);
    const prices = listed.map(({ pricePerSecond }) => pricePerSecond);
    expect(prices).toEqual([...prices].sort((x, y) => Number(x - y)));
    expect(new Set(listed.map(({ hostId }) => hostId)).size).toBe(listed.length);

    expect(await faultOf(pricing.listPrices({ pageSize: 1_001 }))).toMatchObject({ field: "page_size" });
    expect(await faultOf(pricing.listPrices({ pageToken: "bogus" }))).toMatchObject({ field: "page_token" });
    expect(await faultOf(pricing.getPriceHistory({ hostId: a.hostId, limit: 1_001 }))).toMatchObject({
      field: "limit",
    });
    expect(await faultOf(pricing.getPrice({ hostId: "nobody" }))).toMatchObject({ field: "host_id" });
  });

  test("health says that it serves, reflection names it, metrics count", async () => {
    const { status } = await client(service.channel, Health).check({ service: PricingService.typeName });
    expect(status).toBe(Serving.SERVING);
    const request = { messageRequest: { case: "listServices" as const, value: "" } };
    for await (const { messageResponse } of client(service.channel, ServerReflection).serverReflectionInfo([request])) {
      const names = messageResponse.case === "listServicesResponse" ? messageResponse.value.service : [];
      expect(names.map(({ name }) => name)).toContain("godwit.pricing.v1.PricingService");
    }
    const metrics = await (await fetch(`${service.process.opsUrl}/metrics`)).text();
    expect(metrics).toMatch(/^pricing_reports_total\{outcome="changed"\} [1-9]/m);
    expect(metrics).toMatch(/^pricing_scanned_hosts_total\{outcome="PEER_UNREACHABLE"\} [1-9]/m);
    expect(metrics).toMatch(/^pricing_book_hosts [1-9]/m);
  });

  test("what was answered is there after a kill -9", async () => {
    await pricing.reportPrice(a.state({ pricePerSecond: 77n, statedAtUnixNs: nowNs() }));
    await service.process.kill();
    expect(await faultOf(pricing.getPrice({ hostId: a.hostId }))).toMatchObject({ code: "RPC_FAILED" });
    await service.process.restart(signal);
    const { price } = await waitFor(() => pricing.getPrice({ hostId: a.hostId }), { what: "pricing is back" });
    expect(price).toMatchObject({ pricePerSecond: 77n, ...a.target });
  });

  test("a second process on the same data directory says who has it and ends, and the first one goes on", async () => {
    const second = await launch(join(dir, "data"));
    expect(await second.process.ended(signal)).toEqual({ code: 1, signal: null });
    expect(second.process.log.tail(20)).toContain(`is in use by pricing, process ${service.process.pid}`);
    second.channel.close();
    await pricing.listPrices({});
  });

  test("wrong settings end it with 2, all of them named", async () => {
    const wrong = await launch(dir, { GODWIT_SCAN_CONCURRENCY: "0", GODWIT_HISTORY: "-1", GODWIT_GRPC_LISTEN: "here" });
    expect(await wrong.process.ended(signal)).toEqual({ code: 2, signal: null });
    for (const name of ["GODWIT_SCAN_CONCURRENCY", "GODWIT_HISTORY", "GODWIT_GRPC_LISTEN"]) {
      expect(wrong.process.log.tail(20)).toContain(name);
    }
    wrong.channel.close();
  });

  test("a book that was removed makes it not ready, says why, and it goes on answering", async () => {
    const lost = await launch(join(dir, "lost"));
    await lost.process.ready(signal);
    await rm(join(dir, "lost"), { recursive: true });
    const readyz = () => fetch(`${lost.process.opsUrl}/readyz`);
    await waitFor(async () => (await readyz()).status === 503, { what: "readiness sees it" });
    expect(await (await readyz()).text()).toContain("prices.db could not be read or written: it was removed");
    expect((await fetch(`${lost.process.opsUrl}/livez`)).status).toBe(200);
    a.pricePerSecond = 3n;
    expect((await lost.pricing.scanPrices({ targets: [a.target] })).prices).toMatchObject([{ pricePerSecond: 3n }]);
    lost.channel.close();
    expect(await lost.process.stop()).toMatchObject({ code: 0 });
  });
});
