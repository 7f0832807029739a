#!/usr/bin/env bash
# Runs the experiments of docs/RELIABILITY.md in full, one after the other: about five hours on two idle cores.
#
#   tests/full.sh                  all of them; a line with result and time for each, outputs in target/full
#   tests/full.sh storm model      these
#
# It refuses a tree with changes, so that the figures are those of a commit. Exits with 1 if one of them failed.
set -uo pipefail
cd "$(dirname "$0")/.."

all="kills storm model loom shuttle mutants recoveries wakeups growth primitives signals syscalls races inputs waiters
     workers corruption soak history fuzz"

experiment() {
    case $1 in
    kills) RINGPIPE_KILLS=full cargo test --release --test deaths kills:: -- --nocapture ;;
    storm) RINGPIPE_STORM_KILLS=1000000 cargo test --release --test deaths storm::kill_storms -- --nocapture ;;
    model) RINGPIPE_MODEL=full cargo test --release --test models model:: -- --nocapture ;;
    loom) RINGPIPE_LOOM=100000 cargo test --test models loom:: -- --nocapture ;;
    shuttle) RINGPIPE_SHUTTLE=100000 cargo test --release --test models shuttle:: -- --nocapture ;;
    mutants) RINGPIPE_MUTANTS=all cargo test --test house mutants:: -- --nocapture ;;
    recoveries) RINGPIPE_RECOVERIES=1000 cargo test --release --test deaths storm::latency:: -- --nocapture ;;
    wakeups) RINGPIPE_WAKEUPS=10000 cargo test --release --test deaths storm::wakeups:: -- --nocapture ;;
    growth) cargo bench --bench growth ;;
    primitives)
        RINGPIPE_PRIMITIVES_KILLS=2000 RINGPIPE_PRIMITIVES_POINTS=500 cargo test --test primitives -- --nocapture ;;
    signals) RINGPIPE_SIGNALS=10000 cargo test --release --test commands signals:: -- --nocapture ;;
    syscalls) RINGPIPE_SYSCALLS=full cargo test --test deaths syscalls:: -- --nocapture ;;
    races) RINGPIPE_RACES=1000 cargo test --test deaths races:: -- --nocapture ;;
    inputs) RINGPIPE_INPUTS=20000 cargo test --test commands inputs:: -- --nocapture ;;
    waiters) RINGPIPE_WAITERS=1000 cargo test --test commands waiting_consumers:: -- --nocapture ;;
    workers) RINGPIPE_WORKER_KILLS=1000 cargo test --release --test commands worker::storm -- --nocapture ;;
    corruption) RINGPIPE_CORRUPTION=10m cargo test --release --test hostile corruption:: -- --nocapture ;;
    soak) RINGPIPE_SOAK=25m cargo test --release --test deaths soak:: -- --nocapture ;;
    history)
        RINGPIPE_HISTORY_EVENTS=100000000 cargo test --release --test commands ringctl_check::a_large -- --nocapture ;;
    fuzz)
        for target in segment preamble framing; do
            cargo +nightly fuzz run "$target" -- -max_total_time=300 -timeout=25 -malloc_limit_mb=256 || return 1
        done ;;
    *)
        echo "no experiment $1; expected some of:" $all >&2
        return 2 ;;
    esac
}

if [ -n "$(git status --porcelain)" ]; then
    echo "the tree has changes: commit them first, so that the figures are those of a commit" >&2
    exit 2
fi
mkdir -p target/full
echo "commit $(git rev-parse --short HEAD), $(nproc) processors"
failed=0
for name in ${*:-$all}; do
    start=$SECONDS
    if (experiment "$name") >"target/full/$name.log" 2>&1 </dev/null; then
        result=passed
    else
        result="FAILED, see target/full/$name.log"
        failed=1
    fi
    printf '%-12s %6d s  %s\n' "$name" $((SECONDS - start)) "$result"
done
exit $failed
