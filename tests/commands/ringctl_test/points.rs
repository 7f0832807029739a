//! A run for each system call or instruction, and the least set of faults.

use super::{Bench, fails, is_open, passes};

/// A program that is not ours, with a planted bug: it writes its new state over the old one in two steps, so that a kill
/// in between leaves half of it. With `safe`, it writes beside and renames.
fn save(safe: bool, fault: &str) -> String {
    let write = match safe {
        true => "printf 'state ' > new; printf 'complete\\n' >> new; mv new state",
        false => "printf 'state ' > state; printf 'complete\\n' >> state",
    };
    format!(
        r#"
[process.save]
run = '''echo 'state complete' > state; echo ready; {write}'''
[process.check]
after = "save"
run = '''while [ ! -e /proc/1/no ] && kill -0 $(cat pid) 2>/dev/null; do sleep 0.01; done; cat state'''
[[fault]]
do = "kill"
on = "save"
{fault}
[expect]
stdout = {{ check = "^state complete\n$" }}
"#
    )
    .replace("echo ready;", "echo $$ > pid; echo ready;")
    .replace("run = '''echo 'state", "ready = { stdout = \"ready\" }\nrun = '''echo 'state")
}

#[test]
fn a_planted_bug_is_found_at_its_system_call() {
    let every = "every = \"syscall\"\nmax = 400";
    let ended = Bench::new(&save(false, every)).run(&[]).with_code(10);
    let line = ended.lines().into_iter().find(|line| line.starts_with("failed")).unwrap();
    assert!(line.contains("before system call"), "{line}");
    assert!(ended.text().contains("standard output of check does not match"), "{}", ended.text());
}

#[test]
fn a_program_without_the_bug_passes_at_every_system_call() {
    // The points of the shell alone: a child that is killed makes the shell go on.
    let ended = passes(&save(true, "every = { syscall = [\"openat\", \"write\", \"renameat2\", \"rename\"] }"));
    assert!(ended.text().contains("points"), "{}", ended.text());
}

#[test]
fn a_point_that_failed_can_be_run_again() {
    let bench = Bench::new(&save(false, "every = \"syscall\"\nmax = 400"));
    let ended = bench.run(&[]).with_code(10);
    let again = ended.lines().into_iter().find_map(|line| line.trim().strip_prefix("again: ringctl test ")).unwrap();
    let arguments: Vec<&str> = again.split_whitespace().skip(1).collect();
    assert!(arguments.contains(&"--point"), "{again}");
    bench.run(&arguments).with_code(10);
}

#[test]
fn instructions_are_points_too() {
    let text = r#"
[process.x]
run = ["/bin/true"]
[[fault]]
do = "kill"
on = "x"
every = "instruction"
max = 5
[expect]
exit = { x = [0, "KILL"] }
"#;
    let ended = passes(text);
    assert!(ended.text().contains("points 5 of "), "{}", ended.text());
}

#[test]
fn a_chosen_point_that_is_never_reached_is_inconclusive() {
    let text = |at: &str| {
        format!("[process.x]\nrun = [\"/bin/true\"]\n[[fault]]\ndo = \"kill\"\non = \"x\"\nat = {at}\n")
    };
    is_open(&text("{ syscall = 100000 }"), "x-1 ended after");
    is_open(&text("{ syscall = 1, calls = [\"mount\"] }"), "x-1 ended after 0");
    passes(&text("{ syscall = 1 }"));
    passes(&text("{ instruction = 100 }"));
}

#[test]
fn the_least_set_of_faults_is_found() {
    let text = r#"
[process.x]
run = "echo ready; sleep 0.3; echo done"
ready = { stdout = "ready" }
[process.y]
count = 2
run = "sleep 0.3"
[[fault]]
do = "kill"
on = "y.1"
at = "1ms"
[[fault]]
do = "kill"
on = "x"
at = "20ms"
[[fault]]
do = "stop"
for = "10ms"
on = "y.2"
at = "5ms"
[expect]
stdout = { x = "done" }
"#;
    fails(text, "line 12");
    let ended = Bench::new(text).run(&["--omit", "12"]).succeeds();
    assert!(!ended.text().contains("kill x-1"), "{}", ended.text());
}

#[test]
fn runs_repeat_with_other_seeds_until_one_fails() {
    let text = "[process.x]\ncount = 4\nrun = \"exec sleep 0.2\"\n\
                [[fault]]\ndo = \"kill\"\non = \"x\"\nat = \"1ms\"\n[expect]\nexit = { x = [0, \"KILL\"] }\n";
    let bench = Bench::new(text);
    let ended = bench.run(&["--repeat", "3", "--seed", "1"]).succeeds();
    assert_eq!(ended.text().matches("kill x-").count(), 3, "{}", ended.text());
    let wrong = Bench::new(&text.replace("[0, \"KILL\"]", "0"));
    let ended = wrong.run(&["--repeat", "3", "--until-fail"]).with_code(10);
    assert_eq!(ended.lines().iter().filter(|line| line.starts_with("failed")).count(), 1, "{}", ended.text());
}
