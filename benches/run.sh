#!/bin/sh
# Builds what is shipped, and runs every bench: W1 against its peers, then the parts by themselves.
# Usage: benches/run.sh [DIR on a real disk] [arguments of w1 …]
set -eu
cd "$(dirname "$0")/.."
dir=${1:-target/bench-data}
[ $# -eq 0 ] || shift
mkdir -p "$dir"

cargo build --release -p octroi -p octroi-benches
bin=${CARGO_TARGET_DIR:-target}/release
mosquitto=$(command -v mosquitto || ls /usr/sbin/mosquitto 2>/dev/null || true)
if [ -z "$mosquitto" ] || ! command -v mosquitto_sub >/dev/null; then
    mosquitto=
    echo "not run: mosquitto (to have it: apt-get install mosquitto mosquitto-clients)"
fi
"$bin/w1" --octroi "$bin/octroi" --dir "$dir" ${mosquitto:+--mosquitto "$mosquitto"} "$@"

example() { # package, name, arguments
    package=$1 name=$2
    shift 2
    if [ -e "crates/$package/examples/$name.rs" ]; then
        printf '\n== %s: %s\n' "$package" "$name"
        cargo run --quiet --release -p "$package" --example "$name" -- "$@"
    else
        echo "not run: $package has no example $name"
    fi
}
printf '\n== connections, handshakes, start\n'
"$bin/edge" --octroi "$bin/octroi" --dir "$dir"
printf '\n== the journal\n'
"$bin/journal" --dir "$dir"
example octroi-policy scan
example octroi-policy decide
example octroi-mqtt parse

printf '\n== instructions of each part, against benches/counts.json\n'
if command -v valgrind >/dev/null; then
    "$bin/counts" --dir "$dir/counts"
else
    echo "not run: counts (to have it: apt-get install valgrind)"
fi
