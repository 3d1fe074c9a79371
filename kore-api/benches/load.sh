#!/usr/bin/env bash
# Load on the standalone control plane from outside, in its default configuration: TLS, authentication, authorisation, admission,
# managed fields, fsync. Needs wrk, curl and python3.
#
#   kore-api/benches/load.sh [ROUNDS] [SECONDS]        5 rounds, 3 seconds of each load
#
# Prints the median of the rounds: creates of a 700-byte ConfigMap at 1, 16 and 64 connections, reads at 64, one list of 25,320
# objects, resident memory afterwards, time until ready; and as proof what was answered, what is there, flushes of the device a
# commit, and who used the processor.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-3}
for tool in wrk curl python3; do
  command -v "$tool" > /dev/null || { echo "needs $tool"; exit 1; }
done
cargo build --quiet --release --bin standalone
exec python3 kore-api/benches/load.py "${CARGO_TARGET_DIR:-target}/release/standalone" "$rounds" "$seconds"
