//! Histories that programs write themselves, and histories that are made of their output.

use super::{Bench, fails, passes};

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
