//! What reaches a terminal: nothing that a name or an item could steer it with.

use std::io::Read;
use std::thread;

use crate::support::*;
use ringpipe::RingOptions;

/// Escape sequences by ESC and by C1, a title, and a change of direction.
const HOSTILE: &str = "\u{1b}[31m\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\u{85}\r\t\u{7f}";

fn ringctl(args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(args)
}

/// All that the process writes to its terminal, which its standard output and error are, or the latter alone.
fn on_terminal(run: Run, output: bool) -> String {
    let (mut master, slave) = terminal::pair(0, 0);
    let mut run = run.env("NO_COLOR", "1").env("TERM", "xterm").stderr(slave.try_clone().unwrap());
    if output {
        run = run.stdout(slave.try_clone().unwrap());
    }
    let mut running = run.spawn();
    drop(slave);
    let reader = thread::spawn(move || {
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        // The end is an error: no process has the other side any more.
        while let Ok(read @ 1..) = master.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..read]);
        }
        seen
    });
    running.ended();
    // Before the watchdog, since the terminal is held open by no other process.
    drop(running);
    String::from_utf8(join_soon(reader)).expect("no bytes that are no text")
}

/// Whether a character does more than to show itself, apart from the terminal's own line ends.
fn steering(text: &str) -> Vec<char> {
    let text = text.replace("\r\n", "");
    let turns =
        |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| c.is_control() || turns(*c)).collect()
}

#[test]
fn names_and_items_cannot_control_the_terminal() {
    let name = format!("{HOSTILE}-{}-terminal", std::process::id());
    let ring = TestName::named(name).stays();
    let (id, missing) = (ring.name.as_str(), format!("{}-none", ring.name));
    RingOptions::new().capacity(8).create(id).unwrap();
    ring.send(&[HOSTILE, "\u{1b}[2J"]);
    let mut dead = ring.open().consumer().unwrap();
    std::mem::forget(dead.recv().unwrap());
    drop(dead);
    ring.send(&[HOSTILE]);
    for (args, expected) in [
        (&["list"][..], "-terminal"),
        (&["list", "-n"], ""),
        (&["list", "--json"], "-terminal"),
        (&["inspect", id], "ringctl repair $'"),
        (&["inspect", "--json", id], "\\u009b2J"),
        (&["peek", id], "\\u{1b}[2J"),
        (&["peek", "--json", id], "\\u001b[2J"),
        (&["watch", "--once", id], "\\u{1b}[31m"),
        (&["watch", "--json", "-n", "2", "--interval", "1ms", id], "\\u202e"),
        (&["watch", "--events", "-n", "2", "--interval", "1ms", id], "-terminal"),
        (&["wait", "--until", "closed", "--timeout", "1ms", id], "ringctl inspect $'"),
        (&["create", id], "exists already"),
        (&["clean"], ""),
        (&["inspect", &missing], "does not exist"),
        (&["sem", "value", id], "ringctl sem create $'"),
        (&["check", &missing], "No such file"),
        (&["repair", id], "was dead"),
        (&["close", id], ""),
        (&["close", id], "closed already"),
        (&["rm", id], "discarded"),
    ] {
        let text = on_terminal(ringctl(args), true);
        assert!(text.contains(expected), "{args:?}: {text:?}");
        assert_eq!(steering(&text), [0 as char; 0], "{args:?}: {text:?}");
    }
    let said = |program: &str, args: &[&str]| {
        let run = if program == "producer" { producer(&ring, args) } else { consumer(&ring, args) };
        let text = on_terminal(run, false);
        assert!(text.contains("-terminal"), "{args:?}: {text:?}");
        assert_eq!(steering(&text), [0 as char; 0], "{args:?}: {text:?}");
    };
    said("producer", &["--no-create"]);
    said("consumer", &["--no-wait"]);
    said("consumer", &["--timeout", "250ms"]);
    said("producer", &["-v", "--stats", "--item", HOSTILE, "--capacity", "5"]);
    said("producer", &["-v", "--timeout", "1ms", "--capacity", "4", "/dev/zero"]);
    said("producer", &[&missing]);
    said("consumer", &["-v", "--stats", "-n", "1"]);
    let _ = std::fs::remove_file(ring.path());
}

#[test]
fn peek_shows_raw_bytes_with_raw_and_without_a_terminal() {
    let ring = TestName::made("peek", &RingOptions::new().capacity(8));
    let item = "\u{1b}[1mü\u{202e}";
    ring.send(&[item]);
    assert_eq!(on_terminal(ringctl(&["peek", &ring.name]), true), "\\u{1b}[1mü\\u{202e}\r\n");
    assert_eq!(on_terminal(ringctl(&["peek", "--raw", &ring.name]), true), format!("{item}\r\n"));
    for raw in [&[][..], &["--raw"]] {
        let out = ringctl(&[&["peek", &ring.name], raw].concat()).run().with_code(0);
        assert_eq!(out.text(), format!("{item}\n"));
    }
}
