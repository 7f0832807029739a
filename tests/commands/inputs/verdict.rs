//! What holds however a command was called.

use crate::support::Ended;

/// The exit codes of docs/COMMANDS.md.
pub const CODES: [i32; 12] = [0, 1, 2, 3, 4, 5, 6, 10, 11, 123, 126, 127];

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
    let text = without_colours(&ended.stderr);
    let lines: Vec<&str> = text.lines().collect();
    let is_line_with_hint = match lines[..] {
        [_] => true,
        [_, hint] => hint.starts_with("hint: "),
        _ => false,
    };
    // What needs a verb and has none answers with its help.
    let is_help = text.contains("Usage: ringctl");
    assert!(is_line_with_hint || is_help, "{call}: not a line and a hint: {:?}", ended.stderr);
    assert!(is_help || ended.stderr.len() < 2000, "{call}: {} bytes of message", ended.stderr.len());
}

/// Whether some line says `PROGRAM: what`.
fn complains(stderr: &str) -> bool {
    let stderr = without_colours(stderr);
    let heads = ["producer: ", "consumer: ", "ringctl: "];
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
