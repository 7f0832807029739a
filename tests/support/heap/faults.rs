//! Faults put into single accesses of the ring's code while it runs: an order weakened, or a change left out, at one
//! place in the source. Places are known by `#[track_caller]`, so that all of them can be tried without building anew.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;

/// A place in the source from where shared memory is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Load,
    Store,
    Exchange,
    Add,
}

/// What goes wrong at one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The access has no more than this order.
    Weaken(Site, Ordering),
    /// A store, an exchange or an addition claims to be done, and is not.
    LeaveOut(Site),
}

#[derive(Default)]
struct Plan {
    fault: Option<Fault>,
    reached: BTreeMap<Site, (Access, Option<Ordering>)>,
}

thread_local! {
    // Of the thread of the operating system that explores: the explored threads all run on it.
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// What an access is to do.
pub struct Verdict {
    pub order: Ordering,
    pub left_out: bool,
}

/// Puts a fault into all that this thread explores from now on.
pub fn set(fault: Option<Fault>) {
    PLAN.with_borrow_mut(|plan| plan.fault = fault);
}

/// The sites that this thread's explorations have come to, with the strongest order asked for there: none if it
/// was always a relaxed one.
pub fn reached() -> BTreeMap<Site, (Access, Option<Ordering>)> {
    PLAN.with_borrow(|plan| plan.reached.clone())
}

/// Forgets them.
pub fn forget_reached() {
    PLAN.with_borrow_mut(|plan| plan.reached.clear());
}

/// Called at each access, with the order that the code asks for.
pub fn verdict(caller: &'static Location<'static>, access: Access, order: Ordering) -> Verdict {
    let site = Site { file: caller.file(), line: caller.line(), column: caller.column() };
    PLAN.with_borrow_mut(|plan| {
        let asked = (order != Ordering::Relaxed).then_some(order);
        let known = plan.reached.entry(site).or_insert((access, asked));
        known.1 = known.1.or(asked);
        match plan.fault {
            Some(Fault::Weaken(at, weaker)) if at == site && asked.is_some() => {
                Verdict { order: weaker, left_out: false }
            }
            Some(Fault::LeaveOut(at)) if at == site => Verdict { order, left_out: true },
            _ => Verdict { order, left_out: false },
        }
    })
}
