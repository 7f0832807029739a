//! `--record`: which pictures the file has, that it is whole or not there, and what is found out before anything starts.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use nix::libc::SIGTERM;

use super::{Demo, rings};
use crate::support::*;
use crate::svg::Svg;

impl Demo {
    /// A folder that has nothing but the recording.
    fn recording(&self) -> PathBuf {
        let folder = self.folder.path().join("recordings");
        fs::create_dir_all(&folder).unwrap();
        folder.join("demo.svg")
    }

    /// The file that a script makes, and what it prints.
    fn record(&self, steps: &[&str], size: &str) -> (Svg, String) {
        let file = self.recording();
        let arguments = ["--size", size, "--record", file.to_str().unwrap()];
        let ended = self.script(steps, &arguments).run().with_code(0);
        self.has_left_nothing();
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
        (Svg::read(&fs::read_to_string(file).unwrap()), ended.text().into())
    }
}

/// The rows of a printed picture, without lines.
fn rows(printed: &str) -> Vec<String> {
    let (picture, _) = printed.trim_end().rsplit_once('\n').expect("a picture and a summary");
    let blank = |row: &str| row.replace(|c| "─│┌┐└┘╭╮╰╯".contains(c), " ").trim_end().to_string();
    picture.lines().map(blank).collect()
}

#[test]
fn a_kill_is_recorded_with_the_key_the_captions_and_the_next_worker() {
    for size in ["80x24", "92x22", "40x12"] {
        let fate = if size == "40x12" { "wait \" to \"" } else { "wait got it after" };
        let steps = [
            "wait has item",
            "caption <before> & \"after\"",
            "frame 1s",
            "key k",
            "frame 1s",
            fate,
            "caption no item is lost",
            "film 1s",
            "frame 2s",
            "print",
            "quit",
            "frame 7s",
            "wait for ever",
        ];
        let (svg, printed) = Demo::new().record(&steps, size);
        let (pictures, seconds) = svg.length().expect("an animation");
        // The last picture of the film may be that of the frame.
        assert!((3..=8).contains(&pictures) && seconds == 5.0, "{size}: {pictures} in {seconds} s");
        assert!(svg.is_animated() && svg.has("k: kill -9 "), "{size}: {svg:?}");
        let above = |text: &str, is_last| {
            svg.texts.iter().any(|one| one.y < 40.0 && one.text == text && one.is_last == is_last)
        };
        assert!(above("<before> & \"after\"", false) && above("no item is lost", true), "{size}: {svg:?}");
        assert!(above("k", false) && !above("k", true), "{size}: {svg:?}");
        assert_eq!(svg.description, "<before> & \"after\". no item is lost");
        // Where nothing moves, the file shows what the terminal showed last.
        assert_eq!(svg.last_rows(), rows(&printed), "{size}");
        assert!(printed.contains("killed 1") && printed.ends_with(" 0 lost\n"), "{printed}");
    }
}

#[test]
fn one_picture_is_a_still_and_a_script_without_one_records_its_last() {
    for steps in [&["wait done 1", "frame 1s", "print"][..], &["wait done 1", "print"], &[]] {
        let (svg, printed) = Demo::new().record(steps, "80x24");
        assert!(!svg.is_animated() && svg.length().is_none(), "{svg:?}");
        assert!(svg.texts.iter().all(|text| text.is_last), "{svg:?}");
        assert!(svg.has("ringpipe-demo-") && svg.has("ringctl demo"), "{svg:?}");
        if steps.contains(&"frame 1s") {
            assert_eq!(svg.last_rows(), rows(&printed));
        }
    }
}

#[test]
fn the_ring_of_the_textbooks_is_recorded_too() {
    let steps = ["key t", "wait done 2", "frame 1s", "key k", "wait Wedged", "frame 2s", "print"];
    let (svg, printed) = Demo::new().record(&steps, "100x30");
    assert_eq!(svg.length(), Some((2, 3.0)));
    let last = svg.last_rows();
    assert_eq!(last, rows(&printed));
    assert!(last.iter().any(|row| row.contains("died with the mutex")), "{last:?}");
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_anything_starts() {
    let demo = Demo::new();
    let file = demo.recording();
    let folder = file.parent().unwrap().display();
    fs::create_dir(&file).unwrap();
    let cases = [
        (format!("{folder}/none/x.svg"), 1, "writing ", "none/x.svg: No such file or directory"),
        (file.display().to_string(), 1, "writing ", "demo.svg: Is a directory"),
        (format!("{folder}/x.png"), 2, "ends in .svg", ""),
        ("-".into(), 2, "ends in .svg", ""),
    ];
    for (name, code, what, why) in cases {
        // It would not start there.
        let run = demo.script(&["frame 1s"], &["--record", &name]).env("TMPDIR", "/no/such/folder");
        let ended = run.run().with_code(code);
        assert!(ended.stderr.contains(what) && ended.stderr.contains(why), "{name}: {}", ended.stderr);
    }
    let ended =
        Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["demo", "--record", "x.svg"]).run().with_code(2);
    assert!(ended.stderr.contains("--script"), "{}", ended.stderr);
    let many = ["film 60s"; 4];
    let ended = demo.script(&many, &[]).run().with_code(2);
    assert!(ended.stderr.contains("line 4: more than 1000 pictures; expected "), "{}", ended.stderr);
}

/// The folder of the recording is gone when it is to be written.
#[test]
fn a_recording_that_cannot_be_written_does_not_hide_the_result() {
    let demo = Demo::new();
    let file = demo.recording();
    let arguments = ["--record", file.to_str().unwrap()];
    let steps = ["wait lost 1", "frame 1s"];
    let running = demo.script(&steps, &arguments).spawn();
    let pid = running.pid();
    wait_until("a ring", || !rings(pid).is_empty());
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    let ring = rings(pid).remove(0);
    // What another consumer takes is lost to the workers.
    Run::new(env!("CARGO_BIN_EXE_consumer")).args(&[&ring, "-n", "1"]).run().succeeds();
    let ended = running.end().with_code(10);
    assert!(ended.text().contains(" killed, ") && ended.text().ends_with(" 1 lost\n"), "{}", ended.text());
    for part in ["demo.svg: No such file", "the check of the logs: "] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_file_stays_as_it_was_if_the_script_fails_or_a_signal_comes() {
    let demo = Demo::new();
    let file = demo.recording();
    fs::write(&file, "before").unwrap();
    let arguments = ["--record", file.to_str().unwrap()];
    let is_as_before = || {
        assert_eq!(fs::read_to_string(&file).unwrap(), "before");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    };
    demo.script(&["frame 1s", "limit 10ms", "wait for ever"], &arguments).run().with_code(4);
    is_as_before();
    for step in ["wait for ever", "film 60s"] {
        let running = demo.script(&["frame 1s", step], &arguments).stdout(Stdio::null()).spawn();
        let pid = running.pid();
        wait_until("a ring", || !rings(pid).is_empty());
        running.signal(SIGTERM);
        running.end().by_signal(SIGTERM);
        is_as_before();
    }
    demo.script(&["frame 1s"], &arguments).run().with_code(0);
    assert!(fs::read_to_string(&file).unwrap().starts_with("<svg "));
}
