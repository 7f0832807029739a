//! ringpipe beside its peers.
//!
//! Workers are processes (or threads, for what only joins threads) bound to two cores. Every carrier is driven by
//! the same loops, and everything that is received is checked. README.md says what is fair, and how.

mod args;
mod carrier;
mod control;
mod drive;
mod inherit;
mod job;
mod kills;
mod limits;
mod links;
mod measure;
mod message;
mod peer;
mod plan;
mod report;
mod rounds;
mod worker;

use std::error::Error;

use clap::Parser;

use args::{Arguments, Command};

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { command, run, out } = Arguments::parse();
    match command {
        Some(Command::Worker { job }) => return worker::run(&job),
        Some(Command::List) => {
            list();
            return Ok(());
        }
        Some(Command::Kills { kills, seed }) => {
            return Ok(kills::run(&run.only, kills, seed.unwrap_or_else(|| fastrand::u64(..)), &out)?);
        }
        Some(Command::Report) => {}
        None => rounds::run(&run, &out.join("results.jsonl"))?,
    }
    report::write(&out)?;
    eprintln!("{} has results.jsonl, results.md and the plots", out.display());
    Ok(())
}

fn list() {
    for carrier in links::carriers() {
        let about = carrier.about;
        println!("{:<24} {:<24} {:<20} {}", about.name, about.version, about.waits, about.remark);
    }
}
