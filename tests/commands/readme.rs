//! The shell examples of README.md and docs/COMMANDS.md: each block is run as it stands, and does what the text around it
//! says. Every link between the documents leads to a file, and to a heading where it names one.
//!
//! A block without an entry in `checks!` fails. Programs that this test cannot run or must not, such as `cargo` and
//! `curl`, are stand-ins that note how they were called. Ring names get an ending, so that several runs at a time
//! do not meet.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::support::*;
use crate::svg::Svg;
use ringpipe::{Activity, Role};

/// Names of rings and semaphores in the examples.
const NAMES: [&str; 18] = [
    "jobs",
    "urls",
    "pictures",
    "words",
    "classic",
    "greedy",
    "batches",
    "built",
    "readings",
    "records",
    "answers",
    "broken",
    "pages",
    "failed",
    "results",
    "database",
    "connected",
    "ready",
];

/// The pages whose examples are run.
const PAGES: [&str; 4] = ["README.md", "docs/COMMANDS.md", "docs/WORKERS.md", "docs/TESTING.md"];

/// A test for each block, which is named by a part of it that no other block has. In the order of the pages.
macro_rules! checks {
    ($($part:literal => $check:ident,)*) => {
        const PARTS: &[&str] = &[$($part),*];
        mod block {
            $(#[test]
            fn $check() {
                super::$check(&super::Example::of($part));
            })*
        }
    };
}

checks! {
    "cargo install" => the_programs_are_installed_by_one_command,
    "target/release/ringctl run" => the_main_job_verifies_a_million_lines,
    "cargo test" => the_tests_are_one_command,
    "consumer jobs | sha256sum" => both_shells_see_the_same_lines,
    "for i in 1 2 3" => each_url_goes_to_one_worker,
    "--raw pictures" => a_copy_is_the_same_byte_for_byte,
    "ringctl peek jobs" => a_ring_is_kept_looked_at_and_removed,
    "ringctl requeue failed" => items_that_failed_come_back,
    "--block 64K" => each_consumer_has_a_share_of_the_blocks,
    "--fixed 16" => records_are_the_same_byte_for_byte,
    "drop-oldest" => the_oldest_are_dropped,
    "--resume jobs" => a_killed_producer_goes_on_where_it_was,
    "--until-consumers-gone" => a_producer_ends_with_its_consumers,
    "ringctl watch jobs" => items_are_watched_as_they_move,
    "on a terminal: k kills" => a_key_kills_a_worker,
    "kill.demo" => a_script_kills_a_worker,
    "film.demo" => a_script_is_recorded,
    "--sync polling" => disciplines_are_as_they_were_asked_for,
    "ringctl sem create" => a_script_waits_for_another,
    "ringctl bench --only" => the_machine_is_measured,
    "ringctl check" => logs_add_up_or_not,
    "run --chaos --output" => nothing_is_lost_by_kills,
    "--dead-letter broken" => what_fails_for_good_goes_to_another_ring,
    "ringctl requeue broken urls" => dead_letters_are_shown_and_brought_back,
    "--reply words" => answers_have_the_keys_of_their_items,
    "--coprocess" => a_standing_command_gets_all_lines,
    "--hold" => a_script_settles_its_item,
    "ringctl wait results" => all_is_done_when_the_ring_is_gone,
    "ringctl lock database" => tests_run_one_at_a_time,
    "ringctl barrier connected" => no_client_sends_before_all_are_connected,
    "export READY" => a_client_starts_when_the_server_is_ready,
    "history attempt" => a_shell_writes_a_history_to_a_descriptor,
}

/// A block, and a directory to run it in.
struct Example {
    text: String,
    dir: tempfile::TempDir,
    ending: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The blocks of a page that are marked as of this language.
fn blocks_of(text: &str, language: &str) -> Vec<String> {
    let beginning = format!("\n```{language}\n");
    let blocks = text.split(beginning.as_str()).skip(1);
    blocks.map(|rest| rest.split_once("```").expect("a block ends").0.to_string()).collect()
}

fn blocks() -> Vec<String> {
    PAGES.iter().flat_map(|name| blocks_of(&page(name), "sh")).collect()
}

/// What a link to a heading says, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The links of a page to other files of this repository.
fn links(text: &str) -> Vec<String> {
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let targets = ends.map(|(target, _)| target.to_string());
    targets.filter(|target| !target.starts_with("http") && !target.contains(char::is_whitespace)).collect()
}

#[test]
fn each_link_leads_to_a_file_and_to_a_heading_that_is_there() {
    let folders = ["", "docs", "docs/reliability", "peers"];
    let mut seen = 0;
    for folder in folders.map(|folder| root().join(folder)) {
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|ending| ending == "md")) {
            for link in links(&fs::read_to_string(&file).unwrap()) {
                seen += 1;
                let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
                let target = if path.is_empty() { file.clone() } else { folder.join(path) };
                assert!(target.exists(), "{}: no {path}", file.display());
                if !heading.is_empty() {
                    let text = fs::read_to_string(&target).unwrap();
                    let there = text.lines().filter(|line| line.starts_with('#'));
                    let there: Vec<_> = there.map(|line| anchor(line.trim_start_matches('#'))).collect();
                    assert!(there.iter().any(|other| other == heading), "{}: no {link}", file.display());
                }
            }
        }
    }
    assert!(seen > 20, "{seen} links");
}

#[test]
fn the_readme_stays_short() {
    let lines = page("README.md").lines().count();
    assert!(lines <= 180, "{lines} lines; what is longer belongs into docs/");
}

/// The script of the picture makes one, and the processes in it do what the picture is to show.
#[test]
fn the_picture_can_be_drawn_again() {
    let script = fs::read_to_string(root().join("docs/picture.demo")).unwrap();
    // The script says how it is played.
    let command = script.lines().find_map(|line| line.strip_prefix("#   ringctl ")).expect("a command");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("picture.svg");
    let words =
        command.split(' ').map(|word| if word == "docs/picture.svg" { out.to_str().unwrap() } else { word });
    let words: Vec<&str> = words.collect();
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&words).current_dir(root()).run().with_code(0);
    let captions: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("caption ")).collect();
    assert!(captions.len() > 2, "{captions:?}");
    for file in [out, root().join("docs/picture.svg")] {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.len() < 150_000, "{} bytes", text.len());
        let svg = Svg::read(&text);
        let (_, seconds) = svg.length().expect("an animation");
        assert!((8.0..=14.0).contains(&seconds), "{seconds}");
        for part in captions.iter().copied().chain(["k: kill -9 ", "has item ", "waits for items"]) {
            assert!(svg.has(part), "no {part:?} in {text}");
        }
        let last = svg.last_rows().join("\n");
        for part in ["killed 1 · again 1 · lost 0", " died, had item ", " got it after "] {
            assert!(last.contains(part), "no {part:?} in {last}");
        }
    }
}

#[test]
fn each_block_has_one_check_and_each_check_a_block() {
    let blocks = blocks();
    for block in &blocks {
        let checks = PARTS.iter().filter(|part| block.contains(**part)).count();
        assert_eq!(checks, 1, "{checks} checks for the example:\n{block}");
    }
    assert_eq!(blocks.len(), PARTS.len());
}

impl Example {
    /// The block with this part.
    fn of(part: &str) -> Self {
        let found = blocks().into_iter().find(|block| block.contains(part));
        let text = found.unwrap_or_else(|| panic!("no page has an example with {part:?}"));
        let ending = TestName::new("readme").name.clone();
        let mut example = Example { text: String::new(), dir: tempfile::tempdir().unwrap(), ending };
        example.text = example.with_own_names(&text);
        example
    }

    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.ending)
    }

    /// The text with each name that is a word of the shell for itself made this example's own.
    fn with_own_names(&self, text: &str) -> String {
        let mut out = String::new();
        for word in text.split_inclusive(|c: char| c.is_whitespace() || ";|&()".contains(c)) {
            let bare = word.trim_end_matches(|c: char| c.is_whitespace() || ";|&()".contains(c));
            out += &if NAMES.contains(&bare) { self.name(bare) + &word[bare.len()..] } else { word.into() };
        }
        out
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A script that is found before any program of its name.
    fn stand_in(&self, name: &str, script: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_script(path, &format!("#!/bin/sh\n{script}\n"));
    }

    fn shell(&self, script: &str) -> Run {
        let path = format!(
            "{}/bin:{}:{}",
            self.dir.path().display(),
            late::programs().display(),
            std::env::var("PATH").unwrap()
        );
        Run::new("bash").args(&["-c", script]).env("PATH", path).current_dir(self.dir.path())
    }

    /// Runs the block, and what it left in the background, to the end.
    fn run(&self) -> Ended {
        self.shell(&format!("{}\ncode=$?; wait; exit $code", self.text)).run()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        for name in NAMES.map(|name| self.name(name)) {
            let _ = fs::remove_file(format!("/dev/shm/{name}"));
            let _ = fs::remove_file(format!("/dev/shm/sem.{name}"));
        }
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn both_shells_see_the_same_lines(example: &Example) {
    let lines: Vec<&str> = example.text.lines().collect();
    assert_eq!(lines.len(), 2);
    let expected = example.shell("seq 1 2000000 | sha256sum").run().with_code(0);
    // "start them in either order"
    for order in [[0, 1], [1, 0]] {
        let first = example.shell(lines[order[0]]).spawn();
        let second = example.shell(lines[order[1]]).run().with_code(0);
        let first = first.end().with_code(0);
        assert_eq!([first.stdout, second.stdout].concat(), expected.stdout);
    }
}

fn the_programs_are_installed_by_one_command(example: &Example) {
    example.stand_in("bin/cargo", "echo \"$*\" > called");
    example.run().with_code(0);
    assert_eq!(example.read("called"), "install --locked --path .\n");
}

/// Not built here: the programs under test stand for what it builds.
fn the_main_job_verifies_a_million_lines(example: &Example) {
    // Fewer lines where all of them are logged and checked: the programs of the tests are slow.
    let built = env!("CARGO_BIN_EXE_ringctl");
    let link = format!(
        "mkdir -p target/release && cat > target/release/ringctl <<'END' && chmod +x target/release/ringctl
#!/bin/sh
case \"$*\" in *--chaos) exec {built} \"$@\" --lines 10_000 ;; *) exec {built} \"$@\" ;; esac
END"
    );
    example.stand_in("bin/cargo", &format!("echo \"$*\" > called && {link}"));
    let ended = example.run().with_code(0);
    assert_eq!(example.read("called"), "build --release\n");
    let text = ended.text();
    assert!(
        text.contains("sent      1,000,000 items") && text.contains("received  1,000,000 items"),
        "{text}"
    );
    assert!(text.contains("items/s") && text.contains("by 2 producer processes"), "{text}");
    assert!(text.contains("\nverified: every item was received exactly once\n"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("verified: 10,000 items, ") && last.ends_with(" delivered again"), "{text}");
    // What the page shows.
    let shown = blocks_of(&page("README.md"), "text").into_iter().find(|block| block.contains("verified:"));
    let shown = shown.expect("the expected output");
    let mut lines = text.lines();
    for line in shown.lines() {
        let without_figures = |line: &str| line.replace(|c: char| c.is_ascii_digit() || ".,".contains(c), "");
        let is_like_it = |other: &str| without_figures(other) == without_figures(line);
        assert!(lines.any(is_like_it), "not printed: {line}\n{text}");
    }
    // With files of one's own.
    example.file("a.txt", seq(1000));
    example.file("b.txt", "one\ntwo");
    let ended = example.shell("target/release/ringctl run -p 3 -c 3 a.txt b.txt").run().with_code(0);
    assert!(ended.text().contains("received  1,002 items"), "{}", ended.text());
}

/// This is one of these tests: a run of them shows whether they pass.
fn the_tests_are_one_command(example: &Example) {
    example.stand_in("bin/cargo", "echo \"$*\" > called");
    example.run().with_code(0);
    assert_eq!(example.read("called"), "test\n");
}

/// Nothing is fetched: a stand-in notes what it was to fetch, and for which worker.
fn each_url_goes_to_one_worker(example: &Example) {
    let urls: Vec<String> = (0..30).map(|n| format!("https://example.org/{n}")).collect();
    example.file("urls.txt", urls.join("\n"));
    example.stand_in("bin/curl", "[ \"$1\" = -fsSO ] && echo \"$2\" >> fetched.$PPID && sleep 0.05");
    example.run().with_code(0);
    let files = fs::read_dir(example.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    let shares: Vec<String> =
        files.iter().filter(|name| name.starts_with("fetched.")).map(|name| example.read(name)).collect();
    let fetched = shares.concat();
    assert_eq!(sorted(&fetched), sorted(&urls.join("\n")));
    assert_eq!(shares.len(), 3, "a worker had nothing: {shares:?}");
}

fn a_copy_is_the_same_byte_for_byte(example: &Example) {
    let bytes = noise(5_000_001);
    example.file("big.tar", &bytes);
    example.run().with_code(0);
    assert!(fs::read(example.dir.path().join("copy.tar")).unwrap() == bytes);
}

fn records_are_the_same_byte_for_byte(example: &Example) {
    let bytes = noise(16 * 50_000);
    example.file("log.bin", &bytes);
    example.run().with_code(0);
    assert!(fs::read(example.dir.path().join("copy.bin")).unwrap() == bytes);
}

fn each_consumer_has_a_share_of_the_blocks(example: &Example) {
    // 20 blocks: fewer than a consumer may take at a time.
    let words: String = (0..150_000).map(|n| format!("word{}\n", n * 7919 % 1000)).collect();
    example.file("huge.txt", &words);
    example.run().with_code(0);
    let (mut total, mut kinds) = (0, BTreeSet::new());
    for share in ["1", "2"] {
        let counts = example.read(share);
        assert!(!counts.is_empty(), "consumer {share} had nothing");
        for line in counts.lines() {
            let (count, word) = line.trim_start().split_once(' ').unwrap();
            total += count.parse::<u64>().unwrap();
            kinds.insert(word.to_string());
        }
    }
    // Whole lines: no word was cut in two.
    assert_eq!((total, kinds.len()), (150_000, 1000));
}

fn a_killed_producer_goes_on_where_it_was(example: &Example) {
    let lines = seq(500_000);
    example.file("huge.txt", &lines);
    let real = env!("CARGO_BIN_EXE_producer");
    example.stand_in("bin/producer", &format!("echo $$ > pid; exec {real} \"$@\""));
    let running = example.shell(&example.text).spawn();
    wait_until("the first lines", || {
        example.dir.path().join("copy.txt").metadata().is_ok_and(|copy| copy.len() > 0)
    });
    example.shell("kill -9 $(cat pid)").run().with_code(0);
    running.end().with_code(0);
    let first = example.read("copy.txt");
    example.run().with_code(0);
    let second = example.read("copy.txt");
    assert!(!second.is_empty(), "it had sent everything before it was killed");
    let mut all: Vec<&str> = first.lines().chain(second.lines()).collect();
    assert!(all.len() <= 500_001, "more than one item was sent twice: {}", all.len());
    all.dedup();
    assert!(all.into_iter().eq(lines.lines()), "something is missing");
}

fn a_producer_ends_with_its_consumers(example: &Example) {
    let text = example.text.replace("wait;", "wait $!; echo code $?;");
    let ended = example.shell(&text).run().with_code(0);
    assert_eq!(ended.text(), "y\n".repeat(10) + "code 5\n");
}

fn a_ring_is_kept_looked_at_and_removed(example: &Example) {
    let ended = example.run().with_code(0);
    let text = ended.text();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?} in {text}"));
    assert!(ended.stderr.contains("rounded up to 1,024 slots"), "{}", ended.stderr);
    // inspect, then peek with both items, then the consumer with the first.
    assert!(at("1,024 slots") < at("first") && at("first") < at("second"), "{text}");
    assert!(text.ends_with("\nfirst\n"), "{text}");
    assert!(!Path::new("/dev/shm").join(example.name("jobs")).exists());
    // "longer lines span several"
    let long = "x".repeat(1000);
    let ring = example.name("jobs");
    let script = format!("producer {ring} --item {long} && consumer {ring}");
    assert_eq!(example.shell(&script).run().with_code(0).text(), format!("{long}\n"));
}

fn items_that_failed_come_back(example: &Example) {
    let ended = example.run().with_code(0);
    let lines = ended.lines();
    assert_eq!(lines.len(), 10, "{}", ended.text());
    let jobs = example.name("jobs");
    for (n, shown) in lines[..6].chunks(2).enumerate() {
        // The producer's number is 0 or 1: the consumer may attach before it.
        let failed = [0, 1].map(|producer| format!("{jobs:?} {producer}:{n} failed once, exit 1, "));
        assert!(failed.iter().any(|failed| shown[0].starts_with(failed)), "{}", ended.text());
        assert_eq!(shown[1], (n + 1).to_string());
    }
    let told = format!("{}: 3 items sent to {jobs}", example.name("failed"));
    let mut last = lines[6..].to_vec();
    last.sort_unstable();
    assert_eq!(last, ["1", "2", "3", &told]);
}

fn items_are_watched_as_they_move(example: &Example) {
    let ring = TestName::named(example.name("jobs")).stays();
    example.shell(&format!("ringctl create {} --capacity 1024", ring.name)).run().with_code(0);
    // Not on a terminal here, so it prints sentences.
    let watching = example.shell(&example.text).spawn();
    wait_until("a sentence about an item", || {
        ring.send(&["seen"]);
        thread::sleep(Duration::from_millis(50));
        watching.has_printed("wrote item")
    });
    example.shell(&format!("ringctl rm {}", ring.name)).run().with_code(0);
    watching.end().with_code(0);
}

fn a_key_kills_a_worker(example: &Example) {
    let terminal = terminal::Terminal::new(80);
    let run = example.shell(&example.text).env("TERM", "xterm");
    let running = run.stdin(terminal.side()).stdout(terminal.side()).spawn();
    terminal.wait_for("has item");
    terminal.type_keys("k");
    terminal.wait_for("got it after");
    terminal.type_keys("q");
    running.end().with_code(0);
    terminal.wait_for("0 lost");
}

fn a_script_is_recorded(example: &Example) {
    let ended = example.run().with_code(0);
    assert!(ended.text().contains(" 1 process killed, ") && ended.text().ends_with(" 0 lost\n"));
    let svg = Svg::read(&example.read("film.svg"));
    let (_, seconds) = svg.length().expect("an animation");
    assert!(seconds == 6.0 && svg.has(" got it after "), "{svg:?}");
}

fn a_script_kills_a_worker(example: &Example) {
    example.run().with_code(0);
    let picture = example.read("picture.txt");
    assert!(picture.contains(", 1 process killed, "), "{picture}");
    assert!(picture.contains("got it after") && picture.lines().count() > 30, "{picture}");
}

/// The last line takes a minute: a stand-in has it measure for a moment.
fn disciplines_are_as_they_were_asked_for(example: &Example) {
    short_bench(example);
    let ended = example.run().with_code(0);
    for discipline in ringpipe::Discipline::ALL {
        assert!(ended.text().contains(discipline.name()), "{}", ended.text());
    }
    for (name, expected) in [("classic", "semaphore"), ("greedy", "polling"), ("batches", "monitor")] {
        let ring = ringpipe::Ring::open(&example.name(name)).unwrap();
        assert_eq!(ring.discipline().to_string(), expected);
    }
    // "make 5, then take 5"
    let ring = TestName::named(example.name("batches")).stays();
    let mut making = producer(&ring, &[]).open_input().spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    let taking = consumer(&ring, &["-n", "5"]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    let mut make = |items: &str| making.stdin.as_mut().unwrap().write_all(items.as_bytes()).unwrap();
    make("1\n2\n3\n4\n");
    wait_until("four items", || ring.ready() == 4);
    assert!(!taking.has_printed("1"));
    make("5\n");
    assert_eq!(taking.end().with_code(0).text(), seq(5));
}

fn short_bench(example: &Example) {
    let real = env!("CARGO_BIN_EXE_ringctl");
    let seconds = if scale::is_ci() { "0.1" } else { "0.01" };
    let options = format!("--rounds 1 --seconds {seconds}");
    let script = format!("[ \"$1\" = bench ] && exec {real} \"$@\" {options}\nexec {real} \"$@\"");
    example.stand_in("bin/ringctl", &script);
}

fn a_script_waits_for_another(example: &Example) {
    example.stand_in("bin/make", "sleep 0.2; echo made >> order");
    example.stand_in("deploy", "echo deployed >> order");
    example.run().with_code(0);
    assert_eq!(example.read("order"), "made\ndeployed\n");
    assert!(!Path::new("/dev/shm").join(format!("sem.{}", example.name("built"))).exists());
    // Not built, not deployed.
    fs::remove_file(example.dir.path().join("order")).unwrap();
    example.stand_in("bin/make", "false");
    let text = example.text.replace("--timeout 10m", "--timeout 300ms");
    example.shell(&text).run();
    assert!(!example.dir.path().join("order").exists());
}

fn the_oldest_are_dropped(example: &Example) {
    example.stand_in("bin/sensor", "seq 1 20000");
    let ended = example.run().with_code(0);
    assert!(
        ended.stderr.contains("sent 20,000 items") && ended.stderr.contains(" dropped as oldest"),
        "{}",
        ended.stderr
    );
    let left = example.shell(&format!("consumer {}", example.name("readings"))).run().with_code(0);
    let left = left.lines();
    assert!(left.len() >= 1000 && *left.last().unwrap() == "20000", "{} are left", left.len());
}

/// As long as it takes by itself is too long here: a stand-in has it measure for a moment.
fn the_machine_is_measured(example: &Example) {
    short_bench(example);
    let text = example.run().with_code(0).text().to_string();
    for part in ["Throughput", "ound trip", "dle", "ecovery", "Start"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let objects: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(objects.iter().any(|line| line["kind"] == "throughput" && line["size"] == 1024), "{objects:?}");
}

fn nothing_is_lost_by_kills(example: &Example) {
    let ended = example.run().with_code(0);
    let last = ended.text().lines().last().unwrap();
    assert!(last.starts_with("verified: 20,000 items, ") && last.contains(" killed, 0 lost, "), "{ended:?}");
    assert!(example.read("copy.txt").lines().count() >= 20_000);
}

fn logs_add_up_or_not(example: &Example) {
    let ended = example.run().with_code(0);
    assert!(ended.text().ends_with("clean\n"), "{ended:?}");
    assert_eq!(example.read("out"), seq(1000));
    // "exit 10 if something was lost"
    example.file("logs/another", "10 1 attempt 7 1 0 ab\n20 1 sent 7 1 0 ab\n");
    example.run().with_code(10);
}

fn what_fails_for_good_goes_to_another_ring(example: &Example) {
    example.file("urls.txt", "https://example.org/good\nhttps://example.org/bad\n");
    example.stand_in("bin/curl", "case $2 in *bad) echo no >&2; exit 65;; esac; echo \"$2\" >> fetched");
    example.run().with_code(0);
    assert_eq!(example.read("fetched"), "https://example.org/good\n");
    let peek = example.with_own_names("ringctl peek broken");
    let ended = example.shell(&peek).run().with_code(0);
    let text = ended.text();
    assert!(text.contains("https://example.org/bad") && !text.contains("good"), "{text}");
}

fn dead_letters_are_shown_and_brought_back(example: &Example) {
    let fails = "producer urls --item bad; consumer urls --dead-letter broken -- sh -c 'exit 65'";
    example.shell(&example.with_own_names(fails)).run().with_code(123);
    assert!(example.run().with_code(0).text().contains("bad"));
    let taken = example.with_own_names("consumer urls --drain");
    assert_eq!(example.shell(&taken).run().with_code(0).text(), "bad\n");
}

fn answers_have_the_keys_of_their_items(example: &Example) {
    assert_eq!(sorted(example.run().with_code(0).text()), ["1", "2"]);
}

fn a_standing_command_gets_all_lines(example: &Example) {
    let sends = example.with_own_names("printf '%s\n' a bb ccc | producer words");
    example.shell(&sends).run().with_code(0);
    let ended = example.run().with_code(0);
    assert_eq!(sorted(&ended.stderr), ["1", "2", "3"]);
}

fn a_script_settles_its_item(example: &Example) {
    example.stand_in("bin/curl", "echo \"$2\" > fetched");
    let sends = example.with_own_names("ringctl create urls && producer urls --item https://example.org/1");
    example.shell(&sends).run().with_code(0);
    example.run().with_code(0);
    assert_eq!(example.read("fetched"), "https://example.org/1\n");
    let left = example.with_own_names("ringctl wait urls --until items=0 --timeout 60s && ringctl rm urls");
    example.shell(&left).run().with_code(0);
}

fn all_is_done_when_the_ring_is_gone(example: &Example) {
    let ended = example.run().with_code(0);
    assert_eq!(ended.text(), "100\n");
}

fn tests_run_one_at_a_time(example: &Example) {
    for test in ["one", "two", "three"] {
        example.file(
            &format!("tests/{test}.sh"),
            format!("echo {test} >> log; sleep 0.05; echo {test} >> log\n"),
        );
    }
    example.run().with_code(0);
    let log = example.read("log");
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() == 6 && lines.chunks(2).all(|pair| pair[0] == pair[1]), "{log}");
}

fn no_client_sends_before_all_are_connected(example: &Example) {
    example.stand_in("client", "sleep 0.0$1; echo $2 >> log");
    example.run().with_code(0);
    assert_eq!(example.read("log"), "connect\nconnect\nconnect\nsend\nsend\nsend\n");
}

fn a_client_starts_when_the_server_is_ready(example: &Example) {
    example.stand_in("server", "sleep 0.2; echo listens >> log; ringctl event \"$READY\" set");
    example.stand_in("client", "echo connected >> log");
    example.run().with_code(0);
    assert_eq!(example.read("log"), "listens\nconnected\n");
}

fn a_shell_writes_a_history_to_a_descriptor(example: &Example) {
    example.file("script.sh", &example.text);
    let scenario = "[process.x]\nrun = [\"sh\", \"{file}/script.sh\"]\nhistory = { fd = 3 }\n\
                    [expect]\nlost = 0\nduplicated = 0\nunexpected = 0\nreceived = 1\nstdout = { x = \"job 17\" }\n";
    example.file("scenario.toml", scenario);
    example.shell("ringctl test --keep kept scenario.toml").run().succeeds();
    assert_eq!(example.read("kept/scenario/history/x-1.fd.log").lines().count(), 5);
}
