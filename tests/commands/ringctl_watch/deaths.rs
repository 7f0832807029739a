//! Deaths are shown as deaths, and each item's consumers are named.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use ringpipe::{Liveness, ParticipantInfo, Ring};
use serde_json::{Value, json};

use crate::ringctl_watch::Watch;
use crate::support::actor::RemoteActor;
use crate::support::*;

#[test]
fn a_killed_consumer_and_the_redelivery_of_its_item_are_shown() {
    let name = TestName::ring("watch-killed", &["--capacity", "256", "--slot-size", "1K"]);
    name.send_lines(&("x".repeat(100_000) + "\n"));
    let mut consumer = consumer_that_holds(&name);
    let pid = consumer.0.id();
    let watch = Watch::start(&name, &["--interval", "2ms"]);
    watch.tells(&format!("consumer {pid} is here"));
    consumer.signal(Signal::SIGSTOP);
    watch.tells(&format!("consumer {pid} is stopped; it keeps what it holds"));
    consumer.kill();
    watch.tells(&format!("consumer {pid} died; item 0 will be delivered again"));
    let next = consumer_that(&name, Stdio::piped());
    let takes = format!("consumer {} takes item 0 from slots 0 to 97, its delivery no. 2, ", next.0.id());
    let told = watch.tells_some(&takes, |line| line.starts_with(&takes));
    assert!(told.ends_with(&format!(" after consumer {pid} died with it")), "{told}");
}

/// One that writes there.
fn consumer_that(name: &TestName, output: Stdio) -> Kept {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    command.arg(&name.name).stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    Kept::start(&mut command)
}

/// A ring with these lines in it, and a watch of it.
fn watched(what: &str, lines: &str) -> (TestName, Ring, Watch) {
    let name = TestName::ring(what, &["--capacity", "16"]);
    if !lines.is_empty() {
        name.send_lines(lines);
    }
    let watch = Watch::start(&name, &["--interval", "2ms"]);
    watch.tells_some("the ring", |line| line.starts_with("ring "));
    let ring = Ring::open(&name.name).unwrap();
    (name, ring, watch)
}

/// What happens in `meanwhile` happens between two looks.
fn between_looks(watch: &Watch, meanwhile: impl FnOnce()) {
    let stat = format!("/proc/{}/stat", watch.process.0.id());
    watch.process.signal(Signal::SIGSTOP);
    wait_until("it is stopped", || std::fs::read_to_string(&stat).unwrap().contains(") T "));
    meanwhile();
    watch.process.signal(Signal::SIGCONT);
}

/// Kills it, and returns when the kernel says that it is dead.
fn killed(ring: &Ring, victim: &RemoteActor) {
    let pid = victim.pid().as_raw() as u32;
    let alive = |one: &ParticipantInfo| one.pid == pid && one.liveness != Liveness::Dead;
    victim.signal(Signal::SIGKILL);
    wait_until("no participant is alive", || !ring.participants().iter().any(alive));
}

#[test]
fn a_killed_process_is_shown_as_died_and_an_ended_one_as_left() {
    let (name, ring, watch) = watched("watch-fates", "");
    let victims = ["consumer", "producer"].map(|role| (role, RemoteActor::attached(&name.name, role)));
    let mut leaves = RemoteActor::attached(&name.name, "consumer");
    for (role, victim) in &victims {
        watch.tells(&format!("{role} {} comes", victim.pid()));
    }
    watch.tells(&format!("consumer {} comes", leaves.pid()));
    between_looks(&watch, || {
        victims.iter().for_each(|(_, victim)| killed(&ring, victim));
        assert_eq!(leaves.does("leave"), "left");
        ring.repair();
    });
    for (role, victim) in &victims {
        watch.tells(&format!("{role} {} died; it held nothing", victim.pid()));
    }
    watch.tells(&format!("consumer {} leaves", leaves.pid()));
    assert_eq!(watch.lines().iter().filter(|line| line.ends_with(" leaves")).count(), 1);
}

#[test]
fn an_item_its_producer_was_writing_when_it_died_vanishes() {
    let (name, ring, watch) = watched("watch-writer", "");
    let mut writer = RemoteActor::attached(&name.name, "producer");
    assert_eq!(writer.does("reserve half"), "reserved");
    watch.tells(&format!("producer {} writes slot 0", writer.pid()));
    between_looks(&watch, || {
        killed(&ring, &writer);
        ring.repair();
    });
    watch.tells(&format!("producer {} died; what it was writing in slot 0 vanishes", writer.pid()));
}

#[test]
fn an_item_that_another_one_finished_is_not_credited_to_the_dead() {
    let (name, ring, watch) = watched("watch-credit", "one\n");
    let mut victim = RemoteActor::attached(&name.name, "consumer");
    assert_eq!(victim.does("recv"), "got 1 one");
    watch.tells(&format!("consumer {} takes item 0 from slot 0", victim.pid()));
    let mut consumer = ring.consumer().unwrap();
    watch.tells(&format!("consumer {} comes", std::process::id()));
    between_looks(&watch, || {
        killed(&ring, &victim);
        ring.repair();
        consumer.recv().unwrap().ack();
    });
    watch.tells(&format!("consumer {} died; item 0 will be delivered again", victim.pid()));
    let took = format!("consumer {} took item 0 and is done, less than ", std::process::id());
    let told = watch.tells_some(&took, |line| line.starts_with(&took));
    let from = format!(" after consumer {} died with it: slot 0 is free", victim.pid());
    assert!(told.ends_with(&from), "{told}");
    assert!(!watch.lines().iter().any(|line| line.contains("is done with")), "{:#?}", watch.lines());
}

#[test]
fn an_item_that_it_acknowledged_before_its_death_is_credited_to_the_dead() {
    let (name, ring, watch) = watched("watch-acked", "one\n");
    let mut victim = RemoteActor::attached(&name.name, "consumer");
    assert_eq!(victim.does("recv"), "got 1 one");
    let _living = ring.consumer().unwrap();
    watch.tells(&format!("consumer {} takes item 0 from slot 0", victim.pid()));
    between_looks(&watch, || {
        assert_eq!(victim.does("ack"), "done");
        killed(&ring, &victim);
        ring.repair();
    });
    watch.tells(&format!("consumer {} died; it held nothing", victim.pid()));
    watch.tells(&format!("consumer {} is done with item 0: slot 0 is free", victim.pid()));
}

#[test]
fn redeliveries_name_both_processes_and_the_item() {
    let (name, ring, watch) = watched("watch-again", "one\ntwo\nthree\n");
    let (mut first, mut second) =
        (RemoteActor::attached(&name.name, "consumer"), RemoteActor::attached(&name.name, "consumer"));
    assert_eq!(first.does("hold 2"), "got 1 one two");
    assert_eq!(second.does("recv"), "got 1 three");
    watch.tells(&format!("consumer {} takes items 0 to 1 from slots 0 to 1", first.pid()));
    watch.tells(&format!("consumer {} takes item 2 from slot 2", second.pid()));
    between_looks(&watch, || {
        killed(&ring, &first);
        killed(&ring, &second);
        ring.repair();
    });
    watch.tells(&format!("consumer {} died; items 0 to 1 will be delivered again", first.pid()));
    watch.tells(&format!("consumer {} died; item 2 will be delivered again", second.pid()));
    let again = |to: &RemoteActor, item: u64, from: &RemoteActor, how: &str| {
        let takes = format!("consumer {} takes item {item} from slot {item}, its delivery no. ", to.pid());
        let told = watch.tells_some(&takes, |line| line.starts_with(&takes));
        assert!(told.ends_with(&format!("s after consumer {} {how}", from.pid())), "{told}");
    };
    let mut third = RemoteActor::attached(&name.name, "consumer");
    // In whatever order they come.
    let mut item = 0;
    for answer in ["ack", "ack", "back"] {
        let got = third.does("recv");
        item = ["got 2 one", "got 2 two", "got 2 three"].iter().position(|one| *one == got).unwrap() as u64;
        again(&third, item, if item < 2 { &first } else { &second }, "died with it");
        assert_eq!(third.does(answer), "done");
    }
    watch.tells(&format!("consumer {} gives item {item} back: to be delivered again", third.pid()));
    let mut fourth = RemoteActor::attached(&name.name, "consumer");
    assert!(fourth.does("recv").starts_with("got 3 "));
    again(&fourth, item, &third, "gave it back");
}

#[test]
fn json_shows_each_death_and_never_more_sleepers_than_live_consumers() {
    let (name, ring, watch) = watched("watch-json-deaths", "");
    let mut sleepers: Vec<Kept> = (0..3).map(|_| consumer_that(&name, Stdio::null())).collect();
    for sleeper in &sleepers {
        let waits = format!("consumer {} waits for an item", sleeper.0.id());
        watch.tells_some(&waits, |line| line.starts_with(&waits));
    }
    let json = Watch::start(&name, &["--json", "--interval", "2ms"]);
    json.tells_some("a look", |line| line.contains("\"sleepers\":3"));
    sleepers.iter_mut().for_each(Kept::kill);
    ring.repair();
    let looks =
        || json.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let died = |looks: &[Value]| {
        let deaths = looks.iter().flat_map(|look| look["deaths"].as_array().unwrap());
        deaths.map(|death| death["pid"].as_u64().unwrap()).collect::<Vec<u64>>()
    };
    wait_until("three deaths are shown", || died(&looks()).len() == 3);
    let looks = looks();
    for look in &looks {
        let participants = look["participants"].as_array().unwrap().iter();
        let living = participants.filter(|one| one["role"] == "consumer" && one["state"] != "dead").count();
        assert!(look["semaphores"]["items"]["sleepers"].as_u64().unwrap() <= living as u64, "{look}");
    }
    let (mut died, mut killed) =
        (died(&looks), sleepers.iter().map(|one| u64::from(one.0.id())).collect::<Vec<u64>>());
    died.sort_unstable();
    killed.sort_unstable();
    assert_eq!(died, killed);
    let inspected = name.inspect();
    assert_eq!(inspected["semaphores"]["items"]["sleepers"], 0);
    assert_eq!(inspected["recovered"], json!({"deaths": 3, "items": 0, "claims": 0}));
}

#[test]
fn inspect_counts_deaths_and_what_was_recovered_from_them() {
    let (name, ring, _watch) = watched("inspect-deaths", "one\ntwo\n");
    let text = || ringctl(&["inspect", &name.name]).succeeds().into_text();
    assert!(text().contains("deaths      none"), "{}", text());
    let (mut reader, mut writer) =
        (RemoteActor::attached(&name.name, "consumer"), RemoteActor::attached(&name.name, "producer"));
    assert_eq!(reader.does("hold 2"), "got 1 one two");
    assert_eq!(writer.does("reserve half"), "reserved");
    killed(&ring, &reader);
    killed(&ring, &writer);
    ring.repair();
    assert_eq!(name.inspect()["recovered"], json!({"deaths": 2, "items": 2, "claims": 1}));
    let line = "2 participants died; 2 items of theirs to be delivered again, 1 unfinished claim given up";
    assert!(text().contains(line), "{}", text());
}
