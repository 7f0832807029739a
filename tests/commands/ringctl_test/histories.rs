//! Histories that programs write themselves, and histories that are made of their output.

use super::{Bench, fails, is_open, passes, runs};

/// A queue in a file whose readers forget what they hold: `fault` is a fault of the reader.
fn queue(fault: &str, expect: &str) -> String {
    format!(
        r#"
[process.writer]
run = "for i in 1 2 3 4 5 6 7 8; do echo $i >> queue; echo PUT $i; done; touch done"
[process.reader]
after-end = "writer"
run = '''
n=0; [ -e read ] && n=$(cat read)
while n=$((n + 1)); line=$(sed -n "${{n}}p" queue); [ -n "$line" ]; do
  echo $n > read; echo GOT $line; sleep 0.02; echo DONE $line
done'''
{fault}
[history]
sent = 'PUT (?<id>\d+)'
received = 'GOT (?<id>\d+)'
acknowledged = 'DONE (?<id>\d+)'
[expect]
{expect}
"#
    )
}

#[test]
fn a_queue_that_forgets_what_a_killed_reader_holds_is_found_out() {
    passes(&queue("", "lost = 0\nunexpected = 0\nduplicated = 0\norder = true\nreceived = 8"));
    let restart = "[[fault]]\ndo = \"restart\"\non = \"reader\"\nat = { line = \"GOT 3\", of = \"reader\" }";
    fails(&queue(restart, "lost = 0"), "items lost: 1, expected at most 0");
    passes(&queue(restart, "lost = 1\nduplicated = \"redelivered\""));
}

#[test]
fn an_item_of_a_killed_process_may_come_again_and_no_other() {
    let text = |second: &str| {
        format!(
            r#"
[process.sender]
run = "echo PUT a; echo PUT b"
[process.first]
run = "echo GOT a; echo GOT b; sleep 1000"
[process.second]
after-end = "first"
run = "echo GOT {second}"
[[fault]]
do = "kill"
on = "first"
at = {{ line = "GOT b", of = "first" }}
[history]
sent = 'PUT (?<id>\w)'
received = 'GOT (?<id>\w)'
[expect]
lost = 0
duplicated = "redelivered"
"#
        )
    };
    passes(&text("b"));
    fails(&text("a"), "received again after they were done: 1");
}

#[test]
fn a_mapping_can_be_of_one_program_and_of_files() {
    let text = r#"
[process.server]
run = "echo 'got 1' > server.log; echo 'sent 9'"
[process.client]
run = "echo 'sent 1'"
[history.server]
files = ["{dir}/server.log"]
received = 'got (?<id>\d+)'
[history.client]
sent = 'sent (?<id>\d+)'
[expect]
lost = 0
unexpected = 0
received = 1
"#;
    let bench = Bench::new(text);
    bench.run(&["--keep", "kept"]).succeeds();
    let log = bench.path("kept/scenario/mapped.log");
    crate::support::ringctl(&["check", log.to_str().unwrap()]).succeeds();
}

#[test]
fn producers_and_workers_log_for_themselves() {
    let text = r#"
[ring.jobs]
capacity = 16
[producer.p]
items = 100
count = 2
[consumer.worker]
count = 2
jobs = 2
run = "cat"
[expect]
lost = 0
unexpected = 0
duplicated = 0
corrupted = 0
received = 200
stdout = { worker = "p-2-100" }
latency = { p50 = "1m" }
leftovers = "none"
"#;
    passes(text);
}

/// A program that writes to the descriptor of its history.
fn descriptor(script: &str, rest: &str, expect: &str) -> String {
    format!("[process.x]\nrun = '''{script}'''\nhistory = {{ fd = 7 }}\n{rest}[expect]\n{expect}\n")
}

#[test]
fn each_instance_writes_its_history_to_a_descriptor() {
    let script = "echo 1 $$ attempt {n} 5 0 aa >&7; echo 2 $$ sent {n} 5 >&$RINGPIPE_LOG_FD; \
                  echo 3 $$ got {n} 5 1 aa >&7; echo 4 $$ acking {n} 5 1 >&7; echo 5 $$ acked {n} 5 1 >&7";
    let text = descriptor(script, "count = 3\n", "lost = 0\nunexpected = 0\ncorrupted = 0\nreceived = 3");
    let bench = Bench::new(&text);
    bench.run(&["--keep", "kept"]).succeeds();
    for number in 1..=3 {
        let log = bench.path(&format!("kept/scenario/history/x-{number}.fd.log"));
        assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 5);
    }
    crate::support::ringctl(&["check", bench.path("kept/scenario/history").to_str().unwrap()]).succeeds();
    // An item that nothing receives, and an event that is not one.
    fails(&descriptor("echo 1 $$ attempt 1 5 >&7; echo 2 $$ sent 1 5 >&7", "", "lost = 0"), "items lost: 1");
    let ended = runs(&descriptor("echo nonsense >&7", "", "lost = 0"), 6);
    assert!(ended.stderr.contains("x-1.fd.log\", line 1: time \"nonsense\""), "{}", ended.stderr);
}

#[test]
fn a_history_on_a_descriptor_outlives_a_kill_within_a_line() {
    let script = "if [ -e first ]; then echo 3 $$ got 1 5 1 >&7; echo 4 $$ acking 1 5 1 >&7; exec 7>&-; echo done; exit 0; fi; \
                  touch first; echo 1 $$ attempt 1 5 >&7; echo 2 $$ sent 1 5 >&7; printf '3 77 got 1' >&7; echo torn; \
                  exec sleep 1000";
    let fault = "[[fault]]\ndo = \"restart\"\non = \"x\"\nat = { line = \"torn\" }\n";
    let expect = "lost = 0\nunexpected = 0\nreceived = 1\nstdout = { x = \"done\" }";
    let bench = Bench::new(&descriptor(script, fault, expect));
    bench.run(&["--keep", "kept"]).succeeds();
    let torn = std::fs::read_to_string(bench.path("kept/scenario/history/x-1.fd.log")).unwrap();
    assert!(torn.ends_with("3 77 got 1"), "{torn}");
}

#[test]
fn children_write_to_the_descriptor_in_any_order_of_their_times() {
    let script = "(echo 10 2 got 1 5 1 >&7; echo 11 2 acking 1 5 1 >&7); echo 1 1 attempt 1 5 >&7; echo 2 1 sent 1 5 >&7";
    passes(&descriptor(script, "", "lost = 0\nunexpected = 0\nreceived = 1"));
    // Also beside a descriptor that says when it is ready.
    let ready = "ready = { fd = 8 }\n";
    passes(&descriptor(&format!("echo >&8; {script}"), ready, "lost = 0\nunexpected = 0\nreceived = 1"));
    is_open(&descriptor("exec 7>&-", "", "lost = 0"), "no process has logged an item");
}

/// The line of a report that begins with this, and the process ids in it as `#`.
fn line_of(scenario: &str, beginning: &str) -> String {
    let ended = runs(scenario, 10);
    let line = ended.lines().into_iter().find(|line| line.trim_start().starts_with(beginning));
    let line = line.unwrap_or_else(|| panic!("{beginning:?} is missing in {}", ended.text())).trim();
    let parts = line.split("process ").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    parts.collect::<Vec<_>>().join("process #")
}

#[test]
fn the_instances_that_had_to_do_with_a_lost_item_are_named() {
    let restart = "[[fault]]\ndo = \"restart\"\non = \"reader\"\nat = { line = \"GOT 3\", of = \"reader\" }";
    assert_eq!(
        line_of(&queue(restart, "lost = 0"), "lost: item \"3\""),
        "lost: item \"3\" (sent by writer-1, process #; received by reader-1, process #): received in attempt 1, and never \
         acknowledged"
    );
    let sends = descriptor(
        "echo $(({n} * 10)) $$ attempt {n} 5 >&7; echo 100 $$ sent {n} 5 >&7",
        "count = 2\n",
        "lost = 1",
    );
    let line = line_of(&sends, "lost: item 5 of producer 2");
    assert_eq!(line, "lost: item 5 of producer 2 (sent by x-2, process #): sent, and never received");
}

#[test]
fn the_instances_that_received_an_item_again_are_named() {
    let text = |expect: &str| {
        format!(
            "[process.s]\nhistory = {{ fd = 3 }}\n\
             run = \"for i in 1 2; do echo $i $$ attempt 9 $i >&3; echo $i $$ sent 9 $i >&3; done\"\n\
             [process.r]\nhistory = {{ fd = 3 }}\nrun = \"echo 3 $$ got 9 1 1 >&3; echo 4 $$ got 9 2 1 >&3\"\n\
             [process.t]\nhistory = {{ fd = 3 }}\nrun = \"echo 5 $$ got 9 2 2 >&3\"\n[expect]\n{expect}\n"
        )
    };
    let named = "received again: item 2 of producer 9 (sent by s-1, process #; received by r-1, process #, then t-1, process #)";
    for expect in ["duplicated = 0", "duplicated = \"redelivered\""] {
        assert_eq!(line_of(&text(expect), "received again: item"), named, "{expect}");
    }
    passes(&text("duplicated = 1"));
    // An item with a name; the fault of the checker names the other one.
    let mapped = "[process.s]\nrun = \"echo PUT a; echo PUT b\"\n\
                  [process.r]\nrun = \"echo GOT a; echo DONE a; echo GOT a; echo GOT b; echo GOT b\"\n\
                  [history]\nsent = 'PUT (?<id>\\w+)'\nreceived = 'GOT (?<id>\\w+)'\nacknowledged = 'DONE (?<id>\\w+)'\n\
                  [expect]\nduplicated = 0\n";
    let ended = runs(mapped, 10);
    let lines = |beginning: &str| {
        let lines = ended.lines();
        lines.iter().filter(|line| line.trim_start().starts_with(beginning)).count()
    };
    assert_eq!(lines("received again: item \"b\" (sent by s-1"), 1, "{}", ended.text());
    assert_eq!(lines("received again: item"), 1, "{}", ended.text());
}

#[test]
fn the_instances_that_had_to_do_with_an_item_out_of_order_are_named() {
    let text = "[process.s]\nrun = \"for i in 1 2; do echo $i $$ attempt 9 $i >&3; echo $i $$ sent 9 $i >&3; done\"\n\
                history = { fd = 3 }\n[process.r]\nhistory = { fd = 3 }\n\
                run = \"echo 3 $$ got 9 2 1 >&3; echo 4 $$ got 9 1 1 >&3\"\n[expect]\norder = true\n";
    let line = line_of(text, "out of order: item 1 of producer 9");
    let expected = "out of order: item 1 of producer 9 (sent by s-1, process #; received by r-1, process #): process # had \
                    received item 2 before it (";
    assert!(line.starts_with(expected), "{line}");
    // A process that the scenario has not started has no name.
    let line =
        line_of(&text.replace("$$ got", "1 got").replace("$$ attempt", "2 attempt"), "out of order: item 1");
    assert!(line.starts_with("out of order: item 1 of producer 9: process # had"), "{line}");
}
