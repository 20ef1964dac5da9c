import { systemEntropy } from "@godwit/common/clock";
import { argument, option } from "@godwit/common/config";
import { Fault, isFault } from "@godwit/common/fault";
import { formatMoney, type Microcents, parseMoney } from "@godwit/common/money";
import { defineCommand } from "../command.ts";
import { fundAgent, newFundingId } from "../operations/fund.ts";
import { findHost } from "../operations/hosts.ts";
import { formatBudget } from "../print/format.ts";
import { statusJson } from "../print/status.ts";

export const fund = defineCommand({
  name: "fund",
  summary: "Adds to an agent's budget; one that waits because its budget ended runs again.",
  details:
    "Every funding has an id and is applied once: when you cannot tell whether it was, give the same id again. " +
    "The owner's host is asked, or, once the budget has ended, the live host with the newest checkpoint.",
  options: {
    id: option.text({
      optional: true,
      pattern: /^[0-9a-f]{32}$/,
      expected: "an id of 32 lower-case hex digits",
      help: "The id of a funding that you gave before, or one of your own; random if it is not given.",
    }),
    on: option.text({ optional: true, help: "The host to ask: name, id or prefix." }),
  },
  arguments: {
    agent: argument.required("The agent: id, prefix or name."),
    amount: argument.required("How much, in units with up to 6 decimals."),
  },
  timeoutMs: 30_000,
  run: async ({ options, arguments: { agent, amount: text }, session, output, surroundings }) => {
    const amount = readAmount(text);
    const on = options.on === undefined ? undefined : await findHost(session, options.on);
    const id = options.id ?? newFundingId(systemEntropy);
    const { host, answer } = await fundAgent(session, { agent, amount, id, on }).catch((error: unknown) => {
      // An interrupted command prints no error.
      if (surroundings.signal.aborted && isFault(error, "FUNDING_UNKNOWN")) output.note(error.message);
      throw error;
    });
    const { agent: status, tick, repeated } = answer;
    if (status === undefined) {
      const problem = { status: "INTERNAL", message: "the answer names no agent", target: host.grpcAddress };
      throw new Fault({ code: "RPC_FAILED", ...problem });
    }
    const funding = { fundingId: id, fundedAtTick: tick, repeated };
    output.result({ ...statusJson(status), host: host.name, amount, ...funding }, () => {
      const when = tick === 0n ? "before" : `as tick ${tick}`;
      const done = repeated
        ? `this funding was applied ${when}, and not again`
        : `funded with ${formatMoney(amount)} ${when}`;
      return [`${status.name} on ${host.name}: ${done}; its budget is ${formatBudget(status.budget)}`, id];
    });
    return undefined;
  },
});

function readAmount(text: string): Microcents {
  const amount = parseMoney(text, "amount");
  if (amount > 0n) return amount;
  throw new Fault({ code: "INVALID_ARGUMENT", field: "amount", reason: "give more than 0" });
}
