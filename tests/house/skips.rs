//! A test that shows nothing where it runs says so where a person sees it.

use std::fs;
use std::path::Path;

use crate::floors::sources;

/// What such a test may print, and the harness keeps to itself.
const WORDS: [&str; 3] = ["not tested", "not tried", "skipped"];

fn is_unseen(text: &str) -> bool {
    text.split("eprintln!(").skip(1).any(|call| {
        let said = call.trim_start().strip_prefix('"').unwrap_or_default().to_lowercase();
        WORDS.iter().any(|words| said.starts_with(words))
    })
}

#[test]
fn no_test_is_skipped_unseen() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests"].into_iter().flat_map(|folder| sources(&root.join(folder)));
    let texts = files.map(|file| (fs::read_to_string(&file).unwrap_or_default(), file));
    let unseen: Vec<_> = texts.filter(|(text, _)| is_unseen(text)).map(|(_, file)| file).collect();
    assert!(unseen.is_empty(), "eprintln! in place of support::not_tested: {unseen:?}");
}

#[test]
fn a_skip_that_the_harness_keeps_to_itself_is_found() {
    let call = |words: &str| format!("return {}!(\"{words}, no such thing here\");", "eprintln");
    assert!(is_unseen(&call("not tested")) && is_unseen(&call("Skipped")) && !is_unseen(&call("3 tried")));
}
