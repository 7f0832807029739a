//! `fails`: a scenario of a known fault passes when the tool finds this fault, and no other.

use super::{fails, is_open, passes, runs};

/// A program that prints these lines, from which items are read, with keys at the top of the file.
fn printed(top: &str, lines: &str, expect: &str) -> String {
    format!(
        "{top}\n[process.log]\nrun = \"\"\"printf '{lines}'\"\"\"\n\
         [history]\nsent = \"PUT (?<id>\\\\w+)\"\nreceived = \"GOT (?<id>\\\\w+)\"\n[expect]\n{expect}\n"
    )
}

#[test]
fn the_expected_fault_passes_and_is_shown() {
    let ended = passes(&printed("fails = [\"lost\"]", r"PUT a\nPUT b\nGOT a\n", "lost = 0"));
    assert!(ended.text().contains("as expected: items lost: 1"), "{}", ended.text());
    assert!(ended.text().contains("item \"b\""), "{}", ended.text());
}

#[test]
fn a_run_without_the_expected_fault_fails() {
    fails(
        &printed("fails = [\"lost\"]", r"PUT a\nGOT a\n", "lost = 0"),
        "lost was not broken, but the scenario says that it fails",
    );
    // Each of them must be broken.
    fails(
        &printed("fails = [\"lost\", \"unexpected\"]", r"PUT a\nGOT b\nGOT a\n", "lost = 0\nunexpected = 0"),
        "lost was not broken",
    );
}

#[test]
fn a_run_with_another_fault_fails() {
    fails(
        &printed("fails = [\"lost\"]", r"PUT a\nGOT b\n", "lost = 0\nunexpected = 0"),
        "items received but not sent: 1",
    );
    fails("fails = [\"timeout\"]\n[process.x]\nrun = \"exit 3\"\n", "x-1 ended with code 3, expected code 0");
}

#[test]
fn each_kind_of_expectation_can_be_the_one_that_fails() {
    let line = |key: &str, line: &str, expect: &str| {
        passes(&format!("fails = [\"{key}\"]\n[process.x]\nrun = '''{line}'''\n[expect]\n{expect}\n"));
    };
    line("exit", "exit 3", "");
    line("stdout", "true", "stdout = { x = \"one\" }");
    line("stderr", "true", "stderr = { x = \"one\" }");
    line("equal", "echo 1 > a", "equal = [[\"a\", \"b\"]]");
    line("sha256", "true", &format!("sha256 = {{ a = \"{}\" }}", "0".repeat(64)));
    line("leftovers", "echo 1 > file", "leftovers = \"none\"");
    line("within", "sleep 0.1", "within = \"1ms\"");
    for (key, lines, expect) in [
        ("unexpected", r"GOT a\n", "unexpected = 0"),
        ("duplicated", r"PUT a\nGOT a\nGOT a\n", "duplicated = 0"),
        ("duplicated", r"PUT a\nGOT a\nGOT a\n", "duplicated = \"redelivered\""),
        ("order", r"PUT a\nPUT b\nGOT b\nGOT a\n", "order = true"),
        ("received", r"PUT a\nGOT a\n", "received = 2"),
    ] {
        let ended = runs(&printed(&format!("fails = [\"{key}\"]"), lines, expect), 0);
        assert!(ended.text().contains("as expected: "), "{key}: {}", ended.text());
    }
    for (key, expect) in [("stall", "stall = \"1ms\""), ("latency", "latency = { max = \"1ns\" }")] {
        passes(&format!(
            "fails = [\"{key}\"]\n[ring.r]\n[producer.p]\nitems = 3\ndelay = \"30ms\"\n[consumer.c]\n\
             [expect]\n{expect}\n"
        ));
    }
}

#[test]
fn a_run_that_does_not_end_can_be_expected() {
    let ended = passes("timeout = \"200ms\"\nfails = [\"timeout\"]\n[process.x]\nrun = \"sleep 1000\"\n");
    assert!(ended.text().contains("as expected: not over after 200ms"), "{}", ended.text());
    fails("fails = [\"timeout\"]\n[process.x]\nrun = \"true\"\n", "timeout was not broken");
    // It ended, although in another way than expected.
    fails(
        "fails = [\"timeout\"]\n[process.x]\nrun = \"true\"\nready = { stdout = \"up\" }\n",
        "x-1 ended with code 0 before it was ready",
    );
}

#[test]
fn outputs_that_are_mapped_have_no_times() {
    for expect in ["stall = \"1s\"", "latency = { max = \"1s\" }"] {
        is_open(&printed("", r"PUT a\nGOT a\n", expect), "lines of output have no times");
    }
}

#[test]
fn a_known_fault_without_its_cause_is_inconclusive() {
    let fault = "[[fault]]\ndo = \"kill\"\non = \"log\"\nat = { line = \"never\" }\n";
    is_open(&(printed("fails = [\"lost\"]", r"PUT a\nGOT a\n", "lost = 0") + fault), "did not strike");
}

/// A writer that is killed at each of its writes. The reader takes what is there.
fn writer(commands: &str) -> String {
    format!(
        "fails = [\"stdout\"]\n[process.writer]\nrun = '''{commands}'''\n\
         [process.reader]\nafter-end = \"writer\"\nrun = \"cat file\"\n\
         [[fault]]\ndo = \"kill\"\non = \"writer\"\nevery = {{ syscall = [\"write\"] }}\n\
         [expect]\nstdout = {{ reader = '^(whole\\n)?$' }}\n"
    )
}

#[test]
fn one_of_the_points_must_break_what_is_to_be_broken() {
    let ended = passes(&writer("printf who > file; printf 'le\\n' >> file"));
    assert!(ended.text().contains("as expected: standard output of reader"), "{}", ended.text());
    let whole =
        writer("printf 'whole\\n' > file.new; mv file.new file; printf x > other").replace("cat", "cat -");
    let whole = whole.replace("run = \"cat - file\"", "run = \"if [ -e file ]; then cat file; fi\"");
    fails(&whole, "stdout was not broken");
}
