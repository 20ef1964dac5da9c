// A line that is put together piece by piece, since there is no printf here.

#pragma once

#include "godwit.h"

struct text {
  i32 length;
  char bytes[256]; // the longest line of a survivor has 150
};

static void add_char(struct text *text, char c) {
  if (text->length < (i32)sizeof text->bytes) text->bytes[text->length++] = c;
}

static void add(struct text *text, const char *words) {
  while (*words) add_char(text, *words++);
}

static void add_in_base(struct text *text, u64 number, u32 base, i32 min_digits) {
  char digits[20];
  i32 count = 0;
  do {
    digits[count++] = "0123456789abcdef"[number % base];
    number /= base;
  } while (number != 0);
  for (i32 missing = min_digits - count; missing > 0; missing--) add_char(text, '0');
  while (count > 0) add_char(text, digits[--count]);
}

static void add_unsigned(struct text *text, u64 number) { add_in_base(text, number, 10, 1); }

static void add_hex(struct text *text, u64 number) { add_in_base(text, number, 16, 1); }

static void add_signed(struct text *text, i64 number) {
  if (number < 0) add_char(text, '-');
  add_unsigned(text, number < 0 ? 0 - (u64)number : (u64)number);
}

// In tenths, which is as much as a person reads.
static void add_seconds(struct text *text, i64 ns) {
  i64 tenths = ns / 100000000;
  add_signed(text, tenths / 10);
  add_char(text, '.');
  add_unsigned(text, (u64)(tenths < 0 ? -tenths : tenths) % 10);
  add(text, " s");
}

// Like 2024-01-01T00:00:00.000Z. Days are counted from 1 March of year 0, so that a leap day is the last of its year.
static void add_time(struct text *text, i64 ns) {
  u64 ms = (u64)ns / 1000000;
  u64 days = ms / 86400000 + 719468;
  u64 era = days / 146097;
  u64 day_of_era = days % 146097;
  u64 year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  u64 day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  u64 month = (5 * day_of_year + 2) / 153; // 0 is March
  u64 day = day_of_year - (153 * month + 2) / 5 + 1;
  u64 year = era * 400 + year_of_era + (month >= 10);
  const u64 parts[] = {year,       (month + 2) % 12 + 1,   day,                  ms / 3600000 % 24,
                       ms / 60000 % 60, ms / 1000 % 60, ms % 1000};
  const char after[] = "--T::.Z";
  for (i32 i = 0; i < 7; i++) {
    add_in_base(text, parts[i], 10, i == 0 ? 4 : i == 6 ? 3 : 2);
    add_char(text, after[i]);
  }
}
