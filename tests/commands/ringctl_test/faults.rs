//! Each fault, where it strikes and where it never does.

use super::{Bench, fails, is_open, passes};

/// A scenario with one process that is ready when it has printed a line, and one fault on it.
fn with(line: &str, fault: &str, expect: &str) -> String {
    format!(
        "[process.x]\nrun = '''echo ready; {line}'''\nready = {{ stdout = \"ready\" }}\n\
         [[fault]]\non = \"x\"\n{fault}\n[expect]\n{expect}\n"
    )
}

const FOR_EVER: &str = "while :; do sleep 0.01; done";

#[test]
fn a_process_is_killed() {
    passes(&with(FOR_EVER, "do = \"kill\"\nat = \"10ms\"", "exit = { x = \"KILL\" }"));
    is_open(
        &with("true", "do = \"kill\"\nat = \"1h\"", ""),
        "did not strike (kill x at 1h): the run was over before its moment",
    );
    // Without must-strike, the run passes.
    passes(&with("true", "do = \"kill\"\nat = \"1h\"\nmust-strike = false", ""));
}

#[test]
fn a_process_is_suspended_and_continued() {
    let text = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.02; done";
    let ended =
        passes(&with(text, "do = \"stop\"\nfor = \"300ms\"\nat = \"20ms\"", "stdout = { x = \"9\" }"));
    assert!(ended.text().contains("stop x-1"), "{}", ended.text());
    let slow = with(text, "do = \"stop\"\nfor = \"2s\"\nat = \"20ms\"", "within = \"1s\"");
    fails(&slow, "expected at most 1s");
    // Without `for` it is never continued, and the run does not wait for it.
    passes(&with(FOR_EVER, "do = \"stop\"\nat = \"20ms\"", ""));
}

#[test]
fn a_process_gets_a_signal() {
    let trapped = "trap 'echo trapped; exit 5' TERM HUP; while :; do sleep 0.01; done";
    passes(&with(trapped, "do = \"term\"\nat = \"10ms\"", "stdout = { x = \"trapped\" }\nexit = 5"));
    passes(&with(
        trapped,
        "do = \"signal\"\nsignal = \"HUP\"\nat = \"10ms\"",
        "stdout = { x = \"trapped\" }",
    ));
}

#[test]
fn a_process_is_restarted() {
    let once = "if [ -e second ]; then exit 0; fi; touch second; echo go; while :; do sleep 0.01; done";
    let restart = "do = \"restart\"\nat = { line = \"go\", of = \"x\" }\nfor = \"10ms\"";
    let ended = passes(&with(once, restart, "exit = { x = [\"KILL\", 0] }"));
    assert!(ended.text().contains("restart x-1"), "{}", ended.text());
}

#[test]
fn system_calls_of_a_process_fail() {
    // It takes a moment without a system call.
    let pause = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; ";
    let write = "echo one > file || echo refused; echo two > other || echo refused";
    let full = "do = \"full-disk\"\nat = \"0s\"";
    passes(&with(&format!("{pause}{write}"), full, "stdout = { x = \"refused\\nrefused\" }"));
    is_open(&with(pause, full, ""), "did not strike (full-disk");
    let below = "do = \"full-disk\"\nat = \"0s\"\npath = \"{dir}/elsewhere\"";
    is_open(&with(&format!("{pause}mkdir below; {write}"), below, ""), "did not strike");
    let fail = "do = \"fail\"\nerror = \"EMFILE\"\ncalls = [\"openat\"]\nat = { syscall = 1 }";
    passes(&with(&format!("{pause}{write}"), fail, "stdout = { x = \"refused\" }"));
}

#[test]
fn the_memory_of_a_process_is_limited() {
    let greedy = "while [ ! -e go ]; do sleep 0.01; done; x=$(head -c 30000000 /dev/zero | tr '\\0' x)";
    let scenario = |limit: &str| {
        with(greedy, &format!("do = \"memory\"\nlimit = \"{limit}\"\nat = \"0s\""), "")
            + "[process.go]\nrun = \"sleep 0.2; touch go\"\n"
    };
    // A process that a fault has struck may end as it likes: what it printed tells.
    for (limit, is_enough) in [("20M", false), ("20G", true)] {
        let text = scenario(limit).replace("x)'''", "x) && echo enough'''");
        let bench = Bench::new(&text);
        let ended = bench.run(&["--keep", "kept"]).succeeds();
        let output = std::fs::read_to_string(bench.path("kept/scenario/x-1.stdout")).unwrap();
        assert_eq!(output.contains("enough"), is_enough, "{output} {}", ended.text());
    }
}

#[test]
fn a_fault_strikes_at_an_event_of_the_ring() {
    let scenario = |at: &str| {
        format!(
            "[ring.r]\ncapacity = 4\n[producer.p]\nitems = 40\n[consumer.c]\ncount = 2\nrun = \"sleep 0.01\"\n\
             [[fault]]\ndo = \"restart\"\non = \"c\"\nat = {at}\n[expect]\nlost = 0\nunexpected = 0\n\
             duplicated = \"redelivered\"\nreceived = 40\n"
        )
    };
    for at in ["{ acknowledged = 10, ring = \"r\" }", "{ full = \"r\" }", "{ held = \"r\" }", "\"5ms..20ms\""]
    {
        let ended = passes(&scenario(at));
        assert!(ended.text().contains("restart c-"), "{at}: {}", ended.text());
    }
    is_open(&scenario("{ acknowledged = 1000, ring = \"r\" }"), "did not strike");
}

#[test]
fn a_fault_strikes_some_or_all_and_again() {
    let scenario = |who: &str| {
        format!(
            "[process.x]\ncount = 4\nrun = \"echo ready; exec sleep 0.5\"\nready = {{ stdout = \"ready\" }}\n\
             [[fault]]\ndo = \"kill\"\non = \"x\"\nat = \"1ms\"\n{who}\n[expect]\nexit = {{ x = [\"KILL\", 0] }}\n"
        )
    };
    let kills = |text: &str| text.matches("kill x-").count();
    for (who, count) in [("", 1), ("who = 3", 3), ("who = \"all\"", 4), ("repeat = 2", 2)] {
        assert_eq!(kills(passes(&scenario(who)).text()), count, "{who}");
    }
    let text = passes(&scenario("").replace("on = \"x\"", "on = \"x.3\"")).into_text();
    assert!(text.contains("kill x-3"), "{text}");
}

#[test]
fn a_process_that_has_ended_is_not_struck() {
    let scenario = with("exit 0", "do = \"kill\"\nat = \"300ms\"", "") + "[process.y]\nrun = \"sleep 0.6\"\n";
    is_open(&scenario, "no process of x ran when it was due");
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let text = "[process.x]\ncount = 8\nrun = \"exec sleep 0.3\"\n\
                [[fault]]\ndo = \"kill\"\non = \"x\"\nwho = 3\nat = \"1ms..50ms\"\n";
    let struck = |seed: &str| {
        let ended = Bench::new(text).run(&["--seed", seed]).succeeds();
        let mut names: Vec<String> = ended
            .text()
            .split_whitespace()
            .filter(|word| word.starts_with("x-"))
            .map(str::to_string)
            .collect();
        names.sort();
        names
    };
    assert_eq!(struck("7"), struck("7"));
    let all: std::collections::HashSet<Vec<String>> = (1..=6).map(|seed| struck(&seed.to_string())).collect();
    assert!(all.len() > 1, "{all:?}");
}
