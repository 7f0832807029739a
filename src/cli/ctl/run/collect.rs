//! Reads what the consumers write: counts it, checks it and, if requested, writes it to the output.
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use super::{
    feed::{Check, lock},
    verify::Digest,
};
use crate::{
    cli::common::exit::{Failure, code},
    framing::{Fill, Framing, Splitter},
    sys::command::stdio,
};

/// Where received items are written, if anywhere.
pub type Output = Arc<Mutex<Option<Box<dyn Write + Send>>>>;

/// Opens the value of `--output`.
pub fn open_output(path: Option<&Path>) -> Result<Output, Failure> {
    let output: Option<Box<dyn Write + Send>> = match path {
        None => None,
        Some(path) if path == Path::new("-") && !stdio::was_open(1) => {
            return Err(Failure::closed("standard output"));
        }
        Some(path) if path == Path::new("-") => Some(Box::new(io::stdout())),
        Some(path) => {
            Some(Box::new(File::create(path).map_err(|error| Failure::io(path.display(), &error))?))
        }
    };
    Ok(Arc::new(Mutex::new(output)))
}

/// Reads one consumer's output to its end, and adds its items to `received`. After a failed write, the rest is
/// still checked, and the failure is returned at the end.
pub fn collect(
    pipe: impl Read,
    framing: Framing,
    limit: usize,
    check: &Check,
    output: &Output,
    received: &Mutex<Digest>,
) -> Result<(), Failure> {
    let mut splitter = Splitter::new(pipe, framing, limit);
    let (mut bytes, mut written) = (Vec::new(), Ok(()));
    let failed = |error| Failure::new(code::RUNTIME, format!("reading from a consumer: {error}"));
    loop {
        match splitter.fill().map_err(failed)? {
            Fill::End => return written,
            Fill::Interrupted => continue,
            Fill::Ready => {}
        }
        let mut digest = Digest::default();
        let (mut items, mut out) = (0, lock(output));
        let mut order = check.order.as_ref().map(|order| lock(order));
        for item in splitter.items() {
            let hash = check.hash.of(item);
            digest.add(item.len(), hash);
            if let Some(order) = &mut order {
                order.receive(hash);
            }
            if out.is_some() {
                framing.frame_into(item, &mut bytes).map_err(failed)?;
            }
            items += 1;
        }
        drop(order);
        splitter.consume(items);
        written = written.and(write_on(&mut out, &mut bytes));
        drop(out);
        let mut received = lock(received);
        *received = received.and(digest);
    }
}

/// Writes and empties `bytes`. After the output's reader has left, nothing more is written; items are still
/// checked.
pub fn write_on(out: &mut Option<Box<dyn Write + Send>>, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let Some(writer) = out else { return Ok(()) };
    let result = writer.write_all(bytes).and_then(|()| writer.flush());
    bytes.clear();
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => *out = None,
        Err(error) => {
            *out = None;
            return Err(Failure::io("writing the output", &error));
        }
        Ok(()) => {}
    }
    Ok(())
}
