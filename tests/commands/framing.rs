//! Items that come out in another form than they went in: a consumer says so, once.

use crate::support::*;
use ringpipe::RingOptions;

const FORMS: [&[&str]; 7] =
    [&[], &["-0"], &["-d", ","], &["--raw"], &["--block", "1K"], &["--frame", "len32"], &["--whole-file"]];
const NAMES: [&str; 7] = ["lines", "null", "delimiter ','", "raw", "blocks", "len32", "whole-file"];

/// An input that each framing takes, whose items hold no separator.
fn input(form: usize) -> Vec<u8> {
    match NAMES[form] {
        "null" => b"one\0".to_vec(),
        "delimiter ','" => b"one,".to_vec(),
        "len32" => b"\0\0\0\x03one".to_vec(),
        "lines" => b"one\n".to_vec(),
        _ => b"one".to_vec(),
    }
}

#[test]
fn a_consumer_with_another_framing_than_its_producers_says_so_in_one_line() {
    let is_bare = |form: usize| ["raw", "blocks", "whole-file"].contains(&NAMES[form]);
    for (sent, options) in FORMS.iter().enumerate() {
        for (received, other) in FORMS.iter().enumerate() {
            let ring = TestName::new("differs");
            producer(&ring, options).input(input(sent)).run().with_code(0).quiet();
            let out = consumer(&ring, other).run().with_code(0);
            let expected = match sent == received || is_bare(sent) && is_bare(received) {
                true => String::new(),
                false => format!(
                    "consumer: ring {:?}: its producers' framing is {}, and the output's {}\n",
                    ring.name, NAMES[sent], NAMES[received]
                ),
            };
            assert_eq!(out.stderr, expected);
            if expected.is_empty() {
                assert_eq!(out.stdout, input(sent));
            }
        }
        let ring = TestName::new("json");
        producer(&ring, options).input(input(sent)).run().with_code(0);
        consumer(&ring, &["--json"]).run().with_code(0).quiet();
        let ring = TestName::new("silent");
        producer(&ring, options).input(input(sent)).run().with_code(0);
        consumer(&ring, &["-q", "-d", ";"]).run().with_code(0).quiet();
    }
}

#[test]
fn different_framings_of_producers_are_reported_and_shown() {
    let ring = TestName::made("mixed", &RingOptions::new().capacity(64));
    let shown = |ring: &TestName| {
        let out = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["inspect", &ring.name, "--json"]).run();
        let json: serde_json::Value = serde_json::from_str(out.with_code(0).text()).unwrap();
        json["framing"].clone()
    };
    assert_eq!(shown(&ring), serde_json::Value::Null);
    // The library has no framing, and tells none.
    ring.send(&["0"]);
    consumer(&ring, &["-0", "-n", "1"]).run().with_code(0).quiet();
    producer(&ring, &[]).input("1\n").run().with_code(0);
    assert_eq!(shown(&ring), "lines");
    producer(&ring, &[]).input("2\n").run().with_code(0);
    assert_eq!(shown(&ring), "lines");
    producer(&ring, &["--raw"]).input("3").run().with_code(0);
    assert_eq!(shown(&ring), "mixed");
    let text = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["inspect", &ring.name]).run().with_code(0);
    assert!(text.text().contains("mixed, as its producers say"), "{}", text.text());
    let out = consumer(&ring, &[])
        .run()
        .with_code(0)
        .saying("its producers' framing is mixed, and the output's lines");
    assert_eq!(out.text(), "1\n2\n3\n");
}

#[test]
fn an_item_that_contains_its_separator_is_reported_once() {
    for (options, item, byte) in
        [(&[][..], "a\nb", "\\n"), (&["-d", ","], "a,b", ","), (&["-d", "b"], "abba", "b")]
    {
        let ring = TestName::made("ambiguous", &RingOptions::new().capacity(64));
        ring.send(&["whole", item, "whole", item]);
        let out = consumer(&ring, options).run().with_code(0);
        let line = format!(
            "consumer: ring {:?}: an item holds '{byte}', which ends each item in the output; --frame len32 and --json keep them apart\n",
            ring.name
        );
        assert_eq!(out.stderr, line);
        for options in [&["--json"][..], &["--frame", "len32"], &["--raw"], &["-0"], &["-q"]] {
            ring.send(&["whole", item]);
            consumer(&ring, options).run().with_code(0).quiet();
        }
    }
}
