import type { Arguments, CommandLine } from "./args.ts";
import { flagOf, type Option, type Options, variableOf } from "./option.ts";

const WIDTH = 96;

/** What `--help` prints: usage, summary, arguments, options with their variables and defaults. */
export function helpText<O extends Options, A extends Arguments>(commandLine: CommandLine<O, A>): string {
  const { name, summary, options } = commandLine;
  const declared: Arguments = commandLine.arguments ?? {};
  const words = Object.entries(declared).map(([word, { presence }]) => {
    const shown = word.toUpperCase();
    if (presence === "required") return shown;
    return presence === "optional" ? `[${shown}]` : `[${shown}...]`;
  });
  const sections = [`Usage: ${[name, ...words, "[options]"].join(" ")}`, wrapped(summary, "")];
  if (words.length > 0) {
    const lines = Object.entries(declared).map(([word, { help }]) => entry(word.toUpperCase(), help));
    sections.push(["Arguments:", ...lines].join("\n"));
  }
  const lines = Object.entries(options).map(([property, option]) => optionEntry(property, option));
  sections.push(["Options:", ...lines, entry("--help, -h", "Print this.")].join("\n"));
  return `${sections.join("\n\n")}\n`;
}

function optionEntry(property: string, option: Option<unknown>): string {
  const flag = flagOf(property, option);
  const short = option.short === undefined ? "" : `, -${option.short}`;
  const value = option.kind.placeholder === "" ? "" : ` ${option.kind.placeholder}`;
  return entry(`--${flag}${short}${value}`, `${option.help} [${variableOf(flag)}${defaultOf(option)}]`);
}

function defaultOf({ kind, presence }: Option<unknown>): string {
  if (presence === "required") return ", required";
  if (presence === "optional" || kind.placeholder === "") return "";
  const shown = kind.format(presence.fallback);
  return shown === "" ? "" : `, default ${shown}`;
}

function entry(title: string, text: string): string {
  return `  ${title}\n${wrapped(text, "        ")}`;
}

function wrapped(text: string, indent: string): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(/\s+/)) {
    if (line.length + word.length + 1 > WIDTH && line.trim() !== "") {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}
