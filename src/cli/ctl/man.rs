//! `ringctl man`: writes man pages.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::common::exit::Failure;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;

/// Write man pages for ringctl, its verbs, producer and consumer
///
/// Each page is a file of section 1: ringctl.1, ringctl-create.1, producer.1 and so on. The pages are made
/// from the same definitions as --help. Existing files of these names are replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl man ~/.local/share/man/man1 && man ringctl-wait
  ringctl man pages && man -l pages/producer.1

Exit codes: 0 written; 1 a page could not be written; 2 usage.")]
pub struct Args {
    /// Directory for the pages; made if it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub fn run(args: &Args, _: &Ui) -> Result<End, Failure> {
    let failed = |path: &Path, error: &io::Error| Failure::io(format!("writing {}", path.display()), error);
    fs::create_dir_all(&args.dir).map_err(|error| failed(&args.dir, &error))?;
    for program in super::programs() {
        // The long version describes the machine on which the page is made.
        let mut program = program.disable_help_subcommand(true).long_version(None::<&str>);
        program.build();
        for (name, page) in pages(&program) {
            let path = args.dir.join(name);
            fs::write(&path, page).map_err(|error| failed(&path, &error))?;
        }
    }
    Ok(End::Done)
}

/// The pages of a command and of its verbs, with the names of their files.
fn pages(command: &Command) -> Vec<(String, Vec<u8>)> {
    let source = concat!("ringpipe ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("ringpipe");
    let mut all = vec![(man.get_filename(), page(&man, command))];
    all.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set()).flat_map(pages));
    all
}

fn page(man: &Man, command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    let written = write(man, command, &mut page);
    debug_assert!(written.is_ok(), "a vector takes everything");
    page
}

/// As [`Man::render`], but keeps the layout that the text after the options has in --help.
fn write(man: &Man, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    if command.get_arguments().any(|one| !one.is_hide_set()) {
        man.render_options_section(page)?;
    }
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(page)?;
    }
    if let Some(text) = command.get_after_long_help().or(command.get_after_help()) {
        notes(&text.to_string()).to_writer(page)?;
    }
    match command.get_version() {
        Some(_) => man.render_version_section(page),
        None => Ok(()),
    }
}

/// The text after the options: headings become sections, and indented lines keep their layout.
fn notes(text: &str) -> Roff {
    let mut roff = Roff::new();
    let (mut keeps_layout, mut has_section) = (false, false);
    for line in text.lines() {
        let indented = line.starts_with("  ");
        if keeps_layout && !indented && !line.is_empty() {
            roff.control("fi", []);
            keeps_layout = false;
        }
        let heading = if indented { None } else { heading(line) };
        if let Some((heading, _)) = heading {
            roff.control("SH", [heading.to_uppercase().as_str()]);
        } else if !has_section && !line.is_empty() {
            roff.control("SH", ["NOTES"]);
        }
        has_section |= !line.is_empty();
        if indented && !keeps_layout {
            roff.control("nf", []);
            keeps_layout = true;
        }
        match heading.map_or(line, |(_, rest)| rest) {
            "" if line.is_empty() => roff.control("PP", []),
            "" => &mut roff,
            text => roff.text([roman(text)]),
        };
    }
    if keeps_layout {
        roff.control("fi", []);
    }
    roff
}

/// A heading: `Examples:` alone on a line, or `Exit codes: ` with text behind it.
fn heading(line: &str) -> Option<(&str, &str)> {
    let (heading, rest) = line.split_once(':')?;
    let is_heading = heading == "Exit codes" || rest.is_empty() && !heading.contains(['.', ',']);
    (is_heading && heading.len() < 30).then_some((heading, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_sections_and_tables_keep_their_lines() {
        let page = |text| notes(text).render();
        let long = page("Sizes are bytes.\n.5 is half.\n\nExit codes:\n  0  done\n\nMore: this.");
        let order =
            [".SH NOTES", "Sizes", "half", ".SH \"EXIT CODES\"", ".nf", "0  done", ".fi", "More: this."];
        let places: Vec<_> = order.iter().map(|text| long.find(text).expect(text)).collect();
        assert!(places.is_sorted(), "{long}");
        assert!(!long.contains("\n.5"), "a line must not begin with a request: {long}");
        let short = page("Examples:\n  ringctl list\n\nExit codes: 0 listed; 1 not.");
        assert!(!short.contains("NOTES") && short.contains("\n0 listed; 1 not."), "{short}");
    }
}
