// What an agent is, and the head of its states.
//
// An agent lives from state to state: a host may take it away between any two ticks and put it back elsewhere, from the state that
// `save` wrote last. So what is not in the state is gone, and a tick may depend on nothing but the state and what the host answers.

import { Decoder } from "./decoder";
import { Encoder } from "./encoder";
import { log } from "./host";

/** For a tag: states begin with what `save` writes, so they have no version. For layouts that others have fixed. */
export const withoutHead: string = "";

const headBytes: i32 = 8;

export abstract class Agent {
  /**
   * `name`: what it calls itself when it refuses a state. `tag`: four ASCII characters at the start of its states, by which it knows them.
   * `version`: of the layout that `save` writes, from 1 on; a higher one with each change of it.
   */
  constructor(
    readonly name: string,
    readonly tag: string,
    readonly version: u32 = 1,
  ) {
    assert(tag.length == 0 || isTag(tag), "a tag has four ASCII characters");
    assert(version > 0, "versions begin with 1");
  }

  /** Before everything else, also before a `load`. No hostcalls but `log`. */
  init(): void {}

  /** Returns whether more work waits: then the next tick comes at once and not after a second. */
  abstract tick(): bool;

  /** Writes all that the agent has to remember. No hostcalls; changes nothing. */
  abstract save(state: Encoder): void;

  /** Reads what `save` wrote, all of it; what does not make sense is the decoder's to refuse: `state.fail(why)`. No hostcalls. */
  abstract load(state: Decoder): void;

  /** Reads a state of an older version. An agent that has had several versions says here what becomes of each. */
  migrate(version: u32, state: Decoder): void {
    state.fail("nothing says how version " + version.toString() + " becomes version " + this.version.toString());
  }
}

let agent: Agent | null = null;

/** Once, at the top of the entry file. */
export function register(one: Agent): void {
  assert(agent == null, "two agents are registered: a module has one");
  agent = one;
}

export function registered(): Agent {
  const one = agent;
  if (one == null) throw new Error("no agent is registered: the entry file has to call register(new …)");
  return one;
}

export function saveAgent(one: Agent, state: Encoder): void {
  state.clear();
  if (one.tag.length > 0) {
    writeTag(one.tag, state);
    state.u32(one.version);
  }
  one.save(state);
}

/** Ends in a trap if the state is not one of its own: better not to run than to run on a wrong memory. */
export function loadAgent(one: Agent, state: Decoder): void {
  if (one.tag.length == 0) one.load(state);
  else {
    if (state.remaining < headBytes || !hasTag(one.tag, state)) refuse("this is no state of a " + one.name);
    const version = state.u32();
    if (version == one.version) one.load(state);
    else if (version > one.version || version == 0) refuse(unreadable(one, version));
    else one.migrate(version, state);
  }
  if (state.ok && state.remaining > 0) state.fail(state.remaining.toString() + " bytes are left over at its end");
  if (!state.ok) refuse("the state of " + state.length.toString() + " bytes is not valid: " + state.problem);
}

function isTag(tag: string): bool {
  for (let at = 0; at < tag.length; at++) if (tag.charCodeAt(at) > 0x7f) return false;
  return tag.length == 4;
}

function unreadable(one: Agent, version: u32): string {
  const known = one.version == 1 ? "version 1" : "versions 1 to " + one.version.toString();
  return "the state has version " + version.toString() + ", this " + one.name + " reads " + known;
}

function writeTag(tag: string, state: Encoder): void {
  for (let at = 0; at < 4; at++) state.u8(<u8>tag.charCodeAt(at));
}

function hasTag(tag: string, state: Decoder): bool {
  let same = true;
  for (let at = 0; at < 4; at++) same = state.u8() == <u8>tag.charCodeAt(at) && same;
  return same;
}

function refuse(why: string): void {
  log(why);
  unreachable();
}
