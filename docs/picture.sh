#!/usr/bin/env bash
# Makes docs/picture.svg, the picture of README.md: a worker is killed by kill -9, and its item goes to another worker.
#
# Each line of the picture is a command that this script runs, or what that command printed.
set -euo pipefail
export LC_ALL=C.UTF-8 COLUMNS=92

usage() {
    cat <<'TEXT'
Usage: docs/picture.sh [--bin DIR] [--ring NAME] [--out FILE]

  --bin DIR     use the three programs in DIR instead of building them
  --ring NAME   ring to make; it must not exist [default: jobs]
  --out FILE    [default: docs/picture.svg]
TEXT
}

bin="" ring=jobs out=""
while [ $# -gt 0 ]; do
    case $1 in
        --bin) bin=$2 ;;
        --ring) ring=$2 ;;
        --out) out=$2 ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift 2 || { usage >&2 && exit 2; }
done
here=$(cd "$(dirname "$0")" && pwd)
out=${out:-$here/picture.svg}
if [ -z "$bin" ]; then
    cargo build --release --quiet --manifest-path "$here/../Cargo.toml"
    bin=${CARGO_TARGET_DIR:-$here/../target}/release
fi
PATH=$(cd "$bin" && pwd):$PATH

work=$(mktemp -d)
ringctl create "$ring" --capacity 4 > /dev/null
started=()
finish() {
    ringctl rm "$ring" > /dev/null 2>&1 || true
    for pid in "${started[@]}"; do kill "$pid" 2> /dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT

screen=$work/screen events=$work/events
show() { printf '\e[0;1m$ \e[0m%s\e[0;90m%s\e[0m\n' "$1" "${2:-}" >> "$screen"; }
# Waits until a command succeeds: 30 seconds at most.
until_so() {
    for _ in $(seq 3000); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.01
    done
    echo "picture.sh: waited too long for: $*" >&2
    exit 1
}
consumers() { ringctl inspect "$ring" --json | grep -o '"role":"consumer"' | wc -l; }

ringctl watch "$ring" --events --interval 1ms > "$events" &
started+=($!)
show "ringctl create jobs --capacity 4"
show "producer jobs --item 'resize 1.png' --item 'resize 2.png' --item 'resize 3.png'"
producer "$ring" --item 'resize 1.png' --item 'resize 2.png' --item 'resize 3.png'

# `watch` does not report events from before its first line.
until_so grep -q '^ring ' "$events"

# The reader takes nothing, so the consumer holds the first item.
sleep 1000 < <(exec consumer -q "$ring") &
reader=$!
started+=("$reader")
until_so grep -q 'takes item 0' "$events"
worker=$(sed -n 's/^consumer \([0-9]*\) takes item 0 .*/\1/p' "$events")
show "consumer jobs | sleep 1000 &" "          # a worker that is stuck at its first item: process $worker"
show "ringctl watch jobs --once"
# Only the upper part, with the slots.
ringctl watch "$ring" --once --color always | sed -n '1,/next in  /p' | sed "s/$ring/jobs/" >> "$screen"

consumer -q --follow "$ring" > "$work/output" &
other=$!
started+=("$other")
until_so grep -q '^resize 3.png$' "$work/output"
show "consumer jobs --follow &" "               # another worker, process $other"
kill -9 "$worker"
show "kill -9 $worker"
until_so grep -q 'died with it' "$events"
show "ringctl watch jobs --events" "             # in another shell, since the beginning"
sed -n "/consumer $worker died/,/died with it/p" "$events" >> "$screen"
grep -q '^resize 1.png$' "$work/output"

# The screen as an SVG: a text element for each piece of one colour, stretched to whole columns in any font.
width=8.4 line=18
colour() {
    case $1 in
        32) echo '#7ee787' ;; 33) echo '#e3b341' ;; 36) echo '#56d4dd' ;; 31) echo '#ff7b72' ;;
        35) echo '#d2a8ff' ;; 34) echo '#79c0ff' ;; 90) echo '#8b949e' ;; *) echo '#e6edf3' ;;
    esac
}
columns=$(sed 's/\x1b\[[0-9;]*m//g' "$screen" | wc -L)
rows=$(wc -l < "$screen")
w=$(awk "BEGIN { print int($columns * $width + 32) }") h=$((rows * line + 52))
{
    printf '<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s">\n' "$w" "$h" "$w" "$h"
    echo "<title>A worker is killed by kill -9, and its item goes to another worker</title>"
    echo '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>'
    for dot in '20 #ff5f57' '38 #febc2e' '56 #28c840'; do
        printf '<circle cx="%s" cy="18" r="5" fill="%s"/>\n' ${dot}
    done
    echo '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14" xml:space="preserve">'
    row=0
    while IFS= read -r text; do
        y=$((row * line + 50)) column=0 fill=$(colour 0) weight=""
        while [ -n "$text" ]; do
            if [[ $text =~ ^$'\e'\[([0-9\;]*)m ]]; then
                text=${text:${#BASH_REMATCH[0]}}
                fill=$(colour 0) weight=""
                for code in ${BASH_REMATCH[1]//;/ }; do
                    case $code in 0) ;; 1) weight=' font-weight="bold"' ;; *) fill=$(colour "$code") ;; esac
                done
                continue
            fi
            piece=${text%%$'\e'*}
            text=${text:${#piece}}
            if [[ $piece =~ [^\ ] ]]; then
                escaped=${piece//&/&amp;} && escaped=${escaped//</&lt;}
                awk -v x="$column" -v n="${#piece}" -v c="$width" -v y="$y" -v fill="$fill" -v weight="$weight" 'BEGIN {
                    printf "<text x=\"%.1f\" y=\"%s\" textLength=\"%.1f\" lengthAdjust=\"spacingAndGlyphs\" fill=\"%s\"%s>", 16 + x * c, y, n * c, fill, weight
                }'
                printf '%s</text>\n' "$escaped"
            fi
            column=$((column + ${#piece}))
        done
        row=$((row + 1))
    done < "$screen"
    echo '</g>'
    echo '</svg>'
} > "$work/picture.svg"
cp "$work/picture.svg" "$out"
echo "wrote $out" >&2
