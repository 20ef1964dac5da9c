// `--once`: a planned move, then a move whose answer is lost, then the proof that nothing was lost or done twice.
// Anything unexpected throws.

import { Fault } from "@godwit/common/fault";
import { verificationText } from "../commands/verify.ts";
import { listHosts, nameOf } from "../operations/hosts.ts";
import { verifyAgent } from "../operations/lineage.ts";
import { formatBudget, formatMs } from "../print/format.ts";
import { AGENT_NAME, bringSurvivor, type Moved, moveSurvivor, type Scene, untilTick } from "./scene.ts";

const TICKS_BETWEEN = 3n;
const FEWEST_HOSTS = 3;

export async function playOnce(scene: Scene): Promise<void> {
  const { session, story, cluster } = scene;
  expect(cluster.plan.hosts.length >= FEWEST_HOSTS, `a move that falls back needs ${FEWEST_HOSTS} hosts: --hosts 3`);

  const agentId = await bringSurvivor(scene);
  const first = await untilTick(session, agentId, TICKS_BETWEEN);
  story.tell(`${AGENT_NAME} ticks on ${first.host}: tick ${first.tick}, budget ${formatBudget(first.budget)}`);

  story.tell(`move 1, planned: away from ${first.host}`);
  const planned = await moveSurvivor(scene, agentId);
  expect(planned.done.major > first.major, `the major did not rise: ${first.major}, then ${planned.done.major}`);
  const second = await arrived(scene, agentId, planned);

  const { dearest } = cluster.plan;
  story.tell(`move 2, to ${dearest}, which will lose it: the stream is cut after HANDOFF was sent, so no answer comes`);
  const rescued = await moveSurvivor(scene, agentId, { to: dearest, allowFallback: true });
  expectRescue(rescued, second.major);
  await arrived(scene, agentId, rescued);

  const hosts = await listHosts(session);
  const verification = await verifyAgent(session, agentId);
  story.tell(`verify ${AGENT_NAME}, with the registry's public key alone:`);
  for (const line of verificationText(verification, hosts)) story.detail(line);
  expect(verification.holds, "the lineage does not hold");
}

/** Tells where it runs, and waits until it has ticked there. */
async function arrived({ session, story }: Scene, agentId: string, { done }: Moved) {
  const target = nameOf(await listHosts(session), done.targetHostId);
  story.tell(
    `${AGENT_NAME} runs on ${target} from tick ${done.tick + 1n}, major ${done.major}: blackout ${formatMs(done.blackoutMs)}`,
  );
  const row = await untilTick(session, agentId, done.tick + TICKS_BETWEEN);
  expect(row.hostId === done.targetHostId, `it runs on ${row.host}, not on ${target}`);
  expect(row.major === done.major, `it ticks under major ${row.major}, not ${done.major}`);
  return row;
}

/** The first target was lost after HANDOFF, the source recovered under a higher major, and another target took it. */
function expectRescue({ done, events }: Moved, majorBefore: bigint): void {
  const failed = events.flatMap(({ event }) => (event.case === "attemptFailed" ? [event.value] : []));
  const ambiguous = failed.find(({ failureClass }) => failureClass === "ambiguous");
  expect(ambiguous !== undefined, "no attempt was ambiguous: the answer was not lost");
  const steps = events.flatMap(({ event }) => (event.case === "step" ? [event.value.step] : []));
  expect(steps.includes("recovered"), `the source did not recover: ${steps.join(", ")}`);
  expect(done.targetHostId !== ambiguous.targetHostId, "the same target took it in the end");
  expect(
    done.major >= majorBefore + 2n,
    `the major is ${done.major} after ${majorBefore}: recover takes one, claim another`,
  );
}

function expect(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Fault({ code: "NOT_READY", reason: `something unexpected: ${otherwise}` });
}
