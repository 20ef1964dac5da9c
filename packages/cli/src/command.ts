// What a command is: options and arguments declared once, and a function that is given their values.

import { systemClock } from "@godwit/common/clock";
import {
  type Arguments,
  type ArgumentsOf,
  type CommandLine,
  type Options,
  option,
  readCommandLine,
  type ValuesOf,
} from "@godwit/common/config";
import { type Connections, findConnections, readHostAddresses } from "./connections.ts";
import { EXIT, type ExitCode } from "./exit-code.ts";
import { Output } from "./print/output.ts";
import { Session } from "./session.ts";
import type { Surroundings } from "./terminal.ts";
import { readTls } from "./tls.ts";

export interface Command {
  readonly name: string;
  /** For the list of commands. */
  readonly summary: string;
  run(argv: readonly string[], surroundings: Surroundings): Promise<ExitCode>;
}

export interface Invocation<O extends Options, A extends Arguments> {
  readonly options: ValuesOf<O>;
  readonly arguments: ArgumentsOf<A>;
  readonly session: Session;
  readonly output: Output;
  readonly surroundings: Surroundings;
}

interface CommandSpec<O extends Options, A extends Arguments> {
  readonly name: string;
  readonly summary: string;
  /** More about it, for its own help. */
  readonly details?: string;
  readonly options: O;
  readonly arguments?: A;
  /** The default of --timeout. */
  readonly timeoutMs?: number;
  readonly run: (invocation: Invocation<O, A>) => Promise<ExitCode | undefined>;
}

const DEFAULT_TIMEOUT_MS = 10_000;
export const ADDRESS = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):\d{1,5}$/;
const ADDRESSES = new RegExp(`${ADDRESS.source.slice(0, -1)}(,${ADDRESS.source.slice(1, -1)})*$`);
const ADDRESS_PAIR = new RegExp(`${ADDRESS.source.slice(0, -1)}=${ADDRESS.source.slice(1)}`);

/** For options that take the registry's public key. */
export const REGISTRY_KEY = {
  pattern: /^[0-9a-f]{64}$/,
  expected: "a public key as 64 lower-case hex digits",
  help: "The registry's public key, in hex, as you know it from elsewhere; godwit verify prints it.",
} as const;

/** A command that talks to a cluster: it also takes the options that all of them take. */
export function defineCommand<const O extends Options, const A extends Arguments = Record<never, never>>(
  spec: CommandSpec<O, A>,
): Command {
  const { name, summary, details } = spec;
  return {
    name,
    summary,
    run: async (argv, surroundings) => {
      const common = commonOptions(findConnections(surroundings.workingDirectory), spec.timeoutMs);
      const commandLine: CommandLine<O & typeof common, A> = {
        name: `godwit ${name}`,
        summary: details === undefined ? summary : `${summary} ${details}`,
        options: { ...spec.options, ...common },
        ...(spec.arguments === undefined ? {} : { arguments: spec.arguments }),
      };
      const given = readCommandLine(commandLine, { argv, env: surroundings.env });
      if (given.kind === "help") {
        surroundings.terminal.out(given.text);
        return EXIT.ok;
      }
      const { registry, pricing, hostAddress, timeoutMs, json, ...files } = given.options as ValuesOf<typeof common>;
      const hostAddresses = readHostAddresses(hostAddress);
      const { signal } = surroundings;
      using session = new Session({ registry, pricing, hostAddresses, tls: readTls(files), timeoutMs, signal });
      const output = new Output(surroundings.terminal, json ? "json" : "text");
      try {
        const code = await spec.run({
          options: given.options,
          arguments: given.arguments,
          session,
          output,
          surroundings,
        });
        return code ?? EXIT.ok;
      } catch (error) {
        throw session.explain(error);
      }
    },
  };
}

function commonOptions({ registry, pricing }: Connections, timeoutMs = DEFAULT_TIMEOUT_MS) {
  const address = { pattern: ADDRESS, expected: "an address like 127.0.0.1:7443" };
  return {
    registry: option.text({
      fallback: registry,
      pattern: ADDRESSES,
      expected: "an address like 127.0.0.1:7443, or several with commas",
      help: "Where the registry's gRPC listens. Of several, with commas, the first that answers is asked.",
    }),
    pricing: option.text({ fallback: pricing, ...address, help: "Where the pricing service's gRPC listens." }),
    hostAddress: option.list({
      pattern: ADDRESS_PAIR,
      expected: "a pair like host-a:7460=127.0.0.1:7461",
      help: "ADVERTISED=REACHED: where a host is reached from here, when not at the address that it advertises.",
    }),
    tlsCa: option.text({
      optional: true,
      help: "A PEM file: whose certificates are trusted. With it, all calls use TLS.",
    }),
    tlsCert: option.text({ optional: true, help: "A PEM file: the certificate to call with, where one is asked for." }),
    tlsKey: option.text({ optional: true, help: "A PEM file: the key of --tls-cert." }),
    timeoutMs: option.duration({ fallback: timeoutMs, min: 1, help: "How long an answer may take." }),
    json: option.flag({ help: "Print JSON, for programs." }),
  } as const;
}

/** Time for those commands that wait; they have no other clock than the machine's. */
export const clock = systemClock;
