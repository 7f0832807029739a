//! The options that choose whose rings a command accepts.

use std::str::FromStr;

use clap::Args;
use nix::unistd::{User, geteuid};

use super::args::ArgError;
use super::report::Reporter;
use super::users::user;
use crate::{Owners, RingObserver};

const HEADING: &str = "Owner (default: only you or root)";

/// Whose rings are accepted.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OwnerArgs {
    /// Accept a ring or object of any user: its owner can read and change all that goes through it
    #[arg(long, conflicts_with = "owner", help_heading = HEADING)]
    shared: bool,
    /// Accept rings and objects of this user too, by name or number
    #[arg(long, value_name = "USER", help_heading = HEADING)]
    owner: Option<UserArg>,
}

impl OwnerArgs {
    /// The choice in the library's type.
    pub fn owners(&self) -> Owners {
        match self.owner {
            _ if self.shared => Owners::Any,
            Some(UserArg(uid)) => Owners::User(uid),
            None => Owners::Own,
        }
    }

    /// Notes, even with -q, that a ring's owner or permissions differ from the requested ones.
    pub fn note_differences(&self, ring: &RingObserver, mode: Option<u32>, report: &Reporter) {
        let Ok(found) = ring.attributes() else { return };
        let name = ring.name();
        let expected = self.owner.map_or(geteuid().as_raw(), |UserArg(uid)| uid);
        if !self.shared && found.uid != expected {
            report.warn(format!("ring {name:?} belongs to {}, not to {}", user(found.uid), user(expected)));
        }
        if let Some(mode) = mode.filter(|mode| *mode != found.mode) {
            report.warn(format!("ring {name:?} has mode {:o}: --mode {mode:o} has no effect", found.mode));
        }
    }
}

/// A user by name or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserArg(pub u32);

impl FromStr for UserArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let unknown = || ArgError::new("there is no such user", "the name or the number of a user");
        if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()) {
            return given.parse().map(UserArg).map_err(|_| unknown());
        }
        // No user name contains one of these.
        if given.contains([':', '\n', '\0']) {
            return Err(unknown());
        }
        match User::from_name(given) {
            Ok(Some(user)) => Ok(UserArg(user.uid.as_raw())),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_a_number() {
        assert_eq!("0".parse(), Ok(UserArg(0)));
        assert_eq!("root".parse(), Ok(UserArg(0)));
        assert_eq!("4294967294".parse(), Ok(UserArg(u32::MAX - 1)));
        for bad in ["", "4294967296", "-1", "+1", "no such user", "root:x", "ro\not"] {
            assert!(bad.parse::<UserArg>().unwrap_err().to_string().contains("; expected "), "{bad:?}");
        }
    }
}
