// What a host and an agent call on each other, for C. There is no C library below: this and the compiler are all.

#pragma once

typedef unsigned char u8;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define HOSTCALL(name) __attribute__((import_module("godwit"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

// Each needs the capability of its line in the manifest.
HOSTCALL(clock_now) i64 clock_now(void);                       // clock: ns since 1970
HOSTCALL(rand_bytes) i32 rand_bytes(void *to, i32 length);     // rand: 0, or less than 0 and nothing was written
HOSTCALL(log_emit) void log_emit(const void *from, i32 length); // log
HOSTCALL(node_price) i64 node_price(void);                     // pricing: microcents a second
