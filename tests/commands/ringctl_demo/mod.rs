//! `ringctl demo`: what the picture shows when processes are killed, stopped and started again, by scripts and on a
//! terminal; and that it leaves nothing.
mod record;

use std::fs;
use std::process::Stdio;

use nix::libc::{SIGKILL, SIGTERM};

use crate::support::terminal::Terminal;
use crate::support::*;

/// A demonstration with a folder of its own for temporary files.
struct Demo {
    folder: tempfile::TempDir,
}

impl Demo {
    fn new() -> Self {
        Demo { folder: tempfile::tempdir().unwrap() }
    }

    fn script(&self, steps: &[&str], arguments: &[&str]) -> Run {
        let script = self.folder.path().join("script");
        fs::write(&script, steps.join("\n")).unwrap();
        let temporary = self.folder.path().join("temporary");
        fs::create_dir_all(&temporary).unwrap();
        let run = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["demo", "--script"]).arg(script);
        run.args(arguments).env("TMPDIR", temporary)
    }

    /// The pictures that a script prints, and the last line.
    fn play(&self, steps: &[&str], size: &str) -> (Vec<String>, String) {
        let ended = self.script(steps, &["--size", size]).run().with_code(0);
        self.has_left_nothing();
        let text = ended.text().trim_end();
        let (pictures, last) = text.rsplit_once('\n').unwrap_or(("", text));
        let mut found: Vec<String> = Vec::new();
        for line in pictures.lines() {
            match line.starts_with("ringpipe-demo-") || line.starts_with("lesson ") {
                true => found.push(String::new()),
                false => *found.last_mut().expect("a header") += &format!("{line}\n"),
            }
        }
        (found, last.into())
    }

    fn has_left_nothing(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path().join("temporary")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The rings of the demonstrations that the process `pid` runs.
fn rings(pid: i32) -> Vec<String> {
    let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("ringpipe-demo-{pid}-"))).collect()
}

/// The number after a word in the row of counts.
fn count(picture: &str, what: &str) -> u64 {
    let row = picture.lines().next().unwrap();
    let (_, rest) = row.split_once(&format!("{what} ")).unwrap_or_else(|| panic!("no {what} in {row:?}"));
    rest.split(|c: char| !c.is_ascii_digit() && c != ',').next().unwrap().replace(',', "").parse().unwrap()
}

#[test]
fn a_killed_worker_shows_what_it_had_and_which_process_got_it_after_how_long() {
    let sizes =
        [("80x24", "got it after", "4 consumers came"), ("120x40", "got it after", "4 consumers came")];
    for (size, fate, came) in sizes.into_iter().chain([("40x12", " to ", "6 came")]) {
        let (wait, came) = (format!("wait \"{fate}\""), format!("wait {came}"));
        let all = if size == "40x12" { "wait 5 came" } else { "wait 2 producers and 3 consumers came" };
        let steps = [all, "wait has item", "print", "key k", &wait, "print", "key r", &came, "print"];
        let (pictures, last) = Demo::new().play(&steps, size);
        let [before, killed, again] = &pictures[..] else { panic!("{pictures:?}") };
        let rows = |picture: &str| {
            let of_process = |line: &&str| line.starts_with("producer") || line.starts_with("consumer");
            picture.lines().filter(of_process).map(String::from).collect::<Vec<_>>()
        };
        for picture in [before, killed, again] {
            assert_eq!(rows(picture).len(), 5, "{size}: all processes are listed, {picture}");
            assert_eq!(count(picture, "lost"), 0, "{picture}");
            assert!(picture.contains("What happens") && picture.contains(" k  kill"), "{picture}");
        }
        assert_eq!([before, killed, again].map(|picture| count(picture, "killed")), [0, 1, 1]);
        let row = rows(killed).into_iter().find(|row| row.contains(fate)).unwrap();
        let time = row.split_whitespace().find(|word| {
            let digits = word.trim_end_matches(['u', 'm', 's']);
            word.ends_with('s') && digits.parse::<f64>().is_ok_and(|time| time > 0.0)
        });
        assert!(time.is_some(), "{row}");
        // The process that got the item is one of the others.
        let pid =
            |row: &str| row.split([' ', '▸']).find(|word| word.parse::<u32>().is_ok()).unwrap().to_string();
        let heir = rows(killed).into_iter().map(|row| pid(&row)).find(|other| {
            *other != pid(&row) && row.split(|c: char| !c.is_ascii_digit()).any(|word| word == other)
        });
        assert!(heir.is_some(), "{killed}");
        assert!(!again.contains(fate), "a process that was started again is in its place: {again}");
        assert!(last.ends_with(", 1 process killed, 1 delivered again, 0 lost"), "{size}: {last}");
    }
}

/// At the first moment, the workers are still starting.
#[test]
fn a_kill_waits_for_a_worker_with_an_item_which_the_picture_then_shows() {
    for _ in 0..5 {
        let (pictures, last) = Demo::new().play(&["key k", "wait got it after", "print"], "120x40");
        assert_eq!((count(&pictures[0], "killed"), count(&pictures[0], "lost")), (1, 0), "{}", pictures[0]);
        assert!(last.ends_with(", 1 process killed, 1 delivered again, 0 lost"), "{last}");
    }
}

#[test]
fn the_counts_are_those_of_the_logs() {
    let steps = ["wait done 5", "print"];
    let (pictures, last) = Demo::new().play(&steps, "80x24");
    let picture = &pictures[0];
    let (sent, done) = (count(picture, "sent"), count(picture, "done"));
    assert!(done >= 5 && sent >= done && sent <= done + 8, "{picture}");
    let total: u64 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(
        total >= sent && last.ends_with(" items sent, 0 processes killed, 0 delivered again, 0 lost"),
        "{last}"
    );
}

#[test]
fn a_stopped_worker_keeps_its_item_and_the_others_go_on() {
    let steps = [
        "wait has item",
        "key s",
        "wait stopped, has item",
        "wait done 4",
        "print",
        "key c",
        "wait continues",
    ];
    // High enough for many events: on a busy machine more of them lie between two looks.
    let (pictures, last) = Demo::new().play(&steps, "80x60");
    assert!(pictures[0].contains("stopped, has item"), "{}", pictures[0]);
    assert!(last.ends_with(" 0 processes killed, 0 delivered again, 0 lost"), "{last}");
}

#[test]
fn keys_act_on_the_selected_process() {
    // The first is a producer, and left of it none is selected.
    let steps = [
        "key tab",
        "wait producer▸",
        "key k",
        "wait died",
        "print",
        "key left",
        "key left",
        "wait consumer▸",
    ];
    let (pictures, last) = Demo::new().play(&steps, "80x24");
    let row = pictures[0].lines().find(|row| row.starts_with("producer▸")).unwrap();
    assert!(row.contains("died"), "{row}");
    assert!(last.contains(" 1 process killed, 0 delivered again, 0 lost"), "{last}");
}

#[test]
fn the_ring_fills_while_all_workers_are_dead_and_nothing_is_lost() {
    let steps = [
        "wait done 1",
        "key k",
        "key k",
        "key k",
        "wait all 8 in use",
        "wait waits for room",
        "key r",
        "wait done 6",
    ];
    let (_, last) = Demo::new().play(&steps, "80x24");
    assert!(last.contains(" 3 processes killed, ") && last.ends_with(" 0 lost"), "{last}");
}

#[test]
fn the_same_kill_stops_the_ring_of_the_textbooks_and_the_picture_says_why() {
    for size in sizes(&["80x24", "120x40", "40x12"]) {
        let steps = [
            "key t",
            "wait done 2",
            "print",
            "key k",
            "wait Wedged",
            "print",
            "key r",
            // The new process waits, too.
            "wait of 5 sleep",
            "print",
            "key t",
            "wait ringpipe-demo",
            "print",
        ];
        let (pictures, last) = Demo::new().play(&steps, size);
        let [moves, wedged, again, ours] = &pictures[..] else { panic!("{pictures:?}") };
        let processes = |picture: &str| {
            picture
                .lines()
                .filter(|line| line.starts_with("producer") || line.starts_with("consumer"))
                .count()
        };
        assert!(!moves.contains("Wedged") && processes(moves) == 5, "{size}: {moves}");
        let words = wedged.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["died with the mutex", " sleeps on mutex", "no process gives it back.", " on it."] {
            assert!(words.contains(part), "{size}: no {part:?} in {wedged}");
        }
        assert_eq!((processes(wedged), count(wedged, "killed")), (5, 1), "{size}: {wedged}");
        // Another process in the place of the dead one does not help.
        assert_eq!(count(again, "sent"), count(wedged, "sent"), "{size}: {again}");
        assert_eq!((count(ours, "killed"), count(ours, "lost")), (0, 0), "{size}: {ours}");
        assert!(last.ends_with(" 0 processes killed, 0 delivered again, 0 lost"), "{last}");
    }
}

/// Runs a lesson until it is wedged; the rows of the picture then, in one text.
fn wedged(steps: &[&str], size: &str) -> String {
    let end = ["wait wedged", "print"];
    let (pictures, last) = Demo::new().play(&[steps, &end].concat(), size);
    assert!(last.ends_with(" 0 processes killed, 0 delivered again, 0 lost"), "{last}");
    pictures.last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first of these sizes of a picture; all of them at the scale of the gate.
fn sizes(all: &[&'static str]) -> Vec<&'static str> {
    all[..if scale::is_ci() { all.len() } else { 1 }].to_vec()
}

#[test]
fn the_wrong_signal_stops_the_producers_without_a_kill() {
    for size in sizes(&["80x24", "120x40", "40x12"]) {
        let text = wedged(&["key 2"], size);
        assert!(text.starts_with("sent 10 · done 10 · killed 0 · lost 0"), "{size}: {text}");
        assert!(text.contains("all slots are empty, and room is 0"), "{size}: {text}");
        assert_eq!(text.matches(" sleeps on room").count(), 2, "{size}: {text}");
    }
}

#[test]
fn a_kill_of_the_process_with_the_lock_of_the_condition_stops_the_others() {
    for size in sizes(&["120x40", "40x12", "80x24"]) {
        let text = wedged(&["key 3", "wait has item", "key k"], size);
        for part in ["killed 1", "died with the lock", "a plain lock does not know that its owner is dead"] {
            assert!(text.contains(part), "{size}: no {part:?} in {text}");
        }
        assert!(text.contains("sleeps on lock") || text.contains("sleeps on condition"), "{size}: {text}");
    }
}

#[test]
fn a_kill_between_an_item_and_its_signal_leaves_the_consumer_asleep() {
    for size in sizes(&["40x12", "80x24", "120x40"]) {
        let text = wedged(&["key 4", "wait has item", "key k"], size);
        for part in ["killed 1", "died with an unsignalled", "consumer", "sleeps on items"] {
            assert!(text.contains(part), "{size}: no {part:?} in {text}");
        }
    }
    // A new producer signals its own item.
    let steps = ["key 4", "wait has item", "key k", "wait wedged", "key r", "wait moves", "wait has item"];
    Demo::new().play(&steps, "80x24");
}

#[test]
fn a_kill_of_a_process_that_waits_for_the_condition_stops_the_others_with_or_without_a_wedge() {
    // The producer, after it has made five. Whether the next process that wakes it waits for it, the C library decides.
    let steps = ["key 3", "key tab", "wait has item", "key k", "wait died"];
    let wedged = [&steps[..], &["limit 10s", "wait Wedged", "print"]].concat();
    let ended = Demo::new().script(&wedged, &["--size", "80x24"]).run();
    if ended.text().is_empty() {
        Demo::new().play(&[&steps[..], &["wait All producers are dead"]].concat(), "80x24");
        return;
    }
    let text = ended.with_code(0).text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("waits there, until each one that it woke has left; one of them is dead."),
        "{text}"
    );
}

#[test]
fn an_item_that_was_overwritten_is_lost_and_no_item_is_not_one() {
    // The consumer is stopped while it works, and gets the last item, and none for the signals before.
    let steps = [
        "key 4",
        "wait done 1",
        "key tab",
        "key tab",
        "key s",
        "wait sent 6",
        "key c",
        "wait from an empty slot",
        "print",
    ];
    let (pictures, _) = Demo::new().play(&steps, "80x24");
    assert!(count(&pictures[0], "lost") >= 3, "{}", pictures[0]);
    assert!(!pictures[0].contains("item 0"), "{}", pictures[0]);
}

#[test]
fn a_stopped_owner_is_killed_as_any_other() {
    let text = wedged(&["key 1", "wait done 1", "key s", "wait stands still", "key k"], "80x24");
    assert!(text.contains("killed 1 ") && text.contains("died with the mutex"), "{text}");
}

#[test]
fn a_stopped_owner_and_dead_processes_are_told_from_a_wedge() {
    // The reason comes with the next observation: the words "stands still" may stand there a moment before.
    let stop = ["key 1", "wait done 1", "key s", "wait c continues it", "print", "key c", "wait moves"];
    let kill = [
        "key 4",
        "wait done 1",
        "key tab",
        "key k",
        "key tab",
        "key k",
        "wait All processes are dead",
        "print",
    ];
    let again = ["key k", "wait the process is dead", "key tab", "key r", "wait starts", "wait has item"];
    let (pictures, _) = Demo::new().play(&[&stop[..], &kill, &again].concat(), "80x24");
    let words: Vec<String> =
        pictures.iter().map(|picture| picture.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(words[0].contains("is stopped, and has the mutex. c continues it."), "{}", words[0]);
    assert!(words[1].contains("All processes are dead. r starts them again."), "{}", words[1]);
}

#[test]
fn a_line_of_a_script_that_is_wrong_is_named_before_anything_starts() {
    let demo = Demo::new();
    let ended = demo.script(&["wait lost 0", "", "pres k"], &[]).run().with_code(2);
    assert!(ended.stderr.contains("line 3: \"pres k\"; expected wait TEXT"), "{}", ended.stderr);
    let ended = demo.script(&["limit 10ms", "wait for ever"], &[]).run().with_code(4);
    assert!(
        ended.stderr.contains("line 2: in 10ms, no row of the picture had \"for ever\""),
        "{}",
        ended.stderr
    );
    demo.has_left_nothing();
    let ended = Run::new(env!("CARGO_BIN_EXE_ringctl")).arg("demo").run().with_code(2);
    assert!(ended.stderr.contains("no terminal to draw on; expected "), "{}", ended.stderr);
}

/// The processes that have this text in their command line.
fn processes(text: &str) -> usize {
    let folders = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let lines = folders.filter_map(|folder| fs::read(folder.join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

#[test]
fn nothing_is_left_however_it_ends() {
    for signal in [SIGTERM, SIGKILL] {
        let demo = Demo::new();
        let running = demo.script(&["key t", "wait for ever"], &[]).stdout(Stdio::null()).spawn();
        let pid = running.pid();
        wait_until("both rings", || rings(pid).len() == 2);
        let ring = rings(pid).into_iter().min_by_key(String::len).unwrap();
        wait_until("ten processes", || processes(&ring) >= 10);
        assert!(demo.folder.path().join("temporary").join(&ring).exists());
        running.signal(signal);
        running.end().by_signal(signal);
        wait_until("the end of all processes", || processes(&ring) == 0);
        wait_until("no ring", || rings(pid).is_empty());
        wait_until("no folder", || !demo.folder.path().join("temporary").join(&ring).exists());
    }
}

#[test]
fn on_a_terminal_keys_kill_and_quit_and_the_terminal_is_restored() {
    let terminal = Terminal::new(80);
    let run = Run::new(env!("CARGO_BIN_EXE_ringctl")).arg("demo").env("TERM", "xterm-256color");
    let running = run.stdin(terminal.side()).stdout(terminal.side()).spawn();
    terminal.wait_for("has item");
    terminal.type_keys("k");
    terminal.wait_for("got it after");
    terminal.type_keys("?");
    terminal.wait_for("What is to be seen");
    terminal.type_keys("xq");
    running.end().with_code(0);
    terminal.wait_for(" 1 process killed, 1 delivered again, 0 lost");
    let text = terminal.text();
    let (left, summary) = (text.rfind("\x1b[?1049l").unwrap(), text.rfind("0 lost").unwrap());
    assert!(left < summary, "the summary is on the normal screen");
}
