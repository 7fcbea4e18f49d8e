#!/bin/sh
# Instructions of one frame, by callgrind: the difference between a run with many frames and one
# with few. Valgrind shows the program a processor without VAES and AVX-512, so the ciphers' own
# numbers are those of an older one; what stands above them is ours on every processor.
set -e
cd "$(dirname "$0")/.."
cargo build --release -q -p sframe-bridge --example frame_cost
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
program=$target/release/examples/frame_cost

instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 >/dev/null |
        sed -n 's/.*Collected : //p'
}

one_frame() {
    few=$(instructions "$1" "$2" "$3" 640)
    many=$(instructions "$1" "$2" "$3" 6400)
    echo $(((many - few) / 5760))
}

echo "backend size raw-seal protect raw-open unprotect"
for backend in ${BACKENDS:-aws-lc-rs+ring aws-lc-rs rust-crypto}; do
    for size in ${SIZES:-80 1200}; do
        wires=$(one_frame "$backend" wires "$size")
        raw_open=$(($(one_frame "$backend" raw-open "$size") - wires))
        unprotect=$(($(one_frame "$backend" unprotect "$size") - wires))
        echo "$backend $size $(one_frame "$backend" raw-seal "$size")" \
            "$(one_frame "$backend" protect "$size") $raw_open $unprotect"
    done
done
