//! A storm: workers are killed at random moments while their commands run, fail, hang and print, until every item is
//! settled.
//!
//! `RINGPIPE_WORKER_KILLS` is the number of kills; `RINGPIPE_STORM_SEED` repeats the choice of moments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::Duration;

use super::*;

/// Items that wait in the ring, at least, as long as there are kills: each hits a worker that is at work.
const AT_HAND: u64 = 150;
/// The time limit of an item, which no command reaches before it has logged its beginning, also on a busy machine.
const LIMIT: &str = "3s";
/// A pause between two kills in which what hangs reaches its limit.
const LONG: Duration = Duration::from_millis(3300);
/// Lines of an output that no pipe holds.
const LINES: u32 = 10_000;

/// What the command does depends on its item alone: the last digit 7 fails at its first attempt, 9 for good; 5 prints
/// more than a pipe holds, through a child. 48 and 98 at the end hang until their time is over.
///
/// The log has a line when a command has begun (B), failed (F), hangs (H), or has completed its work (C), each with key,
/// attempt and process. One write each, so lines do not mix.
const COMMAND: &str = r#"
n=$(cat); say() { echo "$1 $RING_SEQ $RING_ATTEMPT $$ $PPID" >> $D/log; }
say B
case $n in
*9) say F; exit 65;;
*7) test $RING_ATTEMPT -gt 1 || { say F; exit 1; };;
*48|*98) test $RING_ATTEMPT -gt 1 || { say H; trap '' HUP; sleep 1000 & sleep 1001; };;
*5) seq 10000 | sed "s/^/$n /"; sleep 0.01;;
*) sleep 0.00$((n % 7));;
esac
echo "$n whole"
say C
"#;

#[test]
fn no_item_is_lost_or_done_twice_without_a_reason_whatever_is_killed() {
    let kills = env_number("RINGPIPE_WORKER_KILLS").unwrap_or(if scale::is_ci() { 80 } else { 20 });
    let seed = seed();
    let mut random = Random::new(seed);
    let work = Work::new("storm", &[]);
    let mut producer = work.ring.open().producer().unwrap();
    let mut items = 0;
    // It has room for all letters: no worker waits for it.
    let letters = RingOptions::new().capacity(kills.max(256) * 32).slot_size(512);
    let dead = TestName::made("dead", &letters);
    let output = |number: u64| work.path(&format!("out{number}"));
    let options = ["-j", "4", "--item-timeout", LIMIT, "--retries", "9", "--dead-letter", &dead];
    let start = |number: u64| {
        let file = File::create(output(number)).unwrap();
        work.script(&options, COMMAND).stdout(file).spawn()
    };
    let mut started = 2;
    let mut workers = vec![start(0), start(1)];
    let (mut killed, mut told) = (0, 0);
    let mut victims = BTreeSet::new();
    let mut leaving = VecDeque::new();
    while killed < kills {
        while work.ring.ready() < AT_HAND {
            for _ in 0..AT_HAND {
                items += 1;
                producer.send(items.to_string().as_bytes()).unwrap();
            }
        }
        thread::sleep(if random.one_in(40) { LONG } else { Duration::from_micros(random.below(120_000)) });
        let index = random.below(2) as usize;
        let victim = std::mem::replace(&mut workers[index], start(started));
        started += 1;
        victims.insert(victim.pid());
        if random.one_in(6) {
            victim.signal(libc::SIGTERM);
            victim.signal(libc::SIGCONT);
            told += 1;
            // It ends beside its successors, within its grace.
            leaving.push_back(victim);
            if leaving.len() > 4 {
                drop(leaving.pop_front().map(Running::end));
            }
        } else {
            if random.one_in(8) {
                kill(guard_of_or(&victim));
            }
            victim.signal(libc::SIGKILL);
            victim.end();
            killed += 1;
        }
    }
    drop(producer);
    leaving.into_iter().for_each(|worker| drop(worker.end()));
    for worker in workers {
        let ended = worker.end();
        assert!(matches!(ended.code, Some(0 | 123)), "seed {seed}: {ended:?}");
    }
    let again = check(&work, &dead, items, &victims, started, seed);
    report(&format!(
        "worker storm: {items} items, none lost, {again} done again; {killed} kills, {told} signals, {started} workers, seed {seed}"
    ));
}

/// Its guard, or itself if it has none yet.
fn guard_of_or(worker: &Running) -> u32 {
    let children = children_of(worker.pid() as u32);
    let is_guard = |id: &&u32| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "ringpipe-guard")
    };
    children.iter().find(is_guard).copied().unwrap_or(worker.pid() as u32)
}

/// Answers how often an item was done again.
fn check(
    work: &Work,
    dead: &TestName,
    items: u64,
    victims: &BTreeSet<i32>,
    started: u64,
    seed: u64,
) -> usize {
    // The count of acknowledged items can be too low after deaths.
    let ring = work.ring.open().snapshot().unwrap();
    assert_eq!((ring.used_slots, ring.ready, ring.held), (0, 0, vec![]), "seed {seed}");
    // What hangs in a group whose guard and worker were killed together has no owner left.
    work.nothing_runs_but_orphans();
    let mut completed = BTreeMap::<u64, Vec<(u32, i32)>>::new();
    let mut begun = BTreeMap::<(u64, u32), Vec<i32>>::new();
    let mut failed = BTreeMap::<(u64, u32), u32>::new();
    for line in work.lines("log") {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, sequence, attempt, _, parent] = words[..] else { panic!("{line:?}, seed {seed}") };
        let key: (u64, u32) = (sequence.parse().unwrap(), attempt.parse().unwrap());
        let worker: i32 = parent.parse().unwrap();
        match what {
            "B" => begun.entry(key).or_default().push(worker),
            "C" => completed.entry(key.0).or_default().push((key.1, worker)),
            "F" => *failed.entry(key).or_default() += 1,
            _ => {}
        }
    }
    for sequence in 0..items {
        let is_dead = (sequence + 1) % 10 == 9;
        let done = completed.get(&sequence).map_or(&[][..], Vec::as_slice);
        assert_eq!(done.is_empty(), is_dead, "item {sequence}, seed {seed}: {done:?}");
        // The same attempt is completed again only if its worker was killed before it acknowledged. Another attempt
        // follows one that took longer than its limit.
        let again = done.windows(2).filter(|pair| pair[0].0 == pair[1].0 && !victims.contains(&pair[0].1));
        assert_eq!(again.count(), 0, "item {sequence} was done twice, seed {seed}: {done:?}");
    }
    for ((sequence, attempt), workers) in &begun {
        // An attempt begins again only after the end of the worker that had begun it.
        let again = workers.iter().rev().skip(1).filter(|worker| !victims.contains(worker));
        assert_eq!(again.count(), 0, "item {sequence}, attempt {attempt}, seed {seed}: {workers:?}");
        // The attempts before it failed, or ran into their time limit.
        for earlier in 1..*attempt {
            assert!(
                begun.contains_key(&(*sequence, earlier)),
                "item {sequence} had no attempt {earlier}, seed {seed}"
            );
        }
    }
    // Each item that had completed its work, and was not doubled by a death, has its output once; each output is whole
    // unless its worker was killed while it wrote.
    let mut whole = BTreeMap::<u64, u32>::new();
    for number in 0..started {
        let mut text = String::new();
        File::open(work.path(&format!("out{number}"))).unwrap().read_to_string(&mut text).unwrap();
        let mut counts = (String::new(), 0_u32);
        for line in text.split_inclusive('\n') {
            let Some(line) = line.strip_suffix('\n') else { break };
            let (item, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}, seed {seed}"));
            if rest == "whole" {
                let lines = if item.ends_with('5') { LINES } else { 0 };
                assert_eq!(if counts.0 == item { counts.1 } else { 0 }, lines, "item {item}, seed {seed}");
                *whole.entry(item.parse::<u64>().unwrap() - 1).or_default() += 1;
                counts = (String::new(), 0);
            } else {
                let before = if counts.0 == item { counts.1 } else { 0 };
                assert_eq!(rest.parse::<u32>().unwrap(), before + 1, "item {item} is mixed, seed {seed}");
                counts = (item.to_string(), before + 1);
            }
        }
    }
    for sequence in (0..items).filter(|sequence| (sequence + 1) % 10 != 9) {
        let times = whole.get(&sequence).copied().unwrap_or_default();
        assert!(times >= 1, "the output of item {sequence} is missing, seed {seed}");
        assert!(
            times as usize <= completed[&sequence].len(),
            "item {sequence} was written {times} times, seed {seed}"
        );
    }
    let letters = consumer(dead, &["--json", "--drain"]).run().succeeds().json_lines();
    let letters: BTreeSet<u64> = letters.iter().map(|one| one["sequence"].as_u64().unwrap()).collect();
    let expected: BTreeSet<u64> = (0..items).filter(|sequence| (sequence + 1) % 10 == 9).collect();
    assert_eq!(letters, expected, "seed {seed}");
    completed.values().map(|times| times.len() - 1).sum()
}

impl Work {
    /// Kills what has no owner left: a worker that was killed together with its guard leaves grandchildren.
    fn nothing_runs_but_orphans(&self) {
        let sleeps = |id: &u32| {
            fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "sleep")
        };
        wait_until("nothing but orphans", || self.processes().iter().all(sleeps));
        self.processes().iter().for_each(|id| kill(*id));
    }
}
