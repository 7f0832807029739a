//! The policy of whose shared objects a process accepts.

use nix::unistd::geteuid;

/// Whose rings a process attaches to. Any user may create a ring, or another object, under a free name, and the
/// owner of a ring can read and change everything that is sent through it. So a process refuses another user's
/// object, as `fs.protected_regular` does for files, also when it runs as root, unless this setting allows it. A
/// process always accepts rings of its own user and of root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Owners {
    /// The effective user of this process, and root.
    #[default]
    Own,
    /// The effective user of this process, root, and the user with this id.
    User(u32),
    /// All users.
    Any,
}

impl Owners {
    /// Whether an object of the user with this id is accepted.
    pub fn accept(self, uid: u32) -> bool {
        self.accepted_by(geteuid().as_raw(), uid)
    }

    fn accepted_by(self, us: u32, owner: u32) -> bool {
        owner == us
            || owner == 0
            || match self {
                Owners::Own => false,
                Owners::User(user) => owner == user,
                Owners::Any => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::Owners::{self, Any, Own, User};

    #[test]
    fn only_an_explicit_setting_accepts_objects_of_other_users_also_for_root() {
        for us in [0, 1000] {
            for owners in [Own, User(1001), Any] {
                assert!(owners.accepted_by(us, us) && owners.accepted_by(us, 0), "{owners:?}");
            }
            let accepting =
                |owner| [Own, User(1001), Any].map(|owners: Owners| owners.accepted_by(us, owner));
            assert_eq!(accepting(1001), [false, true, true]);
            assert_eq!(accepting(1002), [false, false, true]);
        }
    }
}
