#!/bin/sh
# Needs clang and lld. There is no C library: what the agent calls is in godwit.h.
set -eu
cd "$(dirname "$0")"
to="${BUILD_TO:-build}"
mkdir -p "$to"

# bulk-memory: structs are copied by an instruction instead of a memcpy that nobody has.
"${CLANG:-clang}" --target=wasm32 -std=c11 -Os -Wall -Wextra -Werror -nostdlib -ffreestanding -mbulk-memory \
  -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=16384 -o "$to/survivor-c.wasm" survivor.c
cp survivor-c.manifest.json "$to/"
