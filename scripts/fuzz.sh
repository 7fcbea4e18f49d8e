#!/usr/bin/env bash
# Runs each fuzz target for a while: scripts/fuzz.sh [SECONDS] [TARGET...]      (60 seconds each, all targets)
#
# Needs cargo-fuzz (`cargo install cargo-fuzz`). Works on the stable compiler, without a sanitizer: the protocol crates
# have no unsafe code, and what is looked for are panics, broken invariants and memory without bounds. New inputs go to
# target/fuzz/corpus, what breaks something to target/fuzz/artifacts; FUZZ_DIR names another folder. With MINIMISE=1 the
# corpus of the sources, which `cargo test --test corpus` plays again, is made anew from both.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-60}"
[ $# -gt 0 ] && shift
mls=(wire tree group_info welcome process public_group snapshot)
bridge=(parse reassembly codecs)
targets=("$@")
[ $# -gt 0 ] || targets=("${mls[@]}" "${bridge[@]}")
work="$(realpath -m "${FUZZ_DIR:-target/fuzz}")"

top="$PWD"
for target in "${targets[@]}"; do
    case " ${bridge[*]} " in
    *" $target "*) cd "$top/sframe-bridge/fuzz" ;;
    *) cd "$top/mls/fuzz" ;;
    esac
    cargo fuzz build -s none "$target"
    new="$work/corpus/$target" kept="corpus/$target"
    mkdir -p "$new" "$work/artifacts/$target" "$kept"
    case "$target" in
    # Bytes that are read; recipes are short, and what they make takes a millisecond.
    wire | tree | parse) limits=(-max_len=2048) ;;
    *) limits=(-max_len=400 -len_control=0) ;;
    esac
    echo "== $target, $seconds s"
    cargo fuzz run -s none "$target" "$new" "$kept" -- "${limits[@]}" -max_total_time="$seconds" \
        -artifact_prefix="$work/artifacts/$target/" -print_final_stats=1 2>&1 |
        grep -E '(stat::number_of_executed_units|panicked|SUMMARY|ERROR|artifact|^Done)' || true
    if compgen -G "$work/artifacts/$target/*" >/dev/null; then
        echo "broken by: $(ls "$work/artifacts/$target")"
        exit 1
    fi
    if [ "${MINIMISE:-0}" = 1 ]; then
        least="$(mktemp -d)"
        cargo fuzz run -s none "$target" "$least" -- -set_cover_merge=1 -use_counters=0 -max_len=4096 "$kept" "$new" 2>/dev/null
        rm -rf "$kept" && mv "$least" "$kept" && chmod 755 "$kept"
        echo "kept $(find "$kept" -type f | wc -l) inputs"
    fi
done
