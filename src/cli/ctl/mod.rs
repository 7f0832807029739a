//! The `ringctl` command: one file per verb.

mod bench;
pub mod check;
mod children;
mod clean;
mod create;
mod inspect;
mod list;
mod output;
mod own_ring;
mod peek;
mod remove;
mod repair;
mod run;
mod sem;
mod semaphores;
mod show;
mod wait;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use super::{
    consumer,
    exit::Failure,
    producer,
    start::{self, End},
};
use crate::{Error, Ring, RingName};
use output::{ColorArg, Paint};

/// Makes, shows, repairs and removes rings, and runs producers and consumers over them.
#[derive(Debug, Parser)]
#[command(name = "ringctl", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// Colour text: auto (on a terminal, unless NO_COLOR is set), always, or never
    #[arg(long, global = true, value_enum, default_value_t = ColorArg::Auto, value_name = "WHEN")]
    #[arg(hide_possible_values = true)]
    color: ColorArg,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
RING is NAME, /NAME or shm:NAME: the POSIX shared-memory object /NAME.

Examples:
  ringctl create jobs --capacity 65536   make a ring that stays until it is removed
  ringctl list                           all rings, one a line
  ringctl inspect jobs                   who takes part, who holds what, how full it is
  ringctl watch jobs                     see its slots, semaphores and processes as items move
  ringctl wait jobs --until empty        until everything was received and acknowledged
  ringctl run -p 3 -c 3 /var/log/*.log   send files through a ring, and verify what arrives
  ringctl bench                          how fast it is on this machine
  ringctl check logs/*                   whether the logs of a run add up
  ringctl rm jobs                        close it and remove it
  ringctl sem wait done --timeout 5s     take a token of a POSIX semaphore

Exit codes: 0 done, 1 runtime error, 2 usage, 3 empty or not found, 4 timed out, 5 closed,
6 damaged or incompatible, 10 an assertion failed, 128+n ended by signal n.";

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    #[command(visible_alias = "ls")]
    List(list::Args),
    Inspect(inspect::Args),
    Watch(watch::Args),
    Peek(peek::Args),
    Close(remove::CloseArgs),
    Rm(remove::RmArgs),
    Repair(repair::Args),
    Clean(clean::Args),
    Wait(wait::Args),
    Run(run::Args),
    Bench(bench::Args),
    Check(check::Args),
    Sem(sem::Args),
    /// A process that `bench` measures with
    #[command(hide = true)]
    BenchWorker(bench::WorkerArgs),
    /// As the command `producer`: for `run`, where that is not installed
    #[command(hide = true)]
    Producer(producer::Options),
    /// As the command `consumer`
    #[command(hide = true)]
    Consumer(consumer::Options),
}

/// All of `ringctl`'s verbs and options, as the parser of arguments knows them.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs `ringctl` with the arguments of this process, and answers with its exit code.
pub fn main() -> ExitCode {
    let Cli { color, verb } = match start::parse("ringctl") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let paint = Paint::new(color);
    let result = match verb {
        Verb::Create(args) => create::run(&args),
        Verb::List(args) => list::run(&args, paint),
        Verb::Inspect(args) => inspect::run(&args, paint),
        Verb::Watch(args) => return start::exit("ringctl", watch::run(&args, paint)),
        Verb::Peek(args) => peek::run(&args),
        Verb::Close(args) => remove::close(&args),
        Verb::Rm(args) => remove::rm(&args),
        Verb::Repair(args) => repair::run(&args),
        Verb::Clean(args) => clean::run(&args, paint),
        Verb::Wait(args) => wait::run(&args),
        Verb::Run(args) => return start::exit("ringctl", run::run(&args, paint)),
        Verb::Bench(args) => return start::exit("ringctl", bench::run(&args, paint)),
        Verb::Check(args) => check::run(&args, paint),
        Verb::Sem(args) => return start::exit("ringctl", sem::run(&args)),
        Verb::BenchWorker(args) => bench::work(&args),
        Verb::Producer(options) => return start::exit("producer", producer::run(&options)),
        Verb::Consumer(options) => return start::exit("consumer", consumer::run(&options)),
    };
    start::exit("ringctl", result.map(|()| End::Done))
}

/// The ring of this name, to look at.
fn look(name: &RingName) -> Result<Ring, Failure> {
    match Ring::look(name) {
        Ok(ring) if ring.is_over() => Err(Error::NotFound(name.as_str().into())),
        result => result,
    }
    .map_err(|error| Failure::of_ring(name.as_str(), &error))
}

fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
