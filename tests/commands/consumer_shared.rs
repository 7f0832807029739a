//! Several consumers that write to one pipe: their items do not mix, however long they are, and whatever becomes of one.

use std::io::Read;

use crate::support::*;
use ringpipe::RingOptions;

/// A ring with `count` items in turn of these lengths, each of one letter, and a producer that has left.
fn letters(label: &str, lengths: &[usize], count: usize) -> TestName {
    let options = RingOptions::new().capacity(4096).slot_size(4096);
    let ring = TestName::made(label, &options);
    let mut sender = ring.open().producer().unwrap();
    for (number, length) in (0..count).zip(lengths.iter().cycle()) {
        sender.send(&vec![b'a' + (number % 26) as u8; *length]).unwrap();
    }
    ring
}

/// How often each letter was sent, and as items of which lengths.
fn sent(lengths: &[usize], count: usize) -> Vec<(u8, usize)> {
    let items = (0..count).zip(lengths.iter().cycle());
    let mut all: Vec<(u8, usize)> = items.map(|(n, length)| (b'a' + (n % 26) as u8, *length)).collect();
    all.sort_unstable();
    all
}

/// Letter and length of what must be of one letter.
#[track_caller]
fn item(bytes: &[u8]) -> (u8, usize) {
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "mixed: {:?}", &bytes[..bytes.len().min(99)]);
    (bytes[0], bytes.len())
}

fn lines(out: &[u8], separator: u8) -> Vec<(u8, usize)> {
    let out = out.strip_suffix(&[separator]).unwrap();
    out.split(|&byte| byte == separator).map(item).collect()
}

fn frames(mut out: &[u8]) -> Vec<(u8, usize)> {
    let mut items = Vec::new();
    while let Some((prefix, rest)) = out.split_first_chunk::<4>() {
        let (bytes, rest) = rest.split_at(u32::from_be_bytes(*prefix) as usize);
        items.push(item(bytes));
        out = rest;
    }
    items
}

fn objects(out: &[u8]) -> Vec<(u8, usize)> {
    let lines = out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let object: serde_json::Value = serde_json::from_slice(line).unwrap();
            item(object["text"].as_str().unwrap().as_bytes())
        })
        .collect()
}

type Parse = fn(&[u8]) -> Vec<(u8, usize)>;

/// The consumers inherit one open file description, or open a FIFO each.
#[test]
fn long_and_short_items_of_three_consumers_stay_whole_in_every_framing() {
    let forms: [(&str, Parse); 5] = [
        ("", |out| lines(out, b'\n')),
        ("-0", |out| lines(out, 0)),
        ("-d ,", |out| lines(out, b',')),
        ("--frame len32", frames),
        ("--json", objects),
    ];
    let dir = tempfile::tempdir().unwrap();
    let lengths = [20_000, 7, 5000, 4096, 70_000, 100];
    for (round, (options, parse)) in forms.into_iter().enumerate() {
        for ack in ["read", "write"] {
            for fifo in [false, true] {
                let ring = letters("whole", &lengths, 300);
                let three = format!("for i in 1 2 3; do $C $R --ack {ack} {options} & done; wait");
                let script = match fifo {
                    false => format!("{{ {three}; }} | cat"),
                    true => format!(
                        "f={}/{round}{ack}; mkfifo $f; cat $f & exec 3> $f
                         for i in 1 2 3; do $C $R --ack {ack} {options} > $f 3>&- & done; exec 3>&-; wait",
                        dir.path().display()
                    ),
                };
                let out = shell(&ring, &script).run().with_code(0);
                let mut items = parse(&out.stdout);
                items.sort_unstable();
                assert!(items == sent(&lengths, 300), "{options}, {ack}, {fifo}: {} items", items.len());
            }
        }
    }
}

/// Without anything between the items: runs of a letter, which are as long as the items or several of them.
#[test]
fn raw_items_of_three_consumers_stay_whole() {
    for options in ["--raw", "--whole-file", "--block 1K"] {
        let ring = letters("raw", &[90_000], 60);
        let script = format!("{{ for i in 1 2 3; do $C $R {options} & done; wait; }} | cat");
        let out = shell(&ring, &script).run().with_code(0).stdout;
        assert_eq!(out.len(), 60 * 90_000);
        let runs = out.chunk_by(|one, other| one == other).map(<[u8]>::len);
        assert!(runs.into_iter().all(|run| run % 90_000 == 0), "{options}: mixed");
    }
}

#[test]
fn other_consumers_continue_after_one_was_killed_in_the_middle_of_an_item() {
    let ring = letters("wedge", &[300_000], 6);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let first = consumer(&ring, &[]).stdout(writer.try_clone().unwrap()).spawn();
    let received = || ring.open().snapshot().unwrap().totals.received;
    wait_until("an item that is being written", || received() == 1);
    let mut start = vec![0; 100_000];
    reader.read_exact(&mut start).unwrap();
    let second = consumer(&ring, &[]).stdout(writer).spawn();
    wait_until("another one that waits", || received() == 2);
    first.signal(libc::SIGKILL);
    first.end().by_signal(libc::SIGKILL);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    second.end().with_code(0);
    // The torn item runs into the next; what the killed consumer had comes again.
    let torn = rest.iter().position(|&byte| byte != b'a').unwrap();
    assert!(torn < 200_000);
    let mut items = lines(&rest[torn..], b'\n');
    items.sort_unstable();
    assert_eq!(items, sent(&[300_000], 6));
}

#[test]
fn a_consumer_that_waits_for_the_others_notices_a_signal_and_that_the_reader_has_left() {
    for signal in [Some(libc::SIGTERM), None] {
        let ring = letters("turn", &[300_000], 6);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let first = consumer(&ring, &[]).stdout(writer.try_clone().unwrap()).spawn();
        // It has the pipe, and is in the middle of an item.
        reader.read_exact(&mut vec![0; 100_000]).unwrap();
        first.signal(libc::SIGSTOP);
        let second = consumer(&ring, &[]).stdout(writer).spawn();
        wait_until("another one that waits", || ring.open().snapshot().unwrap().totals.received == 2);
        match signal {
            Some(signal) => {
                second.signal(signal);
                second.end().by_signal(signal).quiet();
            }
            None => {
                close_reader(reader);
                second.end().with_code(0).quiet();
            }
        }
        let held = ring.open().snapshot().unwrap().held.len();
        assert_eq!(held, 1, "what the second had is given back");
    }
}
