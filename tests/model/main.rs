//! stub
mod memory;
mod mutation;
mod process;
mod survivor;
mod system;

use process::*;
use stateright::{Checker, Model};
use system::*;

fn producer(number: u32, batches: &[&[u8]]) -> Role {
    let batches = batches.iter().map(|batch| batch.to_vec()).collect();
    Role { number, successor: false, work: Work::Produce { batches, how: Sending::Publish } }
}
fn consumer(number: u32, claims: u8, batch: u8, how: Taking) -> Role {
    Role { number, successor: false, work: Work::Consume { claims, batch, how } }
}

fn explore(s: Scenario) {
    let t = std::time::Instant::now();
    let checker = s.clone().checker().threads(2).target_state_count(s.limit).spawn_bfs().join();
    println!("{}: {} unique, {} states, depth {}, {:?}", s.name, checker.unique_state_count(), checker.state_count(), checker.max_depth(), t.elapsed());
    if let Some(path) = checker.discovery("sound") {
        let mut state = s.initial();
        for a in path.into_actions() {
            match a { Action::Step(p) => s.step(&mut state, p, true),
              a => { println!("  {a:?}"); state = s.next_state(&state, a).unwrap(); } }
        }
        println!("FAULT {:?}", s.fault(&state, true));
    }
}


fn successor(role: Role) -> Role { Role { successor: true, ..role } }
fn recoverer(number: u32) -> Role { Role { number, successor: false, work: Work::Recover } }
fn base(name: &'static str, capacity: u64, roles: Vec<Role>) -> Scenario {
    let limit = std::env::var("LIMIT").ok().and_then(|x| x.parse().ok()).unwrap_or(3_000_000);
    Scenario { name, capacity, exclusive: false, base: 0, roles, crashes: 0, stops: 0, tries: 2, passes: 0, kill_all: true, mutation: None, limit }
}
#[test]
fn first() {
    use Taking::*;
    let one: &[u8] = &[1]; let two: &[u8] = &[1,1]; let wide: &[u8] = &[2];
    let mut all = vec![];
    all.push(Scenario { crashes: 1, ..base("2x2 single crash", 2, vec![producer(1, &[one]), producer(2, &[one]), consumer(3, 1, 1, AcknowledgeAll), consumer(4,1,1,AcknowledgeAll)]) });
    all.push(Scenario { crashes: 1, ..base("1x3 single crash", 2, vec![producer(1, &[one, one, one]), consumer(3, 1, 1, AcknowledgeAll), consumer(4,1,1,AcknowledgeAll), consumer(5,1,1,AcknowledgeAll)]) });
    all.push(Scenario { crashes: 2, ..base("1x1 2 crash recoverer", 2, vec![producer(1, &[one,one,one]), consumer(3, 2, 1, AcknowledgeAll), recoverer(4)]) });
    all.push(Scenario { stops: 1, passes: 1, ..base("1x1 stop, late", 2, vec![producer(1, &[one,one,one,one]), consumer(3, 3, 1, AcknowledgeAll), consumer(4,3,1,AcknowledgeAll)]) });
    all.push(Scenario { stops: 1, crashes: 1, passes: 1, ..base("2x1 stop crash late", 2, vec![producer(1, &[one,one]), producer(2, &[one,one]), consumer(3, 3, 1, AcknowledgeAll)]) });
    all.push(Scenario { crashes: 1, passes: 1, ..base("2x1 late crash recoverer", 2, vec![producer(1, &[one,one]), producer(2, &[one]), consumer(3, 3, 1, AcknowledgeAll), recoverer(4)]) });
    all.push(Scenario { crashes: 1, ..base("1x2 batch4", 4, vec![producer(1, &[two,two,one]), consumer(3, 2, 2, AcknowledgeEach), consumer(4,2,2,AcknowledgeAll)]) });
    all.push(Scenario { crashes: 2, ..base("1x1 batch4 2crash recoverer", 4, vec![producer(1, &[one,two,two]), consumer(3, 2, 2, AcknowledgeEach), recoverer(4)]) });
    all.push(Scenario { crashes: 1, base: 3, ..base("1x2 batch4 wrap recoverer", 4, vec![producer(1, &[one,one,two]), consumer(3, 2, 2, AcknowledgeEach), consumer(4,1,2,GiveBackFirst), recoverer(5)]) });
    all.push(Scenario { crashes: 1, ..base("2x1 wide", 4, vec![producer(1, &[one,wide,wide]), producer(2, &[wide, one]), consumer(3, 4, 2, AcknowledgeEach)]) });
    all.push(Scenario { crashes: 2, passes: 1, ..base("1x1 mixed succ", 4, vec![producer(1, &[&[2,1], wide, one]), consumer(3, 3, 2, AcknowledgeEach), successor(consumer(3,2,2,AcknowledgeAll)), recoverer(5)]) });
    all.push(Scenario { crashes: 2, passes: 1, ..base("number reuse", 2, vec![producer(1, &[one,one]), consumer(3, 2, 1, AcknowledgeAll), successor(producer(1,&[one])), recoverer(5)]) });
    all.push(Scenario { crashes: 2, exclusive: true, ..base("excl", 4, vec![producer(1, &[two,wide,one]), consumer(3, 3, 2, AcknowledgeEach), successor(producer(1,&[two, one])), successor(consumer(3,3,2,AcknowledgeAll))]) });
    all.push(Scenario { crashes: 2, exclusive: true, ..base("excl2", 2, vec![producer(1, &[one,one,one]), consumer(3, 3, 1, AcknowledgeEach), successor(producer(1,&[one,one])), successor(consumer(3,3,1,GiveBackFirst))]) });
    let only = std::env::var("ONLY").unwrap_or_default();
    for s in all { if s.name.contains(&only) { explore(s); } }
}
