//! Documents 000 and 001, the polling solution: try, `sched_yield`, try again.
//!
//! As they write it, the room is checked before the slot is taken: with two producers both may see the last
//! free slot, and one item is lost. Here the look itself takes the slot, by compare-exchange.

use std::thread::yield_now;

use super::{Around, Look, Made, SLICE, Side, Sleepers, WaitStrategy, Wanted};
use crate::Result;
use crate::sys::clock;

/// Tries between two looks at the deadline and the clock.
const TRIES: u32 = 64;

/// Waits without sleeping, and wakes nobody.
#[derive(Debug, Clone, Copy)]
pub struct Polling;

impl WaitStrategy for Polling {
    fn wait<T>(
        &mut self,
        _: Side<'_>,
        wanted: &Wanted<'_, T>,
        there: impl Fn(u64) -> bool,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if let Some(found) = look(Look::Thorough)? {
                return Ok(found);
            }
            wanted.go_on()?;
            let thorough_at = clock::coarse_ns().saturating_add(SLICE.as_nanos() as u64);
            loop {
                for n in 0..TRIES {
                    // There may be more than is seen at once: a held slot to step over.
                    if (n == 0 || there(0))
                        && let Some(found) = look(Look::Quick)?
                    {
                        return Ok(found);
                    }
                    yield_now();
                }
                wanted.go_on()?;
                if clock::coarse_ns() >= thorough_at {
                    break;
                }
            }
        }
    }

    fn wake(&self, _: Sleepers<'_>, _: &dyn Around, _: Made) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::sync::StopFlag;
    use crate::sync::testing::{Stage, wanted};
    use crate::sys::clock::Deadline;

    #[test]
    fn between_its_looks_it_looks_whether_it_is_to_stop() {
        let (stage, stop) = (Stage::new(), StopFlag::new());
        let mut seen = Vec::new();
        let look = |depth| {
            seen.push(depth);
            if depth == Look::Quick {
                stop.raise();
            }
            Ok(None)
        };
        let wanted = Wanted { stop: Some(&stop), ..wanted(1, Deadline::never()) };
        let result = Polling.wait(stage.consumer(), &wanted, |_| false, look);
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(seen, [Look::Thorough, Look::Quick], "none after it was raised");
    }
}
