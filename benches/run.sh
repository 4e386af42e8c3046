#!/usr/bin/env bash
# Luna beside a bare pingora proxy; what is measured and how: docs/performance.md.
# Arguments go to the harness: `benches/run.sh --rounds 3 --only small`; `--list` names the scenarios.
set -euo pipefail
cd "$(dirname "$0")/.."

built=$(cargo build --release --locked --message-format=json-render-diagnostics \
    --bin luna --bench compare --bench load --bench bare_proxy --bench bare_proxy_glibc)

# The path that cargo gave to a bench, whose name has a hash in it.
program() {
    grep -F '"reason":"compiler-artifact"' <<<"$built" | grep -F "\"name\":\"$1\"" | grep -o '"executable":"[^"]*"' | cut -d'"' -f4
}

# Two sockets a stream, and the driver's own.
ulimit -n "$(ulimit -Hn)" || true
exec "$(program compare)" \
    --luna "$(program luna)" \
    --bare "$(program bare_proxy)" \
    --bare-glibc "$(program bare_proxy_glibc)" \
    --load "$(program load)" \
    --out target/bench "$@"
