//! Names of users, for messages.

use nix::unistd::{Uid, User};

/// The user's name, or its number if it has none, as `--owner` accepts it.
pub fn user_name(uid: u32) -> String {
    let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    found.map_or_else(|| uid.to_string(), |user| user.name)
}

/// `alice`, `user 61001`.
pub fn user(uid: u32) -> String {
    match user_name(uid) {
        name if name == uid.to_string() => format!("user {name}"),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_by_its_name_or_else_its_number() {
        assert_eq!((user(0), user(4_000_000_001)), ("root".into(), "user 4000000001".into()));
    }
}
