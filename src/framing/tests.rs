use super::*;
use std::collections::VecDeque;
use std::io::{self, Read};

const AMPLE: usize = 1 << 20;

/// What one read of a [`Script`] does.
#[derive(Debug, Clone)]
enum Step {
    Give(Vec<u8>),
    Interrupt,
    Fail,
}

/// A reader that follows a script, then is at its end.
struct Script(VecDeque<Step>);

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        assert!(!buf.is_empty(), "a read without room would look like the end");
        match self.0.pop_front() {
            None => Ok(0),
            Some(Step::Interrupt) => Err(io::ErrorKind::Interrupted.into()),
            Some(Step::Fail) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(Step::Give(mut bytes)) => {
                let n = bytes.len().min(buf.len());
                buf[..n].copy_from_slice(&bytes[..n]);
                if n < bytes.len() {
                    self.0.push_front(Step::Give(bytes.split_off(n)));
                }
                Ok(n)
            }
        }
    }
}

fn script(steps: &[&[u8]]) -> Script {
    Script(steps.iter().map(|bytes| Step::Give(bytes.to_vec())).collect())
}

/// Splits `input` into random pieces, with interruptions in between.
fn pieces(input: &[u8], largest: usize, random: &mut fastrand::Rng) -> Script {
    let mut steps = VecDeque::new();
    let mut rest = input;
    while !rest.is_empty() {
        if random.u8(..4) == 0 {
            steps.push_back(Step::Interrupt);
        }
        let (piece, after) = rest.split_at(random.usize(1..=largest.min(rest.len())));
        steps.push_back(Step::Give(piece.to_vec()));
        rest = after;
    }
    Script(steps)
}

/// All items; or an error, and the items before it.
type Drained = Result<Vec<Vec<u8>>, (Vec<Vec<u8>>, FramingError)>;

/// Takes all items, `step(n)` of n items at a time.
fn drain<R: Read>(splitter: &mut Splitter<R>, mut step: impl FnMut(usize) -> usize) -> Drained {
    let mut seen = Vec::new();
    let before = splitter.consumed();
    loop {
        match splitter.fill() {
            Ok(Fill::Ready) => {
                let n = step(splitter.items().len());
                seen.extend(splitter.items().take(n).map(<[u8]>::to_vec));
                splitter.consume(n);
                assert_eq!(splitter.consumed() - before, seen.len() as u64);
            }
            Ok(Fill::Interrupted) => {}
            Ok(Fill::End) => return Ok(seen),
            Err(error) => return Err((seen, error)),
        }
    }
}

fn items(framing: Framing, input: &[u8]) -> Vec<Vec<u8>> {
    drain(&mut Splitter::new(input, framing, AMPLE), |n| n).unwrap()
}

fn failure(framing: Framing, limit: usize, input: &[u8]) -> (usize, String) {
    let (before, error) = drain(&mut Splitter::new(input, framing, limit), |n| n).unwrap_err();
    (before.len(), error.to_string())
}

/// Splits at separators, without a buffer.
fn naive(separator: u8, input: &[u8]) -> Vec<Vec<u8>> {
    let mut items: Vec<_> = input.split(|b| *b == separator).map(<[u8]>::to_vec).collect();
    if items.last().is_some_and(Vec::is_empty) {
        items.pop();
    }
    items
}

#[test]
fn lines_keep_their_bytes_and_empty_lines_are_items() {
    assert_eq!(items(Framing::Lines, b"a\r\n\n\xff\0\n"), [&b"a\r"[..], b"", b"\xff\0"]);
    assert_eq!(items(Framing::Null, b"a\nb\0\0c"), [&b"a\nb"[..], b"", b"c"]);
    assert_eq!(items(Framing::Delimiter(b','), b",x,"), [&b""[..], b"x"]);
    assert_eq!(items(Framing::Lines, b""), Vec::<Vec<u8>>::new());
    assert_eq!(items(Framing::Lines, b"\n"), [b""]);
}

#[test]
fn a_missing_last_newline_is_remembered() {
    for (input, lacked) in [(&b"a\nb"[..], true), (b"a\nb\n", false), (b"", false), (b"\n", false)] {
        let mut splitter = Splitter::new(input, Framing::Lines, AMPLE);
        drain(&mut splitter, |n| n).unwrap();
        assert_eq!(splitter.lacked_last_separator(), lacked, "{input:?}");
    }
}

#[test]
fn a_whole_file_is_one_item_even_when_empty() {
    assert_eq!(items(Framing::WholeFile, b""), [b""]);
    let large = vec![7; AMPLE];
    assert_eq!(items(Framing::WholeFile, &large), [large]);
}

#[test]
fn random_inputs_split_as_the_naive_way_does() {
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..6000 {
        let input: Vec<u8> = (0..random.usize(..400)).map(|_| b"ab\n\0,"[random.usize(..5)]).collect();
        let framing = [Framing::Lines, Framing::Null, Framing::Delimiter(b',')][round % 3];
        let largest = [1, 3, 50, 500][random.usize(..4)];
        let reader = pieces(&input, largest, &mut random);
        let mut splitter = Splitter::new(reader, framing, 400);
        let seen = drain(&mut splitter, |n| random.usize(..=n)).unwrap();
        let separator = framing.separator().unwrap();
        assert_eq!(seen, naive(separator, &input), "round {round}");
        assert_eq!(splitter.lacked_last_separator(), input.last().is_some_and(|b| *b != separator));
    }
}

#[test]
fn inputs_larger_than_the_buffer_and_the_block_split_the_same() {
    let mut random = fastrand::Rng::with_seed(2);
    for (longest, items) in [(1, 600_000), (40, 60_000), (700_000, 9)] {
        let mut input = Vec::new();
        for _ in 0..items {
            input.resize(input.len() + random.usize(..longest), b'x');
            input.push(b'\n');
        }
        let reader = pieces(&input, 500_000, &mut random);
        let seen = drain(&mut Splitter::new(reader, Framing::Lines, 700_000), |n| n.div_ceil(2)).unwrap();
        assert!(seen == naive(b'\n', &input), "lines of up to {longest}");
    }
}

#[test]
fn framed_items_are_split_into_the_same_items() {
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..2000 {
        let framing = [Framing::Len32, Framing::Lines, Framing::Null, Framing::Delimiter(b';')][round % 4];
        let sent: Vec<Vec<u8>> = (0..random.usize(..30))
            .map(|_| {
                (0..random.usize(..50))
                    .map(|_| random.u8(..))
                    .filter(|b| framing.separator() != Some(*b))
                    .collect()
            })
            .collect();
        let mut stream = Vec::new();
        for item in &sent {
            framing.frame_into(item, &mut stream).unwrap();
        }
        let reader = pieces(&stream, [1, 5, 2000][round % 3], &mut random);
        let received = drain(&mut Splitter::new(reader, framing, 50), |n| random.usize(..=n)).unwrap();
        assert_eq!(received, sent, "{framing}, round {round}");
    }
}

#[test]
fn raw_and_whole_pieces_are_the_input_byte_for_byte() {
    let mut random = fastrand::Rng::with_seed(4);
    for chunk in [0, 1, 7, 4096, 100_000, 300_000, usize::MAX] {
        let input: Vec<u8> = (0..if chunk < 2 { 5000 } else { 900_000 }).map(|_| random.u8(..)).collect();
        let reader = pieces(&input, 400_000, &mut random);
        let pieces = drain(&mut Splitter::new(reader, Framing::Raw { chunk }, AMPLE), |n| n).unwrap();
        assert!(pieces.iter().all(|p| !p.is_empty() && p.len() <= chunk.max(1)));
        assert!(pieces.concat() == input, "chunk {chunk}");
    }
    let pieces = drain(&mut Splitter::new(&[1; 10][..], Framing::Raw { chunk: 100 }, 4), |n| n).unwrap();
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2], "the limit holds as well");
}

#[test]
fn blocks_are_whole_lines_and_the_input_byte_for_byte() {
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..300 {
        let (longest, size) = ([3, 40, 700][round % 3], random.usize(1..500));
        let input: Vec<u8> = (0..random.usize(..30_000))
            .map(|_| if random.usize(..longest) == 0 { b'\n' } else { b'x' })
            .collect();
        let reader = pieces(&input, [7, 900, 40_000][round / 3 % 3], &mut random);
        let mut splitter = Splitter::new(reader, Framing::Blocks { size }, AMPLE);
        let blocks = drain(&mut splitter, |n| random.usize(..=n)).unwrap();
        assert!(blocks.concat() == input, "round {round}");
        for (n, block) in blocks.iter().enumerate() {
            let lines = block.iter().filter(|byte| **byte == b'\n').count();
            assert!(block.ends_with(b"\n") || n + 1 == blocks.len(), "round {round}: a line is cut");
            assert!(block.len() <= size || lines <= 1, "round {round}: a block is too large");
        }
        assert_eq!(splitter.lacked_last_separator(), !input.is_empty() && !input.ends_with(b"\n"));
    }
    assert_eq!(
        failure(Framing::Blocks { size: 4 }, 4, b"a\nb\n12345\nc\n"),
        (1, "item 2 (at byte 4) has 6 bytes; the limit is 4 bytes".to_string())
    );
}

#[test]
fn an_item_is_available_as_soon_as_a_read_has_completed_it() {
    // A further read would fail the test.
    let stop = |steps: &[&[u8]]| {
        let mut script = script(steps);
        script.0.push_back(Step::Fail);
        script
    };
    let first = |framing, steps: &[&[u8]]| {
        let mut splitter = Splitter::new(stop(steps), framing, AMPLE);
        assert_eq!(splitter.fill().unwrap(), Fill::Ready);
        splitter.items().map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert_eq!(first(Framing::Lines, &[b"one\ntw"]), [b"one"]);
    assert_eq!(first(Framing::Lines, &[b"on", b"e\n"]), [b"one"]);
    assert_eq!(first(Framing::Raw { chunk: 64 }, &[b"on"]), [b"on"]);
    assert_eq!(first(Framing::Blocks { size: 64 }, &[b"a\nb\nc"]), [b"a\nb\n"]);
    assert_eq!(first(Framing::Len32, &[b"\0\0\0", b"\x01x\0"]), [b"x"]);
}

#[test]
fn an_interruption_is_reported_and_loses_nothing() {
    let give = |bytes: &[u8]| Step::Give(bytes.to_vec());
    let script = Script(VecDeque::from([Step::Interrupt, give(b"on"), Step::Interrupt, give(b"e\ntwo\n")]));
    let mut splitter = Splitter::new(script, Framing::Lines, AMPLE);
    assert_eq!(splitter.fill().unwrap(), Fill::Interrupted);
    assert_eq!(splitter.items().len(), 0);
    assert_eq!(splitter.fill().unwrap(), Fill::Interrupted);
    assert_eq!(splitter.fill().unwrap(), Fill::Ready);
    assert_eq!(splitter.items().collect::<Vec<_>>(), [b"one", b"two"]);
}

#[test]
fn items_not_consumed_stay_for_the_next_call() {
    let mut splitter = Splitter::new(&b"a\nb\nc"[..], Framing::Lines, AMPLE);
    assert_eq!(splitter.fill().unwrap(), Fill::Ready);
    splitter.consume(0);
    splitter.consume(1);
    assert_eq!(splitter.fill().unwrap(), Fill::Ready);
    assert_eq!(splitter.items().collect::<Vec<_>>(), [b"b"]);
    splitter.consume(1);
    assert_eq!(splitter.fill().unwrap(), Fill::Ready);
    assert_eq!(splitter.items().collect::<Vec<_>>(), [b"c"]);
    splitter.consume(1);
    assert_eq!([splitter.fill().unwrap(), splitter.fill().unwrap()], [Fill::End; 2]);
}

#[test]
#[should_panic(expected = "consumed 2 items of 1")]
fn consuming_more_items_than_available_panics() {
    let mut splitter = Splitter::new(&b"a\n"[..], Framing::Lines, AMPLE);
    splitter.fill().unwrap();
    splitter.consume(2);
}

#[test]
fn an_item_of_exactly_the_limit_fits() {
    let large = vec![b'x'; AMPLE];
    let mut line = large.clone();
    line.push(b'\n');
    let mut prefixed = Vec::new();
    Framing::Len32.frame_into(&large, &mut prefixed).unwrap();
    for (framing, input) in [
        (Framing::Lines, &line),
        (Framing::Lines, &large),
        (Framing::WholeFile, &large),
        (Framing::Len32, &prefixed),
    ] {
        assert!(items(framing, input) == [&large[..]], "{framing}");
    }
}

#[test]
fn a_too_long_item_is_reported_after_the_items_before_it() {
    let after_two = |message: &str| (2, message.to_string());
    assert_eq!(
        failure(Framing::Lines, 4, b"a\nb\n12345\nc\n"),
        after_two("item 3 (at byte 4) has 5 bytes; the limit is 4 bytes")
    );
    assert_eq!(
        failure(Framing::Lines, 4, b"a\nb\n1234567"),
        after_two("item 3 (at byte 4) has at least 7 bytes; the limit is 4 bytes")
    );
    assert_eq!(
        failure(Framing::Len32, 4, b"\0\0\0\x01a\0\0\0\x01b\xff\xff\xff\xff"),
        after_two("item 3 (at byte 10) has 3.99 GiB; the limit is 4 bytes")
    );
    assert_eq!(
        failure(Framing::WholeFile, 4, b"12345"),
        (0, "item 1 (at byte 0) has at least 5 bytes; the limit is 4 bytes".to_string())
    );
}

/// The items of `input` in a ring of fixed items of `bytes` bytes; or the number of items before an error, and the error.
fn exactly(
    framing: Framing,
    bytes: usize,
    input: &[u8],
    largest: usize,
) -> Result<Vec<Vec<u8>>, (usize, String)> {
    let reader = pieces(input, largest, &mut fastrand::Rng::with_seed(6));
    let mut splitter = Splitter::new(reader, framing, AMPLE).exactly(bytes);
    // A short read does not tell the whole length of an item that is too long.
    let whole = |error: FramingError| error.to_string().replace("at least ", "");
    drain(&mut splitter, |n| n).map_err(|(before, error)| (before.len(), whole(error)))
}

#[test]
fn an_item_of_another_length_is_reported_after_the_items_before_it() {
    let after_two = |message: &str| Err((2, message.to_string()));
    for largest in [1, 3, 1000] {
        let lines = |input: &[u8]| exactly(Framing::Lines, 2, input, largest);
        assert_eq!(lines(b"ab\ncd\nef"), Ok(vec![b"ab".to_vec(), b"cd".to_vec(), b"ef".to_vec()]));
        for (third, has) in [("e\n", "1 byte"), ("\n", "0 bytes"), ("efg\n", "3 bytes"), ("e", "1 byte")] {
            let (input, has) = (format!("ab\ncd\n{third}gh\n"), has.to_string());
            // A last line that is too short joins the one behind it here.
            let has = if third == "e" { "3 bytes".into() } else { has };
            let line = format!("item 3 (at byte 6) has {has}; expected exactly 2");
            assert_eq!(lines(input.as_bytes()), after_two(&line), "{third:?}, reads of {largest}");
        }
        assert_eq!(lines(b"ab\ncd\ne"), after_two("item 3 (at byte 6) has 1 byte; expected exactly 2"));
        let raw = |input| exactly(Framing::Raw { chunk: 64 }, 2, input, largest);
        assert_eq!(raw(b"ab\nd"), Ok(vec![b"ab".to_vec(), b"\nd".to_vec()]));
        assert_eq!(raw(b"abcde"), after_two("item 3 (at byte 4) has 1 byte; expected exactly 2"));
        let prefixed = |input| exactly(Framing::Len32, 2, input, largest);
        assert_eq!(
            prefixed(b"\0\0\0\x02ab\0\0\0\x02cd\0\0\0\x01e"),
            after_two("item 3 (at byte 12) has 1 byte; expected exactly 2")
        );
        let whole = |input| exactly(Framing::WholeFile, 2, input, largest);
        assert_eq!(whole(b"ab"), Ok(vec![b"ab".to_vec()]));
        assert_eq!(whole(b""), Err((0, "item 1 (at byte 0) has 0 bytes; expected exactly 2".into())));
        assert!(whole(b"abc").is_err());
    }
    // A line that is much longer than the items is refused before its end was read.
    let endless = exactly(Framing::Lines, 2, &[b'x'; 300_000], 1000).unwrap_err();
    assert!(endless.1.starts_with("item 1 (at byte 0) has "), "{endless:?}");
}

#[test]
fn raw_pieces_of_one_length_are_the_input_whatever_a_read_gives() {
    let mut random = fastrand::Rng::with_seed(7);
    for size in [1, 3, 8, 1000, 262_144, 300_000] {
        let input: Vec<u8> = (0..size * if size < 9 { 2000 } else { 3 }).map(|_| random.u8(..)).collect();
        for largest in [7, 400_000] {
            let pieces = exactly(Framing::Raw { chunk: 9 }, size, &input, largest).unwrap();
            assert!(pieces.iter().all(|piece| piece.len() == size) && pieces.concat() == input, "{size}");
        }
    }
}

#[test]
fn an_endless_line_is_refused_in_bounded_memory() {
    let mut splitter = Splitter::new(io::repeat(b'x'), Framing::Lines, AMPLE);
    for _ in 0..2 {
        let Err(FramingError::TooLong { item: 1, offset: 0, length, complete: false, limit: AMPLE }) =
            splitter.fill()
        else {
            panic!("the line was not refused");
        };
        assert_eq!(length, AMPLE as u64 + 5, "no more than the buffer may hold");
    }
}

#[test]
fn a_truncated_item_is_reported_with_offset_and_lengths() {
    assert_eq!(
        failure(Framing::Len32, 64, b"\0\0\0\x01a\0\0"),
        (
            1,
            "the input ends inside the length prefix of item 2 (at byte 5): expected 4 bytes, found 2".into()
        )
    );
    assert_eq!(
        failure(Framing::Len32, 64, b"\0\0\0\x01a\0\0\0\x09bcd"),
        (1, "the input ends inside item 2 (at byte 5): expected 9 bytes after the prefix, found 3".into())
    );
    assert_eq!(items(Framing::Len32, b"\0\0\0\0\0\0\0\0"), [b"", b""]);
}

#[test]
fn offsets_count_from_the_start_of_the_input_across_reads() {
    let give = |bytes: &[u8]| Step::Give(bytes.to_vec());
    let script = Script(VecDeque::from([give(b"ab\ncd\nef"), give(b"gh\nxx"), give(b"xxx\n")]));
    let (_, error) = drain(&mut Splitter::new(script, Framing::Lines, 4), |_| 1).unwrap_err();
    assert_eq!(error.to_string(), "item 4 (at byte 11) has 5 bytes; the limit is 4 bytes");
}

#[test]
fn a_failed_read_is_reported_after_the_items_before_it_and_can_be_tried_again() {
    let give = |bytes: &[u8]| Step::Give(bytes.to_vec());
    let script = Script(VecDeque::from([give(b"a\nb"), Step::Fail, give(b"c\n")]));
    let mut splitter = Splitter::new(script, Framing::Lines, AMPLE);
    let (before, error) = drain(&mut splitter, |n| n).unwrap_err();
    assert_eq!(before, [b"a"]);
    assert!(
        matches!(&error, FramingError::Read { offset: 3, source } if source.raw_os_error() == Some(libc::EIO))
    );
    assert_eq!(drain(&mut splitter, |n| n).unwrap(), [b"bc"]);
}

#[test]
fn a_length_above_4_gib_has_no_prefix() {
    assert_eq!(Framing::Len32.prefix(258).unwrap(), Some([0, 0, 1, 2]));
    assert_eq!(Framing::Lines.prefix(usize::MAX).unwrap(), None);
    #[cfg(target_pointer_width = "64")]
    assert!(matches!(Framing::Len32.prefix(1 << 32), Err(FramingError::NoPrefix { length: 0x1_0000_0000 })));
}
