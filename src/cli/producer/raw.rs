//! `producer --raw`: bytes go from the read straight into the slots.
//!
//! Room is claimed before the read, and a claim that is held keeps others waiting, so it is held only for a
//! read that does not wait: one of bytes that are known to be there, and that the system promises not to wait
//! for (`RWF_NOWAIT`) or that lie in memory. In an exclusive ring nobody waits but the consumer, for these very
//! bytes. What may take time, such as a disk, a network or a terminal, is read into a buffer first, and copied.
//!
//! Such a claim has at least two slots. Consumers pass a writer of a single slot that has kept them waiting
//! for 5 ms, and its item comes after later ones: in a stream of bytes that would be corruption, and this
//! process may be stopped in the middle of a read. A run of several slots is waited for.

use std::io::Read;

use super::Sender;
use crate::cli::exit::Failure;
use crate::cli::framing_args::RAW_PIECE;
use crate::cli::input::Input;
use crate::{Error, OnFull};

/// Fewer bytes than this are copied, so that a trickle takes only the slots it needs.
const LEAST_DIRECT: u64 = 16 * 1024;
/// After a read that would have had to wait, so many pieces are copied before the next such try.
const PIECES_BUFFERED: u32 = 16;

impl Sender<'_> {
    /// Sends the bytes of one input. False: a signal came.
    pub(super) fn send_raw(&mut self, mut input: Input) -> Result<bool, Failure> {
        // Several pieces fit into the ring, or the two sides would take turns.
        let most = (self.producer.max_item() / 4).max(self.ring.slot_size()).min(RAW_PIECE as u64);
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
                    Some(true) => continue,
                    Some(false) => return Ok(false),
                    None => buffered = PIECES_BUFFERED,
                }
            }
            buffer.resize(most as usize, 0);
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) if self.send_block(&[&buffer[..read]])? => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::io(&input.name, &error)),
            }
        }
        Ok(true)
    }

    /// Whether a piece of `len` bytes is to be read into the slots.
    fn is_direct(&self, len: u64) -> bool {
        let several_slots = len > self.ring.slot_size() || self.ring.is_exclusive();
        // A read that brings less than was claimed leaves a gap: nothing for who fails on a full ring.
        len >= LEAST_DIRECT && several_slots && self.policy == OnFull::Block && self.pace.is_unlimited()
    }

    /// Reads a piece of up to `len` bytes into the slots and sends it. False: a signal came. `None`: it cannot
    /// be had this way now.
    fn send_directly(&mut self, input: &mut Input, len: u64) -> Result<Option<bool>, Failure> {
        let may_wait = self.ring.is_exclusive();
        let sent = self.send_by(|producer, limit| {
            let mut room = producer.reserve_timeout(len, limit)?;
            let read = input.read_directly(&mut room, len, may_wait);
            if let Ok(Some(read)) = read {
                room.commit_first(read);
            }
            Ok(read)
        });
        match sent {
            Ok(Ok(Some(_))) => {
                self.note_sent(1);
                Ok(Some(true))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(Failure::io(&input.name, &error)),
            Err(Error::Interrupted) => Ok(Some(false)),
            Err(error) => Err(self.refused(&error)),
        }
    }
}
