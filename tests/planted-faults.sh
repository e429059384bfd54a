#!/usr/bin/env bash
# Would the tests notice? In a copy of the policy's crate, one fault at a time is planted, by exact text;
# then the crate's tests run, and at least one must fail. Prints which did. A fault whose text is no longer
# there is an error: this list follows the code.
#
#   tests/planted-faults.sh [FAULT…]   all faults, or those whose name contains a word given
#
# Not part of an ordinary run: each fault is a build and a run of the tests. OCTROI_LONG=1 tests/run.sh runs it.
set -uo pipefail
cd "$(dirname "$0")/.."

copy=${CARGO_TARGET_DIR:-target}/planted
mkdir -p "$copy/src" && copy=$(cd "$copy" && pwd)
rm -rf "${copy:?}/src"/*
cp -r Cargo.toml Cargo.lock clippy.toml policies "$copy/src/"
mkdir -p "$copy/src/crates"
cp -r crates/octroi-policy "$copy/src/crates/"
# The copy is a workspace of one crate.
sed -i -e 's|^members = .*|members = ["crates/octroi-policy"]|' -e '/^default-members/d' -e '/^exclude/d' "$copy/src/Cargo.toml"
sed -i -E '/^octroi(-journal|-mqtt)? = \{ path/d' "$copy/src/Cargo.toml"

cd "$copy/src" || exit 1
export CARGO_TARGET_DIR=$copy/target CARGO_PROFILE_DEV_DEBUG=false RUST_BACKTRACE=0 CARGO_TERM_COLOR=never
tried=0 missed=0 words=("$@")

# The unit tests, and if they notice nothing, the example's and the mutators.
watch() {
    local log
    log=$(cargo test -p octroi-policy --lib --no-fail-fast 2>&1) || { echo "$log"; return; }
    cargo test -p octroi-policy --test example --test mutators --no-fail-fast 2>&1
}

# fault NAME FILE OLD NEW: plants, tests, takes away again.
fault() {
    local name=$1 file=crates/octroi-policy/src/$2 old=$3 new=$4 log caught word wanted=1
    if [ ${#words[@]} -gt 0 ]; then
        wanted=0
        for word in "${words[@]}"; do [[ $name == *"$word"* ]] && wanted=1; done
    fi
    [ "$wanted" -eq 1 ] || return 0
    tried=$((tried + 1))
    cp "$file" "$copy/kept"
    if ! OLD=$old NEW=$new perl -0pi -e '$n = s/\Q$ENV{OLD}\E/$ENV{NEW}/; END { exit !$n }' "$file"; then
        printf 'GONE    %s: %s no longer holds: %s\n' "$name" "$file" "$old"
        missed=$((missed + 1))
        return 0
    fi
    log=$(watch)
    cp "$copy/kept" "$file"
    caught=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' <<<"$log" | sort -u)
    if grep -q '^error\(\[E[0-9]\|: could not compile\)' <<<"$log"; then
        printf 'BROKEN  %s: the fault does not compile\n' "$name"
        grep -m3 -A4 '^error' <<<"$log"
        missed=$((missed + 1))
    elif [ -z "$caught" ]; then
        printf 'MISSED  %s\n' "$name"
        missed=$((missed + 1))
    else
        printf 'caught  %s\n' "$name"
        sed 's/^/          by /' <<<"$caught"
    fi
}

fault "the lower level wins a join" label.rs \
    'level: self.level.max(other.level), markings' 'level: self.level.min(other.level), markings'
fault "the first rule wins" engine/memo.rs \
    'self.label = Some(self.label.unwrap_or_default().join(label))' 'self.label = Some(self.label.unwrap_or(label))'
fault "no perimeter guard" engine.rs \
    'if !gate.perimeter.contains(commune) {' 'if false && !gate.perimeter.contains(commune) {'
fault "no topic guard" engine.rs \
    'if topic.allowed { Ok(gate) }' 'if topic.allowed || true { Ok(gate) }'
fault "dates do not count" place.rs \
    '(Self::Until(until), Some(date)) => date <= until' '(Self::Until(_), Some(_)) => true'
fault "a lapse moves the place" engine.rs \
    'obstacle(label, way, None, &self.lifted)' 'obstacle(label, way, self.boundaries.last().copied(), &self.lifted)'
fault "a copy has no highest level" place.rs \
    'if out.level > self.max_level {' 'if false && out.level > self.max_level {'
fault "field_absent always holds" engine/condition.rs \
    'Op::None(span) => !span.of(&self.pool).iter().any(|key| view.sight.seen.contains(*key))' 'Op::None(_) => true'
fault "the last of two equal keys is taken" json.rs \
    'if same_hash(one, other) && key(one) == key(other) {' 'if false && same_hash(one, other) && key(one) == key(other) {'
fault "names compare as they are spelt" names.rs \
    'if is_own_key(name.as_bytes()) {' 'if true || is_own_key(name.as_bytes()) {'
fault "a closed schema lets unlisted leaves pass" engine/condition.rs \
    'listed.is_some_and(|listed| is_unknown' 'listed.is_none_or(|listed| is_unknown'
fault "a declaration lowers" engine/memo.rs \
    'self.raised = self.raised.join(Label { level, markings })' 'self.label = Some(Label { level, markings })'
fault "a floor is forgotten" engine.rs \
    'Label { level: gate.floor, markings' 'Label { level: Level::Open, markings'
fault "one duty is enough" place.rs \
    'self.duties.iter().find(fails)' 'self.duties.iter().take(1).find(fails)'
fault "a derogation without end" place.rs \
    '&& on.is_none_or(|date| date <= lifted.expires)' ''
fault "a derogation lifts an obligation" place.rs \
    'requirement.legal_status != LegalStatus::Obligation' 'requirement.legal_status != LegalStatus::Obligation || true'
fault "a requirement to come decides the place" place.rs \
    'in_choice: requirement.from' 'in_choice: true || requirement.from'
fault "a transform applies to any marking" place.rs \
    'self.only.is_some_and(|only| !label.markings.is_subset(only))' 'false'
fault "a transform lowers without an aggregate" place.rs \
    'may_lower: aggregates && transform' 'may_lower: transform'
fault "two spaces are one" engine.rs \
    'alone.then_some((*space, target))' 'Some((*space, target)).filter(|_| alone || true)'
fault "the memory outlives its source" engine/memo.rs \
    'owner == policy && *of == source)' 'owner == policy)'
fault "the memory forgets the day" engine.rs \
    'if (way.label, way.today) == (label, today) => way' 'if way.label == label => way'
fault "an expired source goes on" engine.rs \
    'if gate.expires.is_some_and(|last| input.received.date() > last) {' 'if false {'

printf '\n%d faults planted, %d not caught\n' "$tried" "$missed"
[ "$missed" -eq 0 ]
