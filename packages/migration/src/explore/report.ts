// What the explorer prints: one line a model, a counterexample as a table, and what was covered.

import type { Counterexample } from "./engine/search.ts";
import type { Model } from "./models.ts";
import type { ModelRun } from "./run-model.ts";

export interface Timing {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

export function resultLine({ name, result }: ModelRun, { seconds, cpuSeconds }: Timing): string {
  const { verdict, states, transitions, depth, bytes } = result;
  const rate = Math.round(states / Math.max(0.001, seconds));
  const cpuRate = Math.round(states / Math.max(0.001, cpuSeconds));
  return [
    name.padEnd(22),
    verdictText(verdict).padEnd(12),
    `${grouped(states)} states`.padStart(19),
    `${grouped(transitions)} steps`.padStart(19),
    `depth ${depth}`.padStart(9),
    `${seconds.toFixed(1)} s`.padStart(9),
    `${grouped(rate)} states/s (${grouped(cpuRate)} per CPU second)`,
    `${Math.ceil(bytes / 1e6)} MB`,
  ].join("  ");
}

function verdictText(verdict: ModelRun["result"]["verdict"]): string {
  switch (verdict) {
    case "holds":
      return "✓ holds";
    case "violated":
      return "✗ VIOLATED";
    case "stuck":
      return "✗ STUCK";
    case "too-large":
      return "… unfinished";
  }
}

export function modelLine({ name, about, limits }: Model): string {
  return `${name.padEnd(22)}  ${about}\n${" ".repeat(24)}${limits}`;
}

/** Step, who, event, and what changes by it, one change a line. */
export function counterexampleTable({ rule, steps }: Counterexample): string {
  const who = Math.max(3, ...steps.map((step) => step.who.length));
  const event = Math.min(44, Math.max(5, ...steps.map((step) => step.event.length)));
  const lines = [rule, "", `${"step".padStart(4)}  ${"who".padEnd(who)}  ${"event".padEnd(event)}  what changes`];
  steps.forEach((step, index) => {
    const [first = "", ...rest] = step.changes;
    const broken = step.event.length > event;
    lines.push(
      `${`${index + 1}`.padStart(4)}  ${step.who.padEnd(who)}  ${step.event.padEnd(event)}  ${broken ? "" : first}`,
    );
    for (const change of broken ? step.changes : rest) lines.push(`${" ".repeat(8 + who + event + 2 - 2)}${change}`);
  });
  return lines.join("\n");
}

export function grouped(amount: number): string {
  return `${amount}`.replace(/\B(?=(\d{3})+$)/g, ",");
}
