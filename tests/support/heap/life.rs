//! Death: a thread that makes a given number of accesses to shared memory, and no more.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::world::{ThreadId, current};

struct Mortal {
    thread: ThreadId,
    steps: u32,
}

struct Death;

thread_local! {
    static MORTAL: RefCell<Option<Mortal>> = const { RefCell::new(None) };
}

/// Called before each access.
pub fn step() {
    let dies = MORTAL.with_borrow_mut(|mortal| match mortal {
        Some(mortal) if mortal.thread == current() => match mortal.steps.checked_sub(1) {
            Some(left) => {
                mortal.steps = left;
                false
            }
            None => true,
        },
        _ => false,
    });
    if dies {
        resume_unwind(Box::new(Death));
    }
}

/// Runs `work` in this thread, which dies before the access after the first `steps`. None: it did.
pub fn mortal<T>(steps: u32, work: impl FnOnce() -> T) -> Option<T> {
    MORTAL.set(Some(Mortal { thread: current(), steps }));
    let result = catch_unwind(AssertUnwindSafe(work));
    MORTAL.set(None);
    match result {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Death>() => None,
        Err(payload) => resume_unwind(payload),
    }
}
