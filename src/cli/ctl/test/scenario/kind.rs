//! The kinds of values and the sections of a scenario file.

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is not empty.
    Word,
    /// True or false.
    Truth,
    /// A whole number from the first to the second.
    Whole(u64, u64),
    /// A duration.
    Duration,
    /// A duration, or a range of them.
    Span,
    /// A number of bytes.
    Size,
    /// A number of bytes, or a range.
    Sizes,
    /// A regular expression.
    Pattern,
    /// A signal.
    Signal,
    /// An error of a system call.
    Errno,
    /// A system call.
    Call,
    /// An exit code or a signal.
    Exit,
    /// A checksum.
    Sha256,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list with at least this many elements.
    List(&'static Kind, usize),
    /// A table with these keys.
    Table(&'static Section),
    /// A table with keys of the user's choice.
    Map(KeyForm, &'static Kind),
    /// Any of these.
    Either(&'static [Kind]),
}

/// The form of the keys of a [`Kind::Map`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Any text that is not empty.
    Any,
    /// KeyForm of rings or programs: letters, digits, `-` and `_`.
    Plain,
    /// Percentiles: `p50`, `p99.9`, or `max`.
    Percentile,
}

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// What it says, in one sentence.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Exactly one of these keys must be there; empty: no such rule.
    pub one_of: &'static [&'static str],
    /// What its other keys may be.
    pub rest: Rest,
}

/// The keys that a section does not list.
#[derive(Debug, Clone, Copy)]
pub enum Rest {
    /// There are none.
    Nothing,
    /// KeyForm of programs.
    Programs(&'static Kind),
    /// The long options of a program.
    Options(Program),
}

/// The program whose long options are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `ringctl create`.
    Create,
    /// `producer`.
    Producer,
    /// `consumer`.
    Consumer,
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// As it is in the file.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What it says, in one sentence.
    pub about: &'static str,
    /// A value, as it is in a file.
    pub example: &'static str,
}

impl Section {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The expected form of a key, with an example.
    pub fn form_of(&self, name: &str) -> String {
        self.key(name).map_or(String::new(), |key| format!("a line such as {name} = {}", key.example))
    }
}

impl KeyForm {
    /// The pattern of these keys, in the dialect of JSON schemas.
    pub fn pattern(self) -> &'static str {
        match self {
            KeyForm::Any => "^.+$",
            KeyForm::Plain => "^[A-Za-z0-9_-]+$",
            KeyForm::Percentile => "^(max|p[0-9]{1,2}(\\.[0-9]+)?)$",
        }
    }
}

/// Whether a name can be that of a ring or of a program.
pub fn is_plain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(fits)
}

/// The percentile that a key names; the longest time is 100.
pub fn percentile(key: &str) -> Option<f64> {
    if key == "max" {
        return Some(100.0);
    }
    let digits = key.strip_prefix('p')?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(whole) && whole.len() < 3 && is_number(part)).then(|| digits.parse().ok())?
}
