import { FakeClock } from "@godwit/testing";
import pino from "pino";
import { describe, expect, test } from "vitest";
import { ada, createAgent, next } from "../../test/storage-story.ts";
import { bobSession } from "../../test/support/agent-place.ts";
import type { Answer, HeadReport, HeldSession } from "../registry/ports.ts";
import { HeadReports } from "./head-reports.ts";

const created = createAgent(ada);
const { agentId } = created.header;

function started() {
  const sent: HeadReport[] = [];
  const answers: PromiseWithResolvers<readonly Answer[]>[] = [];
  const reports = new HeadReports({
    authority: {
      reportHeads: async (_session, heads) => {
        sent.push(...heads);
        const answer = Promise.withResolvers<readonly Answer[]>();
        answers.push(answer);
        return await answer.promise;
      },
    },
    session: { current: bobSession },
    clock: new FakeClock(),
    entropy: { uuid: () => "id", bytes: (count) => new Uint8Array(count) },
    logger: pino({ level: "silent" }),
    onAnswer: () => {},
  });
  return { reports, sent, answers };
}

const agentIds = (count: number) => Array.from({ length: count }, (_, at) => `agent ${at}`);

/** With a registry that answers at once. */
function answered(answer: Answer) {
  const clock = new FakeClock();
  const calls: (readonly string[])[] = [];
  const session: { current: HeldSession | undefined } = { current: bobSession };
  const reports = new HeadReports({
    authority: {
      reportHeads: async (_session, heads) => {
        calls.push(heads.map((head) => head.agentId));
        return heads.map(() => answer);
      },
    },
    session,
    clock,
    entropy: { uuid: () => "id", bytes: (count) => new Uint8Array(count) },
    logger: pino({ level: "silent" }),
    onAnswer: () => {},
  });
  return { clock, calls, session, reports };
}

const noted: Answer = { kind: "refused", code: "NO_RECORD", record: undefined };

describe("reports of heads", () => {
  test("§11: what is waited for is sent at once, and again when its answer was lost", async () => {
    const { reports, sent, answers } = started();
    reports.committed(agentId, created);
    const first = next(created, { host: ada });
    reports.committed(agentId, first);
    let isTold = false;
    const told = reports.reported(agentId).then(() => {
      isTold = true;
    });
    expect(sent.map(({ ref }) => ref.digest)).toEqual([first.digest]);
    expect(isTold).toBe(false);
    answers[0]?.resolve([{ kind: "unknown", cause: new Error("lost") }]);
    await told;
    const again = reports.reported(agentId);
    expect(sent.map(({ ref }) => ref.digest)).toEqual([first.digest, first.digest]);
    answers[1]?.resolve([{ kind: "refused", code: "NO_RECORD", record: undefined }]);
    await again;
    await reports.reported(agentId); // nothing is left to tell
    expect(sent).toHaveLength(2);
  });

  test("§11: what is on its way already is waited for", async () => {
    const { reports, sent, answers } = started();
    reports.committed(agentId, created);
    const [one, two] = [reports.reported(agentId), reports.reported(agentId)];
    expect(sent).toHaveLength(1);
    answers[0]?.resolve([{ kind: "refused", code: "NO_RECORD", record: undefined }]);
    await Promise.all([one, two]);
  });

  test("§11: what is waited for does not queue behind thousands of others", async () => {
    const { reports, sent, answers } = started();
    const others = agentIds(600);
    for (const other of others) reports.committed(other, created);
    reports.committed(agentId, created);
    const told = reports.reported(agentId);
    expect(sent.map((report) => report.agentId)).toEqual([agentId, ...others.slice(0, 249)]);
    answers[0]?.resolve(sent.map(() => ({ kind: "refused", code: "NO_RECORD", record: undefined })));
    await told;
  });

  test("a host with thousands of agents reports all of them before it is gone, in calls of a bounded size", async () => {
    const { calls, reports } = answered(noted);
    await reports.start();
    for (const id of agentIds(1_100)) reports.committed(id, created);
    await reports.stop();
    expect(calls.flat()).toEqual(agentIds(1_100));
    expect(Math.max(...calls.map(({ length }) => length))).toBe(250);
  });

  test("a registry that does not answer does not keep a host from ending", async () => {
    const { calls, reports } = answered({ kind: "unknown", cause: new Error("no answer") });
    await reports.start();
    for (const id of agentIds(600)) reports.committed(id, created);
    await reports.stop();
    expect(calls).toHaveLength(1);
  });

  test("without a session nothing is sent, and nothing is forgotten", async () => {
    const { calls, clock, session, reports } = answered(noted);
    session.current = undefined;
    await reports.start();
    for (const id of agentIds(600)) reports.committed(id, created);
    await clock.advance(1_000);
    expect(calls).toEqual([]);
    session.current = bobSession;
    await clock.advance(100);
    expect(calls.flat()).toEqual(agentIds(600));
    await reports.stop();
  });
});
