//! What the values of a file mean.

use std::time::Duration;

use nix::libc::{EIO, ENOSPC};
use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};

use super::super::{
    Action, Duplicated, Exit, FaultSpec, Lasting, Ready, Run, Scenario, Signal, Stdin, When, Who,
};
use super::right;

const PROCESS: &str = "[process.p]\nrun = \"true\"\ncount = 3\n[ring.jobs]\n";

fn fault(text: &str) -> FaultSpec {
    right(&format!("{PROCESS}[[fault]]\non = \"p\"\n{text}")).faults.remove(0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_scenario_without_a_name_has_that_of_its_file_and_default_values() {
    let scenario = right("[process.p]\nrun = \"true\"\n");
    assert_eq!((&scenario.name[..], scenario.timeout), ("s", seconds(60)));
    assert_eq!(scenario.path.to_str(), Some("scenarios/s.toml"));
    let program = &scenario.programs[0];
    assert_eq!((program.count, program.background), (1, false));
    assert_eq!(program.stop, (Signal(SIGTERM), seconds(5)));
    assert!(matches!(program.stdin, Stdin::Null) && program.ready.is_none());
    assert!(matches!(&program.run, Run::Shell(line) if line == "true"));
}

#[test]
fn programs_of_all_kinds_keep_the_order_of_the_file() {
    let text = "[consumer.c]\n[process.a]\nrun = [\"x\", \"\"]\n[producer.p]\nitems = 5\n[process.b]\nrun = \"y\"\n[ring.r]\n";
    let scenario = right(text);
    let names: Vec<_> = scenario.programs.iter().map(|program| &program.name[..]).collect();
    assert_eq!(names, ["c", "a", "p", "b"]);
    assert!(matches!(&scenario.programs[1].run, Run::Arguments(arguments) if arguments[..] == ["x", ""]));
}

#[test]
fn options_of_rings_producers_and_consumers_become_arguments() {
    let scenario = right(
        r#"
        [ring.jobs]
        capacity = 64
        exclusive = true
        no-timestamps = false
        [ring.failed]
        [producer.p]
        ring = "jobs"
        items = 1_000
        size = "10..1K"
        rate = 0.5
        delay = "1ms..5ms"
        [producer.q]
        ring = "jobs"
        item = ["a", "-b"]
        [consumer.c]
        ring = "jobs"
        items = 5
        follow = true
        [consumer.w]
        ring = "jobs"
        run = ["./work", "--fast", "{}"]
        jobs = 4
        dead-letter = "failed"
        joblog = "{dir}/log"
        coprocess = false
        [consumer.s]
        ring = "jobs"
        run = "work {} | sort"
        coprocess = true
        "#,
    );
    assert_eq!(scenario.rings[0].options, ["--capacity=64", "--exclusive"]);
    assert!(scenario.rings[1].options.is_empty());
    let arguments = |number: usize| match &scenario.programs[number].run {
        Run::Producer(arguments) | Run::Consumer(arguments) => arguments.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(arguments(0), ["{ring.jobs}", "--rate=0.5", "--delay=1ms..5ms"]);
    assert!(matches!(scenario.programs[0].stdin, Stdin::Items { count: 1000, size: (10, 1024) }));
    assert!(matches!(&scenario.programs[0].ready, Some(Ready::Attached(ring)) if ring == "jobs"));
    assert_eq!(arguments(1), ["{ring.jobs}", "--item=a", "--item=-b"]);
    assert_eq!(arguments(2), ["{ring.jobs}", "--count=5", "--follow"]);
    let worker = ["{ring.jobs}", "--jobs=4", "--dead-letter={ring.failed}", "--joblog={dir}/log"];
    assert_eq!(arguments(3), [&worker[..], &["--", "./work", "--fast", "{}"]].concat());
    assert_eq!(arguments(4), ["{ring.jobs}", "--shell", "--coprocess", "--", "work {} | sort"]);
}

#[test]
fn a_process_is_ready_and_ends_as_the_file_says() {
    let ready = |text: &str| {
        right(&format!("[process.p]\nrun = \"x\"\nready = {{ {text} }}\n")).programs.remove(0).ready.unwrap()
    };
    assert!(matches!(ready("stdout = 'on \\d+'"), Ready::Stdout(pattern) if pattern.is_match("on 80")));
    assert!(matches!(ready("stderr = 'x'"), Ready::Stderr(_)));
    assert!(matches!(ready("file = '{dir}/x'"), Ready::File(file) if file == "{dir}/x"));
    assert!(
        matches!(ready("tcp = '127.0.0.1:{port.http}'"), Ready::Tcp(to) if to == "127.0.0.1:{port.http}")
    );
    assert!(matches!(ready("tcp = '[::1]:80'"), Ready::Tcp(_)));
    assert!(matches!(ready("fd = 3"), Ready::Descriptor(3)));
    let stop = |text: &str| right(&format!("[process.p]\nrun = \"x\"\nstop = {text}\n")).programs[0].stop;
    assert_eq!(stop("\"INT\""), (Signal(SIGINT), seconds(5)));
    assert_eq!(stop("{ signal = \"SIGKILL\", grace = 2 }"), (Signal(SIGKILL), seconds(2)));
    let limit = |text: &str| right(&format!("[process.p]\nrun = \"x\"\n{text}\n")).programs[0].output_limit;
    assert_eq!(limit(""), Some(1 << 30));
    assert_eq!(limit("output-limit = \"64M\""), Some(64 << 20));
    assert_eq!(limit("output-limit = 0"), Some(0));
    assert_eq!(limit("output-limit = \"none\""), None);
}

#[test]
fn a_fault_strikes_the_instances_that_the_file_says() {
    for (text, who) in [
        ("", Who::Some(1)),
        ("who = \"one\"\n", Who::Some(1)),
        ("who = 2\n", Who::Some(2)),
        ("who = \"all\"\n", Who::All),
    ] {
        assert_eq!(fault(&format!("do = \"kill\"\nat = 1\n{text}")).who, who, "{text}");
    }
    let numbered = format!("{PROCESS}[[fault]]\non = \"p.3\"\ndo = \"kill\"\nat = \"1s\"\n");
    let numbered = right(&numbered).faults.remove(0);
    assert_eq!((&numbered.on[..], numbered.who, numbered.line), ("p", Who::Number(3), 5));
    assert_eq!(numbered.text, "kill p.3 at 1s");
    assert!(numbered.must_strike);
}

#[test]
fn what_a_fault_does_lasts_as_long_as_the_file_says() {
    let action = |text: &str| fault(text).action;
    assert!(matches!(action("do = \"stop\"\nat = 1\n"), Action::Stop(None)));
    assert!(
        matches!(action("do = \"stop\"\nfor = 2\nat = 1\n"), Action::Stop(Some(time)) if time == seconds(2))
    );
    assert!(matches!(action("do = \"term\"\nat = 1\n"), Action::Send(Signal(SIGTERM))));
    assert!(matches!(action("do = \"signal\"\nsignal = \"INT\"\nat = 1\n"), Action::Send(Signal(SIGINT))));
    assert!(matches!(action("do = \"restart\"\nat = 1\n"), Action::Restart(Duration::ZERO)));
    assert!(matches!(action("do = \"memory\"\nlimit = \"64M\"\nat = 1\n"), Action::Memory(0x400_0000)));
    let fail = |text: &str| match action(text) {
        Action::Fail { errno, calls, path, lasting } => (errno, calls, path, lasting),
        other => panic!("{other:?}"),
    };
    let (errno, calls, path, lasting) = fail("do = \"full-disk\"\nat = 1\n");
    assert_eq!((errno, path.as_deref(), lasting), (ENOSPC, Some("{dir}"), Lasting::Always));
    assert!(calls.contains(&"write".into()) && !calls.contains(&"read".into()));
    let eio = "do = \"fail\"\nerror = \"EIO\"\ncalls = [\"read\"]\n";
    let last = |text: &str| fail(&format!("{eio}{text}")).3;
    assert_eq!(fail(&format!("{eio}at = 1\n")), (EIO, vec!["read".into()], None, Lasting::Always));
    assert_eq!(last("at = 1\ntimes = 3\n"), Lasting::Times(3));
    assert_eq!(last("at = 1\nfor = 3\n"), Lasting::For(seconds(3)));
    assert_eq!(last("at = { syscall = 3 }\n"), Lasting::Times(1));
    assert_eq!(last("every = \"syscall\"\n"), Lasting::Times(1));
}

#[test]
fn a_fault_strikes_at_the_moment_that_the_file_says() {
    let at = |text: &str| fault(&format!("do = \"kill\"\n{text}\n"));
    assert!(matches!(at("at = \"1s..2s\"").when, When::After(a, b) if (a, b) == (seconds(1), seconds(2))));
    let line = at("at = { line = \"^done\" }");
    assert!(matches!(&line.when, When::Line { of, nth: 1, .. } if of == "p"));
    assert_eq!(line.text, "kill p at a line of p like \"^done\"");
    let done = at("at = { acknowledged = 9 }");
    assert!(matches!(&done.when, When::Acknowledged { ring, items: 9 } if ring == "jobs"));
    assert!(matches!(at("at = { held = \"jobs\" }").when, When::Held(_)));
    let call = at("at = { syscall = 2, calls = [\"read\"] }");
    assert!(matches!(&call.when, When::Syscall { nth: 2, calls } if calls[..] == ["read"]));
    assert_eq!(call.text, "kill p at system call 2 of read");
    assert!(matches!(at("at = { instruction = 7 }").when, When::Instruction(7)));
    let every = at("every = { syscall = [\"write\"] }\nmax = 9\nwithin = \"2s\"");
    assert!(matches!(&every.when, When::Every { instructions: false, calls, max: 9, within }
        if calls[..] == ["write"] && *within == seconds(2)));
    assert!(matches!(at("every = \"instruction\"").when, When::Every { instructions: true, max: 100, .. }));
    assert_eq!(at("at = 1\nrepeat = 5\npause = 2").repeat, (5, seconds(2)));
    // The calls that fail are the ones that are counted.
    let failing = fault("do = \"fail\"\nerror = \"EIO\"\ncalls = [\"read\"]\nat = { syscall = 3 }\n");
    assert!(matches!(&failing.when, When::Syscall { calls, .. } if calls[..] == ["read"]));
    assert_eq!(failing.text, "fail read with EIO in p at system call 3 of read");
}

fn expecting(text: &str) -> Scenario {
    right(&format!("{PROCESS}[expect]\n{text}\n"))
}

#[test]
fn expectations_are_read_as_the_file_says() {
    let all = expecting("exit = [0, \"KILL\"]").expect.exit;
    assert_eq!(all["*"], [Exit::Code(0), Exit::Signal(Signal(SIGKILL))]);
    let named = expecting("exit = { p = 3, \"*\" = [0] }").expect.exit;
    assert_eq!((&named["p"][..], &named["*"][..]), (&[Exit::Code(3)][..], &[Exit::Code(0)][..]));
    assert_eq!(expecting("duplicated = 2").expect.duplicated, Some(Duplicated::AtMost(2)));
    assert_eq!(expecting("duplicated = \"redelivered\"").expect.duplicated, Some(Duplicated::Redelivered));
    assert_eq!(expecting("lost = 0").expect.lost, Some(0));
    assert_eq!(expecting("").expect.lost, None);
    assert_eq!(expecting("leftovers = \"none\"").expect.leftovers, Some(Vec::new()));
    assert_eq!(expecting("leftovers = { except = [\"x\"] }").expect.leftovers, Some(vec!["x".into()]));
    let latency = expecting("latency = { p50 = 1, \"p99.9\" = 2, max = 3 }").expect.latency;
    assert_eq!(latency, [(50.0, seconds(1)), (99.9, seconds(2)), (100.0, seconds(3))]);
    assert_eq!(expecting("equal = [[\"a\", \"{dir}/b\"]]").expect.equal, [("a".into(), "{dir}/b".into())]);
    assert_eq!(expecting("stdout = { p = [\"a\", \"b\"] }").expect.stdout["p"].len(), 2);
}

#[test]
fn a_history_is_for_all_programs_or_for_one() {
    let history =
        right(&format!("{PROCESS}[history]\nsent = \"(?<id>a)\"\n[history.p]\nreceived = \"(?<id>b)\"\n"));
    let [all, one] = &history.history[..] else { panic!("{:?}", history.history) };
    assert!(all.of.is_empty() && all.sent.is_some() && all.received.is_none());
    assert!(one.of == ["p"] && one.sent.is_none() && one.received.is_some());
}

#[test]
fn placeholders_of_rings_are_checked_and_other_braces_stay() {
    let text =
        "[ring.jobs]\n[process.p]\nrun = ['awk', '{ print $1 }', '{ring.jobs}', '{n}{{x.y}}{', '${a}']\n";
    assert!(
        matches!(&right(text).programs[0].run, Run::Arguments(arguments) if arguments[1] == "{ print $1 }")
    );
}
