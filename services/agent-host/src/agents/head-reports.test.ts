import { FakeClock } from "@godwit/testing";
import pino from "pino";
import { describe, expect, test } from "vitest";
import { ada, createAgent, next } from "../../test/storage-story.ts";
import { bobSession } from "../../test/support/agent-place.ts";
import type { Answer, HeadReport } from "../registry/ports.ts";
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
});
