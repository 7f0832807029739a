//! A POSIX message queue.

use std::fs;

use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::stat::Mode;

use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct MessageQueue;

impl Peer for MessageQueue {
    const ABOUT: About = About {
        name: "POSIX mqueue",
        version: "kernel",
        kind: Kind::Kernel,
        waits: "sleeps",
        remark: "Whole messages. An ordinary user's hold 10 messages of at most 8 KiB. What a reader took is gone when it dies.",
    };
    type Host = Queue;
    type Sender = End;
    type Receiver = End;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { in_place: true, .. } => Some("copies through the kernel"),
            Work { batch: 2.., .. } => Some("no batches"),
            work if work.size > limit("msgsize_max", HARD_SIZE) => Some("no messages of this size"),
            _ => None,
        }
    }

    fn host(name: &str, work: &Work) -> Queue {
        // Without the right to it the ordinary limits stay.
        let _ = setrlimit(Resource::RLIMIT_MSGQUEUE, RLIM_INFINITY, RLIM_INFINITY);
        let name = format!("/{name}");
        let depth = work.depth.min(limit("msg_max", 65536));
        let attributes = MqAttr::new(0, depth as i64, work.size as i64, 0);
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR;
        mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&attributes)).expect("a queue");
        Queue(name)
    }

    fn sender(name: &str, _: &Work) -> End {
        End::open(name, MQ_OFlag::O_WRONLY)
    }

    fn receiver(name: &str, _: &Work) -> End {
        End::open(name, MQ_OFlag::O_RDONLY)
    }
}

/// Largest message that the kernel allows any process.
const HARD_SIZE: usize = 16 << 20;

/// What this process may have: the setting, or with CAP_SYS_RESOURCE what the kernel allows at all.
fn limit(setting: &str, hard: usize) -> usize {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    if capabilities.is_some_and(|text| u64::from_str_radix(text, 16).unwrap_or(0) & CAP_SYS_RESOURCE != 0) {
        return hard;
    }
    let text = fs::read_to_string(format!("/proc/sys/fs/mqueue/{setting}")).unwrap_or_default();
    text.trim().parse().unwrap_or(10)
}

/// Removes the queue when dropped.
pub struct Queue(String);

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = mq_unlink(self.0.as_str());
    }
}

pub struct End(MqdT);

impl End {
    fn open(name: &str, flags: MQ_OFlag) -> Self {
        End(mq_open(format!("/{name}").as_str(), flags, Mode::empty(), None).expect("the queue"))
    }
}

impl Sender for End {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        mq_send(&self.0, message, 0).expect("room");
    }
}

impl Receiver for End {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        mq_receive(&self.0, message, &mut 0).expect("a message");
    }
}
