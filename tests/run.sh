#!/usr/bin/env bash
# The whole test suite, on a clean clone and a Debian or Ubuntu with nothing but
# a Rust toolchain: names what is missing, installs what it may, says what it
# did; then format, lints, unit tests, the release binary, the integration suite
# against it (real Apache Kafka and mosquitto's clients included), and every
# policy in policies/. What cannot be had here is listed as not run.
#
#   OCTROI_LONG=1        the long forms (an outage of 60 s, 100 kills, 1,000 under fire, brokers that fall for ten
#                        minutes, a black hole of five, 10 GiB past a target that is down), and the planted faults
#   OCTROI_KILLS         kills at fail points and at random moments (default 200)
#   OCTROI_FUZZ_SECONDS  how long each fuzz target runs (default 10)
#   OCTROI_TEST_CACHE=D  where Kafka's jars are kept (default target/test-cache)
#
# Ends non-zero if anything failed. Network: package registries only.
set -uo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/packages.sh
. tests/packages.sh

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto} RUST_BACKTRACE=${RUST_BACKTRACE:-0}
# Thousands of sockets, where the machine allows it; a test that has too few says so.
ulimit -Sn "$(ulimit -Hn)" 2>/dev/null || true
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export OCTROI_NOT_RUN=$logs/not-run
: >"$OCTROI_NOT_RUN"
passed=0 failed=0 ignored=0
times=()

# stage NAME COMMAND…: runs it, keeps its time, and counts what cargo's test
# harness reported; a stage that fails without a failed test is one failure.
stage() {
    local name=$1 start=$SECONDS code=0 log=$logs/log p f i
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    [ "$code" -eq 0 ] || failures "$name" "$log" >>"$logs/failures"
    read -r p f i < <(awk '/^test result: /{ for (n = 2; n <= NF; n++) {
        if ($n ~ /^passed/) p += $(n-1); if ($n ~ /^failed/) f += $(n-1); if ($n ~ /^ignored/) i += $(n-1) } }
        END { print p+0, f+0, i+0 }' "$log")
    passed=$((passed + p)) ignored=$((ignored + i))
    if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    failed=$((failed + f))
    times+=("$(printf '%5d s  %s%s' $((SECONDS - start)) "$name" "$([ "$code" -eq 0 ] || echo '  FAILED')")")
    return "$code"
}

# failures STAGE LOG: the first lines of what each failed test printed; of a stage without tests, the end.
failures() {
    printf -- '-- %s\n' "$1"
    awk '/^---- .* stdout ----$/ { left = 40; found = 1 } left-- > 0 { print substr($0, 1, 1000) }
        END { exit !found }' "$2" || tail -n 40 "$2"
}

# needs COMMAND PACKAGE: the package joins the list unless the command is there.
wanted=()
needs() {
    PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1" >/dev/null || wanted+=("$2")
}

prepare() {
    install_packages "${BUILD_PACKAGES[@]}" || say "the build may fail for it"
    needs mosquitto mosquitto
    needs mosquitto_pub mosquitto-clients
    needs kcat kcat
    needs promtool prometheus
    needs java default-jre-headless
    needs mvn maven
    needs systemd-analyze systemd
    needs setpriv util-linux
    needs node nodejs
    needs npm npm
    python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
    [ ${#wanted[@]} -eq 0 ] || install_packages "${wanted[@]}" || say "tests that need what is missing are listed below"
    say "$(rustc --version); $(nproc) processors; $(uname -sr)"
}

# Every policy of policies/: a directory, or a file of its own. What is only there to be included has no
# `[policy]` and is checked by who includes it. Its lines are those of cargo's harness, so that `stage` counts
# them alike.
policies() {
    local code=0 path verb
    while read -r path; do
        for verb in check test "fmt --check"; do
            # shellcheck disable=SC2086  # a verb may carry a flag
            if "$OCTROI_BIN" policy $verb "$path" >"$logs/policy" 2>&1; then
                echo "test result: ok. 1 passed; 0 failed (octroi policy $verb $path)"
            else
                cat "$logs/policy"
                echo "test result: FAILED. 0 passed; 1 failed (octroi policy $verb $path)"
                code=1
            fi
        done
    done < <(grep -rl --include='*.toml' '^\[policy\]' policies |
        sed -E 's|^(policies/.+)/[^/]+$|\1|' | sort -u)
    return "$code"
}

# Each target for a few seconds, from its seeds and what earlier runs kept. Without a sanitizer: our crates
# forbid unsafe code, so that a panic, a hang or a disagreement is what there is to find. The build has a
# bound of its own, which a clean clone keeps on two quiet processors.
fuzz() {
    local code=0 target seeds result seconds=${OCTROI_FUZZ_BUILD_SECONDS:-420}
    if ! timeout "$seconds" cargo +nightly fuzz build --sanitizer none; then
        echo "fuzz targets: not built within $seconds s (OCTROI_FUZZ_BUILD_SECONDS)" >>"$OCTROI_NOT_RUN"
        return 0
    fi
    for target in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs) seeds=() result="ok. 1 passed; 0 failed"
        mkdir -p "fuzz/corpus/$target"
        [ ! -d "fuzz/seeds/$target" ] || seeds=("fuzz/seeds/$target")
        [ "$target" != payload ] || seeds=(crates/octroi-policy/tests/fixtures)
        if ! cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "${seeds[@]}" -- \
            -max_total_time="${OCTROI_FUZZ_SECONDS:-10}" -len_control=0 -verbosity=0 -print_final_stats=1; then
            code=1 result="FAILED. 0 passed; 1 failed"
        fi
        echo "test result: $result (fuzz $target)"
    done
    return "$code"
}

# The hub that ends itself where it is told to, away from where cargo puts the next one.
fire_binary() {
    cargo build --locked -p octroi --features fail-points && mkdir -p "$target/fire" &&
        cp "$target/debug/octroi" "$target/fire/octroi"
}

need_cargo
stage "what this machine has" prepare
stage "format" cargo fmt --all --check
stage "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
stage "unit tests" cargo test --workspace --exclude octroi-tests --locked --no-fail-fast
if stage "release binary" cargo build --release --locked -p octroi; then
    target=$(cargo metadata --format-version 1 --no-deps --locked |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    export OCTROI_BIN=$target/release/octroi
    stage "binary with fail points" fire_binary && export OCTROI_FIRE_BIN=$target/fire/octroi
    stage "integration" cargo test -p octroi-tests --locked --no-fail-fast
    stage "policies" policies
else
    echo "every integration test: the binary was not built" >>"$OCTROI_NOT_RUN"
fi
if cargo +nightly fuzz --version >/dev/null 2>&1; then
    stage "fuzz" fuzz
else
    echo "fuzz targets: they need a nightly toolchain and cargo-fuzz (rustup toolchain add nightly; cargo install cargo-fuzz)" >>"$OCTROI_NOT_RUN"
fi
if [ -n "${OCTROI_LONG:-}" ]; then
    stage "planted faults" tests/planted-faults.sh
fi

if [ -s "$logs/failures" ]; then
    printf '\n== what failed, again\n'
    cat "$logs/failures"
fi
printf '\n== times\n'
printf '%s\n' "${times[@]}"
printf '\n== not run\n'
if [ -s "$OCTROI_NOT_RUN" ]; then sort -u "$OCTROI_NOT_RUN"; else echo "nothing: everything was run"; fi
[ -n "${OCTROI_LONG:-}" ] || echo "(short forms: the outage lasts 10 s and not 60, there are 10 kills and not 100, 200 under fire and not 1,000, three brokers fall and not for ten minutes, the black hole lasts 20 s and not five minutes and its ratios are printed and not judged, 94 MiB and not 10 GiB pass a target that is down, no faults are planted; OCTROI_LONG=1 runs the long ones)"

# A test that could not run returned early, and cargo counted it as passed.
early=$(sort -u "$OCTROI_NOT_RUN" | grep -vc -e '^every integration test' -e '^fuzz targets')
skipped=$(sort -u "$OCTROI_NOT_RUN" | wc -l)
printf '\n%d passed, %d failed, %d skipped\n' $((passed - early)) "$failed" $((skipped + ignored))
[ "$failed" -eq 0 ]
