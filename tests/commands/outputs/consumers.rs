//! A consumer in each form of output, to a file system that has too little room: an item is acknowledged exactly if
//! all of it was written, and the others come again.

use std::fs::File;
use std::io::Read;

use nix::sys::resource::Resource;
use ringpipe::RingOptions;
use ringpipe::internal::framing::Framing;

use crate::support::{Run, TestName, close_reader, consumer, namespace, noise};

/// A form of output, and what it makes of these items.
struct Form {
    options: &'static [&'static str],
    framing: Option<Framing>,
}

const FORMS: [Form; 8] = [
    Form { options: &[], framing: Some(Framing::Lines) },
    Form { options: &["-0"], framing: Some(Framing::Null) },
    Form { options: &["-d", ","], framing: Some(Framing::Delimiter(b',')) },
    Form { options: &["--raw"], framing: Some(Framing::Raw { chunk: 1 }) },
    Form { options: &["--frame", "len32"], framing: Some(Framing::Len32) },
    Form { options: &["--whole-file"], framing: Some(Framing::WholeFile) },
    Form { options: &["--block", "1K"], framing: Some(Framing::Blocks { size: 1 }) },
    Form { options: &["--json"], framing: None },
];

/// This number of bytes have room.
const ROOM: usize = 64 << 10;

/// Items of these lengths in turn, which no separator is in.
fn items(lengths: &[usize]) -> Vec<Vec<u8>> {
    let total = 3 * ROOM;
    let noise: Vec<u8> = noise(total).into_iter().map(|byte| b'a' + byte % 26).collect();
    let (mut items, mut at) = (Vec::new(), 0);
    for length in lengths.iter().cycle() {
        if at + length > total {
            return items;
        }
        items.push(noise[at..at + length].to_vec());
        at += length;
    }
    items
}

fn framed(form: &Form, items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        form.framing.unwrap().frame_into(item, &mut bytes).unwrap();
    }
    bytes
}

/// The texts of JSON objects, a line each.
fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let object = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).unwrap();
    lines.map(|line| object(line)["text"].as_str().unwrap().as_bytes().to_vec()).collect()
}

fn filled(label: &str, items: &[Vec<u8>]) -> TestName {
    let ring = TestName::made(label, &RingOptions::new().capacity(16384));
    let mut producer = ring.open().producer().unwrap();
    items.iter().for_each(|item| producer.send(item).unwrap());
    ring
}

/// What was written up to the failure are the first items, whole, as many as were acknowledged, and perhaps a part
/// of the next; a second consumer gets the others, in order.
fn check(form: &Form, items: &[Vec<u8>], ring: &TestName, written: &[u8]) {
    let acknowledged = ring.open().snapshot().unwrap().totals.acknowledged as usize;
    let what = format!("{:?}, {acknowledged} of {}, {} bytes", form.options, items.len(), written.len());
    assert!(acknowledged < items.len(), "{what}: lost");
    let rest = consumer(ring, form.options).run().with_code(0).stdout;
    if form.framing.is_none() {
        let whole = written.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        assert_eq!(texts(&written[..whole]), items[..acknowledged], "{what}");
        assert_eq!(texts(&rest), items[acknowledged..], "{what}");
        return;
    }
    let (first, next) =
        (framed(form, &items[..acknowledged]), framed(form, &items[acknowledged..=acknowledged]));
    assert!(written.starts_with(&first), "{what}: acknowledged and not written");
    let begun = &written[first.len()..];
    assert!(begun.len() < next.len() && next.starts_with(begun), "{what}: written and not acknowledged");
    assert!(rest == framed(form, &items[acknowledged..]), "{what}: the rest");
    assert!(ring.open().snapshot().unwrap().used_slots == 0, "{what}");
}

#[test]
fn a_file_system_that_fills_up_loses_nothing_in_any_form() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs -o size=64k none /mnt");
        return;
    }
    none_is_lost_at("/mnt/out", "No space left on device", |consumer| consumer);
}

#[test]
fn the_limit_for_files_loses_nothing_in_any_form() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    none_is_lost_at(out.to_str().unwrap(), "File too large", |consumer| {
        consumer.limited(Resource::RLIMIT_FSIZE, ROOM as u64)
    });
}

/// Lets a consumer in each form write to this file, which takes `ROOM` bytes; then the system says this.
fn none_is_lost_at(out: &str, message: &str, limited: impl Fn(Run) -> Run) {
    for form in FORMS {
        for lengths in [&[1][..], &[7, 100, 0, 3000], &[5000], &[40_000, 10], &[70_000]] {
            let items = items(lengths);
            // The ring has room for all of them, or takes as many as it has room for.
            let items: Vec<_> = items.into_iter().take(8000).collect();
            if framed(&Form { framing: form.framing.or(Some(Framing::Lines)), ..form }, &items).len() <= ROOM
                && form.framing.is_some()
            {
                continue;
            }
            let ring = filled("room", &items);
            let ended = limited(consumer(&ring, form.options)).stdout(File::create(out).unwrap()).run();
            let line = format!("consumer: standard output: {message}; ring");
            assert!(ended.with_code(1).stderr.starts_with(&line), "{line}");
            let written = std::fs::read(out).unwrap();
            std::fs::remove_file(out).unwrap();
            check(&form, &items, &ring, &written);
        }
    }
}

#[test]
fn only_items_a_reader_took_before_it_left_are_acknowledged_in_any_form() {
    for form in FORMS {
        for lengths in [&[7, 100, 0, 3000][..], &[5000]] {
            let items = items(lengths);
            let ring = filled("reader", &items);
            let (mut reader, writer) = std::io::pipe().unwrap();
            let running = consumer(&ring, form.options).stdout(writer).spawn();
            let mut taken = vec![0; 30_000];
            reader.read_exact(&mut taken).unwrap();
            close_reader(reader);
            let ended = running.end().with_code(0);
            assert_eq!(ended.stderr, "");
            check(&form, &items, &ring, &taken);
        }
    }
}

#[test]
fn a_full_output_acknowledges_nothing_in_any_form() {
    for form in FORMS {
        let items = items(&[5000, 3]);
        let ring = filled("full", &items);
        let full = File::options().write(true).open("/dev/full").unwrap();
        consumer(&ring, form.options).stdout(full).run().with_code(1);
        check(&form, &items, &ring, b"");
    }
}

#[test]
fn an_output_that_has_room_again_gets_the_rest_and_nothing_is_missing() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs -o size=64k none /mnt");
        return;
    }
    let items = items(&[50]);
    let ring = filled("again", &items);
    let (mut all, mut turns) = (Vec::new(), 0);
    // As a script would: whole lines are kept, the torn one is cut off, and it is tried again.
    loop {
        let out = File::create("/mnt/out").unwrap();
        let ended = consumer(&ring, &[]).stdout(out).run();
        let mut written = std::fs::read("/mnt/out").unwrap();
        written.truncate(written.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
        all.extend(written);
        turns += 1;
        match ended.code {
            Some(0) => break,
            code => assert_eq!(code, Some(1), "{}", ended.stderr),
        }
    }
    assert!(turns >= 3, "it was never full");
    assert!(all == framed(&FORMS[0], &items));
}
