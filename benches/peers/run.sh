#!/bin/bash
# Installs from the package registries what the peers need, and measures them beside the hub.
# Usage: benches/peers/run.sh [DIR on a real disk] [arguments of peers …]
# What cannot be installed is not run, and listed with the reason.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/packages.sh
. tests/packages.sh
dir=${1:-target/bench-data}
[ $# -eq 0 ] || shift
peers=target/peers
mkdir -p "$dir" "$peers"

need_cargo
PATH=$PATH:/usr/sbin # where Debian has mosquitto
wanted=("${BUILD_PACKAGES[@]}" python3-venv)
for need in mosquitto=mosquitto mosquitto_sub=mosquitto-clients kcat=kcat java=default-jre-headless mvn=maven; do
    command -v "${need%=*}" >/dev/null || wanted+=("${need#*=}")
done
install_packages "${wanted[@]}" || say "going on without"

# Apache Kafka's jars, as the tests fetch them.
kafka=${OCTROI_TEST_CACHE:-target/test-cache}/kafka-4.3.1
if [ ! -d "$kafka" ]; then
    mkdir -p "$(dirname "$kafka")"
    partial=$(mktemp -d "$kafka.partial-XXXXXX")
    if mvn --batch-mode --quiet -f tests/kafka/pom.xml dependency:copy-dependencies \
        -DincludeScope=runtime "-DoutputDirectory=$(realpath "$partial")"; then
        mv "$partial" "$kafka"
    else
        rm -rf "$partial"
        say "no Apache Kafka: Maven could not fetch it"
    fi
fi

# The pipelines: what is there is taken as it is.
if [ ! -x "$peers/benthos" ]; then
    if command -v go >/dev/null; then
        say "building benthos: some minutes"
        (cd benches/peers/benthos && go build -trimpath -o "../../../$peers/benthos" .) || say "no benthos"
    else
        say "no benthos: no Go toolchain of 1.26 or later"
    fi
fi
if [ ! -x "$peers/python/bin/python" ]; then
    python3 -m venv "$peers/python.partial" &&
        "$peers/python.partial/bin/pip" install --quiet --disable-pip-version-check mq-bridge==1.2.0 &&
        mv "$peers/python.partial" "$peers/python" || say "no mq-bridge"
fi

cargo build --release -p octroi -p octroi-benches
exec "${CARGO_TARGET_DIR:-target}/release/peers" --dir "$dir" \
    --benthos "$peers/benthos" --python "$peers/python/bin/python" \
    --kafka-libs "$kafka" --json "$peers/peers.json" "$@"
