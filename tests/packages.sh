# shellcheck shell=bash
# Sourced by tests/run.sh and deploy/demo.sh: what is missing on this machine,
# and what was done about it. Nothing is started, nothing is removed.

say() { printf '%s\n' "$*" >&2; }

# install_packages PACKAGE…: what of these is not installed yet, by apt. It says
# what it installed, or why it could not; it fails only where apt does.
install_packages() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian or Ubuntu: please see to it that you have the equivalents of: $*"
        return 1
    fi
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "missing: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            say "cannot install them without root; run: sudo apt-get install --no-install-recommends ${missing[*]}"
            return 1
        fi
        as_root=(sudo -n)
    fi
    # Services that packages bring (mosquitto, prometheus) are not started: the
    # tests run their own on loopback. An existing policy-rc.d is left alone.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null && made=1
        "${as_root[@]}" chmod 755 "$policy"
    fi
    local done=0 known=()
    "${as_root[@]}" apt-get update -qq >&2 || say "apt-get update failed: trying with the lists at hand"
    for package in "${missing[@]}"; do # one unknown name would fail them all
        if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); else
            say "apt does not know $package"
            done=1
        fi
    done
    missing=("${known[@]}")
    if [ ${#missing[@]} -gt 0 ]; then
        if "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2; then
            say "installed by apt: ${missing[*]}"
        else
            say "apt could not install all of: ${missing[*]}"
            done=1
        fi
    fi
    [ -z "$made" ] || "${as_root[@]}" rm -f "$policy"
    return "$done"
}

# What the C parts of the build need: librdkafka (configure, make, OpenSSL,
# zlib), AWS-LC and jemalloc (a C compiler, make). No cmake, no libclang.
BUILD_PACKAGES=(build-essential pkg-config libssl-dev zlib1g-dev)

need_cargo() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    if ! command -v cargo >/dev/null; then
        say "no Rust toolchain: install Rust 1.95 or later (https://rustup.rs), then run this again"
        exit 69
    fi
}
