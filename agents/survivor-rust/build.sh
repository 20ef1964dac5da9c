#!/bin/sh
# Needs rustc with the library for wasm32-unknown-unknown, and no crates.
set -eu
cd "$(dirname "$0")"
to="${BUILD_TO:-build}"
mkdir -p "$to"

# strip: names and debug data would be most of the module. A stack of 64 KiB is enough; rustc's own is 1 MiB of each agent's memory.
"${RUSTC:-rustc}" --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib --crate-name survivor_rust \
  -D warnings -C opt-level=s -C lto -C panic=abort -C strip=symbols -C link-arg=-zstack-size=65536 \
  -o "$to/survivor-rust.wasm" src/lib.rs
cp survivor-rust.manifest.json "$to/"
