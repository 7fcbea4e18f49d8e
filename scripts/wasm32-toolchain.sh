#!/usr/bin/env bash
# wasm32-toolchain.sh FOLDER: a private Rust toolchain for wasm32-unknown-unknown, for machines where rustup cannot add the
# target. Takes the compiler and the sources of its standard library from Debian's packages, builds the library for the
# target, and leaves FOLDER/rustc and FOLDER/cargo-clippy. Needs apt-get's package lists and rustup's rust-lld; no root, nothing outside FOLDER.
set -euo pipefail
folder=$(realpath -m "${1:?the folder}")
[ -e "$folder/complete" ] && [ -e "$folder/cargo-clippy" ] && exit 0

mkdir -p "$folder/packages" "$folder/root" "$folder/bin"
version=$(apt-cache depends libstd-rust-web-dev | sed -n 's/.*Depends: libstd-rust-web-\([0-9.]*\)$/\1/p' | head -1)
llvm=$(apt-cache depends "libstd-rust-web-$version" | sed -n 's/.*Depends: \(libllvm[0-9]*\)$/\1/p' | head -1)
[ -n "$version" ] && [ -n "$llvm" ] || { echo "wasm32: Debian's rustc-web is not in the package lists (apt-get update?)" >&2; exit 1; }
(cd "$folder/packages" && apt-get download -q rustc-web libstd-rust-web-dev "libstd-rust-web-$version" "$llvm" rust-web-clippy rust-web-src >/dev/null)
for package in "$folder"/packages/*.deb; do
    case $package in
    */rust-web-src*) # the library's sources only
        dpkg-deb --fsys-tarfile "$package" |
            tar -x -C "$folder/root" --wildcards './usr/src/rustc-*/library' ./usr/lib/rustlib/src ;;
    *) dpkg -x "$package" "$folder/root" ;;
    esac
done
rm -rf "$folder/packages"

# The compiler finds its libraries in the private tree, and rustup's linker by PATH.
linker=$(rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld
ln -sf "$linker" "$folder/bin/rust-lld"
for program in rustc cargo-clippy; do
    cat > "$folder/$program" <<WRAPPER
#!/bin/sh
export PATH="$folder/bin:\$PATH"
export LD_LIBRARY_PATH="$folder/root/usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$folder/root/usr/bin/$program" "\$@"
WRAPPER
    chmod +x "$folder/$program"
done

# An empty crate brings the library to be built; the results are installed as those of an ordinary target.
mkdir -p "$folder/library/src"
: > "$folder/library/src/lib.rs"
cat > "$folder/library/Cargo.toml" <<'MANIFEST'
[package]
name = "library"
version = "0.0.0"
edition = "2021"
[workspace]
[profile.release]
panic = "abort"
debug = false
MANIFEST
# The sources are of a later Rust than the project's, and so want a later cargo where there is one.
cargo=(cargo)
rustup run stable cargo --version >/dev/null 2>&1 && cargo=(rustup run stable cargo)
(cd "$folder/library" && RUSTC="$folder/rustc" RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
    CARGO_TARGET_DIR="$folder/library/target" \
    "${cargo[@]}" build --release --quiet -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown)
installed=$folder/root/usr/lib/rustlib/wasm32-unknown-unknown/lib
mkdir -p "$installed"
cp "$folder"/library/target/wasm32-unknown-unknown/release/deps/lib*.rlib "$installed/"
rm -rf "$installed"/liblibrary* "$folder/library"
touch "$folder/complete"
