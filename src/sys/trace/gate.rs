//! A child that waits before its program begins, until it is traced.
#![allow(unsafe_code)]

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
};

use nix::unistd::Pid;

/// The tracer's side.
#[derive(Debug)]
pub struct Gate {
    /// Gives the child's id.
    id: PipeReader,
    /// Lets the child pass.
    allow: PipeWriter,
}

impl Gate {
    /// The child that this command starts waits after all other functions that it calls before its program
    /// begins. `spawn` returns only after [`pass`](Self::pass), which another thread has to call. Use a new
    /// command for each spawn.
    ///
    /// # Errors
    /// The error of the system: there are no descriptors left.
    pub fn before_exec(command: &mut Command) -> io::Result<Gate> {
        let ((id, announce), (allowed, allow)) = (io::pipe()?, io::pipe()?);
        let copy_of_allow = allow.as_raw_fd();
        let wait = move || {
            // SAFETY: system calls, which are allowed between fork and exec. The buffers are locals of the sizes given,
            // the descriptors are open. The child closes its copy of the other end, which it does not use, so that it
            // does not wait for a tracer that has died.
            unsafe {
                let id = libc::getpid().to_ne_bytes();
                libc::close(copy_of_allow);
                libc::write(announce.as_raw_fd(), id.as_ptr().cast(), id.len());
                let mut byte = 0u8;
                let read = libc::read(allowed.as_raw_fd(), (&raw mut byte).cast(), 1);
                if read == 1 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
            }
        };
        // SAFETY: `wait` makes system calls and allocates nothing.
        unsafe { command.pre_exec(wait) };
        Ok(Gate { id, allow })
    }

    /// Waits for the child and lets it pass after `seize`. If that fails, its program does not begin, and `spawn`
    /// returns an error. The command must be dropped if no child comes.
    ///
    /// # Errors
    /// That of `seize`; `UnexpectedEof`: no child was made, or another of its functions has failed.
    pub fn pass(mut self, seize: impl FnOnce(Pid) -> io::Result<()>) -> io::Result<()> {
        let mut id = [0; 4];
        self.id.read_exact(&mut id)?;
        seize(Pid::from_raw(i32::from_ne_bytes(id)))?;
        // A child that has been killed meanwhile reads nothing.
        let _ = self.allow.write_all(&[1]);
        Ok(())
    }
}
