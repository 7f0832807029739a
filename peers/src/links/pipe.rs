//! A pipe: one write and one read for each message, or for each batch.

use std::fs::File;
use std::io::{Read, Write};

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::pipe2;

use crate::inherit::{self, Offer};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Pipe;

/// What is written in one piece (PIPE_BUF): more may be mixed with what others write.
const WHOLE: usize = 4096;

impl Peer for Pipe {
    const ABOUT: About = About {
        name: "pipe",
        version: "kernel",
        kind: Kind::Kernel,
        waits: "sleeps",
        remark: "Bytes, not messages: receivers must know the size. What one took is gone when it dies. A batch is one write.",
    };
    type Host = Vec<Offer>;
    type Sender = File;
    type Receiver = File;

    fn refuses(work: &Work) -> Option<&'static str> {
        let others = work.senders + work.receivers > 2;
        match work {
            Work { in_place: true, .. } => Some("copies through the kernel"),
            work if others && work.size * work.batch > WHOLE => {
                Some("more than PIPE_BUF is not written whole")
            }
            _ => None,
        }
    }

    fn host(name: &str, work: &Work) -> Vec<Offer> {
        let (read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
        let most = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").ok();
        let most = most.and_then(|text| text.trim().parse().ok()).unwrap_or(1 << 20);
        // A refusal leaves the 64 KiB of every pipe.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ((work.size * work.depth).min(most).max(1 << 16) as i32));
        vec![Offer::new(format!("{name}-in"), write), Offer::new(format!("{name}-out"), read)]
    }

    fn sender(name: &str, _: &Work) -> File {
        inherit::take(&format!("{name}-in")).into()
    }

    fn receiver(name: &str, _: &Work) -> File {
        inherit::take(&format!("{name}-out")).into()
    }
}

impl Sender for File {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        self.write_all(message).expect("a reader");
    }

    #[inline]
    fn send_batch(&mut self, messages: &[u8], _: usize) {
        self.write_all(messages).expect("a reader");
    }
}

impl Receiver for File {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        self.read_exact(message).expect("a writer");
    }

    #[inline]
    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let mut have = self.read(messages).expect("a writer");
        let broken = have % size;
        if broken > 0 {
            self.read_exact(&mut messages[have..have - broken + size]).expect("a writer");
            have += size - broken;
        }
        have / size
    }
}
