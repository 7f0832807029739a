//! `producer --raw`: reads bytes straight into the slots.
//!
//! Room is claimed before the read, and a held claim makes others wait. So a claim is held only for a read that
//! does not wait: of bytes that are known to be available, and that the system promises to read without waiting
//! (`RWF_NOWAIT`) or that lie in memory. In an exclusive ring only the consumer waits, for these very bytes. An
//! input that may take time, such as a disk, a network or a terminal, is read into a buffer first, and copied.
//!
//! Such a claim has at least two slots. Consumers move past a writer of a single slot that has delayed them for 5
//! ms, and its item then comes after later ones. In a stream of bytes that would be corruption, and this process
//! may be stopped in the middle of a read. Consumers wait for a run of several slots.

use std::io::Read;

use super::Job;
use super::progress_file::ProgressFile;
use super::waits::Halt;
use crate::OnFull;
use crate::cli::common::exit::Failure;
use crate::cli::common::framing_args::RAW_PIECE;
use crate::cli::common::input::Input;
use crate::cli::transport::{Observe, Room, Sender};

/// Fewer bytes than this are copied, so that a slow stream takes only the slots it needs.
const LEAST_DIRECT: u64 = 16 * 1024;
/// After a read that would have had to wait, this many pieces are copied before the next direct read.
const PIECES_BUFFERED: u32 = 16;

impl<S: Sender> Job<'_, S> {
    /// Sends the bytes of one input. False: a signal came.
    pub(super) fn send_raw(&mut self, mut input: Input) -> Result<bool, Failure> {
        // Several pieces fit into the ring, because otherwise producer and consumer would alternate.
        let most = (self.sender.max_item() / 4).max(self.sender.observe().slot_size()).min(RAW_PIECE as u64);
        let mut buffer = Vec::new();
        let mut buffered = 0_u32;
        input.widen();
        while self.left > 0 {
            if self.stop.is_raised() {
                return Ok(false);
            }
            let len = input.waiting().min(most);
            buffered = buffered.saturating_sub(1);
            if buffered == 0 && self.is_direct(len) {
                match self.send_directly(&mut input, len)? {
                    Some(true) => {
                        self.note_position(input.position())?;
                        continue;
                    }
                    Some(false) => return Ok(false),
                    None => buffered = PIECES_BUFFERED,
                }
            }
            buffer.resize(most as usize, 0);
            match input.read(&mut buffer) {
                Ok(0) => {
                    self.progress_file.as_mut().map_or(Ok(()), ProgressFile::complete)?;
                    break;
                }
                Ok(read) => {
                    let result = self.send_block(&[&buffer[..read]]);
                    if !matches!(result, Ok(true)) {
                        input.give_back(read as u64);
                        return result;
                    }
                    self.note_position(input.position())?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                    self.check_ring().map_err(|halt| self.halted(halt))?;
                }
                Err(error) => return Err(Failure::io(&input.name, &error)),
            }
        }
        Ok(true)
    }

    /// Whether to read a piece of `len` bytes into the slots.
    fn is_direct(&self, len: u64) -> bool {
        let several_slots = S::READS_IN_PLACE
            && (len > self.sender.observe().slot_size() || self.sender.observe().is_exclusive());
        // A read of fewer bytes than were claimed leaves a gap, which a producer that fails on a full ring must
        // not cause.
        len >= LEAST_DIRECT && several_slots && self.policy == OnFull::Block && self.pace.is_unlimited()
    }

    /// Reads a piece of up to `len` bytes into the slots and sends it. False: a signal came. `None`: the piece
    /// cannot be read this way now.
    fn send_directly(&mut self, input: &mut Input, len: u64) -> Result<Option<bool>, Failure> {
        let may_wait = self.sender.observe().is_exclusive();
        self.check_ring().map_err(|halt| self.halted(halt))?;
        let sent = self.send_by(|sender, limit| {
            let mut room = sender.reserve(len, limit)?;
            let read = input.read_directly(may_wait, |file, wait| room.read_from(file, len, wait));
            if let Ok(Some(read)) = read {
                room.send_first(read);
            }
            Ok(read)
        });
        match sent {
            Ok(Ok(Some(read))) => {
                self.note_sent(1, || read);
                Ok(Some(true))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(Failure::io(&input.name, &error)),
            Err(Halt::Signal) => Ok(Some(false)),
            Err(halt) => Err(self.halted(halt)),
        }
    }
}
