// An agent that counts its ticks, and goes wrong at the third in the way of its MOOD.

#include "../../../agents/survivor-c/godwit.h"

#define TRAPS 1
#define LOOPS 2
#define FORGETS 3 // keeps something that its checkpoint does not have
#define DROPS 4   // does not take up what it resumes

static u64 ticks;
static u32 hidden;
static u8 arriving[64];

static void say(const char *words) {
  i32 length = 0;
  while (words[length]) length++;
  log_emit(words, length);
}

EXPORT(agent_init) void agent_init(void) { say("hello"); }

EXPORT(agent_tick) i32 agent_tick(void) {
  ticks++;
  hidden++;
  if (ticks < 3) return 1;
  say("now it comes");
  if (MOOD == TRAPS) __builtin_trap();
  if (MOOD == LOOPS) {
    for (volatile u32 spins = 0;;) spins++;
  }
  if (MOOD == FORGETS) ticks += hidden == 3 ? 7 : 0;
  return 0;
}

EXPORT(agent_checkpoint) i32 agent_checkpoint(void) { return sizeof ticks; }
EXPORT(agent_checkpoint_ptr) void *agent_checkpoint_ptr(void) { return &ticks; }
EXPORT(malloc) void *allocate(u32 size) { return size <= sizeof arriving ? arriving : 0; }
EXPORT(agent_resume) void agent_resume(const u64 *state, u32 length) {
  if (MOOD != DROPS && length == sizeof ticks) ticks = *state;
}
