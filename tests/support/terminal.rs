//! A terminal that a command runs on, and what it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};

use super::wait_until;

/// A new terminal: the side that shows it, and the one that processes have. A process that another test starts does not
/// inherit them, as it would from `openpty`: it would keep the terminal open, or lack a descriptor.
pub fn pair(rows: u16, columns: u16) -> (File, OwnedFd) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer is to such a value as this request reads.
    let sized = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(sized, 0);
    let name = ptsname_r(&master).unwrap();
    let side = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).unwrap();
    (OwnedFd::from(master).into(), side.into())
}

pub struct Terminal {
    /// The side that processes have.
    side: OwnedFd,
    keys: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// One with this number of columns.
    pub fn new(columns: u16) -> Self {
        let (master, side) = pair(24, columns);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut output, seen) = (master, Arc::clone(&shown));
        let keys = output.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Terminal { side, keys, shown }
    }

    /// For a standard input or output.
    pub fn side(&self) -> Stdio {
        self.side.try_clone().unwrap().into()
    }

    /// Types these keys, such as `\x03` for Ctrl-C.
    pub fn type_keys(&self, keys: &str) {
        (&self.keys).write_all(keys.as_bytes()).unwrap();
    }

    /// All that was written to it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} on the terminal"), || self.text().contains(text));
    }

    /// The lines that were drawn one over the other, or below each other.
    pub fn frames(&self) -> Vec<String> {
        let text = without_sequences(&self.text());
        text.split(['\r', '\n']).filter(|line| !line.is_empty()).map(String::from).collect()
    }
}

/// The text without the sequences that colour it and move the cursor.
fn without_sequences(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_string();
    let rest = |part: &str| {
        part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).chars().skip(1).collect::<String>()
    };
    first + &parts.map(rest).collect::<String>()
}
