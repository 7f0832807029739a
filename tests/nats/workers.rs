//! `consumer nats://… -- COMMAND`.

use crate::server::{Server, consumer, producer, ringctl, sorted};
use crate::support::{seq, wait_until};

#[test]
fn commands_run_side_by_side_and_each_item_is_done_once() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &[]).input(seq(300)).run().succeeds();
    let ended = consumer(&jobs, &["-j", "4", "--", "echo", "{}"]).run().succeeds().quiet();
    assert_eq!(sorted(ended.text()), (1..=300).collect::<Vec<_>>());
}

#[test]
fn a_command_may_run_longer_than_the_server_waits() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs?ack-wait=1s");
    producer(&jobs, &["--item", "x"]).run().succeeds();
    let script = "echo $RING_ATTEMPT; sleep 4";
    let first = consumer(&jobs, &["--", "sh", "-c", script]).spawn();
    let second = consumer(&jobs, &["--", "sh", "-c", script]).spawn();
    let both = [first.end().succeeds().into_text(), second.end().succeeds().into_text()];
    assert_eq!(both.concat(), "1\n");
}

#[test]
fn a_failed_item_is_tried_again_and_then_a_dead_letter() {
    let Some(server) = Server::start() else { return };
    let (jobs, failed) = (server.name("jobs"), server.name("failed"));
    producer(&jobs, &[]).input(seq(4)).run().succeeds();
    let script = "echo >&2 no $1; [ $1 != 2 ] && [ $1 != 3 ]";
    let args = ["-j", "2", "--retries", "2", "--backoff", "1ms", "--stats", "--dead-letter", &failed];
    let worker = consumer(&jobs, &args).args(&["--", "sh", "-c", script, "sh", "{}"]);
    let ended = worker.run().with_code(123).saying("2 items failed for good");
    assert!(ended.stderr.contains("ringctl peek nats://"), "{}", ended.stderr);
    let letters = consumer(&failed, &["--json", "--drain"]).run().succeeds();
    let mut items: Vec<String> = letters
        .json_lines()
        .into_iter()
        .map(|object| {
            let (letter, item) = object["text"].as_str().unwrap().split_once('\n').unwrap();
            let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
            assert_eq!(
                (&letter["ring"], &letter["failures"]),
                (&jobs.as_str().into(), &3.into()),
                "{letter}"
            );
            assert_eq!(
                (&letter["sequence"], &object["sequence"]),
                (&object["sequence"], &letter["sequence"])
            );
            item.to_string()
        })
        .collect();
    items.sort();
    assert_eq!(items, ["2", "3"]);
    // Nothing is left.
    consumer(&jobs, &["--no-wait"]).run().with_code(3);
}

#[test]
fn dead_letters_are_sent_again() {
    let Some(server) = Server::start() else { return };
    let (jobs, failed) = (server.name("jobs"), server.name("failed"));
    producer(&jobs, &[]).input(seq(3)).run().succeeds();
    consumer(&jobs, &["--retries", "0", "--dead-letter", &failed, "--", "false"]).run().with_code(123);
    let told = ringctl(&["requeue", &failed]).run().succeeds();
    assert!(told.text().contains("3 items sent to"), "{}", told.text());
    let ended = consumer(&jobs, &["--", "echo", "{}"]).run().succeeds();
    assert_eq!(sorted(ended.text()), [1, 2, 3]);
    // Within the window in which the server remembers ids, the same items once more.
    producer(&jobs, &[]).input(seq(2)).run().succeeds();
    consumer(&jobs, &["--retries", "0", "--dead-letter", &failed, "--", "false"]).run().with_code(123);
    ringctl(&["requeue", &failed]).run().succeeds();
    assert_eq!(sorted(consumer(&jobs, &[]).run().succeeds().text()), [1, 2]);
}

#[test]
fn failures_are_counted_across_workers() {
    let Some(server) = Server::start() else { return };
    let (jobs, failed) = (server.name("jobs?ack-wait=1s"), server.name("failed"));
    producer(&jobs, &["--item", "x"]).run().succeeds();
    let slow = ["--backoff", "60s", "-v", "--", "false"];
    let first = consumer(&jobs, &slow).spawn();
    first.wait_for_stderr("attempt 2 of 4");
    // It is killed while the item waits for its second attempt.
    drop(first);
    let second = consumer(&jobs, &["--retries", "1", "--dead-letter", &failed, "--", "false"]).run();
    second.with_code(123);
    let letter = consumer(&failed, &["--drain"]).run().succeeds().into_text();
    assert!(letter.contains("\"failures\":2"), "{letter}");
}

#[test]
fn answers_have_the_keys_of_their_items() {
    let Some(server) = Server::start() else { return };
    let (jobs, answers) = (server.name("jobs"), server.name("answers"));
    producer(&jobs, &[]).input(seq(20)).run().succeeds();
    consumer(&jobs, &["-j", "3", "--reply", &answers, "--", "expr", "{}", "*", "2"]).run().succeeds().quiet();
    let ended = consumer(&answers, &["--json", "--drain"]).run().succeeds();
    for object in ended.json_lines() {
        let answer: u64 = object["text"].as_str().unwrap().parse().unwrap();
        assert_eq!(object["sequence"], answer / 2 - 1, "{object}");
    }
    assert_eq!(ended.lines().len(), 20);
}

#[test]
fn a_worker_that_is_told_to_stop_gives_its_items_back_without_a_failure() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &[]).input(seq(2)).run().succeeds();
    let dir = tempfile::tempdir().unwrap();
    let begun = dir.path().join("begun");
    let script = format!("echo >> {}; sleep 60", begun.display());
    let worker = consumer(&jobs, &["-j", "2", "--grace", "0", "--", "sh", "-c", &script]).spawn();
    wait_until("both commands", || std::fs::read_to_string(&begun).is_ok_and(|text| text.len() == 2));
    worker.signal(libc::SIGTERM);
    worker.end().by_signal(libc::SIGTERM);
    // Much sooner than the server would miss the worker, and with all attempts left.
    let ended = consumer(&jobs, &["--retries", "0", "--", "echo", "{}"]).run().succeeds();
    assert_eq!(sorted(ended.text()), [1, 2]);
}

#[test]
fn a_standing_command_takes_items() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &[]).input(seq(100)).run().succeeds();
    let script = "while read -r line; do echo ok; done";
    consumer(&jobs, &["-j", "2", "--coprocess", "--", "sh", "-c", script]).run().succeeds().quiet();
    consumer(&jobs, &["--no-wait"]).run().with_code(3);
}

#[test]
fn a_script_holds_an_item_in_two_steps() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &[]).input("a\nb\n").run().succeeds();
    let script = r#"{ read -r token; item=$(cat); } < <("$C" "$R" --hold --hold-for $$)
        echo $item; "$CTL" release "$token"
        { read -r token; item=$(cat); } < <("$C" "$R" --hold --hold-for $$)
        echo $item; "$CTL" done "$token""#;
    let run = crate::support::Run::new("bash").args(&["-c", script]);
    let run = run.env("C", env!("CARGO_BIN_EXE_consumer")).env("CTL", env!("CARGO_BIN_EXE_ringctl"));
    let ended = run.env("R", &jobs).run().succeeds();
    assert_eq!(ended.lines()[0], "a");
    assert_eq!(consumer(&jobs, &["--drain"]).run().succeeds().lines().len(), 1);
}
