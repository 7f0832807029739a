//! `ringctl watch` with a stream.

use std::io::Write;

use crate::server::{Server, consumer, producer, ringctl};
use crate::support::{Running, seq, wait_until};

fn wait_for(watching: &Running, words: &str) {
    wait_until(words, || watching.has_printed(words));
}

#[test]
fn sentences_tell_what_happens_to_a_stream() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs?ack-wait=1s");
    let name = server.name("jobs");
    let watching = ringctl(&["watch", "--wait", "--interval", "50ms", &jobs]).spawn();
    let mut sending = producer(&jobs, &["-v"]).open_input().spawn();
    sending.wait_for_stderr("made stream");
    wait_for(&watching, &format!("{name} is open: 0 of 8,192 items, 0 held\n"));
    let producer_is = format!("producer 0 (process {} on ", sending.pid());
    sending.stdin.as_mut().unwrap().write_all(b"1\n2\n3\n").unwrap();
    wait_for(&watching, "acknowledged: 3 of 8,192 items, 0 held\n");
    let mut holding = consumer(&jobs, &["--", "sleep", "600"]).spawn();
    wait_for(&watching, "acknowledged: 3 of 8,192 items, 1 held\n");
    holding.signal(libc::SIGKILL);
    holding.ended();
    let receiving = consumer(&jobs, &["--follow"]).spawn();
    receiving.wait_for_stdout(b"2\n3\n");
    wait_for(&watching, "acknowledged: 0 of 8,192 items, 0 held\n");
    sending.close_input();
    sending.end().succeeds();
    wait_for(&watching, ") left\n");
    ringctl(&["close", &name]).run().succeeds();
    receiving.end();
    wait_for(&watching, "it was closed\n");
    ringctl(&["rm", &name]).run().succeeds();
    let told = watching.end().succeeds();
    let text = told.text();
    for words in [&*producer_is, "consumer 0 (process ", "came\n"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.ends_with(&format!("{name} was removed\n")), "{text}");
}

#[test]
fn an_object_for_each_look_has_figures_rates_and_participants() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    ringctl(&["watch", &jobs]).run().with_code(3).saying("does not exist");
    producer(&jobs, &["--capacity", "7"]).input(seq(4)).run().succeeds();
    let holding = consumer(&jobs, &["--", "sleep", "60"]).spawn();
    ringctl(&["wait", &jobs, "--until", "items=3", "--timeout", "30s"]).run().succeeds();
    ringctl(&["wait", &jobs, "--until", "consumers=1", "--timeout", "30s"]).run().succeeds();
    let looks =
        ringctl(&["watch", "--json", "-n", "3", "--interval", "10ms", &jobs]).run().succeeds().json_lines();
    assert_eq!(looks.len(), 3);
    for (place, look) in looks.iter().enumerate() {
        assert_eq!((&look["look"], &look["state"]), (&(place as u64 + 1).into(), &"open".into()));
        assert_eq!((&look["used"], &look["capacity"]), (&4.into(), &7.into()), "{look}");
        assert_eq!(look["participants"][0]["pid"], holding.pid());
        assert_eq!(look.get("rates").is_some(), place > 0, "{look}");
    }
    assert_eq!(looks[2]["items_held"], 1);
    assert!(looks[0]["events"].as_array().unwrap().len() == 2 && looks[2]["rates"]["out"] == 0.0);
    let text = ringctl(&["watch", "--once", &jobs]).run().succeeds();
    assert_eq!(
        text.text().lines().nth(1),
        ringctl(&["inspect", &jobs]).run().succeeds().text().lines().nth(1)
    );
}

#[test]
fn waiting_items_without_progress_are_told_of() {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs?ack-wait=1s");
    producer(&jobs, &[]).input(seq(3)).run().succeeds();
    let holding = consumer(&jobs, &["--", "sleep", "600"]).spawn();
    let watching = ringctl(&["watch", "--interval", "100ms", &jobs]).spawn();
    wait_for(&watching, ": 2 items waiting, consumers are alive");
    drop(holding);
    let ended = consumer(&jobs, &[]).run().succeeds();
    assert_eq!(ended.text().lines().count(), 3);
    wait_for(&watching, "acknowledged: 0 of 8,192 items, 0 held");
}

#[test]
fn a_server_that_starts_again_does_not_end_a_watch() {
    let Some(mut server) = Server::start() else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &[]).input(seq(3)).run().succeeds();
    let mut watching = ringctl(&["watch", "--interval", "20ms", &jobs]).spawn();
    wait_for(&watching, "3 of 8,192 items");
    let idle = producer(&jobs, &["-v"]).open_input().spawn();
    wait_for(&watching, "came\n");
    server.kill();
    wait_for(&watching, "its server does not answer\n");
    server.restart();
    wait_for(&watching, "its server answers again\n");
    drop(idle);
    consumer(&jobs, &[]).run().succeeds();
    wait_for(&watching, "acknowledged: 0 of 8,192 items, 0 held");
    assert!(watching.is_running());
    // Another one of the same name is not the one that is watched.
    ringctl(&["rm", &jobs]).run().succeeds();
    ringctl(&["create", &jobs]).run().succeeds();
    let told = watching.end().succeeds();
    assert!(told.text().ends_with("jobs was removed\n"), "{}", told.text());
}
