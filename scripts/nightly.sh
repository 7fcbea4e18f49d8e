#!/usr/bin/env bash
# What takes too long for every change: many random runs of each family of faults, and many random histories of the delivery
# service. scripts/nightly.sh [RUNS]      (1,000 runs of each family; some ten minutes on two idle cores)
#
# A run that fails prints its seed; FAULT_SEED=seed and the name of the test repeat that run alone.
set -euo pipefail
cd "$(dirname "$0")/.."

runs="${1:-1000}"
echo "== faults, $runs runs of each family"
FAULT_RUNS="$runs" cargo test --release --workspace --test faults
echo "== random histories of the delivery service, $runs"
PROPTEST_CASES="$runs" cargo test --release --workspace --test delivery random::
