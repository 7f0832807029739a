//! What happens, sentence by sentence.

use std::io::Write;
use std::process::{Command, Stdio};

use ringpipe::Ring;

use crate::ringctl_watch::Watch;
use crate::support::*;

/// First and last number after `word` in a sentence, as in `item 3` and `items 3 to 5`.
fn numbers(sentence: &str, word: &str) -> Option<(u64, u64)> {
    let mut words = sentence.split([' ', ':', ',', ';']).filter(|part| !part.is_empty());
    words.find(|part| *part == word || part.strip_suffix('s') == Some(word))?;
    let first = words.next()?.parse().ok()?;
    let last = (words.next() == Some("to")).then(|| words.next()?.parse().ok()).flatten();
    Some((first, last.unwrap_or(first)))
}

#[test]
fn each_step_of_an_item_is_shown_in_order() {
    let name = TestName::ring("watch-steps", &["--capacity", "4"]);
    let me = std::process::id();
    let ring = Ring::open(&name.name).unwrap();
    let mut watch = Watch::start(&name, &["--interval", "1ms"]);
    watch.tells(&format!("ring {:?}: 4 slots, 0 in use; 0 items waiting, 0 held", name.name));
    let mut producer = ring.producer().unwrap();
    watch.tells(&format!("producer {me} comes"));
    let reserved = producer.reserve(5).unwrap();
    watch.tells(&format!("producer {me} writes slot 0"));
    reserved.commit();
    watch.tells("slot 0: item 0 is ready");
    let mut consumer = ring.consumer().unwrap();
    watch.tells(&format!("consumer {me} comes"));
    let item = consumer.recv().unwrap();
    watch.tells(&format!("consumer {me} takes item 0 from slot 0"));
    item.give_back();
    watch.tells(&format!("consumer {me} gives item 0 back: to be delivered again"));
    let item = consumer.recv().unwrap();
    let takes = format!("consumer {me} takes item 0 from slot 0, its delivery no. 2, ");
    let told = watch.tells_some(&takes, |line| line.starts_with(&takes));
    assert!(told.ends_with(&format!(" after consumer {me} gave it back")), "{told}");
    item.ack();
    watch.tells(&format!("consumer {me} is done with item 0: slot 0 is free"));
    // Of what takes microseconds, the watch may see the middle.
    let tells_one_of = |sentences: &[&str]| {
        watch.tells_some(sentences[0], |line| sentences.contains(&line));
    };
    producer.send(b"second").unwrap();
    let whole = format!("producer {me} wrote item 1 into slot 1: it is ready");
    tells_one_of(&[&whole, "slot 1: item 1 is ready"]);
    let batch = producer.send_batch(&["c", "d"]).unwrap();
    assert_eq!(batch, 2);
    let whole = format!("producer {me} wrote items 2 to 3 into slots 2 to 3: they are ready");
    let end = format!("producer {me} wrote item 3 into slot 3: it is ready");
    tells_one_of(&[&whole, &end, "slot 3: item 3 is ready", "slots 2 to 3: items 2 to 3 are ready"]);
    drop(producer);
    watch.tells(&format!("producer {me} leaves"));
    ring.close();
    watch.tells("the ring is closed: no more items come in");
    ring.remove().unwrap();
    assert_eq!(watch.process.wait(), Some(0));
    watch.tells("the ring was removed");
}

#[test]
fn a_paced_run_is_shown_with_the_right_slots_in_order() {
    const ITEMS: u64 = 40;
    // More slots than items: nothing is overwritten, however late a look comes.
    let name = TestName::ring("watch-paced", &["--capacity", "64"]);
    let mut watch = Watch::start(&name, &["--interval", "2ms"]);
    watch.tells(&format!("ring {:?}: 64 slots, 0 in use; 0 items waiting, 0 held", name.name));
    let mut consumer = Command::new(env!("CARGO_BIN_EXE_consumer"));
    consumer.args(["--rate", "100", &name.name]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut consumer = Kept::start(&mut consumer);
    let mut producer = Command::new(env!("CARGO_BIN_EXE_producer"));
    producer.args(["--rate", "200", &name.name]);
    let input: String = (0..ITEMS).map(|n| format!("line {n}\n")).collect();
    run_with(producer, input.as_bytes()).succeeds();
    assert_eq!(consumer.wait(), Some(0));
    ringctl(&["rm", &name.name]).succeeds();
    assert_eq!(watch.process.wait(), Some(0));
    watch.tells("the ring was removed");

    let lines = watch.lines();
    let (mut written, mut taken) = (0, 0);
    for line in &lines {
        let Some(items) = numbers(line, "item") else { continue };
        assert_eq!(numbers(line, "slot"), Some(items), "an item in another's slot: {line}");
        let wrote = line.contains(" ready") || line.contains(" went through ");
        let took = ["takes", "took"].iter().any(|word| line.contains(word));
        assert!(wrote || took || line.contains("is done with"), "{line}");
        for item in items.0..=items.1 {
            if wrote {
                assert_eq!(item, written, "{lines:#?}");
                written += 1;
            }
            if took {
                assert_eq!(item, taken, "{lines:#?}");
                assert!(item < written, "taken before it was written: {lines:#?}");
                taken += 1;
            }
        }
    }
    assert_eq!((written, taken), (ITEMS, ITEMS), "{lines:#?}");
}

#[test]
fn processes_that_wait_for_room_or_items_are_shown() {
    let name = TestName::ring("watch-waits", &["--capacity", "2"]);
    let watch = Watch::start(&name, &["--interval", "2ms"]);
    watch.tells(&format!("ring {:?}: 2 slots, 0 in use; 0 items waiting, 0 held", name.name));
    let mut consumer = Command::new(env!("CARGO_BIN_EXE_consumer"));
    consumer.arg(&name.name).stdin(Stdio::null()).stdout(Stdio::null());
    let mut consumer = Kept::start(&mut consumer);
    watch.tells(&format!("consumer {} waits for an item: all 2 slots are free", consumer.0.id()));
    consumer.kill();
    let mut producer = idle_producer(&name);
    producer.0.stdin.as_mut().unwrap().write_all(b"a\nb\nc\n").unwrap();
    watch.tells(&format!("producer {} waits for room: all 2 slots are full", producer.0.id()));
}

#[test]
fn a_fast_ring_is_shown_in_numbers() {
    let name = TestName::ring("watch-fast", &["--capacity", "4"]);
    let ring = Ring::open(&name.name).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let watch = Watch::start(&name, &["--interval", "20ms"]);
    let summary = |line: &String| line.starts_with("in ") && line.contains(" items came in and ");
    wait_until("a summary was printed", || {
        for _ in 0..1000 {
            producer.send(b"x").unwrap();
            consumer.recv().unwrap().ack();
        }
        watch.lines().iter().any(summary)
    });
}
