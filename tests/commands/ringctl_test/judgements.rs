//! Verdicts that are easily wrong.

use super::{Bench, fails, is_open, passes, runs};
use crate::support::Run;

/// Programs whose output is the history.
fn mapped(programs: &str, expect: &str) -> String {
    format!(
        "{programs}\n[history]\nsent = 'PUT (?<id>\\w+)'\nreceived = 'GOT (?<id>\\w+)'\n\
         acknowledged = 'DONE (?<id>\\w+)'\n[expect]\n{expect}\n"
    )
}

#[test]
fn scenarios_with_one_name_do_not_share_a_folder() {
    let bench = Bench::new(
        "name = \"same\"\n[process.x]\nrun = \"echo one > file; sleep 0.1\"\n\
                            [expect]\nstdout = { x = \"^$|^\" }\nleftovers = { except = [\"file\"] }\n",
    );
    for number in 0..8 {
        std::fs::copy(bench.path("scenario.toml"), bench.path(&format!("s{number}.toml"))).unwrap();
    }
    let ringctl =
        Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["test", ".", "--jobs", "9", "--keep", "kept"]);
    ringctl.current_dir(bench.folder.path()).run().succeeds();
    assert_eq!(std::fs::read_dir(bench.path("kept")).unwrap().count(), 9);
}

#[test]
fn a_traced_fault_strikes_all_processes_that_it_names() {
    let text = |fault: &str| {
        format!(
            "[process.x]\ncount = 3\nrun = \"echo one > file{{n}} || echo refused; sleep 0.3\"\n\
             [[fault]]\non = \"x\"\nwho = \"all\"\n{fault}\n[expect]\nexit = {{ x = [0, \"KILL\"] }}\n"
        )
    };
    let struck = |fault: &str, word: &str| passes(&text(fault)).text().matches(word).count();
    assert_eq!(struck("do = \"full-disk\"\nat = \"0s\"", "ENOSPC x-"), 3);
    assert_eq!(struck("do = \"kill\"\nat = { syscall = 20 }", "kill x-"), 3);
}

#[test]
fn a_fault_that_strikes_less_than_it_should_leaves_the_run_open() {
    let text = |rest: &str| {
        format!(
            "[process.x]\ncount = 2\nrun = \"echo ready; exec sleep 0.$((2 + 4 * ({{n}} - 1)))\"\n\
             ready = {{ stdout = \"ready\" }}\n[[fault]]\ndo = \"stop\"\nfor = \"1ms\"\non = \"x\"\n{rest}\n"
        )
    };
    is_open(&text("who = 2\nat = \"400ms\""), "struck 1 of 2 processes");
    passes(&text("who = 2\nat = \"400ms\"\nmust-strike = false"));
    passes(&text("repeat = 50\npause = \"100ms\"\nat = \"1ms\""));
}

#[test]
fn a_failing_call_counts_once() {
    let text = "[process.x]\nrun = \"for i in 1 2 3 4 5 6 7 8 9; do echo $i > file; sleep 0.1; done; true\"\n\
                [[fault]]\ndo = \"fail\"\nerror = \"EIO\"\ncalls = [\"openat\"]\npath = \"{dir}\"\ntimes = 1\non = \"x\"\n\
                at = \"1ms\"\nrepeat = 3\npause = \"200ms\"\n";
    assert_eq!(passes(text).text().matches("EIO x-1").count(), 3);
}

#[test]
fn a_program_that_ends_early_has_not_run_out_of_time() {
    let text = "fails = [\"timeout\"]\ntimeout = \"30s\"\n[process.x]\nrun = \"exit 9\"\nready = { stdout = \"never\" }\n";
    fails(text, "x-1 ended with code 9 before it was ready");
}

#[test]
fn an_item_that_comes_again_without_a_fault_is_doubled() {
    let programs = "[process.p]\nrun = \"echo PUT 1; echo PUT 2\"\n[process.c]\nrun = \"echo GOT 1; echo GOT 2; echo DONE 2\"\n\
                    [process.d]\nafter-end = \"c\"\nrun = \"echo GOT 1; echo DONE 1\"\n";
    let expect = "lost = 0\nduplicated = \"redelivered\"";
    fails(&mapped(programs, expect), "items received again: 1 that no process had in hand");
    let other =
        "[process.y]\nrun = \"exec sleep 1000\"\n[[fault]]\ndo = \"kill\"\non = \"y\"\nat = \"1ms\"\n";
    fails(
        &mapped(&format!("{programs}{other}"), expect),
        "items received again: 1 that no process had in hand",
    );
    let killed = programs.replace("echo DONE 2", "echo DONE 2; exec sleep 1000");
    let kill = "[[fault]]\ndo = \"kill\"\non = \"c\"\nat = { line = \"DONE 2\", of = \"c\" }\n";
    passes(&mapped(&format!("{killed}{kill}"), expect));
}

#[test]
fn a_file_that_several_instances_write_is_read_once() {
    let text = "[process.x]\ncount = 2\nrun = \"echo PUT {n} >> log; echo GOT {n} >> log\"\n\
                [history]\nfiles = [\"log\"]\nsent = 'PUT (?<id>\\w+)'\nreceived = 'GOT (?<id>\\w+)'\n\
                [expect]\nlost = 0\nduplicated = 0\nreceived = 2\n";
    passes(text);
}

#[test]
fn an_item_that_is_sent_again_is_one_item() {
    let programs = "[process.p]\nrun = \"echo PUT 1; echo PUT 1; echo PUT 2\"\n\
                    [process.c]\nrun = \"echo GOT 1; echo DONE 1; echo GOT 2; echo DONE 2\"\n";
    passes(&mapped(programs, "lost = 0\nduplicated = 0\nunexpected = 0\nreceived = 2"));
}

#[test]
fn an_item_may_be_acknowledged_by_another_process() {
    let programs = "[process.p]\nrun = \"echo PUT 1; echo DONE 1\"\n[process.c]\nrun = \"echo GOT 1\"\n";
    passes(&mapped(programs, "lost = 0\nduplicated = 0"));
}

#[test]
fn a_process_without_environment_and_group_is_left() {
    // Where no control group can be made, such a process is not found.
    let group = std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ");
    if !group || !nix::unistd::geteuid().is_root() {
        return;
    }
    let text =
        "[process.x]\nrun = \"setsid env -i sleep 1000 & sleep 0.1\"\n[expect]\nleftovers = \"none\"\n";
    fails(text, "is left: sleep 1000");
}

#[test]
fn a_ready_line_after_much_output_counts() {
    let text = "[process.x]\nrun = \"head -c 6000000 /dev/zero | tr '\\\\0' '\\\\n'; echo ready\"\n\
                ready = { stdout = \"ready\" }\n";
    passes(text);
    passes(&text.replace("'\\\\n'", "x"));
}

#[test]
fn a_restarted_process_must_become_ready() {
    let text = "[process.s]\nrun = \"if [ -e second ]; then sleep 0.2; exit 7; fi; echo ready; exec sleep 1000\"\n\
                ready = { stdout = \"ready\" }\nbackground = true\n\
                [process.c]\nafter = \"s\"\nrun = \"touch second; sleep 0.1\"\n\
                [[fault]]\ndo = \"restart\"\non = \"s\"\nat = \"50ms\"\n";
    fails(text, "s-2 ended with code 7 before it was ready");
}

#[test]
fn files_of_other_bytes_are_not_equal() {
    let text = |right: &str| {
        format!(
            "[process.x]\nrun = '''printf '\\377\\n' > a; printf '{right}' > b'''\n[expect]\nequal = [[\"a\", \"b\"]]\n"
        )
    };
    passes(&text(r"\377\n"));
    passes(&text(r"\377"));
    for right in [r"\376\n", r"\377\r\n", r"\377\n\n"] {
        fails(&text(right), "the sorted lines of a and b differ");
    }
}

#[test]
fn the_least_set_of_faults_fails_in_the_same_way() {
    let text = "[process.x]\nrun = \"trap 'exit 1' TERM; echo ready; sleep 0.3; true\"\nready = { stdout = \"ready\" }\n\
                [[fault]]\ndo = \"term\"\non = \"x\"\nat = \"10ms\"\n[expect]\nexit = 0\nstdout = { x = \"recovered\" }\n";
    let ended = runs(&text.replace("exit = 0", "exit = { x = 0 }"), 10);
    assert!(ended.text().contains("fails with line 4"), "{}", ended.text());
}

#[test]
fn a_missing_folder_or_input_is_named() {
    for (key, name) in [("cwd", "cwd = \"{dir}/nowhere\""), ("stdin", "stdin = { file = \"{dir}/nowhere\" }")]
    {
        let ended = runs(&format!("[process.x]\nrun = [\"true\"]\n{name}\n"), 1);
        assert!(ended.stderr.contains("nowhere\" does not exist"), "{key}: {}", ended.stderr);
    }
}

#[test]
fn a_fault_with_every_can_be_left_out() {
    let text = "[process.x]\nrun = \"echo done\"\n[[fault]]\ndo = \"kill\"\non = \"x\"\nevery = \"syscall\"\n\
                [expect]\nstdout = { x = \"done\" }\n";
    let bench = Bench::new(text);
    let ended = bench.run(&["--point", "2"]).with_code(10);
    assert!(ended.text().contains("fails with line 3"), "{}", ended.text());
    let ended = bench.run(&["--point", "2", "--omit", "3"]).succeeds();
    assert!(!ended.text().contains("kill x-1"), "{}", ended.text());
    let wrong = bench.run(&["--omit", "4"]).with_code(2);
    assert!(
        wrong.stderr.contains("--omit 4: no fault begins in this line; expected one of 3"),
        "{}",
        wrong.stderr
    );
    let wrong = Bench::new("[process.x]\nrun = \"true\"\n").run(&["--point", "1"]).with_code(2);
    assert!(wrong.stderr.contains("--point 1: no fault has every"), "{}", wrong.stderr);
}

#[test]
fn one_name_for_items_of_two_processes_is_noticed() {
    let programs =
        "[process.p]\ncount = 2\nrun = \"echo PUT 1\"\n[process.c]\nrun = \"echo GOT 1; echo DONE 1\"\n";
    is_open(&mapped(programs, "lost = 0"), "two processes sent an item \"1\"");
}

#[test]
fn what_a_run_waits_for_and_what_a_mapping_lacks_is_named() {
    let unready =
        "timeout = \"300ms\"\n[process.s]\nrun = \"exec sleep 1000\"\nready = { stdout = \"never\" }\n";
    fails(unready, "not over after 300ms, not ready: s-1");
    let other = mapped("[process.p]\nrun = \"echo SENT 1\"\n", "lost = 0");
    is_open(&other, "no line that was read matches a pattern of [history]");
    let late = "[process.x]\nrun = \"true\"\n[[fault]]\ndo = \"kill\"\non = \"x\"\nat = \"1h\"\n";
    is_open(late, "the run was over before its moment");
}

#[test]
fn a_program_that_writes_without_end_does_not_keep_a_run_from_its_limit() {
    let text = "timeout = \"500ms\"\n[process.x]\nrun = \"yes no | head -c 50000000; exec sleep 1000\"\nready = { stdout = \"never\" }\n\
                [expect]\nwithin = \"20s\"\n";
    fails(text, "not over after 500ms, not ready: x-1");
}

#[test]
fn a_shared_file_without_acknowledgements_says_nothing_about_what_was_in_hand() {
    let text = "[process.p]\nrun = \"echo PUT 1; echo PUT 2\"\n\
                [process.x]\nrun = \"if [ -e log ]; then echo GOT 2 >> log; else echo GOT 1 >> log; echo one; exec sleep 1000; fi\"\n\
                [[fault]]\ndo = \"restart\"\non = \"x\"\nat = { line = \"one\", of = \"x\" }\n\
                [history.p]\nsent = 'PUT (?<id>\\w+)'\n[history.x]\nfiles = [\"log\"]\nreceived = 'GOT (?<id>\\w+)'\n\
                [expect]\nduplicated = \"redelivered\"\n";
    is_open(text, "[history] reads a file of x-2 that another process writes, too");
}
