//! Writes the outputs of commands that run at the same time, so that they do not mix.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use super::spool::Spool;
use crate::StopFlag;
use crate::cli::common::exit::Failure;
use crate::cli::common::signals::Ready;
use crate::cli::common::stdout::{Cut, Output};

/// The most bytes of an incomplete line that are kept until its end comes.
const LONGEST_LINE: usize = 64 << 10;
/// How often a process that shares the output asks whether it may write.
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// The longest wait for room without a look at the flag.
const ROOM: Duration = Duration::from_millis(50);
/// How often the process asks after the flag was raised.
const ASKS_AFTER_STOP: u32 = 100;

/// One of a command's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The beginning of a line whose end has not come.
#[derive(Debug, Default)]
pub struct Partial {
    bytes: Vec<u8>,
    /// Whether an earlier part of the line was written already.
    is_begun: bool,
}

/// The two outputs of a worker. Only one thread uses it at a time.
#[derive(Debug)]
pub struct Printer {
    output: Output,
    /// Standard error.
    aside: Output,
    /// Each line begins with its label and a tab (`--tag`).
    tag: bool,
    late: StopFlag,
    /// A buffer for lines with their labels.
    labelled: Vec<u8>,
}

impl Printer {
    /// Opens the outputs. With `tag`, each line begins with its label.
    ///
    /// `stop` tells of a signal; output is still written then. After `late` was raised, it is written only as far as its
    /// reader has made room.
    ///
    /// # Errors
    /// A [`Failure`] if standard output is closed.
    pub fn new(tag: bool, stop: &StopFlag, late: &StopFlag) -> Result<Self, Failure> {
        let output = Output::stdout(stop)?;
        let aside = io::stderr().as_fd().try_clone_to_owned();
        let aside = aside.and_then(|aside| Output::of(File::from(aside), stop));
        let aside = aside.map_err(|error| Failure::io("standard error", &error))?;
        Ok(Self::of(output, aside, tag, late))
    }

    fn of(output: Output, aside: Output, tag: bool, late: &StopFlag) -> Self {
        Printer { output, aside, tag, late: late.clone(), labelled: Vec::new() }
    }

    /// Writes both outputs of a command that has ended. Other workers that share the pipe of standard output do not
    /// write in between.
    ///
    /// # Errors
    /// Why an output was not written completely; or [`Cut::Failed`] if a spool cannot be read. It is not an
    /// error if the reader of standard error has left.
    pub fn group(&mut self, label: &str, stdout: &mut Spool, stderr: &mut Spool) -> Result<(), Cut> {
        if stdout.is_empty() && stderr.is_empty() {
            return Ok(());
        }
        self.locked(|printer| {
            for (stream, spool) in [(Stream::Out, stdout), (Stream::Err, stderr)] {
                let mut at_start = true;
                spool.copy_to(&mut |piece: &[u8]| printer.write(stream, label, piece, &mut at_start))?;
            }
            Ok(())
        })
    }

    /// Writes a text of the worker's own to standard output.
    ///
    /// # Errors
    /// As [`group`](Self::group).
    pub fn text(&mut self, text: &str) -> Result<(), Cut> {
        self.locked(|printer| write_out(&mut printer.output, &printer.late, text.as_bytes()))
    }

    /// Writes the lines that `bytes` complete, and keeps the rest in `partial`. A line of more than 64 KiB is written
    /// in parts; lines of other commands can come between these.
    ///
    /// # Errors
    /// As [`group`](Self::group).
    pub fn lines(
        &mut self,
        label: &str,
        stream: Stream,
        partial: &mut Partial,
        bytes: &[u8],
    ) -> Result<(), Cut> {
        let complete = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(complete);
        if !lines.is_empty() {
            partial.bytes.extend_from_slice(lines);
            self.flush_partial(label, stream, partial)?;
        }
        for piece in rest.chunks(LONGEST_LINE) {
            partial.bytes.extend_from_slice(piece);
            if partial.bytes.len() >= LONGEST_LINE {
                self.flush_partial(label, stream, partial)?;
            }
        }
        Ok(())
    }

    /// Writes what `partial` has, without a newline: the command has ended.
    ///
    /// # Errors
    /// As [`group`](Self::group).
    pub fn flush_partial(&mut self, label: &str, stream: Stream, partial: &mut Partial) -> Result<(), Cut> {
        let Partial { bytes, is_begun } = partial;
        if !bytes.is_empty() {
            let mut at_start = !*is_begun;
            self.locked(|printer| printer.write(stream, label, bytes, &mut at_start))?;
            *is_begun = !at_start;
            bytes.clear();
        }
        Ok(())
    }

    /// Calls `write` while no other process writes to the same pipe. That covers standard error, too, which
    /// often is the same pipe.
    fn locked(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Cut>) -> Result<(), Cut> {
        let mut asks_left = ASKS_AFTER_STOP;
        while !self.output.lock() {
            if self.late.is_raised() {
                asks_left -= 1;
                if asks_left == 0 {
                    self.output.unlock();
                    return Err(Cut::Stopped);
                }
            }
            thread::sleep(ASK_AGAIN);
        }
        let result = write(self);
        self.output.unlock();
        result
    }

    /// Writes `bytes`, with labels if asked for; `at_start` says whether they are the start of a line, and
    /// afterwards, whether what follows is.
    fn write(&mut self, stream: Stream, label: &str, bytes: &[u8], at_start: &mut bool) -> Result<(), Cut> {
        let bytes = if self.tag {
            self.labelled.clear();
            append_labelled(&mut self.labelled, label, bytes, *at_start);
            &self.labelled
        } else {
            bytes
        };
        *at_start = bytes.last().map_or(*at_start, |last| *last == b'\n');
        match stream {
            Stream::Out => write_out(&mut self.output, &self.late, bytes),
            Stream::Err => write_aside(&mut self.aside, &self.late, bytes),
        }
    }
}

/// Appends `bytes` with `label` and a tab at the start of each line.
fn append_labelled(out: &mut Vec<u8>, label: &str, bytes: &[u8], mut at_start: bool) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if at_start {
            out.extend_from_slice(label.as_bytes());
            out.push(b'\t');
        }
        out.extend_from_slice(line);
        at_start = true;
    }
}

/// Writes to an output, and waits for room as long as `late` is not raised.
fn write_out(output: &mut Output, late: &StopFlag, bytes: &[u8]) -> Result<(), Cut> {
    let mut written = 0;
    while written < bytes.len() {
        match output.room(ROOM)? {
            Ready::Yes => match output.write_piece(bytes, written, &[])? {
                // Another process has taken the room, or has set the output to non-blocking.
                0 if late.is_raised() => return Err(Cut::Stopped),
                n => written += n,
            },
            Ready::Stopped | Ready::NotYet if late.is_raised() => return Err(Cut::Stopped),
            // After a signal, `room` does not wait.
            Ready::Stopped => thread::sleep(ASK_AGAIN),
            Ready::NotYet => {}
        }
    }
    Ok(())
}

/// As [`write_out`], to standard error. If its reader has left, that is not an error.
fn write_aside(aside: &mut Output, late: &StopFlag, bytes: &[u8]) -> Result<(), Cut> {
    match write_out(aside, late, bytes) {
        Err(Cut::Closed) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// A printer to two files, for a function; what they contain afterwards.
    fn printed(tag: bool, print: impl FnOnce(&mut Printer)) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let (out, err) = (folder.path().join("out"), folder.path().join("err"));
        let stop = StopFlag::from(Arc::new(AtomicBool::new(false)));
        let [output, aside] =
            [&out, &err].map(|path| Output::of(File::create(path).unwrap(), &stop).unwrap());
        print(&mut Printer::of(output, aside, tag, &stop));
        (fs::read_to_string(out).unwrap(), fs::read_to_string(err).unwrap())
    }

    fn spool(bytes: &[u8]) -> Spool {
        let mut spool = Spool::new();
        spool.push(bytes).unwrap();
        spool
    }

    fn pipe(stop: &StopFlag) -> (io::PipeReader, Output) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, Output::of(File::from(OwnedFd::from(writer)), stop).unwrap())
    }

    /// A printer to pipes without a reader of its standard error.
    fn to_pipe(stop: bool) -> (Printer, io::PipeReader) {
        let stop = StopFlag::from(Arc::new(AtomicBool::new(stop)));
        let ((reader, output), (_, aside)) = (pipe(&stop), pipe(&stop));
        (Printer::of(output, aside, false, &stop), reader)
    }

    #[test]
    fn a_command_has_its_outputs_unchanged_and_after_those_of_the_one_before() {
        let long = "0123456789abcde\n".repeat(20_000) + "end";
        let printed = printed(false, |printer| {
            printer.group("a", &mut spool(b"1\n2"), &mut spool(b"e1\n")).unwrap();
            printer.group("b", &mut spool(long.as_bytes()), &mut spool(b"")).unwrap();
            printer.group("c", &mut spool(b""), &mut spool(b"e2")).unwrap();
        });
        assert_eq!(printed, (format!("1\n2{long}"), "e1\ne2".into()));
    }

    #[test]
    fn each_line_begins_with_its_label_also_where_a_spool_is_read_in_pieces() {
        let line = "x".repeat(999) + "\n";
        let long = line.repeat(200) + "end";
        let (out, err) = printed(true, |printer| {
            printer.group("a", &mut spool(long.as_bytes()), &mut spool(b"e\n\n")).unwrap();
        });
        assert!(out == format!("a\t{line}").repeat(200) + "a\tend", "{} bytes", out.len());
        assert_eq!(err, "a\te\na\t\n");
    }

    #[test]
    fn by_line_only_complete_lines_are_written_and_the_rest_at_the_end() {
        let (out, err) = printed(true, |printer| {
            let [mut a, mut b, mut e] = [const { Partial { bytes: Vec::new(), is_begun: false } }; 3];
            printer.lines("a", Stream::Out, &mut a, b"1\n2").unwrap();
            printer.lines("b", Stream::Out, &mut b, b"x").unwrap();
            printer.lines("a", Stream::Out, &mut a, b"3\n4\n5").unwrap();
            printer.lines("b", Stream::Out, &mut b, b"\n").unwrap();
            printer.lines("a", Stream::Err, &mut e, b"e\n").unwrap();
            printer.flush_partial("b", Stream::Out, &mut b).unwrap();
            printer.flush_partial("a", Stream::Out, &mut a).unwrap();
            printer.flush_partial("a", Stream::Out, &mut a).unwrap();
        });
        assert_eq!((&*out, &*err), ("a\t1\na\t23\na\t4\nb\tx\na\t5", "a\te\n"));
    }

    #[test]
    fn a_line_without_end_is_written_in_parts_and_has_one_label() {
        let (out, _) = printed(true, |printer| {
            let mut partial = Partial::default();
            for _ in 0..300 {
                printer.lines("a", Stream::Out, &mut partial, &[b'x'; 1000]).unwrap();
                assert!(partial.bytes.len() < LONGEST_LINE);
            }
            printer.lines("a", Stream::Out, &mut partial, b"\ny\n").unwrap();
        });
        assert!(out == format!("a\t{}\na\ty\n", "x".repeat(300_000)), "{} bytes", out.len());
    }

    #[test]
    fn a_reader_that_has_left_is_told_and_one_of_standard_error_is_not() {
        let (mut printer, mut reader) = to_pipe(false);
        printer.group("a", &mut spool(b"1\n"), &mut spool(b"e\n")).unwrap();
        assert!(!printer.output.is_locked(), "other processes write after the group");
        let mut bytes = [0; 2];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"1\n");
        drop(reader);
        let cut = printer.group("a", &mut spool(b"1\n"), &mut spool(b"")).unwrap_err();
        assert!(matches!(cut, Cut::Closed) && !printer.output.is_locked(), "{cut:?}");
    }

    #[test]
    fn after_a_stop_what_a_reader_has_no_room_for_is_cut() {
        let (mut printer, _reader) = to_pipe(true);
        printer.group("a", &mut spool(b"1\n"), &mut spool(b"")).unwrap();
        let cut = printer.group("a", &mut spool(&[b'x'; 2 << 20]), &mut spool(b"")).unwrap_err();
        assert!(matches!(cut, Cut::Stopped) && !printer.output.is_locked(), "{cut:?}");

        let stop = StopFlag::from(Arc::new(AtomicBool::new(true)));
        let ((_out, output), (_err, aside)) = (pipe(&stop), pipe(&stop));
        let mut printer = Printer::of(output, aside, false, &stop);
        let cut = printer.group("a", &mut spool(b""), &mut spool(&[b'x'; 2 << 20])).unwrap_err();
        assert!(matches!(cut, Cut::Stopped), "standard error: {cut:?}");
    }

    #[test]
    fn a_full_disk_is_told_for_either_output() {
        let stop = StopFlag::from(Arc::new(AtomicBool::new(false)));
        let open = |path| Output::of(File::options().write(true).open(path).unwrap(), &stop).unwrap();
        for (out, err) in [("/dev/full", "/dev/null"), ("/dev/null", "/dev/full")] {
            let mut printer = Printer::of(open(out), open(err), false, &stop);
            let cut = printer.group("a", &mut spool(b"1"), &mut spool(b"2")).unwrap_err();
            assert!(
                matches!(&cut, Cut::Failed(error) if error.kind() == io::ErrorKind::StorageFull),
                "{cut:?}"
            );
        }
    }
}
