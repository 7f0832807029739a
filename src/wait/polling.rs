//! The strategy of texts 000 and 001 (docs/CLASSICS.md) by polling: try, `sched_yield`, try again.
//!
//! In the texts, a producer checks for room before it takes the slot. Two producers may then
//! both see the last free slot, and one item is lost. Here the check itself takes the slot, by
//! compare-exchange.

use std::thread::yield_now;

use super::strategy::{Depth, Endpoint, RingState, SLICE, Sleepers, WaitProgress, WaitRequest, WaitStrategy};
use crate::Result;
use crate::sys::clock;

/// Tries between two checks of the deadline and the clock.
const TRIES: u32 = 64;

/// Waits without sleeping, and never needs to wake another handle.
#[derive(Debug, Clone, Copy)]
pub struct Polling;

impl WaitStrategy for Polling {
    fn wait<T>(
        &mut self,
        _: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        there: impl Fn(u64) -> bool,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if let Some(found) = look(Depth::Thorough)? {
                return Ok(found);
            }
            request.go_on()?;
            let thorough_at = clock::coarse_ns().saturating_add(SLICE.as_nanos() as u64);
            loop {
                for n in 0..TRIES {
                    // Always try once: `there` does not see everything, such as free slots behind a held
                    // slot.
                    if (n == 0 || there(0))
                        && let Some(found) = look(Depth::Quick)?
                    {
                        return Ok(found);
                    }
                    yield_now();
                }
                request.go_on()?;
                if clock::coarse_ns() >= thorough_at {
                    break;
                }
            }
        }
    }

    fn wake(&self, _: Sleepers<'_>, _: &dyn RingState, _: WaitProgress) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::sys::clock::Deadline;
    use crate::wait::StopFlag;
    use crate::wait::testing::{Stage, request};

    #[test]
    fn a_polling_wait_checks_the_stop_flag_between_its_tries() {
        let (stage, stop) = (Stage::new(), StopFlag::new());
        let mut seen = Vec::new();
        let look = |depth| {
            seen.push(depth);
            if depth == Depth::Quick {
                stop.raise();
            }
            Ok(None)
        };
        let request = WaitRequest { stop: Some(&stop), ..request(1, Deadline::never()) };
        let result = Polling.wait(stage.consumer(), &request, |_| false, look);
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(seen, [Depth::Thorough, Depth::Quick], "none after it was raised");
    }
}
