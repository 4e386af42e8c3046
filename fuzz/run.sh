#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (default 60). Needs cargo-fuzz: cargo install cargo-fuzz.
# On a stable toolchain it is run without sanitizers.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
for target in scan sse classifier health answer; do
  echo "== $target for $seconds s"
  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . --sanitizer none "$target" "corpus/$target" -- -max_total_time="$seconds" -max_len=65536
done
