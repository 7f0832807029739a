//! boost::interprocess::message_queue, which blocks on a mutex and condition variables in shared memory.

use crate::peer::{About, Kind, Peer, Work};
#[cfg(boost)]
pub use built::{End, Host};
#[cfg(not(boost))]
pub use missing::{End, Host};

pub struct Boost;

impl Peer for Boost {
    const ABOUT: About = About {
        name: "boost message_queue",
        version: env!("BOOST_VERSION"),
        kind: Kind::SharedMemory,
        waits: "sleeps",
        remark: "a process killed in a call leaves its mutex locked",
    };
    type Host = Host;
    type Sender = End;
    type Receiver = End;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            _ if cfg!(not(boost)) => Some("built without Boost's headers"),
            Work { in_place: true, .. } => Some("not in place"),
            Work { batch: 2.., .. } => Some("no batches"),
            _ => None,
        }
    }

    fn host(name: &str, work: &Work) -> Host {
        Host::create(name, work)
    }

    fn sender(name: &str, _work: &Work) -> End {
        End::open(name)
    }

    fn receiver(name: &str, _work: &Work) -> End {
        End::open(name)
    }
}

#[cfg(boost)]
mod built {
    use std::ffi::{CString, c_char, c_void};
    use std::ptr::NonNull;

    use crate::peer::{Receiver, Sender, Work};

    // src/links/boost_queue.cpp
    unsafe extern "C" {
        fn boost_queue_create(name: *const c_char, depth: usize, size: usize) -> bool;
        fn boost_queue_remove(name: *const c_char);
        fn boost_queue_open(name: *const c_char) -> *mut c_void;
        fn boost_queue_close(queue: *mut c_void);
        fn boost_queue_send(queue: *mut c_void, message: *const c_void, size: usize) -> bool;
        fn boost_queue_receive(queue: *mut c_void, message: *mut c_void, size: usize) -> bool;
    }

    fn c_name(name: &str) -> CString {
        CString::new(name).expect("a link's name holds no NUL")
    }

    pub struct Host(CString);

    impl Host {
        pub fn create(name: &str, work: &Work) -> Host {
            let name = c_name(name);
            // SAFETY: the name is a C string that outlives the call.
            let made = unsafe { boost_queue_create(name.as_ptr(), work.depth, work.size) };
            assert!(made, "no message queue {name:?}");
            Host(name)
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            // SAFETY: the name is a C string that outlives the call.
            unsafe { boost_queue_remove(self.0.as_ptr()) }
        }
    }

    pub struct End(NonNull<c_void>);

    impl End {
        pub fn open(name: &str) -> End {
            let name = c_name(name);
            // SAFETY: the name is a C string that outlives the call.
            let queue = unsafe { boost_queue_open(name.as_ptr()) };
            End(NonNull::new(queue).expect("the host made the queue"))
        }
    }

    impl Drop for End {
        fn drop(&mut self) {
            // SAFETY: `open` got the pointer, and nothing uses it after this.
            unsafe { boost_queue_close(self.0.as_ptr()) }
        }
    }

    impl Sender for End {
        fn send(&mut self, message: &[u8]) {
            // SAFETY: the queue is open; the message is readable for its length.
            let sent = unsafe { boost_queue_send(self.0.as_ptr(), message.as_ptr().cast(), message.len()) };
            assert!(sent, "the queue refused a message");
        }
    }

    impl Receiver for End {
        fn receive(&mut self, message: &mut [u8]) {
            // SAFETY: the queue is open; the message is writable for its length.
            let received =
                unsafe { boost_queue_receive(self.0.as_ptr(), message.as_mut_ptr().cast(), message.len()) };
            assert!(received, "the queue gave no message");
        }
    }
}

#[cfg(not(boost))]
mod missing {
    use crate::peer::{Receiver, Sender, Work};

    pub struct Host;

    impl Host {
        pub fn create(_name: &str, _work: &Work) -> Host {
            unreachable!("refused")
        }
    }

    pub struct End;

    impl End {
        pub fn open(_name: &str) -> End {
            unreachable!("refused")
        }
    }

    impl Sender for End {
        fn send(&mut self, _message: &[u8]) {
            unreachable!("refused")
        }
    }

    impl Receiver for End {
        fn receive(&mut self, _message: &mut [u8]) {
            unreachable!("refused")
        }
    }
}
