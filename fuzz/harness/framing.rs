//! Any bytes through the splitters of every framing, and as a history for `ringctl check`.

use std::io::{ErrorKind, Read};

use ringpipe::internal::framing::{Fill, Framing, Splitter};
use ringpipe::testing::history::{self, Checker};

use super::{Input, Name};

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let framing = match input.below(8) {
        0 => Framing::Lines,
        1 => Framing::Null,
        2 => Framing::Delimiter(input.byte()),
        3 => Framing::Raw { chunk: input.below(40) as usize },
        4 => Framing::Blocks { size: input.below(40) as usize },
        5 => Framing::Len32,
        6 => Framing::WholeFile,
        _ => return check_history(input.rest()),
    };
    let limit = input.below(1 << 12) as usize;
    let pieces = input.byte();
    let text = input.rest();
    let (items, whole) = split(framing, limit, Pieces { text, pieces: pieces as usize, reads: 0 });
    assert!(items.iter().all(|item| item.len() <= limit.max(1)));
    if !whole {
        return;
    }
    if matches!(framing, Framing::Raw { .. } | Framing::Blocks { .. } | Framing::WholeFile) {
        assert_eq!(items.concat(), text, "byte for byte");
        return;
    }
    // What is framed again is found again.
    let mut again = Vec::new();
    items.iter().for_each(|item| framing.frame_into(item, &mut again).expect("short items"));
    let reader = Pieces { text: &again, pieces: pieces as usize / 2, reads: 0 };
    assert_eq!(split(framing, limit, reader), (items, true));
}

/// The items, and whether all of the input came to an end.
fn split(framing: Framing, limit: usize, reader: Pieces<'_>) -> (Vec<Vec<u8>>, bool) {
    let mut splitter = Splitter::new(reader, framing, limit);
    let mut items = Vec::new();
    loop {
        match splitter.fill() {
            Ok(Fill::Ready) => {
                let some = splitter.items().len().div_ceil(2);
                items.extend(splitter.items().take(some).map(<[u8]>::to_vec));
                splitter.consume(some);
            }
            Ok(Fill::Interrupted) => {}
            Ok(Fill::End) => return (items, true),
            Err(_) => return (items, false),
        }
    }
}

/// A reader that gives its text in pieces, with interruptions in between.
struct Pieces<'a> {
    text: &'a [u8],
    pieces: usize,
    reads: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.reads += 1;
        if self.reads.is_multiple_of(7) {
            return Err(ErrorKind::Interrupted.into());
        }
        let most = if self.pieces == 0 { usize::MAX } else { 1 + (self.pieces * self.reads) % 61 };
        let take = self.text.len().min(out.len()).min(most);
        out[..take].copy_from_slice(&self.text[..take]);
        self.text = &self.text[take..];
        Ok(take)
    }
}

fn check_history(text: &[u8]) {
    let name = Name::new("history");
    if std::fs::write(name.path(), text).is_ok() {
        let (path, checker) = (name.path(), Checker::new().capacity(4).describe(3));
        if let Ok(report) = history::check(&[&path, &path], checker) {
            let _ = report.to_string();
        }
    }
}
