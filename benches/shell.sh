#!/usr/bin/env bash
# Compares the commands with other programs for the same task, from the shell, and prints Markdown tables.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: benches/shell.sh [OPTIONS]

Builds the commands, makes a file of random bytes and one of short lines, and times the programs that pass them
on: in interleaved rounds, each program once per round. Prints the median and the least of the rounds in seconds,
the rate by the median, and the median of the rounds' ratios. If other programs use the same processors, a command
that sleeps waits for their time slices to end (some ms each): then the least time says more than the median.
Programs that are not installed are left out. The files are removed afterwards.

  --bytes SIZE    bytes of the raw file, with K, M or G [default: 1G]
  --lines COUNT   short lines (the numbers from 1 on) [default: 20000000]
  --rounds N      rounds [default: 5]
  --dir DIR       where the files are made; memory is best [default: /dev/shm]
  --bin DIR       use these commands instead of building
  --commands N    short commands; standing ones get ten times as many items [default: 20000]
  --only WORDS    some of: raw lines start workers streams
  --nats PROGRAM  the nats-server for streams, which are left out without it
  --items N       items for streams; a hundredth of them one at a time [default: 200000]
TEXT
}

bytes=1G lines=20000000 rounds=5 commands=20000 items=200000 dir=/dev/shm bin="" nats="" only="raw lines start workers streams"
while [ $# -gt 0 ]; do
    case $1 in
        --bytes) bytes=$2 ;;
        --lines) lines=$2 ;;
        --rounds) rounds=$2 ;;
        --commands) commands=$2 ;;
        --dir) dir=$2 ;;
        --bin) bin=$2 ;;
        --only) only=$2 ;;
        --nats) nats=$2 ;;
        --items) items=$2 ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift 2 || { usage >&2 && exit 2; }
done
cd "$(dirname "$0")/.."
if [ -z "$bin" ]; then
    # The profile of all published figures.
    cargo build --profile dist --quiet ${nats:+--features nats}
    bin=${CARGO_TARGET_DIR:-target}/dist
fi
P=$bin/producer C=$bin/consumer R=ringpipe-shell-$$
work=$(mktemp -d "$dir/ringpipe-shell.XXXXXX")
trap 'rm -rf "$work"; rm -f "/dev/shm/$R"' EXIT
# On a shared machine other sessions compete for the processors: where it is allowed, this session gets priority.
{ echo -15 > /proc/self/autogroup; } 2> /dev/null || true

# Each function is one measurement: FILE is the input, standard output goes nowhere.
ringpipe() { "$P" --raw "$R" < "$FILE" & "$C" -q --raw "$R" > /dev/null; wait; }
ringpipe_pinned() { "$P" --cpu 0 --raw "$R" < "$FILE" & "$C" --cpu 1 -q --raw "$R" > /dev/null; wait; }
ringpipe_exclusive() { "$P" --raw --exclusive "$R" < "$FILE" & "$C" -q --raw "$R" > /dev/null; wait; }
ringpipe_from_pipe() { cat "$FILE" | "$P" --raw "$R" & "$C" -q --raw "$R" > /dev/null; wait; }
ringpipe_to_pipe() { "$P" --raw "$R" < "$FILE" & "$C" -q --raw "$R" | cat > /dev/null; wait; }
read_alone() { dd if="$FILE" of=/dev/null bs=128K status=none; }
cat_cat() { cat "$FILE" | cat > /dev/null; }
dd_dd() { dd if="$FILE" bs=128K status=none | dd of=/dev/null bs=128K status=none; }
pv_cat() { pv -q < "$FILE" | cat > /dev/null; }
cat_pv() { cat "$FILE" | pv -q > /dev/null; }
pv_alone() { pv -q < "$FILE" > /dev/null; }
mbuffer_alone() { mbuffer -q < "$FILE" > /dev/null 2>&1; }
cat_mbuffer() { cat "$FILE" | mbuffer -q > /dev/null 2>&1; }
socat_pipe() { socat -u -b 131072 OPEN:"$FILE" STDOUT | cat > /dev/null; }

lines_one() { "$P" "$R" < "$FILE" & "$C" -q "$R" > /dev/null; wait; }
lines_wc() { "$P" "$R" < "$FILE" & "$C" -q "$R" | wc -l > /dev/null; wait; }
lines_two() { "$P" "$R" < "$FILE" & "$C" -q "$R" > /dev/null & "$C" -q "$R" > /dev/null & wait; }
blocks_two() { "$P" --block 64K "$R" < "$FILE" & "$C" -q --raw "$R" > /dev/null & "$C" -q --raw "$R" > /dev/null & wait; }
cat_wc() { cat "$FILE" | wc -l > /dev/null; }
parallel_two() { parallel --pipe --roundrobin -j2 cat < "$FILE" > /dev/null; }
split_two() { split -n r/2 --filter='cat > /dev/null' "$FILE"; }
xargs_two() { xargs -P2 /bin/true < "$FILE" > /dev/null; }

has() { command -v "$1" > /dev/null; }

# Times each function once per round: a line "round name seconds" each.
rounds_of() {
    local round name from to
    for ((round = 1; round <= rounds; round++)); do
        for name in "$@"; do
            from=$EPOCHREALTIME
            "$name"
            to=$EPOCHREALTIME
            awk -v r="$round" -v n="$name" -v a="$from" -v b="$to" 'BEGIN { printf "%d %s %.6f\n", r, n, b - a }'
        done
    done
}

# A table of the medians, with the ratio of each time to that of BASE in the same round.
table() { # BASE UNITS UNIT
    awk -v base="$1" -v units="$2" -v unit="$3" '
        function median(list, count,   i, j, t) {
            for (i = 2; i <= count; i++)
                for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
            return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
        }
        { time[$2, $1] = $3; if (!($2 in seen)) { seen[$2]; order[++names] = $2 } if ($1 > last) last = $1 }
        END {
            printf "| | s, median | least | %s | time by that of %s |\n|---|---|---|---|---|\n", unit, base
            for (n = 1; n <= names; n++) {
                for (r = 1; r <= last; r++) { s[r] = time[order[n], r]; q[r] = s[r] / time[base, r] }
                m = median(s, last)
                printf "| %s | %.4f | %.4f | %.2f | %.2f |\n", order[n], m, s[1], units / m, median(q, last)
            }
        }'
}

# A table of rates, from lines "round name seconds items", with their ratio to the rate of BASE in the same round.
rates() { # BASE
    awk -v base="$1" '
        { rate[$2, $1] = $4 / $3; if (!($2 in seen)) { seen[$2]; order[++names] = $2 } if ($1 > last) last = $1 }
        function sort(list, count,   i, j, t) {
            for (i = 2; i <= count; i++)
                for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
        }
        function median(list, count) { return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2 }
        END {
            printf "| | items/s, median | by %s: median | least | most |\n|---|---|---|---|---|\n", base
            for (n = 1; n <= names; n++) {
                for (r = 1; r <= last; r++) { s[r] = rate[order[n], r]; q[r] = s[r] / rate[base, r] }
                sort(s, last); sort(q, last)
                printf "| %s | %.0f | %.4g | %.4g | %.4g |\n", order[n], median(s, last), median(q, last), q[1], q[last]
            }
        }'
}

if [[ $only = *raw* ]]; then
    FILE=$work/bytes
    head -c "$bytes" /dev/urandom > "$FILE"
    rows=(ringpipe ringpipe_pinned ringpipe_exclusive ringpipe_from_pipe ringpipe_to_pipe read_alone cat_cat dd_dd)
    has pv && rows+=(pv_cat cat_pv pv_alone)
    has mbuffer && rows+=(mbuffer_alone cat_mbuffer)
    has socat && rows+=(socat_pipe)
    echo "## $bytes of bytes, from a file in memory to /dev/null; $rounds rounds"
    echo
    rounds_of "${rows[@]}" | table ringpipe "$(stat -c %s "$FILE" | awk '{ print $1 / 1e9 }')" "GB/s"
    echo
    rm "$FILE"
fi

if [[ $only = *lines* ]]; then
    FILE=$work/lines
    seq 1 "$lines" > "$FILE"
    rows=(lines_one lines_wc lines_two blocks_two cat_wc split_two)
    has parallel && rows+=(parallel_two)
    has xargs && rows+=(xargs_two)
    echo "## $lines lines, from a file in memory; $rounds rounds"
    echo
    rounds_of "${rows[@]}" | table lines_one "$(awk -v n="$lines" 'BEGIN { print n / 1e6 }')" "million lines/s"
    echo
    rm "$FILE"
fi

if [[ $only = *start* ]]; then
    # The producer makes a ring of this name each time, and the consumer removes it.
    start_true() { /bin/true; }
    start_cat() { echo x | cat > /dev/null; }
    start_producer() { "$P" "$R" --item x; }
    start_consumer() { "$C" -q -n 1 "$R" > /dev/null; }
    echo "## From start to end, an item; $((rounds * 10)) rounds"
    echo
    rounds=$((rounds * 10))
    rounds_of start_true start_cat start_producer start_consumer | table start_true 1 "per second"
fi

if [[ $only = *workers* ]]; then
    FEW=$work/few MANY=$work/many
    # Not awk: it may be mawk, which waits for more input than one item.
    ok='s/.*/ok/'
    # The producer makes the ring; the worker drains it. Two commands at a time everywhere.
    workers_command() { "$P" -q "$R" < "$FEW" & "$C" -q -j 2 "$R" -- true {}; wait; }
    standing() { "$P" -q "$R" < "$MANY" & "$C" -q -j 2 --coprocess "$@" "$R" -- sed -u "$ok"; wait; }
    workers_standing() { standing; }
    workers_standing_ahead() { standing --prefetch 64; }
    xargs_command() { xargs -P 2 -n 1 true < "$FEW"; }
    parallel_command() { parallel -j 2 true < "$FEW"; }
    rush_command() { rush -j 2 true < "$FEW"; }
    seq 1 "$commands" > "$FEW"
    # A standing command would be done with FEW in some hundredths of a second.
    seq 1 "$((commands * 10))" > "$MANY"
    rows=(xargs_command workers_command workers_standing workers_standing_ahead)
    has parallel && rows+=(parallel_command)
    has rush && rows+=(rush_command)
    echo "## $commands short commands, or $((commands * 10)) items for standing ones, two at a time; $rounds rounds"
    echo
    rounds_of "${rows[@]}" | awk -v few="$commands" '{ print $0, ($2 ~ /standing/ ? 10 * few : few) }' | rates xargs_command
    rm "$FEW" "$MANY"
fi

# A ring beside a stream of a server on this machine: many items in a call, one at a time, and workers. A producer with a
# progress file sends each item alone, and continues when it is stored.
if [[ $only = *streams* && -n $nats ]]; then
    port=$(( 20000 + RANDOM % 20000 ))
    "$nats" -a 127.0.0.1 -p "$port" -js -sd "$work/store" > "$work/server.log" 2>&1 &
    server=$!
    trap 'kill $server; rm -rf "$work"; rm -f "/dev/shm/$R"' EXIT
    S=nats://127.0.0.1:$port/shell
    until "$bin/ringctl" list "nats://127.0.0.1:$port" > /dev/null 2>&1; do sleep 0.05; done
    FEW=$work/few MANY=$work/many
    seq 1 "$((items / 100))" > "$FEW"
    seq 1 "$items" > "$MANY"
    # A stream stays when its processes have left; the next producer continues it.
    lines() { "$P" -q "$1" < "$MANY" & "$C" -q "$1" > /dev/null; wait %%; }
    alone() { rm -f "$work/sent"; "$P" -q --progress-file "$work/sent" "$1" "$FEW" & "$C" -q "$1" > /dev/null; wait %%; }
    work() { "$P" -q "$1" < "$FEW" & "$C" -q -j 2 "$1" -- true {}; wait %%; }
    ring_lines() { lines "$R"; }
    stream_lines() { lines "$S"; }
    ring_alone() { alone "$R"; }
    stream_alone() { alone "$S"; }
    ring_workers() { work "$R"; }
    stream_workers() { work "$S"; }
    echo "## A ring beside a stream: $items lines, $((items / 100)) one at a time, as many commands, two at a time; $rounds rounds; $("$nats" --version)"
    echo
    counted() { awk -v few="$((items / 100))" -v many="$items" '{ print $0, ($2 ~ /lines/ ? many : few) }'; }
    for kind in lines alone workers; do
        rounds_of "ring_$kind" "stream_$kind" | counted | rates "ring_$kind"
        echo
    done
fi
