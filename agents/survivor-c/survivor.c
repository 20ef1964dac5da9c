// The survivor in C: its state and what it says are those of agents/survivor, byte for byte, so that one may go on where the other stopped.

#include "godwit.h"
#include "text.h"

#define NS_PER_SECOND 1000000000LL
// Ticks come every second; this much without one, and something happened.
#define GAP_NS (3 * NS_PER_SECOND)
#define MILESTONE_TICKS 10
#define MAGIC 0x56525553u // "SURV"
#define VERSION 1
#define MAX_PLACES 16

struct place {
  u64 tick;
  i64 price;
};

// As it stands in memory it is also what a checkpoint holds: little endian is how WASM has it.
static struct state {
  u32 magic;
  u32 version;
  u64 ticks;
  i64 born_ns;
  i64 last_tick_ns;
  u64 gaps;
  i64 longest_gap_ns;
  u64 moves;
  u64 mark;
  u32 place_count;
  u32 reserved;
  struct place places[MAX_PLACES];
} state;

_Static_assert(sizeof(struct state) == 328, "the state is what README.md of agents/survivor says");

static void say(const struct text *text) { log_emit(text->bytes, text->length); }

static _Noreturn void refuse(const struct text *why) {
  say(why);
  __builtin_trap();
}

static void arrive(u64 tick, i64 price) {
  if (state.place_count == MAX_PLACES) {
    for (u32 i = 1; i < MAX_PLACES; i++) state.places[i - 1] = state.places[i];
    state.place_count--;
  }
  state.places[state.place_count++] = (struct place){tick, price};
}

static void be_born(i64 now_ns, i64 price) {
  state.born_ns = now_ns;
  rand_bytes(&state.mark, sizeof state.mark);
  arrive(1, price);
  struct text line = {0};
  add(&line, "born at ");
  add_time(&line, now_ns);
  add(&line, " on a host of price ");
  add_signed(&line, price);
  add(&line, "; mark ");
  add_hex(&line, state.mark);
  say(&line);
}

static void notice_gap(i64 now_ns) {
  i64 away_ns = now_ns - state.last_tick_ns;
  if (away_ns <= GAP_NS) return;
  state.gaps++;
  if (away_ns > state.longest_gap_ns) state.longest_gap_ns = away_ns;
  struct text line = {0};
  add(&line, "gap of ");
  add_seconds(&line, away_ns);
  add(&line, " before tick ");
  add_unsigned(&line, state.ticks);
  add(&line, " (number ");
  add_unsigned(&line, state.gaps);
  add(&line, ", longest ");
  add_seconds(&line, state.longest_gap_ns);
  add(&line, ")");
  say(&line);
}

static void notice_move(i64 price) {
  i64 before = state.place_count == 0 ? 0 : state.places[state.place_count - 1].price;
  if (price == before) return;
  state.moves++;
  arrive(state.ticks, price);
  struct text line = {0};
  add(&line, "moved before tick ");
  add_unsigned(&line, state.ticks);
  add(&line, ": price ");
  add_signed(&line, before);
  add(&line, " -> ");
  add_signed(&line, price);
  add(&line, " (move ");
  add_unsigned(&line, state.moves);
  add(&line, ")");
  say(&line);
}

static void report_milestone(i64 now_ns) {
  struct text line = {0};
  add(&line, "tick ");
  add_unsigned(&line, state.ticks);
  add(&line, ": ");
  add_seconds(&line, now_ns - state.born_ns);
  add(&line, " old, ");
  add_unsigned(&line, state.moves);
  add(&line, " moves, ");
  add_unsigned(&line, state.gaps);
  add(&line, " gaps");
  say(&line);
}

EXPORT(agent_init) void agent_init(void) {
  state = (struct state){.magic = MAGIC, .version = VERSION};
}

EXPORT(agent_tick) void agent_tick(void) {
  i64 now_ns = clock_now();
  i64 price = node_price();
  state.ticks++;
  if (state.ticks == 1) {
    be_born(now_ns, price);
  } else {
    notice_gap(now_ns);
    notice_move(price);
  }
  state.last_tick_ns = now_ns;
  if (state.ticks % MILESTONE_TICKS == 0) report_milestone(now_ns);
}

EXPORT(agent_checkpoint) i32 agent_checkpoint(void) { return sizeof state; }

EXPORT(agent_checkpoint_ptr) const void *agent_checkpoint_ptr(void) { return &state; }

// Where the linker's own data end. Only a state that comes back is ever put here, so a bound that moves up is allocator enough.
extern u8 __heap_base;
static u32 heap_used;

EXPORT(malloc) void *allocate(u32 size) {
  u64 from = (u64)(u32)&__heap_base + heap_used;
  u64 to = from + ((u64)size + 7) / 8 * 8;
  u64 have = (u64)__builtin_wasm_memory_size(0) * 65536;
  if (to > have && __builtin_wasm_memory_grow(0, (to - have + 65535) / 65536) == (unsigned long)-1) return 0;
  heap_used = (u32)(to - (u32)&__heap_base);
  return (void *)(u32)from;
}

// Ends in a trap if the state is not one of its own: better not to run than to run on a wrong memory.
EXPORT(agent_resume) void agent_resume(const u8 *from, u32 length) {
  struct text why = {0};
  if (length == 0) return; // never ticked, never checkpointed
  const struct state *found = (const struct state *)from;
  if (length < 8 || found->magic != MAGIC) {
    add(&why, "this is no state of a survivor");
    refuse(&why);
  }
  if (found->version != VERSION) {
    add(&why, "the state has version ");
    add_unsigned(&why, found->version);
    add(&why, ", this survivor reads version ");
    add_unsigned(&why, VERSION);
    refuse(&why);
  }
  if (length != sizeof state) {
    add(&why, "the state has ");
    add_signed(&why, (i32)length);
    add(&why, " bytes, version 1 has ");
    add_unsigned(&why, sizeof state);
    refuse(&why);
  }
  if (found->place_count > MAX_PLACES) {
    add(&why, "the state names more places than it can hold");
    refuse(&why);
  }
  state = *found;
  heap_used = 0;
}
