//! Every exit code that a command's help names, reached.

use std::collections::BTreeSet;

use crate::inputs::commands::{Leaf, leaves};
use crate::support::{Run, TestName, late};

/// What reaches each code, as a line of bash. `$R` is a ring of 8 slots with the items one and two, `$N` stands for
/// nothing, `$X` is closed, `$J` is junk that looks like a ring, `$E` is an empty ring, `$S` a semaphore without tokens;
/// `$F` is an input that gives nothing and does not end, `$T` a file.
const TABLE: &[(&str, u8, &str)] = &[
    ("producer", 0, "producer $R --item x"),
    ("producer", 1, "producer $N /no/such/file"),
    ("producer", 1, "printf 123 | producer --raw --fixed 2 $N; c=$?; ringctl rm -q $N; exit $c"),
    ("producer", 2, "producer $N --rate 0"),
    ("producer", 2, "producer $R --fixed 8 --item 12345678"),
    ("producer", 2, "producer $N --fixed 8 --log /dev/null --item 12345678"),
    ("producer", 3, "producer --no-create $N"),
    ("producer", 4, "seq 99 | producer --no-wait $R"),
    ("producer", 5, "producer $X --item x"),
    ("producer", 6, "producer $J --item x"),
    ("producer", 143, "producer $R < $F & wait_for producers=1; kill -TERM $!; wait $!"),
    ("consumer", 0, "consumer $R"),
    ("consumer", 1, "consumer $R > /dev/full"),
    ("consumer", 2, "consumer $R --delay 2s..1s"),
    ("consumer", 3, "consumer $R -n 3"),
    ("consumer", 4, "consumer $E --timeout 10ms"),
    ("consumer", 6, "consumer $J"),
    ("consumer", 123, "consumer $R --retries 0 --drop-failed -- false"),
    ("consumer", 126, "consumer $R -- /dev/null"),
    ("consumer", 127, "consumer $R -- /no/such/command"),
    ("consumer", 143, "consumer --follow $R & wait_for consumers=1; kill -TERM $!; wait $!"),
    ("ringctl create", 0, "ringctl create $N; c=$?; ringctl rm $N; exit $c"),
    ("ringctl create", 1, "ringctl create $R"),
    ("ringctl create", 2, "ringctl create $N --capacity 1"),
    ("ringctl create", 2, "ringctl create $N --fixed 0"),
    ("ringctl list", 0, "ringctl list"),
    ("ringctl list", 1, "ringctl list > /dev/full"),
    ("ringctl inspect", 0, "ringctl inspect $R"),
    ("ringctl inspect", 3, "ringctl inspect $N"),
    ("ringctl inspect", 6, "ringctl inspect $J"),
    ("ringctl watch", 0, "ringctl watch $R --once"),
    ("ringctl watch", 1, "ringctl watch $R --once > /dev/full"),
    ("ringctl watch", 3, "ringctl watch $N --once"),
    ("ringctl watch", 6, "ringctl watch $J --once"),
    (
        "ringctl watch",
        143,
        "ringctl watch $R --events >$T & while ! [ -s $T ]; do sleep 0.01; done; kill -TERM $!; wait $!",
    ),
    ("ringctl peek", 0, "ringctl peek $R"),
    ("ringctl peek", 3, "ringctl peek $E"),
    ("ringctl peek", 6, "ringctl peek $J"),
    ("ringctl close", 0, "ringctl close $E"),
    ("ringctl close", 3, "ringctl close $N"),
    ("ringctl close", 6, "ringctl close $J"),
    ("ringctl rm", 0, "ringctl rm $E"),
    ("ringctl rm", 1, "ringctl rm --json $E > /dev/full"),
    ("ringctl rm", 3, "ringctl rm $N"),
    ("ringctl rm", 6, "ringctl rm $J"),
    ("ringctl repair", 0, "ringctl repair $R"),
    ("ringctl repair", 3, "ringctl repair $N"),
    ("ringctl repair", 6, "ringctl repair $J"),
    ("ringctl bridge", 0, "ringctl bridge $R $E -n 1"),
    ("ringctl bridge", 1, "ringctl bridge $R $E -n 1 --stats 2> /dev/full"),
    ("ringctl bridge", 2, "ringctl bridge $R $R"),
    ("ringctl bridge", 3, "seq 2 | producer $N; ringctl bridge $N $E -n 5"),
    ("ringctl bridge", 5, "ringctl bridge $R $X"),
    ("ringctl bridge", 6, "ringctl bridge $J $E"),
    (
        "ringctl bridge",
        143,
        "$BIN/ringctl bridge --follow $R $E& P=$!; ringctl wait $R --until empty; kill -TERM $P; wait $P",
    ),
    ("ringctl guarantees", 0, "ringctl guarantees $N"),
    ("ringctl guarantees", 1, "ringctl guarantees $N > /dev/full"),
    ("ringctl guarantees", 2, "ringctl guarantees a/b"),
    ("ringctl requeue", 0, "ringctl requeue $R"),
    ("ringctl requeue", 1, "ringctl requeue $R > /dev/full"),
    ("ringctl requeue", 2, "ringctl requeue $R $R"),
    ("ringctl requeue", 2, "ringctl create $N --fixed 8; ringctl requeue $R $N; c=$?; ringctl rm $N; exit $c"),
    ("ringctl requeue", 3, "ringctl requeue $N"),
    (
        "ringctl requeue",
        4,
        "consumer $R --retries 0 --dead-letter $N -- false; seq 2 | producer $E; ringctl requeue $N $E --timeout 10ms",
    ),
    ("ringctl requeue", 5, "consumer $R --retries 0 --dead-letter $N -- false; ringctl requeue $N $X"),
    ("ringctl requeue", 6, "ringctl requeue $J"),
    (
        "ringctl requeue",
        143,
        "consumer $R --retries 0 --dead-letter $N -- false; seq 2 | producer $E; $BIN/ringctl requeue $N $E& P=$!;
         until ringctl inspect $E | grep -q 'waiting for room'; do sleep 0.01; done; kill -TERM $P; wait $P",
    ),
    ("ringctl clean", 0, "ringctl clean"),
    ("ringctl clean", 1, "ringctl clean > /dev/full"),
    ("ringctl wait", 0, "ringctl wait $N --until gone"),
    ("ringctl wait", 2, "ringctl wait $N --until full"),
    ("ringctl wait", 4, "ringctl wait $R --until empty --timeout 10ms"),
    ("ringctl wait", 6, "ringctl wait $J --until empty"),
    ("ringctl run", 0, "ringctl run --lines 9"),
    ("ringctl run", 1, "ringctl run /no/such/file"),
    ("ringctl run", 2, "ringctl run -p 0"),
    ("ringctl run", 2, "ringctl run --fixed 3"),
    ("ringctl run", 3, "true | ringctl run"),
    ("ringctl run", 0, "ringctl run --chaos --lines 2000"),
    ("ringctl run", 1, "TMPDIR=/no/such/folder ringctl run --chaos --lines 9"),
    ("ringctl run", 2, "ringctl run --seed 1"),
    ("ringctl run", 3, "ringctl run --chaos 0 --lines 9"),
    // A consumer that loses what it gets: found out by counting.
    (
        "ringctl run",
        10,
        "d=$(mktemp -d); cp $BUILT/ringctl $d; ln -s $BIN/producer $d; printf '#!/bin/sh\\n%s \"$@\" | tail -n +2\\n' $BIN/consumer > $d/consumer; chmod +x $d/consumer; $d/ringctl run --lines 999 -p 1 -c 1; c=$?; rm -r $d; exit $c",
    ),
    ("ringctl run", 143, "ringctl run < $F & sleep 0.3; kill -TERM $!; wait $!"),
    ("ringctl demo", 0, "ringctl demo --script /dev/null"),
    ("ringctl demo", 1, "TMPDIR=/no/such/folder ringctl demo --script /dev/null"),
    ("ringctl demo", 1, "ringctl demo --script /dev/null --record /no/such/folder/x.svg"),
    ("ringctl demo", 2, "ringctl demo"),
    ("ringctl demo", 2, "ringctl demo --record x.svg"),
    ("ringctl demo", 2, "ringctl demo --script <(yes frame 1s | head -n 1001) --record x.svg"),
    (
        "ringctl demo",
        3,
        "ringctl demo --script <(echo wait never) & until rm /dev/shm/ringpipe-demo-$!-* 2> $T; do sleep 0.01; done; wait $!",
    ),
    ("ringctl demo", 4, "printf '%s\n' 'limit 10ms' 'wait never' > $T; ringctl demo --script $T"),
    // The last consumer leaves what is in the ring: found out by the check of the logs.
    (
        "ringctl demo",
        10,
        "d=$(mktemp -d); cp $BUILT/ringctl $d; ln -s $BIN/producer $d; printf '#!/bin/sh\ncase \"$*\" in *--drain*) exit;; esac\nexec %s \"$@\"\n' $BIN/consumer > $d/consumer; chmod +x $d/consumer; printf '%s\n' 'key k' 'key k' 'key k' 'wait READY 2' > $T; $d/ringctl demo --script $T; c=$?; rm -r $d; exit $c",
    ),
    ("ringctl demo", 143, "ringctl demo --script <(echo wait never) & until ls /dev/shm/ringpipe-demo-$!-* > $T; do sleep 0.01; done; kill -TERM $!; wait $!"),
    ("ringctl bench", 0, "ringctl bench --only throughput --size 8 -p 1 -c 1 --rounds 1 --seconds 0.05"),
    (
        "ringctl bench",
        1,
        "ringctl bench --only throughput --size 8 -p 1 -c 1 --rounds 1 --seconds 0.05 > /dev/full",
    ),
    ("ringctl bench", 2, "ringctl bench --only nothing"),
    (
        "ringctl bench",
        143,
        "ringctl bench > $T & while ! [ -s $T ]; do sleep 0.01; done; kill -TERM $!; wait $!",
    ),
    ("ringctl check", 0, "ringctl check /dev/null"),
    ("ringctl check", 1, "ringctl check /no/such/file"),
    ("ringctl check", 2, "ringctl check"),
    ("ringctl check", 6, "ringctl check <(echo nonsense)"),
    ("ringctl check", 10, "ringctl check <(echo 1 1 sent 1 1)"),
    ("ringctl test", 0, "ringctl test --init"),
    ("ringctl test", 1, "ringctl test /no/such/file"),
    ("ringctl test", 2, "ringctl test $T"),
    (
        "ringctl test",
        10,
        "D=$(mktemp -d); ringctl test --keep $D <(printf '[process.x]\\nrun = \"false\"\\n'); c=$?; rm -r $D; exit $c",
    ),
    (
        "ringctl test",
        11,
        "D=$(mktemp -d); ringctl test --keep $D <(printf '[process.x]\\nrun = \"true\"\\n[[fault]]\\ndo = \"kill\"\\non = \"x\"\\nat = \"1h\"\\n'); c=$?; rm -r $D; exit $c",
    ),
    (
        "ringctl test",
        143,
        "printf '[process.x]\\nrun = \"echo >> %s; sleep 60\"\\n' $T.begun > $T; $BIN/ringctl test $T &
         P=$!; while ! [ -s $T.begun ]; do sleep 0.01; done; rm $T.begun; kill -TERM $P; wait $P",
    ),
    ("ringctl done", 0, "ringctl done $(consumer $R --hold --hold-for $$ | head -n 1)"),
    ("ringctl done", 3, "ringctl done 0-00000000000000000000000000000001"),
    (
        "ringctl done",
        6,
        "t=$(consumer $R --hold --hold-for $$ | head -n 1); truncate -s 0 /dev/shm/$R; ringctl done $t",
    ),
    ("ringctl fail", 0, "ringctl fail $(consumer $R --hold --hold-for $$ | head -n 1)"),
    ("ringctl fail", 2, "ringctl fail $(consumer $R --hold --hold-for $$ | head -n 1) --dead-letter $R"),
    ("ringctl fail", 3, "ringctl fail 0-00000000000000000000000000000001"),
    ("ringctl fail", 5, "ringctl fail $(consumer $R --hold --hold-for $$ | head -n 1) --dead-letter $X"),
    ("ringctl fail", 6, "ringctl fail $(consumer $R --hold --hold-for $$ | head -n 1) --dead-letter $J"),
    // The ring for dead letters is full.
    (
        "ringctl fail",
        143,
        "ringctl fail $(ringctl create $N --capacity 64; yes | producer --no-wait $N; consumer $R --hold --hold-for $$ | head -n 1) --dead-letter $N & ringctl wait $N --until producers=1 --timeout 60s; kill -TERM $!; wait $!",
    ),
    ("ringctl release", 0, "ringctl release $(consumer $R --hold --hold-for $$ | head -n 1)"),
    ("ringctl release", 3, "ringctl release 0-00000000000000000000000000000001"),
    ("ringctl completions", 0, "ringctl completions fish"),
    ("ringctl completions", 1, "ringctl completions bash > /dev/full"),
    ("ringctl completions", 2, "ringctl completions tcsh"),
    ("ringctl man", 0, "D=$(mktemp -d); ringctl man $D; c=$?; rm -r $D; exit $c"),
    ("ringctl man", 1, "ringctl man /dev/null"),
    ("ringctl man", 2, "ringctl man"),
    ("ringctl sem create", 0, "ringctl sem create $S2; c=$?; ringctl sem rm $S2; exit $c"),
    ("ringctl sem create", 1, "ringctl sem create $S"),
    ("ringctl sem create", 2, "ringctl sem create $S --value -1"),
    ("ringctl sem post", 0, "ringctl sem post $S"),
    ("ringctl sem post", 3, "ringctl sem post $S2"),
    ("ringctl sem post", 4, "ringctl sem post $S && ringctl sem post $S -n 2147483647"),
    ("ringctl sem wait", 0, "ringctl sem post $S; ringctl sem wait $S"),
    ("ringctl sem wait", 3, "ringctl sem wait --no-wait $S"),
    ("ringctl sem wait", 4, "ringctl sem wait $S --timeout 10ms"),
    ("ringctl sem wait", 143, "ringctl sem wait $S & sleep 0.3; kill -TERM $!; wait $!"),
    ("ringctl sem value", 0, "ringctl sem value $S"),
    (
        "ringctl sem value",
        6,
        "truncate -s 1 /dev/shm/sem.$S2; ringctl sem value $S2; c=$?; rm /dev/shm/sem.$S2; exit $c",
    ),
    ("ringctl sem rm", 0, "ringctl sem rm $S"),
    ("ringctl sem rm", 3, "ringctl sem rm $S2"),
    ("ringctl lock", 1, "ulimit -n 4; $BUILT/ringctl lock $N -- true"),
    ("ringctl lock", 2, "ringctl lock $N"),
    ("ringctl lock", 3, "ringctl lock $N -- $BIN/ringctl lock $N --no-wait -- true"),
    ("ringctl lock", 4, "ringctl lock $N -- $BIN/ringctl lock $N --timeout 10ms -- true"),
    ("ringctl lock", 6, "ringctl lock $R -- true"),
    ("ringctl lock", 126, "ringctl lock $N -- /etc/passwd"),
    ("ringctl lock", 127, "ringctl lock $N -- no-such-program"),
    ("ringctl lock", 143, "ringctl lock $N -- sleep 60 & sleep 0.3; kill -TERM $!; wait $!"),
    ("ringctl barrier", 0, "ringctl barrier $N 1"),
    ("ringctl barrier", 1, "ulimit -n 4; $BUILT/ringctl barrier $N 1"),
    ("ringctl barrier", 2, "ringctl barrier $N 0"),
    ("ringctl barrier", 4, "ringctl barrier $N 2 --timeout 10ms"),
    ("ringctl barrier", 6, "ringctl barrier $R 2"),
    ("ringctl barrier", 143, "ringctl barrier $N 2 & sleep 0.3; kill -TERM $!; wait $!"),
    ("ringctl event", 0, "ringctl event $N set && ringctl event $N wait"),
    ("ringctl event", 1, "ulimit -n 4; $BUILT/ringctl event $N wait"),
    ("ringctl event", 2, "ringctl event $N set --no-wait"),
    ("ringctl event", 3, "ringctl event $N wait --no-wait"),
    ("ringctl event", 4, "ringctl event $N wait --timeout 10ms"),
    ("ringctl event", 6, "ringctl event $R set"),
    ("ringctl event", 143, "ringctl event $N wait & sleep 0.3; kill -TERM $!; wait $!"),
];

/// Codes that a help names and that nothing reaches here, and why.
const WITHOUT: &[(&str, u8, &str)] = &[
    // A message that is lost is a fault of the ring's: there is none to be had.
    ("ringctl bench", 10, "would take a ring that loses a message"),
    ("ringctl close", 1, "takes a ring of another user: tests/commands/strangers.rs"),
    ("ringctl repair", 1, "takes a ring of another user: tests/commands/strangers.rs"),
    ("ringctl done", 1, "takes a token of another user: tests/commands/hold.rs"),
    ("ringctl fail", 1, "takes a token of another user: tests/commands/hold.rs"),
    ("ringctl release", 1, "takes a token of another user: tests/commands/hold.rs"),
];

/// The codes that its help names; 128+n stands as 143, which TERM gives.
fn documented(leaf: &Leaf) -> BTreeSet<u8> {
    let help = match leaf.verbs.first().map(String::as_str) {
        // Its verbs share the help of `sem`.
        Some("sem") => return BTreeSet::new(),
        _ => leaf.run(&["--help".into()]).run().with_code(0),
    };
    let text = help
        .text()
        .split("Exit codes:")
        .nth(1)
        .unwrap_or_default()
        .split("Examples:")
        .next()
        .unwrap()
        .to_string();
    let text = text.split("With several rings").next().unwrap();
    let begins = |word: &str| word.chars().all(|c| c.is_ascii_digit()) && !word.is_empty();
    let mut codes = BTreeSet::new();
    // A code begins a line or a part of it.
    for part in text.split(['\n', ';', ',', ':']) {
        let word = part.split_whitespace().next().unwrap_or_default();
        match word {
            "128+n" => drop(codes.insert(143)),
            _ if begins(word) => drop(codes.insert(word.parse().unwrap())),
            _ => {}
        }
    }
    codes
}

#[test]
fn every_documented_exit_code_is_reached() {
    let hidden = ["ringctl producer", "ringctl consumer", "ringctl bench-worker", "ringctl demo-worker"];
    for leaf in leaves().iter().filter(|leaf| !hidden.contains(&leaf.name().as_str())) {
        let name = leaf.name();
        let of = |table: &[(&str, u8, &str)]| -> BTreeSet<u8> {
            table.iter().filter(|(command, ..)| *command == name).map(|&(_, code, _)| code).collect()
        };
        let (reached, without) = (of(TABLE), of(WITHOUT));
        assert!(reached.is_disjoint(&without) && !reached.is_empty(), "{name}");
        let known: BTreeSet<u8> = reached.union(&without).copied().collect();
        if name.starts_with("ringctl sem") {
            continue;
        }
        assert_eq!(known, documented(leaf), "{name}: what the table has, and what its help names");
    }
    for (command, code, why) in WITHOUT {
        println!("{command}: code {code} is not reached: {why}");
    }
    let readme = include_str!("../../../docs/COMMANDS.md");
    for code in TABLE.iter().map(|&(_, code, _)| code).filter(|&code| code < 128) {
        assert!(readme.contains(&format!("| {code} | ")), "docs/COMMANDS.md has no code {code}");
    }
}

/// What every line has, and what removes it.
const BEFORE: &str = "
    ringctl() { $BIN/ringctl \"$@\"; }; producer() { $BIN/producer \"$@\"; }; consumer() { $BIN/consumer \"$@\"; }
    wait_for() { ringctl wait $R --until $1 --timeout 60s; }
    trap 'rm -f /dev/shm/$B-* /dev/shm/sem.$B-* $T $F' EXIT
    T=$(mktemp); F=$T.fifo; mkfifo $F; exec 9<>$F; R=$B-r; N=$B-n; X=$B-x; J=$B-j; E=$B-e; S=$B-s; S2=$B-s2
    { ringctl create $R --capacity 8 && producer $R --item one --item two; } || exit 99
    ";

/// Rings and a semaphore to try things on, each for the lines that name it.
const THINGS: [(&str, &str); 4] = [
    ("$X", "ringctl create $X && ringctl close $X"),
    ("$E", "ringctl create $E --capacity 2"),
    ("$S", "ringctl sem create $S"),
    ("$J", "{ head -c 8 /dev/shm/$R; head -c 100000 /dev/zero; } > /dev/shm/$J; chmod 600 /dev/shm/$J"),
];

fn before(line: &str) -> String {
    let things = THINGS.iter().filter(|(name, _)| line.contains(name));
    things.fold(BEFORE.to_string(), |before, (_, make)| format!("{before}{{ {make}; }} || exit 99\n"))
}

#[test]
fn a_command_for_each_code_ends_with_that_code() {
    let built = std::path::Path::new(env!("CARGO_BIN_EXE_ringctl")).parent().unwrap();
    for &(command, code, line) in TABLE {
        let base = TestName::new("code");
        let script = format!("{}\n{}", before(line), exec_in_background(line));
        let run = Run::new("bash").args(&["-c", &script]).env("B", &base.name);
        // What is copied, or has few descriptors, is the program itself: one that starts late is a script.
        let ended = run.env("BIN", late::programs()).env("BUILT", built).run();
        assert_eq!(ended.code, Some(i32::from(code)), "{command}: {line}\n{}", ended.stderr);
        let left: Vec<_> =
            std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains(&base.name)), "{line} left {left:?}");
    }
}

/// Has what runs in the background be the command itself, so that a signal goes there: a function would be a
/// subshell.
fn exec_in_background(line: &str) -> String {
    match line.split_once(" & ") {
        Some((command, after)) => format!("(exec $BIN/{command}) & {after}"),
        None => line.into(),
    }
}
