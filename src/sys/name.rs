//! Names of rings.
use crate::{Error, Result};

/// The name of a ring: the POSIX shared-memory object of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RingName(Box<str>);

impl RingName {
    /// The name without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `NAME`, `/NAME` or `shm:NAME`.
    pub fn parse(given: &str) -> Result<Self> {
        let bad = |why| Err(Error::Name { given: given.into(), why });
        let rest = given.strip_prefix("shm:").unwrap_or(given);
        let bare = rest.strip_prefix('/').unwrap_or(rest);
        match bare {
            "" => bad("it is empty"),
            "." | ".." => bad("it names a directory"),
            _ if bare.len() > 250 => bad("it is longer than 250 bytes"),
            _ if bare.contains('/') => bad("it has a slash inside"),
            _ if bare.contains('\0') => bad("it has a NUL byte"),
            _ => Ok(RingName(bare.into())),
        }
    }
}
