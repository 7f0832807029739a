//! The instances that a fault strikes.

use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::Who;

/// Whether an instance with this number may be struck.
pub(super) fn is_meant(who: Who, number: u32) -> bool {
    !matches!(who, Who::Number(only) if only != number)
}

/// Some of these, as `who` says.
pub(super) fn choose<T>(who: Who, mut all: Vec<T>, random: &mut fastrand::Rng) -> Vec<T> {
    if let Who::Some(count) = who {
        random.shuffle(&mut all);
        all.truncate(count as usize);
    }
    all
}

/// The process ids of the consumers that hold an item of a ring.
pub(super) fn holders(stage: &Stage<'_>, ring: &String) -> Result<Vec<u32>, Failure> {
    let Some(observer) = stage.rings.get(ring) else { return Ok(Vec::new()) };
    observer.holders(ring)
}
