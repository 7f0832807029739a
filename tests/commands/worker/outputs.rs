//! Outputs: whole, not mixed, in order, with labels, in files; and what happens if they cannot be written.

use super::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn outputs_of_parallel_commands_do_not_mix() {
    let work = Work::numbered("grouped", 24);
    // 200 kB each, more than is kept in memory, in small writes.
    let script = "n=$(cat); i=0; while test $i -lt 2000; do i=$((i+1)); printf '%s:%095d\\n' $n $i; done";
    let file = work.path("out");
    let ended = work.script(&["-j", "4"], script).stdout(File::create(&file).unwrap()).run();
    ended.succeeds().quiet();
    let mut blocks: Vec<(String, u32)> = Vec::new();
    for line in work.lines("out") {
        let (item, count) = line.split_once(':').unwrap();
        let count: u32 = count.parse().unwrap();
        match blocks.last_mut() {
            Some((of, last)) if of == item && *last + 1 == count => *last = count,
            _ => blocks.push((item.into(), count)),
        }
    }
    assert_eq!(blocks.len(), 24, "whole and one after the other");
    assert!(blocks.iter().all(|(_, lines)| *lines == 2000));
}

#[test]
fn two_workers_that_share_a_pipe_do_not_mix_outputs() {
    let work = Work::numbered("pipe", 20);
    let script = r#"for n in 1 2; do
        "$C" $R -j2 -- sh -c 'n=$(cat); seq 20000 | sed "s/^/$n:/"' & done; wait"#;
    let ended = shell(&work.ring, script).run().succeeds();
    let mut seen = BTreeMap::<String, u32>::new();
    let mut last = "";
    let mut blocks = 0;
    for line in ended.lines() {
        let (item, count) = line.split_once(':').unwrap();
        blocks += u32::from(item != last);
        last = item;
        let before = seen.entry(item.to_string()).or_default();
        assert_eq!(*before + 1, count.parse::<u32>().unwrap());
        *before += 1;
    }
    assert_eq!((blocks, seen.len()), (20, 20));
    assert!(seen.values().all(|lines| *lines == 20_000));
}

#[test]
fn outputs_come_in_the_order_of_the_items() {
    let work = Work::numbered("order", 30);
    // The first one ends last; and one fails once.
    let script = format!(
        "n=$(cat); echo $n >> $D/ran; case $n.$RING_ATTEMPT in 1.1) {};; 7.1) exit 1;; esac; echo $n",
        until("go")
    );
    let running = work.script(&["-j", "3", "--keep-order"], &script).spawn();
    work.wait_for_lines("ran", 30);
    assert!(!running.has_printed("2"));
    work.touch("go");
    assert_eq!(running.end().succeeds().text(), seq(30));
}

#[test]
fn outputs_that_wait_for_an_earlier_one_are_written_when_the_worker_is_stopped() {
    let work = Work::numbered("order", 5);
    let script = "n=$(cat); echo $n >> $D/ran; test $n != 1 || exec sleep 1000; echo $n";
    let running = work.script(&["-j", "2", "--keep-order", "--grace", "0s"], script).spawn();
    work.wait_for_lines("ran", 5);
    running.signal(libc::SIGTERM);
    let ended = running.end().by_signal(libc::SIGTERM);
    // The last command may have been stopped as well.
    let done = work.ring.acknowledged();
    assert_eq!(ended.text(), &seq(done + 1)[2..]);
    assert!(done >= 3, "{done}");
    assert_eq!(work.rest()[0], "1:1");
}

#[test]
fn lines_are_whole_and_come_at_once_with_line_buffer() {
    let work = Work::numbered("lines", 2);
    let script =
        format!("n=$(cat); echo begin $n; printf 'half '; {}; echo end $n; printf 'tail'", until("go"));
    let running = work.script(&["-j", "2", "--line-buffer", "--tag"], &script).spawn();
    wait_until("both first lines", || {
        running.has_printed("1\tbegin 1\n") && running.has_printed("2\tbegin 2\n")
    });
    assert!(!running.has_printed("half"));
    assert_eq!(work.ring.acknowledged(), 0);
    work.touch("go");
    let ended = running.end().succeeds();
    let mut lines: Vec<&str> = ended.text().split_inclusive('\n').collect();
    lines.sort_unstable();
    let text = lines.concat();
    for expected in ["1\thalf end 1\n", "2\thalf end 2\n", "1\ttail", "2\ttail"] {
        assert!(ended.text().contains(expected), "{text}");
    }
}

#[test]
fn results_are_kept_in_files_per_item() {
    let work = Work::new("results", &["a", "b"]);
    let results = work.path("results");
    let script = "n=$(cat); echo out $n; echo err $n >&2; test $n = a || exit 65";
    work.script(&["--results", &results, "--drop-failed"], script).run().with_code(123);
    assert_eq!(names_in(Path::new(&results)), ["0-0", "0-1"]);
    for (key, item, result) in [("0-0", "a", "exit 0\n"), ("0-1", "b", "exit 65\n")] {
        let read = |name: &str| work.read(&format!("results/{key}/{name}"));
        assert_eq!(read("item"), item);
        assert_eq!((read("stdout"), read("stderr")), (format!("out {item}\n"), format!("err {item}\n")));
        assert_eq!(read("result"), result);
    }
}

#[test]
fn an_item_whose_output_finds_the_disk_full_is_not_acknowledged() {
    for options in [&[][..], &["--line-buffer"], &["--keep-order"], &["--tag"], &["-j", "2"]] {
        let work = Work::numbered("full", 2);
        let ended = work.script(options, "echo $(cat)").stdout(full()).run().with_code(1);
        assert!(ended.complaint().contains("No space left"), "{}", ended.stderr);
        assert_eq!(work.ring.acknowledged(), 0, "{options:?}");
        assert_eq!(work.rest(), ["1:1", "2:1"], "{options:?}");
    }
    let work = Work::numbered("full", 2);
    work.script(&[], "echo $(cat) >&2").stderr(full()).run().with_code(1);
    assert_eq!(work.rest(), ["1:1", "2:1"], "standard error");
    let work = Work::numbered("full", 2);
    work.script(&["--results", "/dev/full/x"], "cat").run().with_code(1);
    assert_eq!(work.rest(), ["1:1", "2:1"], "results");
    let work = Work::numbered("full", 2);
    work.script(&["--joblog", "/dev/full"], "cat").run().with_code(1);
    assert_eq!(work.rest(), ["1:1", "2:1"], "joblog");
    let work = Work::numbered("full", 2);
    work.script(&["--dry-run"], "cat").stdout(full()).run().with_code(1);
    assert_eq!(work.rest(), ["1:1", "2:1"], "dry run");
}

#[test]
fn an_output_that_finds_no_room_for_its_temporary_file_stops_the_worker() {
    let work = Work::numbered("tmp", 1);
    let ended = work.script(&[], "head -c 200000 /dev/zero").env("TMPDIR", "/nowhere").run().with_code(1);
    assert_eq!(ended.stdout.len(), 0);
    assert_eq!(work.rest(), ["1:1"]);
    work.nothing_runs();
}

#[test]
fn a_reader_that_leaves_ends_the_worker_well_and_unwritten_items_stay() {
    let work = Work::numbered("leaves", 5);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = work
        .script(&[], &format!("cat; test $RING_SEQ = 0 || {{ {}; }}", until("go")))
        .stdout(writer)
        .spawn();
    let mut byte = [0];
    reader.read_exact(&mut byte).unwrap();
    close_reader(reader);
    work.touch("go");
    running.end().succeeds().quiet();
    assert_eq!((byte, work.ring.acknowledged()), ([b'1'], 1));
    assert_eq!(work.rest(), ["2:1", "3:1", "4:1", "5:1"]);
}

#[test]
fn a_reader_that_does_not_read_holds_the_worker_back_and_term_still_ends_it() {
    let work = Work::numbered("stuck", 3);
    let script = "touch $D/$RING_SEQ; head -c 100000 /dev/zero";
    let running = work.script(&["--grace", "100ms"], script).paused_output().spawn();
    work.wait_for_file("0");
    work.nothing_runs();
    running.signal(libc::SIGTERM);
    let ended = running.end().by_signal(libc::SIGTERM);
    assert!(ended.stdout.is_empty());
    assert_eq!(work.ring.acknowledged(), 0);
    assert!(!work.exists("1"));
}

/// A pipe with little room.
fn narrow_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (reader, writer)
}

#[test]
fn term_ends_a_worker_whose_standard_error_is_not_read() {
    for options in [&["-j", "2"][..], &["-j", "2", "--line-buffer"]] {
        let work = Work::numbered("aside", 3);
        let script = "touch $D/$RING_SEQ; head -c 300000 /dev/zero >&2";
        let (mut reader, writer) = narrow_pipe();
        let options = [options, &["--grace", "100ms"]].concat();
        let running = work.script(&options, script).stderr(writer).spawn();
        work.wait_for_file("0");
        work.wait_for_file("1");
        reader.read_exact(&mut [0]).unwrap();
        running.signal(libc::SIGTERM);
        running.end().by_signal(libc::SIGTERM);
        assert_eq!(work.ring.acknowledged(), 0, "{options:?}");
        work.nothing_runs();
    }
}

#[test]
fn results_do_not_wait_for_an_output_that_is_not_read() {
    let work = Work::numbered("unread", 2);
    let results = work.path("results");
    let script = format!("test $RING_SEQ = 0 || {{ {}; }}; head -c 100000 /dev/zero", until("go"));
    let (mut reader, writer) = narrow_pipe();
    let running = work.script(&["-j", "2", "--results", &results], &script).stdout(writer).spawn();
    reader.read_exact(&mut [0]).unwrap();
    work.touch("go");
    work.wait_for_file("results/0-1/result");
    close_reader(reader);
    running.end().succeeds();
}

#[test]
fn outputs_that_wait_for_an_earlier_one_leave_the_worker_descriptors() {
    let work = Work::numbered("descriptors", 200);
    let script =
        format!("echo >> $D/ran; test $RING_SEQ -gt 0 || {{ {}; }}; head -c 100000 /dev/zero", until("go"));
    let file = work.path("out");
    let run = work.script(&["-j", "2", "--keep-order", "--prefetch", "100"], &script);
    let run = run.limited(nix::sys::resource::Resource::RLIMIT_NOFILE, 128);
    let running = run.stdout(File::create(&file).unwrap()).spawn();
    // Until it takes no more items, as it seems after many looks.
    let (mut lines, mut looks) = (0, 0);
    wait_until("a pause of the worker", || {
        let now = work.lines("ran").len();
        looks = if now == lines && now > 32 { looks + 1 } else { 0 };
        lines = now;
        looks > 500
    });
    assert!(lines < 100, "{lines}");
    work.touch("go");
    running.end().succeeds().quiet();
    assert_eq!(fs::metadata(file).unwrap().len(), 200 * 100_000);
    assert_eq!(work.ring.acknowledged(), 200);
}

#[test]
fn closed_outputs() {
    let work = Work::numbered("closed", 1);
    shell(&work.ring, r#""$C" $R -- cat >&-"#).run().with_code(1);
    assert_eq!(work.ring.open().snapshot().unwrap().totals.received, 0);
    // Messages go nowhere, and the work is done.
    let ended = shell(&work.ring, r#""$C" $R -- sh -c 'cat; echo aside >&2' 2>&-"#).run().succeeds();
    assert_eq!((ended.text(), work.ring.acknowledged()), ("1", 1));
}

#[test]
fn a_reader_that_does_not_read_does_not_keep_an_ordered_worker_from_ending() {
    let work = Work::numbered("stalled", 3);
    let (reader, writer) = std::io::pipe().unwrap();
    let options = ["--keep-order", "-j", "2", "--grace", "100ms"];
    let running = work.script(&options, "touch $D/$(cat); head -c 300000 /dev/zero").stdout(writer).spawn();
    work.wait_for_file("1");
    work.wait_for_file("2");
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    close_reader(reader);
}

#[test]
fn lines_that_were_written_at_once_are_in_results_dead_letters_and_joblog_too() {
    let work = Work::new("kept", &["item"]);
    let dead = TestName::new("kept-dead").stays();
    let (results, jobs) = (work.path("results"), work.path("jobs"));
    let options =
        ["--line-buffer", "--retries", "0", "--dead-letter", &dead, "--results", &results, "--joblog", &jobs];
    let ended = work.script(&options, "echo out; echo err >&2; exit 1").run().with_code(123);
    assert_eq!(ended.text(), "out\n");
    assert_eq!(
        (work.read("results/0-0/stdout"), work.read("results/0-0/stderr")),
        ("out\n".into(), "err\n".into())
    );
    let line = work.lines("jobs").pop().unwrap();
    assert_eq!(line.split('\t').nth(5), Some("4"), "{line}");
    assert!(ringctl(&["peek", &dead]).stdout.windows(3).any(|text| text == b"err"));
}
