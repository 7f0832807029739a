//! The value of `--report`.

use std::path::PathBuf;
use std::str::FromStr;

/// A form of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The Test Anything Protocol, on standard output.
    Tap,
    /// A JSON object per run, on standard output.
    Json,
    /// JUnit's XML, in a file.
    Junit(PathBuf),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("tap", "") if text == "tap" => Ok(Choice::Tap),
            ("json", "") if text == "json" => Ok(Choice::Json),
            ("junit", file) if !file.is_empty() => Ok(Choice::Junit(file.into())),
            _ => Err("expected tap, json, or junit=FILE".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_tap_json_or_a_file_for_junit() {
        assert_eq!("tap".parse(), Ok(Choice::Tap));
        assert_eq!("json".parse(), Ok(Choice::Json));
        assert_eq!("junit=a=b.xml".parse(), Ok(Choice::Junit("a=b.xml".into())));
        for wrong in ["", "xml", "tap=", "tap=x", "json=x", "junit", "junit="] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong:?}");
        }
    }
}
