//! Keeps what commands wrote in a folder per job (`--results`).

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::spool::Spool;
use crate::cli::common::whole_file::put;

/// Writes the files `item`, `stdout`, `stderr` and `result` of a command to the folder `key` in `folder`. Each file
/// appears complete, and `result` with the line `ending` as the last one. Files of an earlier attempt are replaced.
///
/// # Errors
/// The error of the system.
pub fn keep<'i>(
    folder: &Path,
    key: &str,
    items: impl IntoIterator<Item = &'i [u8]>,
    stdout: &mut Spool,
    stderr: &mut Spool,
    ending: &str,
) -> io::Result<()> {
    let folder = folder.join(key);
    fs::create_dir_all(&folder)?;
    put(&folder.join("item"), |file| items.into_iter().try_for_each(|item| file.write_all(item)))?;
    put(&folder.join("stdout"), |file| stdout.copy_to(&mut |piece: &[u8]| file.write_all(piece)))?;
    put(&folder.join("stderr"), |file| stderr.copy_to(&mut |piece: &[u8]| file.write_all(piece)))?;
    put(&folder.join("result"), |file| writeln!(file, "{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(bytes: &[u8]) -> Spool {
        let mut spool = Spool::new();
        spool.push(bytes).unwrap();
        spool
    }

    #[test]
    fn results_are_complete_files_and_those_of_the_last_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("deep/er");
        let items = [&b"it"[..], b"em"];
        for (out, ending) in [("first, longer", "exit 1"), ("second", "exit 0")] {
            keep(&folder, "7:3", items, &mut spool(out.as_bytes()), &mut spool(b"e"), ending).unwrap();
        }
        let folder = folder.join("7:3");
        for (name, text) in [("item", "item"), ("stdout", "second"), ("stderr", "e"), ("result", "exit 0\n")]
        {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder).unwrap().count(), 4, "no temporary file is left");
    }
}
