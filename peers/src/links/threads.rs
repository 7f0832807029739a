//! What links between threads have in common: ends by name, and waiting where a queue does not wait.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Values of a message of this number of words, passed as values between threads usually are.
pub type Words<const N: usize> = [u64; N];

/// Why a message of another size cannot be passed.
pub fn refuses_size<const N: usize>(size: usize) -> Option<&'static str> {
    (size != size_of::<Words<N>>()).then_some("not by value: too large")
}

static ENDS: Mutex<Option<HashMap<String, Box<dyn Any + Send>>>> = Mutex::new(None);

fn ends<T>(f: impl FnOnce(&mut HashMap<String, Box<dyn Any + Send>>) -> T) -> T {
    f(ENDS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// Leaves an end for the thread that will use it.
pub fn put(name: &str, end: impl Any + Send) {
    ends(|all| all.insert(format!("{name} {}", std::any::type_name_of_val(&end)), Box::new(end)));
}

/// Takes the end of this type.
pub fn take<T: Any>(name: &str) -> T {
    let end = ends(|all| all.remove(&format!("{name} {}", std::any::type_name::<T>())));
    *end.and_then(|end| end.downcast().ok()).expect("an end that was put")
}

/// A copy of the end of this type: several threads have it.
pub fn share<T: Any + Clone>(name: &str) -> T {
    let key = format!("{name} {}", std::any::type_name::<T>());
    ends(|all| all.get(&key).and_then(|end| end.downcast_ref().cloned())).expect("an end that was put")
}

/// Tries until it succeeds: for a while at full speed, then giving the core to other threads on it.
#[inline]
pub fn poll<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    const TRIES: u32 = 512;
    loop {
        for _ in 0..TRIES {
            if let Some(done) = attempt() {
                return done;
            }
            std::hint::spin_loop();
        }
        std::thread::yield_now();
    }
}
