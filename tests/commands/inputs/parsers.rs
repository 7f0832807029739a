//! Properties of what reads values and bytes, over whatever comes.

use std::fmt::Debug;
use std::io::Read;
use std::str::FromStr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use ringpipe::internal::cli::common::args::{
    ArgError, ByteSize, Count, DelayArg, DelimiterArg, DurationArg, ModeArg, RateArg,
};
use ringpipe::internal::framing::{Fill, Framing, Splitter};

/// Texts that are nearly values: digits, units, signs and separators, and now and then anything.
fn nearly_values() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-+0-9._eExXKMGTPbBiIsmhdnu/ ]{0,12}",
        "[0-9]{1,25}(\\.[0-9]{0,25})?( ?[KkMmGgTtPpEe]i?[bB]?|ns|us|µs|ms|s|m|h|d|w|y|/s|/m|/h)?",
        "\\\\.{0,4}",
        ".{0,20}",
    ]
}

fn is_read_or_refused_in_one_line<T: FromStr<Err = ArgError> + Debug>(
    text: &str,
) -> Result<(), TestCaseError> {
    if let Err(error) = text.parse::<T>() {
        let line = error.to_string();
        prop_assert!(line.contains("; expected ") && !line.contains('\n'), "{}", line);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_text_is_a_value_or_refused_in_one_line(text in nearly_values()) {
        is_read_or_refused_in_one_line::<ByteSize>(&text)?;
        is_read_or_refused_in_one_line::<Count>(&text)?;
        is_read_or_refused_in_one_line::<DurationArg>(&text)?;
        is_read_or_refused_in_one_line::<DelayArg>(&text)?;
        is_read_or_refused_in_one_line::<RateArg>(&text)?;
        is_read_or_refused_in_one_line::<DelimiterArg>(&text)?;
        is_read_or_refused_in_one_line::<ModeArg>(&text)?;
    }

    #[test]
    fn parsed_values_are_within_their_limits(text in nearly_values()) {
        if let Ok(rate) = text.parse::<RateArg>() {
            prop_assert!(rate.per_second().is_finite() && rate.per_second() > 0.0);
            // Its interval can be waited for.
            prop_assert!(Duration::try_from_secs_f64(1.0 / rate.per_second()).is_ok());
        }
        if let Ok(delay) = text.parse::<DelayArg>() {
            prop_assert!(delay.min <= delay.max);
        }
        if let Ok(ModeArg(mode)) = text.parse::<ModeArg>() {
            prop_assert!(mode <= 0o777);
        }
    }

    #[test]
    fn a_count_reads_back_whatever_its_separators(count: u64, at in 0usize..20) {
        let mut text = count.to_string();
        prop_assert_eq!(text.parse::<Count>(), Ok(Count(count)));
        text.insert(at.min(text.len()), '_');
        prop_assert_eq!(text.parse::<Count>(), Ok(Count(count)));
    }

    #[test]
    fn a_size_is_its_number_times_its_unit(number in 0u64..1 << 40, unit in 0usize..4, form in 0usize..4) {
        let letter = ["", "K", "M", "G"][unit];
        let suffix = if unit == 0 { "" } else { ["", "B", "iB", ""][form] };
        let text = format!("{number}{letter}{suffix}");
        let text = if form == 3 { text.to_lowercase() } else { text };
        match number.checked_mul(1 << (10 * unit)) {
            Some(bytes) => prop_assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{}", text),
            None => prop_assert!(text.parse::<ByteSize>().is_err(), "{}", text),
        }
    }

    #[test]
    fn a_duration_reads_back_as_it_is_shown(seconds in 0u64..1 << 40, nanos in 0u32..1_000_000_000) {
        let duration = Duration::new(seconds, nanos);
        let shown = humantime::format_duration(duration).to_string();
        prop_assert_eq!(shown.parse::<DurationArg>(), Ok(DurationArg(duration)), "{}", shown);
        let range = format!("0s..{shown}");
        prop_assert_eq!(range.parse::<DelayArg>(), Ok(DelayArg { min: Duration::ZERO, max: duration }));
    }

    #[test]
    fn a_rate_is_its_number_in_its_unit(number in 1u32.., unit in 0usize..3) {
        let (letter, seconds) = [("s", 1.0), ("m", 60.0), ("h", 3600.0)][unit];
        let rate: RateArg = format!("{number}/{letter}").parse().unwrap();
        prop_assert!((rate.per_second() * seconds / f64::from(number) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn every_byte_is_a_delimiter_in_hexadecimal(byte: u8) {
        prop_assert_eq!(format!("\\x{byte:02x}").parse::<DelimiterArg>(), Ok(DelimiterArg(byte)));
        prop_assert_eq!(format!("\\x{byte:02X}").parse::<DelimiterArg>(), Ok(DelimiterArg(byte)));
    }

    #[test]
    fn permissions_read_back_in_every_spelling(mode in 0u32..=0o777) {
        for text in [format!("{mode:o}"), format!("{mode:04o}"), format!("0o{mode:o}")] {
            prop_assert_eq!(text.parse::<ModeArg>(), Ok(ModeArg(mode)));
        }
    }
}

/// A reader that gives its bytes in pieces of these lengths, in turn.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    lengths: Vec<usize>,
    turn: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.lengths[self.turn % self.lengths.len()];
        self.turn += 1;
        let n = most.min(buffer.len()).min(self.bytes.len() - self.at);
        buffer[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// All items, or those before the error; `taken` at a time. Always ends.
fn split(
    framing: Framing,
    limit: usize,
    bytes: &[u8],
    lengths: &[usize],
    taken: usize,
) -> (Vec<Vec<u8>>, Option<String>) {
    let reader = Pieces { bytes: bytes.to_vec(), at: 0, lengths: lengths.to_vec(), turn: 0 };
    drain(Splitter::new(reader, framing, limit), bytes.len(), taken)
}

/// As [`split`], for items of exactly this length.
fn split_exactly(
    framing: Framing,
    length: usize,
    bytes: &[u8],
    lengths: &[usize],
    taken: usize,
) -> (Vec<Vec<u8>>, Option<String>) {
    let reader = Pieces { bytes: bytes.to_vec(), at: 0, lengths: lengths.to_vec(), turn: 0 };
    drain(Splitter::new(reader, framing, 0).exactly(length), bytes.len(), taken)
}

fn drain(mut splitter: Splitter<Pieces>, len: usize, taken: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let mut items = Vec::new();
    for _ in 0..10 * (len + 10) {
        match splitter.fill() {
            Ok(Fill::End) => return (items, None),
            Ok(Fill::Interrupted) => {}
            Ok(Fill::Ready) => {
                let some: Vec<Vec<u8>> = splitter.items().take(taken).map(<[u8]>::to_vec).collect();
                splitter.consume(some.len());
                items.extend(some);
            }
            Err(error) => return (items, Some(error.to_string())),
        }
    }
    panic!("no end after {} items", items.len());
}

fn framings() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::Lines),
        Just(Framing::Null),
        any::<u8>().prop_map(Framing::Delimiter),
        (0usize..300).prop_map(|chunk| Framing::Raw { chunk }),
        (0usize..300).prop_map(|size| Framing::Blocks { size }),
        Just(Framing::Len32),
        Just(Framing::WholeFile),
    ]
}

/// Few different bytes, so that separators, short lengths and empty items are common.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b'\n'), Just(0u8), Just(b'a'), 0u8..5, any::<u8>()], 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn any_bytes_give_items_or_an_error_in_portions_of_any_size(
        framing in framings(), input in bytes(300), lengths in vec(1usize..400, 1..8), limit in 0usize..500, taken in 1usize..20,
    ) {
        let (items, error) = split(framing, limit, &input, &lengths, taken);
        let most = limit.max(1);
        prop_assert!(items.iter().all(|item| item.len() <= most), "longer than the limit");
        if let Some(line) = error {
            prop_assert!(!line.is_empty() && !line.contains('\n'), "{}", line);
        } else if matches!(framing, Framing::Raw { .. } | Framing::Blocks { .. } | Framing::WholeFile) {
            prop_assert_eq!(items.concat(), input);
        }
    }

    #[test]
    fn any_bytes_give_items_of_one_length_or_an_error_whatever_a_read_gives(
        framing in framings(), input in bytes(300), lengths in vec(1usize..400, 1..8), length in 1usize..40, taken in 1usize..20,
    ) {
        let (items, error) = split_exactly(framing, length, &input, &lengths, taken);
        prop_assert!(items.iter().all(|item| item.len() == length));
        if let Some(line) = &error {
            prop_assert!(!line.is_empty() && !line.contains('\n'), "{}", line);
        }
        if matches!(framing, Framing::Raw { .. }) {
            prop_assert_eq!(error.is_none(), input.len() % length == 0);
            prop_assert_eq!(items.concat(), &input[..input.len() / length * length]);
        } else if !matches!(framing, Framing::Blocks { .. }) {
            // Without an error, these are the items that any length would give.
            let (all, other) = split(framing, 4096, &input, &lengths, taken);
            prop_assert!(all.starts_with(&items));
            prop_assert_eq!(error.is_none() && other.is_none(), other.is_none() && all.len() == items.len());
        }
    }

    #[test]
    fn the_sizes_of_reads_do_not_change_the_items(
        framing in framings(), input in bytes(300), lengths in vec(1usize..400, 1..8), taken in 1usize..20,
    ) {
        // Pieces of a stream are what a read gave.
        if !matches!(framing, Framing::Raw { .. } | Framing::Blocks { .. }) {
            let whole = split(framing, 4096, &input, &[1 << 20], usize::MAX);
            prop_assert_eq!(split(framing, 4096, &input, &lengths, taken), whole);
        }
    }

    #[test]
    fn framed_items_are_split_into_the_same_items(
        framing in framings(), items in vec(bytes(40), 0..20), lengths in vec(1usize..400, 1..8),
    ) {
        let mut items = items;
        match framing.separator() {
            Some(separator) => items.iter_mut().for_each(|item| item.retain(|&byte| byte != separator)),
            None if framing != Framing::Len32 => return Ok(()),
            None => {}
        }
        let mut framed = Vec::new();
        for item in &items {
            framing.frame_into(item, &mut framed).unwrap();
        }
        prop_assert_eq!(split(framing, 4096, &framed, &lengths, 7), (items, None));
    }
}
