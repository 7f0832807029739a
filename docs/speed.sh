#!/usr/bin/env bash
# Makes docs/speed.svg, the chart of README.md, from the kept figures of peers/results/results.md.
#
#   docs/speed.sh [FILE]      [default: docs/speed.svg]
#
# Bars: messages of 64 bytes a second, from one process to one other, one at a time. Left out: queues that work between threads
# only, and those whose messages arrived damaged (marked in the table).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/speed.svg}

# Name, figure with M or k.
figures=$(sed -n '/^## One at a time$/,/^## /p' "$here/../peers/results/results.md" |
    awk -F'|' '/^\| / && $3 ~ /[Mk] / && $2 !~ /threads/ && $4 !~ /✗/ {
        name = $2; gsub(/[*]|^ +| +$/, "", name)
        split($4, words, " ")
        rate = words[1]; value = rate + 0
        if (rate ~ /M$/) value *= 1000000; else value *= 1000
        print value "\t" rate "\t" name
    }' | sort -rn)
[ "$(wc -l <<< "$figures")" -ge 10 ] || { echo "speed.sh: too few figures in peers/results/results.md" >&2; exit 1; }

awk -F'\t' '
function text(x, y, anchor, size, fill, weight, what) {
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\" font-size=\"%d\" fill=\"%s\"%s>%s</text>\n", x, y, anchor, size, fill, weight, what
}
{ value[NR] = $1; rate[NR] = $2; name[NR] = $3 }
END {
    left = 220; full = 440; line = 24; top = 58; w = 760; h = top + NR * line + 16
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"system-ui, Segoe UI, DejaVu Sans, sans-serif\">\n", w, h, w, h
    print "<title>64-byte messages a second from one process to one other</title>"
    printf "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#ffffff\"/>\n", w, h
    text(20, 30, "start", 16, "#1f2328", " font-weight=\"bold\"", "64-byte messages a second, from one process to one other")
    for (i = 1; i <= NR; i++) {
        y = top + (i - 1) * line
        ours = name[i] ~ /^ringpipe/
        bar = value[i] / value[1] * full
        text(left - 10, y + 13, "end", 13, "#1f2328", ours ? " font-weight=\"bold\"" : "", name[i])
        printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"17\" rx=\"2\" fill=\"%s\"/>\n", left, y, bar < 1 ? 1 : bar, ours ? "#cf222e" : "#8c959f"
        text(left + bar + 8, y + 13, "start", 13, "#1f2328", ours ? " font-weight=\"bold\"" : "", rate[i])
    }
    print "</svg>"
}' <<< "$figures" > "$out"
echo "wrote $out" >&2
