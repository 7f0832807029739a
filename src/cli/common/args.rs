//! Typed values of command-line options. Each implements `FromStr`, which is all that clap needs of a field's
//! type.
use crate::framing::Framing;
use std::{str::FromStr, time::Duration};

/// A value of the wrong form, in one line: what is wrong, and the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; expected {expected}")]
pub struct ArgError {
    problem: String,
    expected: &'static str,
}

impl ArgError {
    /// The problem, and the expected form.
    pub(in crate::cli) fn new(problem: impl Into<String>, expected: &'static str) -> Self {
        ArgError { problem: problem.into(), expected }
    }
}

/// A number of bytes: `4096`, `64K`, `1.5M`, `2GiB`. K, M, G, T are powers of 1024, with or without `B` or
/// `iB`, in either case; a fraction is rounded to whole bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bytes = parse_size::Config::new().with_binary().parse_size(given).map_err(|e| {
            let problem = match e {
                parse_size::Error::Empty => "there is no number",
                parse_size::Error::PosOverflow => "the number is too large",
                _ => "this is not a size",
            };
            ArgError::new(problem, "bytes such as 4096, 64K or 1.5M (K, M, G are powers of 1024)")
        })?;
        Ok(ByteSize(bytes))
    }
}

/// The length of each item of a ring of fixed items: a [`ByteSize`] from 1 to 2^30.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FixedArg(pub u64);

impl FromStr for FixedArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        match given.parse()? {
            ByteSize(bytes @ 1..=0x4000_0000) => Ok(FixedArg(bytes)),
            _ => Err(ArgError::new("no ring has such items", "1 byte to 1G, such as 8, 64 or 4K")),
        }
    }
}

/// A number of things: `1000` or `1_000`, 0 to 2^64 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl FromStr for Count {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        const EXPECTED: &str = "a whole decimal number such as 1000 or 1_000";
        let digits = given.replace('_', "");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ArgError::new("this is not a count", EXPECTED));
        }
        // Digits only, so the number can only be too large.
        digits.parse().map(Count).map_err(|_| ArgError::new("the number is too large", EXPECTED))
    }
}

/// A span of time: `250ms`, `5s`, `2m`, `1h`, `1.5s`, `1m 30s`; a bare number is seconds, as for sleep(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationArg(pub Duration);

impl FromStr for DurationArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        duration(given, "a duration such as 250ms, 5s, 2m or 1h, or seconds").map(DurationArg)
    }
}

fn duration(given: &str, expected: &'static str) -> Result<Duration, ArgError> {
    let given = given.trim();
    let is_bare = !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let with_unit = if is_bare { format!("{given}s") } else { given.into() };
    humantime::parse_duration(&with_unit).map_err(|e| {
        let problem = match e {
            humantime::DurationError::Empty => "there is no duration".into(),
            humantime::DurationError::UnknownUnit { unit, .. } if unit.is_empty() => {
                "the unit is missing".into()
            }
            humantime::DurationError::UnknownUnit { unit, .. } => format!("{unit:?} is not a unit of time"),
            humantime::DurationError::NumberOverflow => "the number is too large or too fine".into(),
            _ => "this is not a duration".into(),
        };
        ArgError::new(problem, expected)
    })
}

/// A wait between items: a duration, or `MIN..MAX` for a random one, uniform between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayArg {
    /// The shortest wait.
    pub min: Duration,
    /// The longest wait, not less than `min`.
    pub max: Duration,
}

impl FromStr for DelayArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        const EXPECTED: &str = "a duration such as 250ms, or MIN..MAX such as 10ms..2s";
        let (min, max) = given.split_once("..").unwrap_or((given, given));
        let (min, max) = (duration(min, EXPECTED)?, duration(max, EXPECTED)?);
        if min > max {
            return Err(ArgError::new("the first duration is longer than the second", EXPECTED));
        }
        Ok(DelayArg { min, max })
    }
}

/// Items per time: `1000`, `1000/s`, `90/m`, `0.5/h`; without a unit, per second. Never 0, and at least one item
/// in 1,000 days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateArg {
    per_second: f64,
}

impl RateArg {
    /// Items per second, finite and above 0.
    pub fn per_second(self) -> f64 {
        self.per_second
    }
}

impl FromStr for RateArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        const SLOWEST: f64 = 1.0 / (1000.0 * 86_400.0);
        let bad = |problem: &str| {
            ArgError::new(problem, "items per time above 0, such as 1000, 1000/s, 90/m or 0.5/h")
        };
        let (number, unit) = given.split_once('/').unwrap_or((given, "s"));
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad("the unit is not s, m or h")),
        };
        let number = number.replace('_', "");
        // f64 also reads "inf", "nan", "1e9" and signs.
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(bad("this is not a rate"));
        }
        let per_second = number.parse::<f64>().map_err(|_| bad("this is not a rate"))? / seconds;
        match per_second {
            0.0 => Err(bad("a rate of 0 never sends anything")),
            r if !r.is_finite() => Err(bad("the rate is too high")),
            r if r < SLOWEST => Err(bad("the rate is below one item in 1000 days")),
            per_second => Ok(RateArg { per_second }),
        }
    }
}

/// The byte between items: a character of one byte, or `\n`, `\t`, `\r`, `\0`, `\\`, `\xNN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelimiterArg(pub u8);

impl FromStr for DelimiterArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bad = |problem: &str| ArgError::new(problem, r"one byte such as , or \t, \n, \r, \0, \\, \xNN");
        match given.as_bytes() {
            [] => Err(bad("it is empty")),
            &[byte] => Ok(DelimiterArg(byte)),
            br"\n" => Ok(DelimiterArg(b'\n')),
            br"\t" => Ok(DelimiterArg(b'\t')),
            br"\r" => Ok(DelimiterArg(b'\r')),
            br"\0" => Ok(DelimiterArg(0)),
            br"\\" => Ok(DelimiterArg(b'\\')),
            // Two hexadecimal digits; from_str_radix alone would accept "+f".
            [b'\\', b'x', hex @ ..] if hex.len() == 2 && hex.iter().all(u8::is_ascii_hexdigit) => {
                u8::from_str_radix(&given[2..], 16).map(DelimiterArg).map_err(|_| bad("this is not a byte"))
            }
            [b'\\', ..] => Err(bad("the escape is unknown")),
            bytes => Err(bad(&format!("it has {} bytes", bytes.len()))),
        }
    }
}

/// Permission bits in octal: `600`, `0600` or `0o600`, at most `777`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeArg(pub u32);

impl FromStr for ModeArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bad = |problem| ArgError::new(problem, "octal permissions from 0 to 777, such as 600 or 0660");
        let digits = given.strip_prefix("0o").unwrap_or(given);
        if digits.is_empty() || !digits.bytes().all(|b| matches!(b, b'0'..=b'7')) {
            return Err(bad("this is not an octal number"));
        }
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o777 => Ok(ModeArg(mode)),
            _ => Err(bad("only the bits of 777 can be set")),
        }
    }
}

/// The values of `--frame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FrameArg {
    /// Each item follows its length: 4 bytes, most significant first
    #[value(name = "len32")]
    Len32,
}

impl From<FrameArg> for Framing {
    fn from(FrameArg::Len32: FrameArg) -> Self {
        Framing::Len32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    fn reads<T: FromStr<Err = ArgError> + PartialEq + Debug>(given: &str, expected: T) {
        assert_eq!(given.parse::<T>(), Ok(expected), "{given:?}");
    }

    #[track_caller]
    fn refuses<T: FromStr<Err = ArgError> + Debug>(all: &[&str]) {
        for given in all {
            match given.parse::<T>() {
                Ok(value) => panic!("{given:?} was read as {value:?}"),
                Err(error) => {
                    let line = error.to_string();
                    assert!(line.contains("; expected ") && !line.contains('\n'), "{given:?}: {line}");
                }
            }
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_in_every_spelling() {
        reads("4096", ByteSize(4096));
        for k in ["64K", "64k", "64KB", "64KiB", "64kib", "65536B", "0.0625M"] {
            reads(k, ByteSize(64 << 10));
        }
        reads("1.5M", ByteSize(3 << 19));
        reads("2G", ByteSize(2 << 30));
        reads("0", ByteSize(0));
        refuses::<ByteSize>(&["", "K", "-1", "64X", "1K5", "99999999999G", "abc"]);
    }

    #[test]
    fn a_fixed_item_has_1_byte_to_1g() {
        reads("1", FixedArg(1));
        reads("4K", FixedArg(4096));
        reads("1G", FixedArg(1 << 30));
        refuses::<FixedArg>(&["0", "1073741825", "2G", "", "-1", "many"]);
    }

    #[test]
    fn counts_are_plain_decimal_numbers() {
        reads("0", Count(0));
        reads("1_000_000", Count(1_000_000));
        reads("18446744073709551615", Count(u64::MAX));
        refuses::<Count>(&["", "_", "-1", "+1", "1.5", "10k", "0x10", " 1", "18446744073709551616"]);
    }

    #[test]
    fn durations_without_a_unit_are_seconds() {
        reads("250ms", DurationArg(Duration::from_millis(250)));
        reads("5s", DurationArg(Duration::from_secs(5)));
        reads("1.5s", DurationArg(Duration::from_millis(1500)));
        reads("2m", DurationArg(Duration::from_secs(120)));
        reads("1h 30m", DurationArg(Duration::from_secs(5400)));
        reads("0", DurationArg(Duration::ZERO));
        reads("5", DurationArg(Duration::from_secs(5)));
        reads("0.25", DurationArg(Duration::from_millis(250)));
        refuses::<DurationArg>(&[
            "1m 30",
            "1 2",
            "",
            "s",
            "-1",
            "+1",
            "1e3",
            "5.",
            ".5",
            "0x10",
            "1,5",
            "-1s",
            "5 parsecs",
            "1..2",
            "99999999999999999999s",
        ]);
    }

    #[test]
    fn delays_are_fixed_or_a_range_from_short_to_long() {
        let ms = Duration::from_millis;
        reads("20ms", DelayArg { min: ms(20), max: ms(20) });
        reads("10ms..2s", DelayArg { min: ms(10), max: ms(2000) });
        reads("0..1s", DelayArg { min: ms(0), max: ms(1000) });
        reads("1..2", DelayArg { min: ms(1000), max: ms(2000) });
        reads("1s .. 1s", DelayArg { min: ms(1000), max: ms(1000) });
        refuses::<DelayArg>(&["", "..", "1s..", "..1s", "2s..1s", "1s...2s", "2..1", "1s-2s"]);
    }

    #[test]
    fn rates_without_a_unit_are_per_second() {
        for (given, per_second) in [
            ("1000", 1000.0),
            ("1_000/s", 1000.0),
            ("90/m", 1.5),
            ("1800/h", 0.5),
            ("0.5", 0.5),
            (".25/s", 0.25),
        ] {
            reads(given, RateArg { per_second });
        }
        refuses::<RateArg>(&[
            "", "/s", "0", "0/s", "0.0", "-1/s", "10/d", "10/", "inf", "nan", "1e3", "1.2.3",
        ]);
        refuses::<RateArg>(&["0.000000001/h", &"9".repeat(400), "5/s/s"]);
    }

    #[test]
    fn a_delimiter_is_one_byte_or_an_escape_of_one() {
        for (given, byte) in [(",", b','), (" ", b' '), (r"\", b'\\'), (r"\\", b'\\'), (r"\n", b'\n')] {
            reads(given, DelimiterArg(byte));
        }
        for (given, byte) in [(r"\t", b'\t'), (r"\r", b'\r'), (r"\0", 0), (r"\x1e", 0x1e), (r"\xFF", 0xff)] {
            reads(given, DelimiterArg(byte));
        }
        refuses::<DelimiterArg>(&[
            "", "ab", "é", r"\q", r"\x", r"\x1", r"\x123", r"\xgg", r"\x+f", r"\é", r"\xé",
        ]);
    }

    #[test]
    fn modes_are_octal_and_have_no_special_bits() {
        for given in ["600", "0600", "0o600"] {
            reads(given, ModeArg(0o600));
        }
        reads("0", ModeArg(0));
        reads("777", ModeArg(0o777));
        refuses::<ModeArg>(&[
            "",
            "0o",
            "1000",
            "4755",
            "888",
            "-1",
            "+600",
            "u+rw",
            "0x1ff",
            "77777777777777",
        ]);
    }

    #[test]
    fn clap_reads_every_type_and_shows_its_error() {
        use clap::Parser;

        #[derive(Debug, Parser)]
        struct Options {
            #[arg(long)]
            slot_size: Option<ByteSize>,
            #[arg(short = 'n', long)]
            count: Option<Count>,
            #[arg(long)]
            timeout: Option<DurationArg>,
            #[arg(long)]
            delay: Option<DelayArg>,
            #[arg(long)]
            rate: Option<RateArg>,
            #[arg(short, long)]
            delimiter: Option<DelimiterArg>,
            #[arg(long)]
            mode: Option<ModeArg>,
            #[arg(long)]
            frame: Option<FrameArg>,
        }

        let line =
            "x --slot-size 64K -n 5 --timeout 5s --delay 1ms..2ms --rate 9/m -d , --mode 660 --frame len32";
        let options = Options::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((options.slot_size, options.count), (Some(ByteSize(65536)), Some(Count(5))));
        assert_eq!(options.timeout, Some(DurationArg(Duration::from_secs(5))));
        assert_eq!(
            (options.delay.unwrap().max, options.rate.unwrap().per_second()),
            (Duration::from_millis(2), 0.15)
        );
        assert_eq!((options.delimiter, options.mode), (Some(DelimiterArg(b',')), Some(ModeArg(0o660))));
        assert_eq!(options.frame.map(Framing::from), Some(Framing::Len32));

        let error = Options::try_parse_from(["x", "--rate", "0/s"]).unwrap_err().to_string();
        assert!(error.contains("'0/s' for '--rate <RATE>': a rate of 0 never sends"), "{error}");
        assert!(
            Options::try_parse_from(["x", "--frame", "len64"]).unwrap_err().to_string().contains("len32")
        );
    }
}
