#!/usr/bin/env bash
# The demo on a fresh Debian or Ubuntu with nothing but a Rust toolchain: builds
# Octroi, then runs a hub on loopback with the example region's policy, simulated
# sensors and the console. Arguments go to `octroi demo` (`--for 20s` stops it by
# itself; `--help` lists them). Ctrl-C drains and says where the data lies.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/packages.sh
. tests/packages.sh

need_cargo
install_packages "${BUILD_PACKAGES[@]}" || say "going on with what is here"
say "building (a first build compiles librdkafka and AWS-LC: some minutes on two cores)"
cargo build --release --locked -p octroi
# Its own path, whatever CARGO_TARGET_DIR says.
target=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
exec "$target/release/octroi" demo "$@"
