//! What holds however a command was called.

use crate::common::Ended;

/// The exit codes of README.md.
pub const CODES: [i32; 8] = [0, 1, 2, 3, 4, 5, 6, 10];

/// It ended by itself with a code that means something, and told on standard error, in a line of the known
/// form, why it failed. (That it did not panic is looked at wherever a command ends.)
#[track_caller]
pub fn is_orderly(ended: &Ended, call: &str) {
    let Some(code) = ended.code else {
        panic!("{call}: ended by signal {:?}: {}", ended.signal, ended.stderr)
    };
    assert!(CODES.contains(&code), "{call}: code {code}: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{call}: {}", ended.stderr);
    if code != 0 {
        assert!(
            complains(&ended.stderr),
            "{call}: code {code} without the line that says why: {:?}",
            ended.stderr
        );
    }
}

/// A usage error: code 2, the line, and nothing but that.
#[track_caller]
pub fn is_usage_error(ended: &Ended, call: &str) {
    is_orderly(ended, call);
    assert_eq!(ended.code, Some(2), "{call}: {}{}", ended.text(), ended.stderr);
    assert!(ended.stdout.is_empty(), "{call}: wrote {:?}", ended.text());
    let last = ended.stderr.lines().last().unwrap_or_default();
    let tells_more = last.contains("--help") || last.starts_with("hint: ");
    let is_one_line = ended.stderr.lines().count() == 1;
    // What needs a verb and has none answers with its help.
    let is_help = ended.stderr.contains("Usage: ringctl") && !ended.stderr.contains("error: ");
    assert!(tells_more || is_one_line || is_help, "{call}: nothing follows from {:?}", ended.stderr);
}

/// Whether some line says `PROGRAM: what` or `error: what`.
fn complains(stderr: &str) -> bool {
    let stderr = without_colours(stderr);
    let heads = ["error: ", "producer: ", "consumer: ", "ringctl: "];
    stderr.lines().any(|line| heads.iter().any(|head| line.strip_prefix(head).is_some_and(|what| !what.is_empty())))
        // Without any arguments the help is the answer.
        || stderr.contains("Usage: ")
}

/// The text without the sequences that colour it, which CLICOLOR_FORCE has the parser of arguments write.
pub fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_string();
    first + &parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest)).collect::<String>()
}
