#!/usr/bin/env bash
# Usage: run.sh [SECONDS] [TARGET...]
# Runs the fuzz targets (default: all) for so many seconds each (default 60). What is new goes to target/corpus, what
# fails to artifacts; an input worth keeping is copied to corpus by hand, and replayed by `make test` from then on.
# Needs cargo-fuzz: cargo install cargo-fuzz. On a stable toolchain it is run without sanitizers.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  targets=(scan sse classifier health answer)
  targets+=(o2a_request a2o_request o2a_stream a2o_stream openai_watch message completion count)
fi
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
for target in "${targets[@]}"; do
  echo "== $target for $seconds s"
  mkdir -p "target/corpus/$target"
  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . --sanitizer none "$target" "target/corpus/$target" "corpus/$target" \
    -- -max_total_time="$seconds" -max_len=65536
done
