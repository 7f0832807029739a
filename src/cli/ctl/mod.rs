//! The `ringctl` command: a file or a folder per verb.

mod barrier;
mod bench;
mod bridge;
pub mod check;
mod children;
mod clean;
mod close;
mod completions;
mod create;
mod demo;
mod event;
mod guarantees;
mod inspect;
mod list;
mod lock;
mod man;
mod objects;
mod own_ring;
mod peek;
mod picture;
mod recovery_report;
mod repair;
mod requeue;
mod rm;
mod run;
mod sem;
mod semaphores;
mod settle;
mod show;
#[cfg(feature = "nats")]
mod streams;
mod svg_file;
pub mod test;
mod wait;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use super::{
    common::color::ColorArgs,
    common::exit::Failure,
    common::owner_args::OwnerArgs,
    common::start::{self, End},
    common::version,
    consumer, producer,
};
use crate::cli::common::ui::Ui;
use crate::{Error, Ring, RingName, RingObserver, RingOptions};

/// Makes, shows, repairs and removes rings, and runs producers and consumers over them.
#[derive(Debug, Parser)]
#[command(name = "ringctl", version, long_version = version::long(), arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli<V: Subcommand = AnyVerb> {
    #[command(flatten)]
    _color: ColorArgs,
    #[command(subcommand)]
    verb: V,
}

const AFTER_HELP: &str = "\
RING is NAME, /NAME or shm:NAME: the POSIX shared-memory object /NAME. In programs built with the
feature nats, some verbs also take nats://HOST:PORT/NAME, a stream of a server.

Examples:
  ringctl create jobs --capacity 65536   make a ring that stays until it is removed
  ringctl list                           all rings, one a line
  ringctl inspect jobs                   its processes, the items that they hold, how full it is
  ringctl watch jobs                     see its slots, semaphores and processes as items move
  ringctl wait jobs --until empty        wait until everything was received and acknowledged
  ringctl run -p 3 -c 3 /var/log/*.log   send files through a ring, and verify what arrives
  ringctl demo                           kill processes that use a ring; nothing is lost
  ringctl bench                          measure how fast rings are on this machine
  ringctl check logs/*                   check the logs of a run for lost or doubled items
  ringctl test jobs.toml                 run a test of several processes
  ringctl requeue failed                 send items that failed for good again
  ringctl rm jobs                        close it and remove it
  ringctl done \"$token\"                  acknowledge the item that consumer --hold keeps
  ringctl sem wait done --timeout 5s     take a token of a POSIX semaphore
  ringctl lock db -- ./migrate           run a command while holding a lock
  ringctl barrier ready 3                wait until three processes have come
  ringctl event built wait               wait until another process has set it

Exit codes: 0 done, 1 runtime error, 2 usage, 3 empty or not found, 4 timed out, 5 closed,
6 damaged or incompatible, 10 an assertion failed, 11 a test was inconclusive, 128+n ended by
signal n.";

// A process has only one value of this type.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
enum AnyVerb {
    #[command(flatten)]
    Public(Verb),
    #[command(flatten)]
    Internal(Internal),
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    #[command(visible_alias = "ls")]
    List(list::Args),
    Inspect(inspect::Args),
    Watch(watch::Args),
    Peek(peek::Args),
    Close(close::Args),
    Rm(rm::Args),
    Repair(repair::Args),
    Requeue(requeue::Args),
    Bridge(bridge::Args),
    Clean(clean::Args),
    Wait(wait::Args),
    Run(run::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Check(check::Args),
    Test(test::Args),
    Sem(sem::Args),
    Lock(lock::Args),
    Barrier(barrier::Args),
    Event(event::Args),
    Done(settle::DoneArgs),
    Fail(settle::FailArgs),
    Release(settle::ReleaseArgs),
    Guarantees(guarantees::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Verbs that this program's own processes are started with.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
enum Internal {
    /// A process that `bench` measures with
    #[command(hide = true)]
    BenchWorker(bench::worker::Args),
    /// A process on the buffer of the textbooks, for `demo`
    #[command(hide = true)]
    DemoWorker(demo::worker::Args),
    /// As the command `producer`: for `run`, where that is not installed
    #[command(hide = true)]
    Producer(producer::Options),
    /// As the command `consumer`
    #[command(hide = true)]
    Consumer(consumer::Options),
}

/// All verbs and options of `ringctl`, as clap's parser.
pub fn command() -> clap::Command {
    Cli::<AnyVerb>::command()
}

/// The three programs, as users see them.
fn programs() -> [clap::Command; 3] {
    [Cli::<Verb>::command(), producer::Options::command(), consumer::Options::command()]
}

/// Runs `ringctl` with the arguments of this process, and returns its exit code.
pub fn main() -> ExitCode {
    match start::parse("ringctl") {
        Ok(Cli::<AnyVerb> { verb, .. }) => {
            let ui = Ui::new(verb.program());
            start::exit(&ui, verb.run(&ui))
        }
        Err(code) => code,
    }
}

impl AnyVerb {
    /// The name before the messages of this verb.
    fn program(&self) -> &'static str {
        match self {
            AnyVerb::Internal(Internal::Producer(_)) => "producer",
            AnyVerb::Internal(Internal::Consumer(_)) => "consumer",
            _ => "ringctl",
        }
    }

    fn run(&self, ui: &Ui) -> Result<End, Failure> {
        match self {
            AnyVerb::Public(verb) => verb.run(ui),
            AnyVerb::Internal(Internal::BenchWorker(args)) => bench::worker::run(args, ui),
            AnyVerb::Internal(Internal::DemoWorker(args)) => demo::worker::run(args),
            AnyVerb::Internal(Internal::Producer(options)) => producer::run(options, ui),
            AnyVerb::Internal(Internal::Consumer(options)) => consumer::run(options, ui),
        }
    }
}

impl Verb {
    fn run(&self, ui: &Ui) -> Result<End, Failure> {
        match self {
            Verb::Create(args) => create::run(args, ui),
            Verb::List(args) => list::run(args, ui),
            Verb::Inspect(args) => inspect::run(args, ui),
            Verb::Watch(args) => watch::run(args, ui),
            Verb::Peek(args) => peek::run(args, ui),
            Verb::Close(args) => close::run(args, ui),
            Verb::Rm(args) => rm::run(args, ui),
            Verb::Repair(args) => repair::run(args, ui),
            Verb::Requeue(args) => requeue::run(args, ui),
            Verb::Bridge(args) => bridge::run(args, ui),
            Verb::Clean(args) => clean::run(args, ui),
            Verb::Wait(args) => wait::run(args, ui),
            Verb::Run(args) => run::run(args, ui),
            Verb::Demo(args) => demo::run(args, ui),
            Verb::Bench(args) => bench::run(args, ui),
            Verb::Check(args) => check::run(args, ui),
            Verb::Test(args) => test::run(args, ui),
            Verb::Sem(args) => sem::run(args, ui),
            Verb::Lock(args) => lock::run(args, ui),
            Verb::Barrier(args) => barrier::run(args, ui),
            Verb::Event(args) => event::run(args, ui),
            Verb::Done(args) => settle::done(args),
            Verb::Fail(args) => settle::fail(args, ui),
            Verb::Release(args) => settle::release(args),
            Verb::Guarantees(args) => guarantees::run(args, ui),
            Verb::Completions(args) => completions::run(args, ui),
            Verb::Man(args) => man::run(args, ui),
        }
    }
}

/// The ring of this name, for observation.
fn observe(name: &RingName) -> Result<RingObserver, Failure> {
    not_over(name, Ring::observe(name), RingObserver::is_over)
}

/// The ring of this name, for changes.
fn open(name: &RingName, owner: &OwnerArgs) -> Result<Ring, Failure> {
    let found = RingOptions::new().owners(owner.owners()).look(name);
    not_over(name, found, |ring| ring.is_over())
}

fn not_over<R>(name: &RingName, found: Result<R, Error>, is_over: impl Fn(&R) -> bool) -> Result<R, Failure> {
    match found {
        Ok(ring) if is_over(&ring) => Err(Error::NotFound(name.as_str().into())),
        result => result,
    }
    .map_err(|error| Failure::of_ring(name.as_str(), &error))
}

fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
