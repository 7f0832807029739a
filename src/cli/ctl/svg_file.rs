//! An SVG file that a command writes: its name, its text, and how a text is written into it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;

use crate::cli::common::exit::{Failure, code};
use crate::cli::common::whole_file;

/// How many links the system follows, one after the other, before it refuses.
const LINKS: usize = 40;

/// The name of an SVG file.
#[derive(Debug, Clone)]
pub struct SvgFile(PathBuf);

impl FromStr for SvgFile {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(given);
        // The text itself, too: a path leaves out a slash or dot at its end, which names a folder.
        let is_svg = path.extension().is_some() && given.to_ascii_lowercase().ends_with(".svg");
        is_svg.then_some(SvgFile(path)).ok_or("expected the name of a file that ends in .svg")
    }
}

impl SvgFile {
    /// Finds out before the work whether the file can be written: a full disk shows only later.
    ///
    /// # Errors
    /// The [`Failure`] that says why not.
    pub fn check(&self) -> Result<(), Failure> {
        let what = self.what();
        match fs::metadata(&self.0) {
            Ok(found) if found.is_dir() => Err(Failure::io(what, &Errno::EISDIR.into())),
            Ok(found) if !found.is_file() => {
                let line = format!("{what}: it is a device, pipe or socket; expected a file, or a new name");
                Err(Failure::new(code::RUNTIME, line))
            }
            Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => Err(Failure::io(what, &error)),
            _ => whole_file::check(&self.target()).map_err(|error| Failure::io(what, &error)),
        }
    }

    /// Writes the whole file, or leaves what was there.
    ///
    /// # Errors
    /// The [`Failure`] that says why not.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        let put = whole_file::put(&self.target(), |file| file.write_all(text.as_bytes()));
        put.map_err(|error| Failure::io(self.what(), &error))
    }

    fn what(&self) -> String {
        format!("writing {}", self.0.display())
    }

    /// The file that a link leads to, which need not exist yet: the link stays.
    fn target(&self) -> PathBuf {
        let mut path = self.0.clone();
        for _ in 0..LINKS {
            let Ok(next) = fs::read_link(&path) else { break };
            // An absolute path replaces the folder.
            path = path.parent().unwrap_or(Path::new("")).join(next);
        }
        path
    }
}

/// A text for XML. A control character, which XML does not have, becomes �.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\t' | '\n' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_xml_does_not_allow_in_a_text_is_written_differently() {
        assert_eq!(escape("a<b>&\"c\" é▸"), "a&lt;b&gt;&amp;&quot;c&quot; é▸");
        assert_eq!(escape("\0\x1b[0m\ta\n\u{ffff}"), "��[0m a �");
    }

    #[test]
    fn the_name_ends_in_svg_and_is_not_that_of_a_folder() {
        for right in ["a.svg", "a.SVG", "./b/a.b.svg"] {
            right.parse::<SvgFile>().unwrap();
        }
        for wrong in ["", "-", "a.png", "svg", ".svg", "a.svg/", "a.svg/."] {
            assert!(wrong.parse::<SvgFile>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_link_stays_and_the_file_behind_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link.svg"));
        fs::write(&file, "before").unwrap();
        symlink(&file, &link).unwrap();
        let svg = SvgFile(link.clone());
        svg.check().unwrap();
        svg.write("after").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "after");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_link_stays_also_where_it_leads_to_no_file_yet() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir(place("below")).unwrap();
        symlink("below/middle", place("link.svg")).unwrap();
        symlink("new", place("below/middle")).unwrap();
        let svg = SvgFile(place("link.svg"));
        for text in ["one", "two"] {
            svg.check().unwrap();
            svg.write(text).unwrap();
            assert_eq!(fs::read_to_string(place("below/new")).unwrap(), text);
            for link in ["link.svg", "below/middle"] {
                assert!(fs::symlink_metadata(place(link)).unwrap().is_symlink(), "{link}");
            }
        }
        symlink("none/new", place("nowhere.svg")).unwrap();
        symlink("circle.svg", place("circle.svg")).unwrap();
        for (name, why) in [("nowhere.svg", "No such file"), ("circle.svg", "symbolic link")] {
            let failure = SvgFile(place(name)).check().unwrap_err();
            assert!(failure.line.contains(why) && failure.code == code::RUNTIME, "{failure:?}");
        }
    }

    #[test]
    fn a_folder_a_device_and_a_name_in_no_folder_are_refused_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let (full, nowhere) = (folder.path().join("full.svg"), folder.path().join("none/new.svg"));
        symlink("/dev/full", &full).unwrap();
        let cases = [(folder.path(), "Is a directory"), (&full, "a device"), (&nowhere, "No such file")];
        for (path, why) in cases {
            let failure = SvgFile(path.into()).check().unwrap_err();
            assert!(failure.line.contains(why) && failure.code == code::RUNTIME, "{failure:?}");
        }
    }
}
