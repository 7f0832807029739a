//! Every command that prints, with each kind of output that takes nothing.

use std::collections::BTreeSet;
use std::process::Stdio;

use ringpipe::RingOptions;

use crate::inputs::commands::leaves;
use crate::support::scale::Share;
use crate::support::{Ended, Run, TestName, close_reader, consumer, file, late, namespace, producer};

/// What prints, as a line of bash: `$R` is a ring with two items, `$N` stands for nothing, `$S` is a semaphore.
const PRINTING: &[(&str, &str)] = &[
    ("producer", "producer --help"),
    ("producer", "producer --version"),
    ("consumer", "consumer --drain $R"),
    ("consumer", "consumer --json --drain $R"),
    ("consumer", "consumer -h"),
    ("ringctl create", "ringctl create --json $N"),
    ("ringctl create", "ringctl create --fixed 8 --json $N"),
    ("ringctl list", "ringctl list"),
    ("ringctl list", "ringctl list -n"),
    ("ringctl list", "ringctl list --json"),
    ("ringctl inspect", "ringctl inspect $R"),
    ("ringctl inspect", "ringctl inspect --json $R"),
    ("ringctl watch", "ringctl watch --once $R"),
    ("ringctl watch", "ringctl watch --json -n 2 --interval 1ms $R"),
    ("ringctl watch", "ringctl watch --events -n 2 --interval 1ms $R"),
    ("ringctl peek", "ringctl peek $R"),
    ("ringctl peek", "ringctl peek --json $R"),
    ("ringctl peek", "ringctl peek -0 $R"),
    ("ringctl close", "ringctl close --json $R"),
    ("ringctl rm", "ringctl rm --json $R"),
    ("ringctl repair", "ringctl repair $R"),
    ("ringctl repair", "ringctl repair --json $R"),
    ("ringctl clean", "ringctl clean"),
    ("ringctl wait", "ringctl wait --json --until exists $R"),
    ("ringctl run", "ringctl run --lines 99 -p 1 -c 1"),
    ("ringctl run", "ringctl run --json --lines 99 -p 1 -c 1"),
    ("ringctl run", "ringctl run --fixed 8 --lines 99 -p 1 -c 1"),
    ("ringctl run", "ringctl run --output - --lines 99 -p 1 -c 1"),
    ("ringctl run", "ringctl run --chaos --lines 2000 -p 1 -c 1"),
    ("ringctl run", "ringctl run --chaos --json --lines 2000 -p 1 -c 1"),
    ("ringctl demo", "ringctl demo --script /dev/null"),
    ("ringctl bench", "ringctl bench --only throughput --size 8 -p 1 -c 1 --rounds 1 --seconds 0.05"),
    ("ringctl bench", "ringctl bench --json --only throughput --size 8 -p 1 -c 1 --rounds 1 --seconds 0.05"),
    ("ringctl requeue", "ringctl requeue $R $N"),
    ("ringctl requeue", "ringctl requeue --json $R $N"),
    ("ringctl guarantees", "ringctl guarantees $N"),
    ("ringctl guarantees", "ringctl guarantees --json $N"),
    ("ringctl check", "ringctl check /dev/null"),
    ("ringctl check", "ringctl check --json /dev/null"),
    ("ringctl test", "ringctl test --init"),
    ("ringctl test", "ringctl test --schema"),
    ("ringctl test", "ringctl test <(printf '[process.x]\nrun = \"true\"\n')"),
    ("ringctl test", "ringctl test --report tap <(printf '[process.x]\nrun = \"true\"\n')"),
    ("ringctl test", "ringctl test --report json <(printf '[process.x]\nrun = \"true\"\n')"),
    ("ringctl completions", "ringctl completions bash"),
    ("ringctl completions", "ringctl completions zsh producer"),
    ("ringctl sem value", "ringctl sem value $S"),
    ("ringctl sem value", "ringctl sem value --json $S"),
    ("ringctl sem value", "ringctl sem --help"),
];

/// What prints nothing to standard output.
const SILENT: &[&str] = &[
    "ringctl bridge",
    "ringctl done",
    "ringctl fail",
    "ringctl release",
    "ringctl man",
    "ringctl sem create",
    "ringctl sem post",
    "ringctl sem wait",
    "ringctl sem rm",
    "ringctl lock",
    "ringctl barrier",
    "ringctl event",
];

const BEFORE: &str = "
    trap 'rm -f /dev/shm/$B-* /dev/shm/sem.$B-*' EXIT; R=$B-r; N=$B-n; S=$B-s
    { $BIN/ringctl create $R --capacity 8 && $BIN/producer $R --item one --item two && $BIN/ringctl sem create $S; } || exit 99
    ";

/// Runs the line with this redirection.
fn run(line: &str, redirection: &str) -> Ended {
    run_to(line, redirection, None)
}

fn run_to(line: &str, redirection: &str, stdout: Option<Stdio>) -> Ended {
    let base = TestName::new("print");
    let script = format!("{BEFORE} $BIN/{line} {redirection}; exit $?");
    let mut run = Run::new("bash").args(&["-c", &script]).env("B", &base.name).env("BIN", late::programs());
    if let Some(stdout) = stdout {
        run = run.stdout(stdout);
    }
    let ended = run.run();
    for entry in std::fs::read_dir("/dev/shm").unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().contains(&base.name), "{line} {redirection} left {name:?}");
    }
    ended
}

#[test]
fn every_command_is_listed_as_printing_or_silent() {
    let hidden = ["ringctl producer", "ringctl consumer", "ringctl bench-worker", "ringctl demo-worker"];
    let known: BTreeSet<&str> =
        PRINTING.iter().map(|&(command, _)| command).chain(SILENT.iter().copied()).collect();
    let leaves: Vec<String> = leaves().iter().map(|leaf| leaf.name()).collect();
    let all: BTreeSet<&str> =
        leaves.iter().map(String::as_str).filter(|name| !hidden.contains(name)).collect();
    assert_eq!(known, all);
}

#[test]
fn a_full_output_is_a_failure_of_every_command() {
    for (_, line) in PRINTING {
        let ended = run(line, "> /dev/full").with_code(1);
        assert!(ended.stderr.contains("No space left on device"), "{line}: {}", ended.stderr);
    }
}

#[test]
fn a_closed_output_is_a_failure_of_every_command() {
    for (_, line) in PRINTING {
        let ended = run(line, ">&-").with_code(1);
        assert!(
            ended.stderr.contains("standard output is closed; expected a file"),
            "{line}: {}",
            ended.stderr
        );
    }
}

#[test]
fn an_output_without_a_reader_ends_every_command_quietly() {
    for (_, line) in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        close_reader(reader);
        let ended = run_to(line, "", Some(writer.into())).with_code(0);
        let quiet = !ended.stderr.contains("roken pipe") && !ended.stderr.contains("error");
        assert!(quiet, "{line}: {}", ended.stderr);
    }
}

#[test]
fn silent_commands_need_no_output() {
    for line in [
        "ringctl create $N",
        "ringctl close $R",
        "ringctl rm $R",
        "ringctl sem post $S",
        "ringctl wait --until exists $R",
        "producer $R --item x",
        "ringctl sem create $N",
        "ringctl lock $N -- true",
        "ringctl barrier $N 1",
        "ringctl event $N set",
    ] {
        for redirection in [">&-", "> /dev/full", ">&- 2>&- <&-"] {
            run(line, redirection).with_code(0);
        }
    }
}

#[test]
fn a_full_standard_error_loses_only_its_own_messages() {
    let mut share = Share::new(5);
    for (_, line) in PRINTING {
        let usual = run(line, "2> /dev/null");
        for redirection in ["2>&-", "2> /dev/full", "2>&- <&-"].into_iter().filter(|_| share.takes()) {
            let ended = run(line, redirection);
            // The summary goes there.
            let is_aside = line.contains("--output -");
            assert_eq!(ended.code, if is_aside { Some(1) } else { usual.code }, "{line} {redirection}");
            assert_eq!(ended.stdout.is_empty(), usual.stdout.is_empty(), "{line} {redirection}");
        }
    }
}

#[test]
fn commands_end_in_order_with_all_standard_streams_closed() {
    for (_, line) in PRINTING {
        run(line, "<&- >&- 2>&-").with_code(1);
    }
}

#[test]
fn statistics_that_were_asked_for_and_could_not_be_written_are_a_failure() {
    for closed in ["2>&-", "2> /dev/full"] {
        for line in
            ["producer $R --item x --stats", "producer $R --item x --json", "consumer $R --drain --stats"]
        {
            let ended =
                run(line, &format!("{closed}; code=$?; $BIN/ringctl inspect --json $R >&2; exit $code"));
            assert_eq!(ended.code, Some(1), "{line} {closed}");
            // What they tell of has happened all the same.
            let looked: serde_json::Value =
                serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
            let items = if line.starts_with("producer") { 3 } else { 0 };
            assert_eq!(looked["items_waiting"], items, "{looked}");
        }
        // Progress comes and goes.
        run("producer $R --item x --progress", closed).with_code(0);
    }
    let ring = TestName::made("unread-stats", &RingOptions::new().capacity(8));
    let (reader, writer) = std::io::pipe().unwrap();
    close_reader(reader);
    producer(&ring, &["--item", "x", "--stats"]).stderr(writer).run().with_code(0);
}

#[test]
fn a_closed_input_is_a_failure_and_makes_no_ring() {
    for line in ["producer $N", "producer $N -", "producer --raw $N", "producer $N - --item x"] {
        let ended = run(line, "<&-; code=$?; [ -e /dev/shm/$N ] && exit 77; exit $code").with_code(1);
        assert!(ended.stderr.contains("standard input is closed"), "{line}: {}", ended.stderr);
    }
    // What does not read it, does not miss it.
    run("producer $R --item x", "<&-").with_code(0);
    run("ringctl run -p 1 -c 1 --lines 9", "<&-").with_code(0);
}

#[test]
fn a_small_file_system_that_is_full_fails_whatever_writes_files() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs -o size=64k none /mnt");
        return;
    }
    std::fs::write("/mnt/filler", vec![0; 65 << 10]).expect_err("a file takes more than its bytes");
    for line in [
        "ringctl run --lines 9999 -p 1 -c 1 --output /mnt/out",
        "ringctl run --lines 9999 -p 1 -c 1 --output - > /mnt/out",
        "ringctl bench --sync adaptive --plot /mnt/out.svg --rounds 1 --seconds 0.05 -p 1 -c 1 --size 8",
        "ringctl bench --json --only throughput --rounds 1 --seconds 0.05 -p 1 -c 1 --size 8 > /mnt/out",
        "ringctl demo --script /dev/null --record /mnt/out.svg",
    ] {
        let ended = run(line, "");
        assert_eq!(ended.code, Some(1), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains("No space left on device"), "{line}: {}", ended.stderr);
        let _ = (std::fs::remove_file("/mnt/out"), std::fs::remove_file("/mnt/out.svg"));
    }
    // Where there is room again, the same is done.
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "out", b"");
    run(&format!("ringctl run --lines 9 -p 1 -c 1 --output {path}"), "").with_code(0);
    let ring = TestName::new("after");
    producer(&ring, &["--item", "x"]).run().with_code(0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "x\n");
}
