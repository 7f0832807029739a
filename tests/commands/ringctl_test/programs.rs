//! What is started, when, and with what.

use super::{Bench, fails, passes, runs};
use crate::support::Run;

#[test]
fn placeholders_stand_for_the_things_of_a_run() {
    let text = r#"
[ring.jobs]
[process.x]
count = 2
run = ["/bin/sh", "-c", 'n=7; echo n={n} seed={seed} {{other}} ${n} {{n}} {} $E; echo {port.a} {port.a} {port.b} > port{n}; echo {dir}; pwd; ringctl inspect {ring.jobs} > ring; ls {file}/scenario.toml']
env = { E = "e{n}" }
[expect]
stdout = { x = ['n=1 seed=9 \{other\} 7 \{n\} \{\} e1', 'n=2 seed=9'] }
"#;
    let bench = Bench::new(text);
    bench.run(&["--seed", "9", "--keep", "kept"]).succeeds();
    let read = |file: &str| std::fs::read_to_string(bench.path(&format!("kept/scenario/{file}"))).unwrap();
    let lines = read("x-1.stdout");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[1], lines[2], "the working directory");
    let ports = read("dir/port1");
    let ports: Vec<u16> = ports.split_whitespace().map(|port| port.parse().unwrap()).collect();
    assert!(ports[0] == ports[1] && ports[0] != ports[2], "{ports:?}");
    assert!(read("dir/ring").contains("geometry"));
}

#[test]
fn a_descriptor_above_the_limit_is_told_with_the_limit() {
    let bench = Bench::new("[process.x]\nrun = \"true\"\nhistory = { fd = 200 }\n[expect]\nlost = 0\n");
    let line = format!("ulimit -n 100; exec {} test scenario.toml", env!("CARGO_BIN_EXE_ringctl"));
    let run = Run::new("/bin/sh").args(&["-c", &line]).env("TMPDIR", bench.folder.path());
    let ended = run.current_dir(bench.folder.path()).run().with_code(1);
    let expected = "starting x-1: descriptor 200 is above ulimit -n (100); expected a number up to 99";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}

#[test]
fn programs_are_started_when_others_are_ready() {
    let text = r#"
[process.client]
after = "server"
run = "cat state"
[process.server]
run = "sleep 0.1; echo open > state; echo listening; sleep 1000"
ready = { stdout = "^listening$" }
background = true
[expect]
stdout = { client = "open" }
"#;
    passes(text);
    let never = text.replace("echo listening", "exit 3").replace("sleep 1000", "true");
    fails(&never, "server-1 ended with code 3 before it was ready");
}

#[test]
fn input_is_a_text_a_file_or_generated_items() {
    let text = r#"
[process.text]
run = "cat"
stdin = "a {n}\n"
[process.file]
run = "cat"
stdin = { file = "{file}/scenario.toml" }
[process.items]
run = "cat"
stdin = { items = 100, size = "10..40" }
[expect]
stdout = { text = "^a 1\n$", file = "process.text", items = "items-1-9\\.*\n" }
"#;
    let bench = Bench::new(text);
    bench.run(&["--keep", "kept"]).succeeds();
    let items = std::fs::read_to_string(bench.path("kept/scenario/items-1.stdout")).unwrap();
    let sizes: std::collections::HashSet<usize> = items.lines().map(str::len).collect();
    assert_eq!(items.lines().count(), 100);
    assert!(sizes.len() > 10 && sizes.iter().all(|size| (10..=40).contains(size)), "{sizes:?}");
}

#[test]
fn a_program_that_is_missing_is_an_error_of_the_file() {
    let ended = runs("[process.x]\nrun = [\"no-such-program\"]\n", 2);
    assert!(ended.stderr.contains("starting x-1: No such file"), "{}", ended.stderr);
    let ended = passes("needs = [\"no-such-program\"]\n[process.x]\nrun = \"exit 1\"\n");
    assert!(ended.text().contains("no-such-program was not found in PATH"), "{}", ended.text());
}

#[test]
fn a_process_in_the_background_is_asked_to_end() {
    let with = |line: &str| {
        format!(
            "[process.x]\nrun = '''{line}'''\nbackground = true\nstop = {{ signal = \"INT\", grace = \"200ms\" }}\n\
             ready = {{ stdout = \"ready\" }}\n[process.y]\nafter = \"x\"\nrun = \"true\"\n"
        )
    };
    passes(&with("trap 'exit 0' INT; echo ready; while :; do sleep 0.01; done"));
    passes(&with("echo ready; exec sleep 1000"));
    fails(
        &with("trap '' INT; echo ready; while :; do sleep 0.01; done"),
        "x-1 did not end within 200ms of INT",
    );
    fails(&with("trap 'exit 7' INT; echo ready; while :; do sleep 0.01; done"), "x-1 ended with code 7");
}
