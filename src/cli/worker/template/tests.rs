use super::*;
use std::fs;

fn template(words: &[&str]) -> Template {
    Template::new(&words.iter().map(OsString::from).collect::<Vec<_>>(), false).unwrap()
}

fn shell(text: &str) -> Template {
    Template::new(&[text.into()], true).unwrap()
}

fn output(template: &Template, items: &[&[u8]]) -> Vec<u8> {
    let output = template.command(items, 12, 3).unwrap().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every byte that an argument can have.
fn all_bytes() -> Vec<u8> {
    (1..=255).collect()
}

#[test]
fn placeholders_are_filled_anywhere_in_an_argument() {
    let template = template(&["printf", "%s|", "{}", "a{}b{}", "{#}-{%}", "{", "{x}", "{}}"]);
    assert!(template.uses_item());
    assert_eq!(output(&template, &[b"i j"]), b"i j|ai jbi j|12-3|{|{x}|i j}|");
    assert_eq!(template.display(&[b"i j"], 12, 3), "printf '%s|' 'i j' 'ai jbi j' 12-3 '{' '{x}' 'i j}'");
}

#[test]
fn an_argument_with_the_item_is_repeated_for_each_item_of_a_batch() {
    let template = template(&["printf", "%s|", "{}", "-f{}", "end"]);
    assert_eq!(output(&template, &[b"a", b"b c"]), b"a|b c|-fa|-fb c|end|");
}

#[test]
fn without_a_placeholder_the_item_is_not_in_the_arguments() {
    let template = template(&["printf", "%s|", "x", "{#}"]);
    assert!(!template.uses_item());
    assert_eq!(output(&template, &[b"a\0b"]), b"x|12|");
}

#[test]
fn an_item_arrives_unchanged_except_that_nul_is_refused() {
    let all = all_bytes();
    assert_eq!(output(&template(&["printf", "%s", "{}"]), &[&all]), all);
    let error = template(&["printf", "%s", "{}"]).command(&[b"a\0b"], 1, 1).unwrap_err();
    assert!(error.contains("NUL"), "{error}");
}

#[test]
fn a_shell_gets_any_item_as_one_word_and_executes_none() {
    let all = all_bytes();
    assert_eq!(output(&shell("printf %s {} | cat"), &[&all]), all);
    assert_eq!(output(&shell("printf '%s|' {} x{}"), &[b"a b", b"c"]), b"a b|c|xa b|c|");
    // Inside other quotes it is not a word, and is still not executed.
    let folder = tempfile::tempdir().unwrap();
    let touch = format!("touch {}/x", folder.path().display());
    let evil = format!("$({touch})`{touch}`';{touch};'\";{touch};\"\n{touch}\n");
    for text in ["printf %s {}", "printf %s \"a {}\"", "printf %s 'a {}'", "cat <<X\n{}\nX", "echo `echo {}`"]
    {
        assert!(!output(&shell(text), &[evil.as_bytes()]).is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{text}");
    }
}

#[test]
fn a_shells_text_is_its_words_and_has_the_numbers() {
    let template = Template::new(&["echo".into(), "{#}".into(), "{%} $#".into()], true).unwrap();
    assert!(!template.uses_item());
    assert_eq!(output(&template, &[b"item"]), b"12 3 0\n");
    assert_eq!(template.display(&[b"item"], 12, 3), "/bin/sh -c 'echo 12 3 $#'");
}

#[test]
fn the_displayed_line_runs_the_same_command() {
    let all = all_bytes();
    for template in [template(&["printf", "%s|{#}", "-{}"]), shell("printf '%s|' {}; echo {%}")] {
        let line = template.display(&[&all, b"b"], 12, 3);
        let output_of_line = Command::new("bash").args(["-c", &line]).output().unwrap();
        assert_eq!(output_of_line.stdout, output(&template, &[&all, b"b"]), "{line}");
    }
}

#[test]
fn a_program_sees_the_name_that_was_given() {
    assert_eq!(output(&template(&["sh", "-c", "echo $0"]), &[]), b"sh\n");
}

#[test]
fn a_program_that_depends_on_the_item_is_refused() {
    for name in ["{}", "tool-{}", "tool-{%}"] {
        let failure = Template::new(&[name.into()], false).unwrap_err();
        assert_eq!(failure.code, code::USAGE);
        assert!(failure.line.contains("depends on the item; expected") && failure.hint.is_some());
    }
    assert_eq!(Template::new(&[], true).unwrap_err().code, code::USAGE);
}

const FACTS: Facts<'_> =
    Facts { ring: "jobs", producer: 7, sequence: 3, attempt: 2, job: 12, slot: 1, items: 1 };

#[test]
fn a_command_is_told_the_facts_in_its_environment() {
    let mut command = template(&["env"]).command(&[], 12, 1).unwrap();
    environment(&mut command, &FACTS);
    let printed = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for line in [
        "RING_NAME=jobs",
        "RING_PRODUCER=7",
        "RING_SEQ=3",
        "RING_ATTEMPT=2",
        "RING_JOB=12",
        "RING_SLOT=1",
        "RING_ITEMS=1",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}");
    }
}

#[test]
fn a_command_is_told_the_facts_as_json() {
    let facts = r#""ring":"jobs","producer":7,"sequence":3,"attempt":2,"job":12,"slot":1,"items":1"#;
    let plain = format!(r#"{{"schema":"ringpipe.job/1",{facts}"#);
    assert_eq!(meta_json(&FACTS, &[]), format!("{plain}}}\n"));
    let batch = [Member { producer: 7, sequence: 3, attempt: 2 }];
    let expected = format!("{plain},\"batch\":[{{\"producer\":7,\"sequence\":3,\"attempt\":2}}]}}\n");
    assert_eq!(meta_json(&FACTS, &batch), expected);
}
