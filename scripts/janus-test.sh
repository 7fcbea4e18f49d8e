#!/usr/bin/env bash
# A call of webrtc-rs clients through a foreign SFU: Debian's Janus, started in a network namespace of its own (Janus ignores
# loopback, so the namespace has a pair of virtual interfaces). Where Janus cannot be installed or the environment forbids
# namespaces, this says so. Prints one closing line.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "janus: not tested, as $*"; exit 0; }

if [ "${1:-}" != inside ]; then
    install() {
        [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
        (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@") >/dev/null 2>&1 || true
    }
    command -v janus >/dev/null 2>&1 || install janus
    command -v janus >/dev/null 2>&1 || skip "janus is missing"
    command -v ip >/dev/null 2>&1 || install iproute2
    unshare --map-root-user --net ip link add f0 type veth peer name f1 2>/dev/null ||
        skip "this environment forbids network namespaces"
    cargo test --release --workspace --test janus --no-run --quiet
    exec unshare --map-root-user --net "$0" inside
fi

folder=$(mktemp -d)
janus=
finish() {
    [ -z "$janus" ] || kill "$janus" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
ip link set lo up
ip link add framelock0 type veth peer name framelock1
ip address add 10.99.0.1/24 dev framelock0
ip address add 10.99.0.2/24 dev framelock1
ip link set framelock0 up
ip link set framelock1 up

modules=$(dirname "$(dpkg -L janus | grep 'libjanus_videoroom.so$')")
cat > "$folder/janus.jcfg" <<CONFIG
general: { plugins_folder = "$modules", transports_folder = "${modules%plugins}transports", debug_level = 4, server_name = "test" }
nat: { ice_enforce_list = "framelock0,framelock1", full_trickle = false }
media: { ipv6 = false }
plugins: { disable = "$(cd "$modules" && ls | grep '\.so$' | grep -v videoroom | paste -sd,)" }
transports: { disable = "$(cd "${modules%plugins}transports" && ls | grep '\.so$' | grep -v websockets | paste -sd,)" }
CONFIG
printf 'general: { json = "compact", ws = true, ws_port = 8188, ws_ip = "127.0.0.1", wss = false }\n' > "$folder/janus.transport.websockets.jcfg"
printf 'general: {}\n' > "$folder/janus.plugin.videoroom.jcfg"
janus --configs-folder="$folder" >"$folder/janus.log" 2>&1 &
janus=$!
for _ in $(seq 100); do
    (exec 3<>/dev/tcp/127.0.0.1/8188) 2>/dev/null && break
    kill -0 "$janus" 2>/dev/null || { tail -n 20 "$folder/janus.log"; skip "janus does not start here"; }
    sleep 0.1
done
output=$folder/output
if ! FRAMELOCK_JANUS=ws://127.0.0.1:8188 FRAMELOCK_BIND=10.99.0.1 \
    cargo test --release --workspace --offline --test janus --quiet -- --nocapture >"$output" 2>&1; then
    cat "$output"
    tail -n 40 "$folder/janus.log"
    exit 1
fi
grep '^janus: ' "$output"
