//! What the fuzz targets do with their bytes. tests/hostile/fuzz_corpus.rs runs the same on a stable compiler.
//!
//! Whatever the bytes are, nothing may panic, touch what is not its own, or take without end: that is all that is
//! judged. Every wait here has a deadline below a millisecond.
#![allow(dead_code, missing_docs, reason = "each target uses its part")]

pub mod framing;
pub mod preamble;
pub mod segment;

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The bytes that the fuzzer gives, taken from the front; zeros when they run out.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// From 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        let number =
            if end <= 256 { self.byte() as u64 } else { self.byte() as u64 | (self.byte() as u64) << 8 };
        number % end
    }

    pub fn moment(&mut self) -> Duration {
        Duration::from_micros(self.below(200))
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// A name in shared memory that is free again when this goes.
pub struct Name(String);

impl Name {
    pub fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Name(format!("ringpipe-fuzz-{what}-{}-{count}", std::process::id()))
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.0)
    }

    /// The file that it stands for, so that a test can damage it.
    pub fn file(&self) -> Option<File> {
        OpenOptions::new().read(true).write(true).open(self.path()).ok()
    }
}

impl std::ops::Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

/// A word that is likely to matter in place of `old`.
pub fn likely_word(input: &mut Input<'_>, old: u64) -> u64 {
    match input.below(9) {
        0 => input.word(),
        1 => 0,
        2 => u64::MAX,
        3 => old ^ 1 << input.below(64),
        // Another tag, owner, run, or lap.
        4 => old & !15 | input.below(16),
        5 => old ^ input.below(1 << 10) << 4,
        6 => old.wrapping_add(input.below(64) << 23),
        7 => old.wrapping_sub(input.below(256)),
        _ => input.below(1 << 16),
    }
}
