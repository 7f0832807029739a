//! `consumer RING -- COMMAND`: runs a command for each item. The end of the command decides whether the item
//! is acknowledged, tried again, or fails for good.
//!
//! The main thread receives items and hands them out; a thread for each slot (`--jobs`) runs commands and
//! decides what becomes of their items. So the main thread may wait for items, and no acknowledgement waits
//! for the main thread. A slot with a standing command (`--coprocess`) takes its next item itself while there
//! are some.
//!
//! An item belongs to its worker for as long as that lives: no time limit takes it away. When the worker dies, other
//! consumers get its items, and its commands are killed.

mod backoff;
mod by_line;
mod coprocess;
mod dead_letters;
mod dispatch;
mod exchange;
mod finish;
mod halt;
mod joblog;
mod limits;
mod options;
mod print;
mod results;
mod slot;
mod slots;
mod source;
mod spool;
mod standing;
mod stop;
mod supervise;
mod template;
mod verdict;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use self::dead_letters::DeadLetters;
use self::dispatch::{Dispatcher, SHOWN};
use self::finish::{Finisher, Order, State};
use self::joblog::{Done, JobLog};
use self::limits::Limits;
pub use self::options::{WorkArgs, WorkerOptions, with_command};
use self::print::Printer;
use self::slot::Worker;
use self::slots::Jobs;
use self::source::{Source, TakeNow};
use self::stop::Stop;
use self::supervise::Terminator;
use self::template::Template;
use crate::StopFlag;
use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::dead_letter::for_letters;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::pace::Pace;
use crate::cli::common::progress::{Emptied, Goal};
use crate::cli::common::relay;
use crate::cli::common::report::Reporter;
use crate::cli::common::run_log::RunLog;
use crate::cli::common::seen::Seen;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::cli::transport::logged::Logged;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::Nats;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{Needs, Observe, Opening, Owned, Patience, Receiver, Transport};
use crate::framing::Framing;
use crate::sys::command::child::{Guard, reserve};

/// How long running commands may go on after a signal, if the command line does not say.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the command.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(options: &WorkerOptions<'_>, ui: &Ui) -> Result<End, Failure> {
    options.process.affinity.apply()?;
    let template = checked(options)?;
    // Start the guard before the ring is attached, and while there is one thread.
    let guard = Guard::start(options.work.jobs.map_or(1, |jobs| jobs.0));
    let guard = guard.map_err(|error| Failure::io("starting the guard of the commands", &error))?;
    // Open the log after that: otherwise the guard would keep the log's lock when this process is killed.
    match options.ring {
        Address::Ring(_) => run_logged::<Shm>(options, &template, &guard, ui),
        #[cfg(feature = "nats")]
        Address::Stream(_) => run_logged::<Nats>(options, &template, &guard, ui),
    }
}

fn run_logged<T: Transport>(
    options: &WorkerOptions<'_>,
    template: &Template,
    guard: &Guard,
    ui: &Ui,
) -> Result<End, Failure> {
    match options.process.log.open(ui.program())? {
        Some(log) => log.or_failure(run_over::<Logged<T>>(options, template, guard, Some(&log), ui)),
        None => run_over::<T>(options, template, guard, None, ui),
    }
}

fn run_over<T: Transport>(
    options: &WorkerOptions<'_>,
    template: &Template,
    guard: &Guard,
    log: Option<&RunLog>,
    ui: &Ui,
) -> Result<End, Failure> {
    let work = options.work;
    let report = Reporter::new(ui.program(), &options.process.report);
    let slots = work.jobs.map_or(1, |jobs| jobs.0);
    let prefetch = prefetch(work);
    let stop = signals::catch()?;
    let (done, joblog) = files(work)?;
    // Commands that end within their grace may still write.
    let late = StopFlag::new();
    let printer = Printer::new(work.tag, &stop, &late)?;
    let opening = |name, needs| Opening {
        name,
        place: Patience::of_place(options.wait.timeout),
        report: &report,
        stop: &stop,
        log,
        needs,
    };
    // Before this worker takes an item whose answer or letter it cannot send.
    let mut targets = [&work.reply, &work.dead_letter].into_iter().flatten();
    targets.try_for_each(|name| T::check(&opening(name, Needs::Keys)))?;
    let wait = match options.wait.timeout {
        _ if options.wait.no_wait || options.drain => Patience::None,
        Some(DurationArg(limit)) => Patience::Limited(limit),
        None => Patience::Unlimited,
    };
    let Some(mut receiver) = T::open_receiver(&opening(options.ring, Needs::Nothing), wait, options.owner)?
    else {
        return Ok(signals::end());
    };
    receiver.set_follow(options.follow);
    let reply = match &work.reply {
        Some(name) => match T::open_sender(&opening(name, Needs::Keys), &CreateArgs::default(), false)? {
            Some(sender) => Some(Mutex::new(sender)),
            None => return Ok(signals::end()),
        },
        None => None,
    };
    let ring = receiver.observe().name().to_string();
    // The ring takes a letter about any item, so that no item stops the worker again and again.
    let seen_ring = receiver.observe();
    let half = || (seen_ring.capacity() / 2).saturating_mul(seen_ring.slot_size());
    let largest = seen_ring.fixed().unwrap_or_else(half);
    let create = for_letters(largest);
    let dead = work
        .dead_letter
        .as_ref()
        .map(|name| DeadLetters::new(&ring, opener::<T>(name, create, options, &report, &stop, log)));
    let seen = options.dedup.then(Seen::default);
    let state = State { halt: work.halt, seen, ..State::default() };
    let finisher = Finisher {
        options: work,
        ring: &ring,
        late: late.clone(),
        printer: Mutex::new(printer),
        answers_are_lines: options.framing == Framing::Lines,
        reply,
        dead,
        joblog,
        report: Mutex::new(report.clone()),
        unordered: AtomicUsize::new(0),
        state: Mutex::new(state),
    };
    let terminator = Terminator::new().map_err(|error| Failure::io("making a pipe", &error))?;
    let emptied = if options.drain { Emptied::Always } else { Emptied::WhenNoMoreCome };
    let goal = Goal { items: options.count, emptied, ..Goal::default() };
    let progress = report.progress(&ring, SHOWN, receiver.observe().gauge(), goal);
    let worker = Worker {
        options,
        template,
        guard,
        terminator: &terminator,
        stop: &stop,
        finisher: &finisher,
        order: Mutex::new(Order::default()),
        jobs: match work.coprocess {
            Some(_) => Jobs::of_standing(slots, prefetch)
                .map_err(|error| Failure::io("making a descriptor for each slot", &error))?,
            None => Jobs::new(slots, prefetch),
        },
    };
    let (pace, limits) = (
        Pace::new(options.pace.rate, options.pace.delay, fastrand::Rng::new()),
        Limits::new(work.load, work.memfree),
    );
    // Slots take items from the ring themselves only if they hold none ahead of their commands, and if the
    // main thread holds no items up and drops none.
    let is_plain = pace.is_unlimited() && limits == Limits::default() && !work.resume && !options.dedup;
    let is_shared = work.coprocess.is_some() && prefetch == 0 && is_plain;
    let source = Source::new(receiver, options.count, is_shared, &stop);
    let standing = work.coprocess.map(|form| coprocess::Shared {
        jobs: &worker.jobs,
        source: is_shared.then_some(&source as &dyn TakeNow<_>),
        finisher: &finisher,
        guard,
        terminator: &terminator,
        template,
        form,
        ahead: prefetch,
        limit: work.item_timeout.map(|DurationArg(limit)| limit),
        grace: work.grace.map_or(GRACE, |DurationArg(grace)| grace),
    });
    let dispatcher = Dispatcher {
        worker: &worker,
        source: &source,
        done,
        pace,
        due: None,
        limits,
        report: &report,
        progress,
        stop: &stop,
        printed: Vec::new(),
        waited: Duration::ZERO,
        deserted: false,
        start: Instant::now(),
    };
    thread::scope(|scope| {
        // The slots end with the main thread, also if that panics.
        let _end = EndOnDrop(&worker.jobs);
        for slot in 0..slots {
            let (worker, standing) = (&worker, standing.as_ref());
            let started = thread::Builder::new().spawn_scoped(scope, move || match standing {
                Some(standing) => coprocess::Slot::new(standing, slot).run(),
                None => worker.work(slot),
            });
            if let Err(error) = started {
                return Err(Failure::io("starting a thread", &error)
                    .hint("ulimit -u limits the processes and threads of this user"));
            }
        }
        dispatcher.run()
    })
}

/// The command, if it and the options fit together. Reserves the descriptor of `--meta-fd`.
fn checked(options: &WorkerOptions<'_>) -> Result<Template, Failure> {
    let work = options.work;
    let template = Template::new(options.command, work.shell)?;
    if work.coprocess.is_some() {
        coprocess::check(&template)?;
    }
    for (option, other) in [("--reply", &work.reply), ("--dead-letter", &work.dead_letter)] {
        if other.as_ref() == Some(options.ring) {
            // The worker would wait for room that it makes itself, or run its own answers for ever.
            let line = format!(
                "{option} {:?} is the ring of the items; expected another one",
                options.ring.as_str()
            );
            return Err(Failure::new(code::USAGE, line));
        }
    }
    if let Some(fd) = work.meta_fd {
        reserve(fd).map_err(|error| Failure::io(format!("--meta-fd {fd}"), &error))?;
    }
    Ok(template)
}

/// Jobs that may wait for a slot.
fn prefetch(work: &WorkArgs) -> usize {
    // No ring has more items.
    let prefetch = work.prefetch.map_or(0, |Count(more)| more.min(1 << 24) as usize);
    match work.keep_order {
        // Their outputs may all have to wait, each with two files.
        true => prefetch.min(spool::most_files() / 2),
        false => prefetch,
    }
}

/// The items that the joblog has as done, and the joblog itself. Makes the folder for results.
fn files(work: &WorkArgs) -> Result<(Done, Option<Mutex<JobLog>>), Failure> {
    let done = match (&work.joblog, work.resume) {
        (Some(path), true) => Done::read(path, &work.on_exit.clone().unwrap_or_default())?,
        _ => Done::default(),
    };
    let joblog = work.joblog.as_deref().map(JobLog::open).transpose()?.map(Mutex::new);
    if let Some(folder) = &work.results {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::io(format!("results folder {}", folder.display()), &error))?;
    }
    Ok((done, joblog))
}

/// Ends all slots when it is dropped.
struct EndOnDrop<'a, O: Owned>(&'a Jobs<O, Stop>);

impl<O: Owned> Drop for EndOnDrop<'_, O> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Opens the ring for dead letters when the first is sent.
fn opener<'o, T: Transport>(
    name: &'o Address,
    create: CreateArgs,
    options: &'o WorkerOptions<'o>,
    report: &Reporter,
    stop: &StopFlag,
    log: Option<&RunLog>,
) -> impl FnMut() -> Result<Option<T::Sender>, Failure> + Send + use<'o, T> {
    let (report, stop, log) = (report.clone(), stop.clone(), log.cloned());
    move || {
        let place = Patience::of_place(options.wait.timeout);
        let opening =
            Opening { name, place, report: &report, stop: &stop, log: log.as_ref(), needs: Needs::Keys };
        relay::open::<T>(&opening, &create)
    }
}
