//! Names of rings.
use std::{fmt, str::FromStr};

use crate::{Error, Result};

/// The longest name in bytes. The file system allows 255; five are left for suffixes that people add.
const MAX_BYTES: usize = 250;

/// The name of a ring, which is the POSIX shared-memory object of the same name.
///
/// There is no prefix: ring `jobs` is the object `/jobs`, and any program can `shm_open` it.
///
/// ```
/// use ringpipe::RingName;
/// let name: RingName = "/jobs".parse()?;
/// assert_eq!(name.as_str(), "jobs");
/// assert_eq!(name.os_id(), "/jobs");
/// assert_eq!(name, RingName::parse("shm:jobs")?);
/// # Ok::<(), ringpipe::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RingName(Box<str>);

impl RingName {
    /// Reads `NAME`, `/NAME` or `shm:NAME`.
    ///
    /// # Errors
    /// [`Error::Name`] unless NAME has 1 to 250 bytes, no slash, no NUL, and is neither `.` nor `..`.
    pub fn parse(given: &str) -> Result<Self> {
        let bad = |why| Err(Error::Name { given: given.into(), why });
        let rest = given.strip_prefix("shm:").unwrap_or(given);
        let bare = rest.strip_prefix('/').unwrap_or(rest);
        match bare {
            "" => bad("it is empty"),
            "." | ".." => bad("it names a directory"),
            _ if bare.len() > MAX_BYTES => bad("it is longer than 250 bytes"),
            _ if bare.contains('/') => bad("it has a slash inside"),
            _ if bare.contains('\0') => bad("it has a NUL byte"),
            _ => Ok(RingName(bare.into())),
        }
    }

    /// The name without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as `shm_open` takes it: with one leading slash.
    pub fn os_id(&self) -> String {
        format!("/{}", self.0)
    }
}

impl fmt::Display for RingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RingName {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        Self::parse(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_three_spellings_are_one_name() {
        for given in ["jobs", "/jobs", "shm:jobs", "shm:/jobs"] {
            let name = RingName::parse(given).unwrap();
            assert_eq!((name.as_str(), name.os_id().as_str()), ("jobs", "/jobs"), "{given}");
        }
    }

    #[test]
    fn an_os_id_reads_back_as_the_same_name() {
        for given in ["shm:shm:odd", "a b", "ü", "...", "-n"] {
            let name = RingName::parse(given).unwrap();
            assert_eq!(RingName::parse(&name.os_id()).unwrap(), name);
        }
    }

    #[test]
    fn an_invalid_name_is_a_usage_error() {
        let long = "x".repeat(251);
        for given in ["", "/", "shm:", "shm:/", ".", "/..", "a/b", "//a", "a/", "a\0b", &long] {
            assert_eq!(RingName::parse(given).unwrap_err().kind(), ErrorKind::Usage, "{given:?}");
        }
        assert_eq!(RingName::parse(&long[..250]).unwrap().as_str().len(), 250);
    }

    #[test]
    fn display_keeps_to_the_width_asked_for() {
        assert_eq!(format!("{:6}|", RingName::parse("jobs").unwrap()), "jobs  |");
    }
}
