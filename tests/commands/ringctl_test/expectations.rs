//! Each expectation, with a scenario that meets it and one that breaks it.

use super::{fails, is_open, passes};
use crate::support::TestName;

/// A program that prints these lines, which a mapping reads.
fn printed(lines: &str, expect: &str) -> String {
    format!(
        "[process.log]\nrun = \"\"\"printf '{lines}'\"\"\"\n\
         [history]\nsent = \"PUT (?<id>\\\\w+)\"\nreceived = \"GOT (?<id>\\\\w+)\"\n[expect]\n{expect}\n"
    )
}

/// A program with this shell line.
fn line(line: &str, expect: &str) -> String {
    format!("[process.x]\nrun = '''{line}'''\n[expect]\n{expect}\n")
}

#[test]
fn items_are_lost_or_not() {
    passes(&printed(r"PUT a\nGOT a\n", "lost = 0"));
    fails(&printed(r"PUT a\nPUT b\nGOT a\n", "lost = 0"), "items lost: 1, expected at most 0");
    passes(&printed(r"PUT a\nPUT b\nGOT a\n", "lost = 1"));
}

#[test]
fn items_are_unexpected_or_not() {
    passes(&printed(r"PUT a\nGOT a\n", "unexpected = 0"));
    fails(&printed(r"PUT a\nGOT a\nGOT b\n", "unexpected = 0"), "items received but not sent: 1");
}

#[test]
fn items_are_doubled_or_not() {
    passes(&printed(r"PUT a\nGOT a\n", "duplicated = 0"));
    fails(&printed(r"PUT a\nGOT a\nGOT a\n", "duplicated = 0"), "items received more than once: 1");
    passes(&printed(r"PUT a\nGOT a\nGOT a\n", "duplicated = 1"));
    fails(
        &printed(r"PUT a\nGOT a\nGOT a\n", "duplicated = \"redelivered\""),
        "received again after they were done: 1",
    );
}

#[test]
fn items_are_in_order_or_not() {
    passes(&printed(r"PUT a\nPUT b\nGOT a\nGOT b\n", "order = true"));
    fails(&printed(r"PUT a\nPUT b\nGOT b\nGOT a\n", "order = true"), "items out of order: 1");
}

#[test]
fn enough_items_are_received_or_not() {
    passes(&printed(r"PUT a\nPUT b\nGOT a\nGOT b\n", "received = 2"));
    fails(&printed(r"PUT a\nPUT b\nGOT b\n", "received = 2"), "items received: 1, expected at least 2");
}

#[test]
fn a_history_without_items_proves_nothing() {
    for expect in
        ["lost = 0", "unexpected = 0", "duplicated = 0", "order = true", "received = 1", "stall = \"1s\""]
    {
        is_open(&line("true", expect), "no process has logged an item");
    }
}

/// Two processes that log their items themselves, a consumer that changes one.
fn logged(received: &str, expect: &str) -> String {
    let event = r#"now() { while read -r up _; do echo "${up%.*}${up#*.}0000000"; done < /proc/uptime; }"#;
    line(
        &format!(
            "{event}; mkdir -p $RINGPIPE_LOG; log() {{ echo $(now) $* >> $RINGPIPE_LOG/all; }}; \
             log 1 attempt 1 0 0 aa; log 1 sent 1 0; {received} log 2 got 1 0 1 $hash; \
             log 2 acking 1 0 1; log 2 acked 1 0 1"
        ),
        expect,
    )
}

#[test]
fn items_are_intact_or_not() {
    passes(&logged("hash=aa;", "corrupted = 0"));
    fails(&logged("hash=bb;", "corrupted = 0"), "items that are not what was sent: 1");
}

#[test]
fn items_move_in_time_or_not() {
    passes(&logged("hash=aa;", "stall = \"10s\"\nlatency = { p50 = \"10s\", max = \"10s\" }"));
    fails(&logged("hash=aa; sleep 0.3;", "stall = \"100ms\""), "no item moved, expected at most 100ms");
    fails(&logged("hash=aa; sleep 0.3;", "latency = { max = \"100ms\" }"), "the longest latency is");
    fails(&logged("hash=aa; sleep 0.3;", "latency = { p99 = \"100ms\" }"), "the latency p99 is");
}

#[test]
fn processes_end_as_expected_or_not() {
    passes(&line("exit 3", "exit = 3"));
    passes(&line("exit 3", "exit = { x = [0, 3] }"));
    passes(&line("kill -INT $$", "exit = { x = \"INT\" }"));
    fails(&line("exit 3", ""), "x-1 ended with code 3, expected code 0");
    fails(&line("true", "exit = 3"), "x-1 ended with code 0, expected code 3");
    fails(
        &line("kill -9 $$", "exit = { x = [0, \"INT\"] }"),
        "x-1 was ended by KILL, expected code 0 or INT",
    );
}

#[test]
fn output_matches_or_not() {
    passes(&line(
        "echo one; echo two >&2",
        "stdout = { x = \"^one\\n$\" }\nstderr = { x = [\"two\", \"w\"] }",
    ));
    fails(&line("echo one", "stdout = { x = \"two\" }"), "standard output of x does not match \"two\"");
    fails(&line("echo one", "stderr = { x = \"one\" }"), "standard error of x does not match \"one\"");
}

#[test]
fn files_are_equal_or_not() {
    let equal = "equal = [[\"a\", \"{dir}/b\"]]";
    passes(&line("printf '1\\n2\\n' > a; printf '2\\n1\\n' > b", equal));
    fails(
        &line("printf '1\\n2\\n2\\n' > a; printf '2\\n1\\n3\\n' > b", equal),
        "the sorted lines of a and {dir}/b differ; 1 line is only in a: \"2\"; 1 line is only in {dir}/b: \"3\"",
    );
    fails(&line("echo 1 > a", equal), "{dir}/b: No such file");
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let sha256 = format!("sha256 = {{ abc = \"{sum}\" }}");
    passes(&line("printf abc > abc", &sha256));
    fails(&line("printf abd > abc", &sha256), "SHA-256 of abc is");
    fails(&line("true", &sha256), "abc: No such file");
}

#[test]
fn a_run_takes_no_longer_than_expected_or_does() {
    passes(&line("true", "within = \"30s\""));
    fails(&line("sleep 0.2", "within = \"100ms\""), "expected at most 100ms");
}

#[test]
fn nothing_is_left_or_something_is() {
    passes(&line("echo 1 > file; rm file; sleep 0.01 & wait", "leftovers = \"none\""));
    passes(&line("echo 1 > file", "leftovers = { except = [\"file\"] }"));
    passes(&line(
        "mkdir d; echo 1 > d/f1; echo > {{n}}",
        "leftovers = { except = [\"{dir}/d/f{n}\", \"{{n}}\"] }",
    ));
    fails(
        &line("echo 1 > file; mkdir d; echo 2 > d/f", "leftovers = { except = [\"d/f\"] }"),
        "file \"file\" is left",
    );
    fails(&line("sleep 1000 & true", "leftovers = \"none\""), "sleep 1000");
    fails(&line("setsid sleep 1000 & true", "leftovers = \"none\""), "sleep 1000");
    let server = |leak: &str| {
        format!(
            "[process.x]\nrun = '''trap 'exit 0' TERM; echo ready; sleep 0.2; {leak} echo >> done; while :; do sleep 0.01; done'''\n\
             ready = {{ stdout = \"ready\" }}\nbackground = true\n\
             [process.y]\nafter = \"x\"\nrun = \"while [ ! -e done ]; do sleep 0.01; done\"\n\
             [expect]\nleftovers = {{ except = [\"done\"] }}\n"
        )
    };
    passes(&server(""));
    fails(&server("exec 8> done;"), "descriptors open");
}

#[test]
fn a_segment_that_a_program_leaves_is_found() {
    let ring = TestName::new("left").stays();
    let producer = |then: &str| {
        let name = &ring.name;
        line(&format!("(echo 1; sleep 0.2) | producer {name} --timestamps; {then}"), "leftovers = \"none\"")
    };
    passes(&producer(&format!("consumer {}", ring.name)));
    // The producer is no instance itself; its ring is in the maps of a descendant.
    fails(&producer("true"), "is left in /dev/shm");
}
