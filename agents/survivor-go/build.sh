#!/bin/sh
# Needs Go 1.24 or later, and no modules.
set -eu
cd "$(dirname "$0")"
to="${BUILD_TO:-build}"
mkdir -p "$to"

# c-shared: a module whose functions are called from outside, where a plain build makes a program that runs once.
GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local GOFLAGS= GOWORK=off GOPROXY=off \
  "${GO:-go}" build -buildmode=c-shared -trimpath -buildvcs=false -ldflags="-s -w" -o "$to/survivor-go.wasm" .
cp survivor-go.manifest.json "$to/"
