//! The reports: the table, TAP, JSON and JUnit's XML, each read again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus};

use super::Bench;
use crate::support::terminal::Terminal;
use crate::support::{Ended, Run, wait_until};

/// A name that each form has to escape.
const ODD: &str = "odd \"name\" 'x' <&> # 1 \\ \u{1b}[31m\n\u{202e}]]>";

const PASSES: &str = "[process.x]\nrun = \"true\"\n";
const FAILS: &str = "[process.x]\nrun = \"echo to stdout; echo 'to stderr: 1' >&2; exit 3\"\n";
const SKIPPED: &str = "needs = [\"no-such-program\"]\n[process.x]\nrun = \"true\"\n";
const BROKEN: &str = "[process.x]\nrun = [\"/no/such/program\"]\n";
const OPEN: &str =
    "[process.x]\nrun = \"true\"\n[[fault]]\ndo = \"kill\"\non = \"x\"\nat = \"1h\"\n[expect]\nexit = 0\n";

/// A folder with a scenario of each verdict; that of `scenario.toml` fails, and has an odd name.
fn all_verdicts() -> Bench {
    let bench = Bench::new(&format!("name = {}\n{FAILS}", serde_json::to_string(ODD).unwrap()));
    for (name, text) in [("passes", PASSES), ("skipped", SKIPPED), ("broken", BROKEN), ("open", OPEN)] {
        fs::write(bench.path(&format!("{name}.toml")), text).unwrap();
    }
    bench
}

/// Runs all of them; the program that is missing makes the code 2.
fn run_all(bench: &Bench, arguments: &[&str]) -> Ended {
    let files = ["passes.toml", "skipped.toml", "broken.toml", "open.toml"];
    bench.command(&files).args(arguments).run().with_code(2)
}

/// The text has no character that controls a terminal, but for ends of lines.
#[track_caller]
fn is_plain(text: &str) {
    let steers = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{2028}'..='\u{202e}');
    assert!(!text.contains(steers), "{text:?}");
}

#[test]
fn the_table_describes_what_did_not_pass() {
    let bench = all_verdicts();
    let ended = run_all(&bench, &["--seed", "5"]);
    let text = ended.text();
    is_plain(text);
    for (row, count) in
        [("passed ", 1), ("failed ", 1), ("inconclusive ", 1), ("skipped ", 1), ("broken ", 1)]
    {
        assert_eq!(text.lines().filter(|line| line.starts_with(row)).count(), count, "{row}: {text}");
    }
    for part in [
        "x-1 ended with code 3, expected code 0",
        "  stderr of x-1:\n    to stderr: 1\n",
        "  ends: code 3: x-1\n",
        "no-such-program was not found in PATH",
        "the run was over before its moment",
        "  again: ringctl test scenario.toml --seed 5\n",
        "1 passed, 1 failed, 1 inconclusive, 1 broken, 1 skipped; seed 5\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(text.lines().last().unwrap().starts_with("3 runs in "), "{text}");
}

/// What a TAP report has of a test point: whether it is ok, its description, its directive and its YAML block.
#[derive(Debug)]
struct Point {
    is_ok: bool,
    name: String,
    directive: String,
    yaml: BTreeMap<String, String>,
}

/// Reads TAP 13, and checks its form: version, numbers, plan at the end. The second value: the report bailed out.
#[track_caller]
fn read_tap(text: &str) -> (Vec<Point>, bool) {
    is_plain(text);
    let mut lines = text.lines().peekable();
    assert_eq!(lines.next(), Some("TAP version 13"));
    let (mut points, mut bailed_out, mut plan) = (Vec::new(), false, None);
    while let Some(line) = lines.next() {
        assert_eq!(plan, None, "after the plan: {line}");
        if line.starts_with("Bail out!") {
            bailed_out = true;
            continue;
        }
        if let Some(last) = line.strip_prefix("1..") {
            plan = Some(last.parse::<usize>().unwrap());
            continue;
        }
        let (is_ok, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ").unwrap_or_else(|| panic!("not TAP: {line:?}"))),
        };
        let (number, rest) = rest.split_once(" - ").unwrap();
        assert_eq!(number.parse(), Ok(points.len() + 1));
        let (name, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
        let mut yaml = BTreeMap::new();
        if lines.next_if_eq(&"  ---").is_some() {
            while let Some(line) = lines.next().filter(|line| *line != "  ...") {
                let (key, value) = line.strip_prefix("  ").unwrap().split_once(':').unwrap();
                let mut value = value.trim_start().to_string();
                if value == "|" {
                    value.clear();
                    while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                        value += &format!("{}\n", &line[4..]);
                    }
                } else if value.starts_with('"') {
                    value = serde_json::from_str(&value).unwrap();
                }
                yaml.insert(key.to_string(), value);
            }
        }
        // A number sign that is no directive is escaped.
        let name = name.replace("\\#", "#").replace("\\\\", "\\");
        points.push(Point { is_ok, name, directive: directive.into(), yaml });
    }
    assert_eq!(plan, Some(points.len()), "{text}");
    (points, bailed_out)
}

#[test]
fn tap_has_a_point_for_each_run() {
    let bench = all_verdicts();
    let ended = run_all(&bench, &["--report", "tap", "--seed", "6"]);
    let (points, bailed_out) = read_tap(ended.text());
    assert!(!bailed_out && points.len() == 5, "{points:?}");
    let [odd, passes, skipped, broken, open] = &points[..] else { unreachable!() };
    assert_eq!(odd.name, "odd \"name\" 'x' <&> # 1 \\ \\u{1b}[31m\\n\\u{202e}]]>");
    assert_eq!((odd.is_ok, odd.yaml["severity"].as_str()), (false, "failed"));
    assert_eq!(odd.yaml["complaints"], "x-1 ended with code 3, expected code 0\n");
    assert_eq!(odd.yaml["last_output"], "stdout of x-1: to stdout\nstderr of x-1: to stderr: 1\n");
    assert_eq!(odd.yaml["again"], "ringctl test scenario.toml --seed 6");
    assert!(passes.is_ok && passes.name == "passes" && passes.yaml.contains_key("duration_ms"), "{passes:?}");
    assert!(
        skipped.is_ok && skipped.directive == "SKIP no-such-program was not found in PATH",
        "{skipped:?}"
    );
    assert!(!broken.is_ok && broken.yaml["message"].contains("No such file"), "{broken:?}");
    assert!(!open.is_ok && open.yaml["severity"] == "inconclusive", "{open:?}");
    assert!(open.yaml["inconclusive"].contains("did not strike"), "{open:?}");
    // What did not pass is on standard error, too; what passed is not.
    assert!(ended.stderr.contains("failed ") && !ended.stderr.contains("\npassed "), "{}", ended.stderr);
}

#[test]
fn a_test_that_passes_has_nothing_but_its_report() {
    let bench = Bench::new(PASSES);
    for form in ["tap", "json"] {
        bench.run(&["--report", form]).succeeds().quiet();
    }
    bench.run(&["--report", "junit=report.xml"]).succeeds().quiet();
    assert!(bench.run(&["--report", "junit=report.xml"]).text().starts_with("passed "));
}

#[test]
fn json_has_an_object_for_each_run() {
    let bench = all_verdicts();
    let ended = run_all(&bench, &["--report", "json", "--seed", "7"]);
    is_plain(ended.text());
    let rows = ended.json_lines();
    let verdicts: Vec<&str> = rows.iter().map(|row| row["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["failed", "passed", "skipped", "broken", "inconclusive"]);
    assert!(rows.iter().all(|row| row["schema"] == "ringpipe.test/1" && row["round"] == 1), "{rows:?}");
    let odd = &rows[0];
    assert_eq!(odd["scenario"], ODD);
    assert_eq!((&odd["seed"], &odd["file"]), (&7.into(), &"scenario.toml".into()));
    assert_eq!(odd["complaints"], serde_json::json!(["x-1 ended with code 3, expected code 0"]));
    let instance = serde_json::json!([{
        "name": "x-1", "code": 3, "signal": null, "struck": false, "unexpected": true
    }]);
    assert_eq!(odd["instances"], instance);
    let folder = Path::new(odd["folder"].as_str().unwrap());
    assert_eq!(fs::read_to_string(folder.join("x-1.stdout")).unwrap(), "to stdout\n");
    assert!(rows[1]["folder"].is_null(), "the folder of a run that passed is removed");
    assert!(rows[2]["reason"].as_str().unwrap().contains("no-such-program"));
    assert!(rows[4]["gaps"][0].as_str().unwrap().contains("did not strike"));
}

#[test]
fn json_has_faults_points_and_the_history() {
    let text = "[ring.r]\n[producer.p]\nitems = 50\n[consumer.c]\ncount = 2\ndelay = \"5ms\"\n\
                [[fault]]\ndo = \"restart\"\non = \"c.1\"\nat = { acknowledged = 5 }\n[expect]\nlost = 0\n";
    let row = Bench::new(text).run(&["--report", "json", "--keep", "kept"]).succeeds().json();
    let strike = &row["strikes"][0];
    assert_eq!(
        (&strike["action"], &strike["instance"], &strike["line"]),
        (&"restart".into(), &"c-1".into(), &7.into())
    );
    assert_eq!((&row["history"]["lost"], &row["history"]["sent"]), (&0.into(), &50.into()), "{row}");
    assert!(row["folder"].as_str().unwrap().ends_with("/kept/scenario"), "{row}");
    let ended = row["instances"].as_array().unwrap();
    assert!(
        ended.iter().any(|one| one["name"] == "c-1" && one["signal"] == 9 && one["struck"] == true),
        "{row}"
    );
    let every = "[process.x]\nrun = [\"/bin/true\"]\n[[fault]]\ndo = \"kill\"\non = \"x\"\nevery = \"syscall\"\nmax = 3\n";
    let bench = Bench::new(every);
    let rows = bench.run(&["--report", "json"]).succeeds().json_lines();
    assert!(rows[0]["points"].as_u64().unwrap() > 3 && rows[0]["point"].is_null(), "{rows:?}");
    let points: Vec<u64> = rows[1..].iter().map(|row| row["point"].as_u64().unwrap()).collect();
    assert!(points.len() == 3 && points[0] == 1 && points.iter().all(|point| *point >= 1), "{points:?}");
    assert!(rows[3]["again"].as_str().unwrap().ends_with(&format!(" --point {}", points[2])), "{rows:?}");
    let ended = bench.run(&[]).succeeds();
    assert_eq!(ended.lines().len(), 2, "a row and the totals: {}", ended.text());
    assert!(ended.lines()[0].contains("points 3 of ") && ended.lines()[0].ends_with(", all passed"));
}

/// The cases of all suites.
#[track_caller]
fn read_junit(path: &Path) -> Vec<TestCase> {
    let text = fs::read_to_string(path).unwrap();
    is_plain(&text);
    let report = Report::deserialize_from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(report.tests, report.test_suites.iter().map(|suite| suite.test_cases.len()).sum::<usize>());
    report.test_suites.into_iter().flat_map(|suite| suite.test_cases).collect()
}

/// Whether a case is a failure or an error, and of which type.
fn bad(case: &TestCase) -> Option<(NonSuccessKind, &str)> {
    match &case.status {
        TestCaseStatus::NonSuccess { kind, ty, .. } => Some((*kind, ty.as_ref().unwrap().as_str())),
        _ => None,
    }
}

#[test]
fn junit_has_a_case_for_each_run() {
    let bench = all_verdicts();
    run_all(&bench, &["--report", "junit=report.xml"]);
    let cases = read_junit(&bench.path("report.xml"));
    let [odd, passes, skipped, broken, open] = &cases[..] else { panic!("{cases:?}") };
    assert_eq!(odd.name.as_str(), "odd \"name\" 'x' <&> # 1 \\ \\u{1b}[31m\\n\\u{202e}]]>");
    assert_eq!(bad(odd), Some((NonSuccessKind::Failure, "failed")));
    let output = odd.system_out.as_ref().unwrap().as_str();
    let folder = output.lines().next().unwrap().strip_prefix("output: ").unwrap();
    assert!(Path::new(folder).join("x-1.stderr").exists() && output.contains("to stderr: 1"), "{output}");
    assert!(matches!(passes.status, TestCaseStatus::Success { .. }) && passes.time.is_some(), "{passes:?}");
    assert!(matches!(skipped.status, TestCaseStatus::Skipped { .. }), "{skipped:?}");
    assert_eq!(bad(broken), Some((NonSuccessKind::Error, "broken")));
    assert_eq!(bad(open), Some((NonSuccessKind::Error, "inconclusive")));
}

#[test]
fn the_command_that_repeats_a_run_is_one_for_a_shell() {
    let bench = Bench::new(PASSES);
    // Both faults are needed to fail, and a third one is left out.
    let text = "[process.x]\ncount = 2\nrun = \"echo ready; exec sleep 0.3\"\nready = { stdout = \"ready\" }\n\
                [[fault]]\ndo = \"kill\"\non = \"x.1\"\nat = \"1ms\"\n[[fault]]\ndo = \"kill\"\non = \"x.2\"\nat = \"1ms\"\n\
                [[fault]]\ndo = \"stop\"\nfor = \"1ms\"\non = \"x.2\"\nat = \"2ms\"\n[expect]\nexit = { x = 0 }\n";
    let name = "-it's a 'test' $(exit 1).toml";
    fs::write(bench.path(name), text).unwrap();
    let ended = Run::new(env!("CARGO_BIN_EXE_ringctl"))
        .args(&["test", "--omit", "13", "--seed", "9", "--", name])
        .env("TMPDIR", bench.folder.path())
        .current_dir(bench.folder.path())
        .run()
        .with_code(10);
    let again = ended.lines().into_iter().find_map(|line| line.strip_prefix("  again: ")).unwrap();
    assert!(again.ends_with(" --seed 9 --omit 13"), "{again}");
    let programs = Path::new(env!("CARGO_BIN_EXE_ringctl")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let repeated = Run::new("sh")
        .args(&["-c", again])
        .env("PATH", path)
        .env("TMPDIR", bench.folder.path())
        .current_dir(bench.folder.path())
        .run()
        .with_code(10);
    let complaints = |ended: &Ended| -> Vec<String> {
        ended.lines().into_iter().filter(|line| line.contains("expected")).map(str::to_string).collect()
    };
    assert_eq!(complaints(&ended), complaints(&repeated));
    assert_eq!(complaints(&ended).len(), 2, "{}", ended.text());
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let bench = Bench::new(PASSES);
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for form in ["tap", "json", "junit=report.xml"] {
        let ended = bench.command(&["--report", form]).stdout(full()).run().with_code(1);
        assert!(ended.stderr.contains("No space left on device"), "{form}: {}", ended.stderr);
    }
    let ended = bench.run(&["--report", "junit=/dev/full"]).with_code(1);
    assert!(ended.complaint().contains("writing \"/dev/full\": No space left"), "{}", ended.stderr);
    // A file that cannot be made is told before anything runs.
    let ended = bench.run(&["--report", "junit=no/such/folder/report.xml"]).with_code(1);
    assert!(ended.stdout.is_empty(), "{}", ended.text());
    let ended = bench.run(&["--report", "tap", "--report", "json"]).with_code(2);
    assert!(ended.complaint().contains("expected one of them"), "{}", ended.stderr);
}

#[test]
fn a_reader_that_leaves_changes_no_verdict() {
    for (text, code) in [(PASSES, 0), (FAILS, 10), (OPEN, 11)] {
        for form in ["tap", "json", "junit=report.xml"] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let bench = Bench::new(text);
            let ended = bench.command(&["--report", form]).stdout(writer).run().with_code(code);
            assert!(!ended.stderr.contains("roken pipe"), "{}", ended.stderr);
        }
    }
}

#[test]
fn reports_are_complete_when_the_test_is_interrupted() {
    let text = "[process.x]\nrun = \"touch begun; exec sleep 1000\"\n";
    for form in ["tap", "json"] {
        let bench = Bench::new(text);
        fs::write(bench.path("later.toml"), PASSES).unwrap();
        let arguments = ["later.toml", "--keep", "kept", "--report", form, "--report", "junit=report.xml"];
        let running = bench.command(&arguments).spawn();
        wait_until("the scenario runs", || bench.path("kept/scenario/dir/begun").exists());
        running.signal(libc::SIGINT);
        let ended = running.end().by_signal(libc::SIGINT).saying("interrupted");
        if form == "tap" {
            let (points, bailed_out) = read_tap(ended.text());
            let told: Vec<_> = points.iter().map(|point| (point.is_ok, point.directive.as_str())).collect();
            assert_eq!((told, bailed_out), (vec![(false, ""), (true, "SKIP interrupted")], true));
        } else {
            let rows = ended.json_lines();
            let verdicts: Vec<&str> = rows.iter().map(|row| row["verdict"].as_str().unwrap()).collect();
            assert_eq!(verdicts, ["interrupted", "skipped"]);
        }
        let cases = read_junit(&bench.path("report.xml"));
        assert_eq!(bad(&cases[0]), Some((NonSuccessKind::Error, "interrupted")));
        assert!(matches!(cases[1].status, TestCaseStatus::Skipped { .. }), "{cases:?}");
    }
}

#[test]
fn scenarios_after_the_first_that_fails_are_skipped_if_so_wanted() {
    let bench = Bench::new(FAILS);
    fs::write(bench.path("later.toml"), PASSES).unwrap();
    let arguments = ["later.toml", "--until-fail", "--repeat", "1", "--report", "json"];
    let rows = bench.run(&arguments).with_code(10).json_lines();
    assert_eq!((&rows[0]["verdict"], &rows[1]["verdict"]), (&"failed".into(), &"skipped".into()));
    assert_eq!(rows[1]["reason"], "an earlier run did not pass");
    // A scenario that is never run does not keep the others from an end.
    let bench = Bench::new(SKIPPED);
    assert_eq!(bench.run(&["--until-fail"]).succeeds().lines().len(), 2);
}

#[test]
fn many_runs_that_fail_alike_are_described_briefly() {
    let text = "[process.x]\nrun = [\"/bin/true\"]\n[[fault]]\ndo = \"kill\"\non = \"x\"\nevery = \"syscall\"\nmax = 5\n\
                [expect]\nexit = { x = 0 }\n";
    let ended = Bench::new(text).run(&[]).with_code(10);
    let count = |what: &str| ended.text().matches(what).count();
    assert_eq!((count("  again: "), count("  output: ")), (5, 3), "{}", ended.text());
    assert!(ended.text().contains("points 5 of ") && ended.text().contains(": 5 failed"), "{}", ended.text());
}

#[test]
fn a_terminal_shows_what_runs_and_keeps_lines_short() {
    for columns in [80, 40] {
        let terminal = Terminal::new(columns);
        let bench = Bench::new(
            "[process.some-program]\ncount = 12\nrun = \"echo ready; sleep 0.4; exit 3\"\nready = { stdout = \"ready\" }\n\
             [[fault]]\ndo = \"stop\"\nfor = \"1ms\"\nwho = 9\non = \"some-program\"\nat = \"1ms..9ms\"\n",
        );
        let run = bench.command(&["--seed", "3"]).env("TERM", "xterm").env("NO_COLOR", "1");
        run.stdout(terminal.side()).stderr(terminal.side()).run();
        terminal.wait_for("an expectation failed");
        let frames = terminal.frames();
        assert!(frames.iter().any(|line| line.contains("0 of 1  scenario: run 1")), "{frames:?}");
        for line in frames
            .iter()
            .filter(|line| !["  again: ", "  output: "].iter().any(|word| line.starts_with(word)))
        {
            assert!(line.chars().count() <= columns.into(), "{line:?}");
        }
        let text = frames.join("\n");
        for part in
            ["failed  ", "stop some-program-", "struck:", "again: ringctl test scenario.toml --seed 3"]
        {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }
}
