//! The accesses of the present run, printed when it fails: the thread, where in the source, which word, and what became of
//! it. Kept only with RINGPIPE_TRACE in the environment.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::LazyLock;

use ringpipe::internal::protocol::word::Word;

use super::world::current;

static KEPT: LazyLock<bool> = LazyLock::new(|| std::env::var_os("RINGPIPE_TRACE").is_some());

thread_local! {
    static TRACE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A new run begins.
pub fn begin() {
    TRACE.with_borrow_mut(Vec::clear);
}

/// An access.
pub fn tell(site: &'static Location<'static>, name: (&str, u64), what: impl FnOnce() -> String) {
    if *KEPT {
        let file = site.file().rsplit('/').next().unwrap_or_default();
        let line = format!("{:?} {file}:{:<4} {}{} {}", current(), site.line(), name.0, name.1, what());
        TRACE.with_borrow_mut(|trace| trace.push(line));
    }
}

/// A word as people read it; a counter looks like a free word without a lap.
pub fn word(bits: u64) -> String {
    let word = Word(bits);
    match bits < 1 << 23 {
        true => format!("{bits}"),
        false => {
            format!("{:?}(place {}, of {}, try {})", word.tag(), bits >> 23, word.owner(), word.attempt())
        }
    }
}

/// What was told of the run that went wrong.
pub fn end() -> String {
    TRACE.with_borrow(|trace| trace.join("\n"))
}
