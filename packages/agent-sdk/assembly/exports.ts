// What a host calls. An entry file passes it on: export * from "@godwit/agent-sdk/assembly/exports".

import { loadAgent, registered, saveAgent } from "./agent";
import { Decoder } from "./decoder";
import { Encoder } from "./encoder";

/** Of the newest checkpoint; the host copies it before it calls again. */
const state = new Encoder();

export function agent_init(): void {
  registered().init();
}

export function agent_tick(): i32 {
  const moreWork = registered().tick();
  __collect(); // nothing is on the stack here, which is the only place where this is allowed
  return moreWork ? 1 : 0;
}

export function agent_checkpoint(): i32 {
  saveAgent(registered(), state);
  return state.length;
}

export function agent_checkpoint_ptr(): usize {
  return state.length == 0 ? 0 : state.address;
}

export function malloc(size: i32): usize {
  return heap.alloc(size);
}

export function agent_resume(pointer: usize, length: i32): void {
  if (length == 0) return; // it has never had a state
  loadAgent(registered(), new Decoder(pointer, length));
  heap.free(pointer);
}
