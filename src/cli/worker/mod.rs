//! `consumer RING -- COMMAND`: runs a command for each item. The item is acknowledged by what the command did.
//!
//! The main thread receives items and hands them out; a thread for each slot (`--jobs`) runs commands and decides what
//! becomes of their items. So the main thread may wait for items, and an acknowledgement never waits for it.
//!
//! An item belongs to its worker for as long as that lives: no time limit takes it away. When the worker dies, other
//! consumers get its items, and its commands are killed.

mod backoff;
mod coprocess;
mod dead_letters;
mod exchange;
mod finish;
mod halt;
mod joblog;
mod limits;
mod options;
mod print;
mod results;
mod slots;
mod spool;
mod standing;
mod stop;
mod supervise;
mod template;
mod verdict;

use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use self::dead_letters::DeadLetters;
use self::finish::{Finished, Finisher, Order, State, TAIL, Tally};
use self::halt::When;
use self::joblog::{Done, JobLog};
use self::limits::Limits;
pub use self::options::{WorkArgs, WorkerOptions, with_command};
use self::print::{Partial, Printer, Stream};
use self::slots::{After, Job, Jobs};
use self::stop::Stop;
use self::supervise::{Collected, Ended, Sink, Surroundings, Terminator};
use self::template::{Facts, Member, Template};
use self::verdict::Ending;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::dead_letter::for_letters;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::pace::Pace;
use crate::cli::common::progress::{Goal, Progress};
use crate::cli::common::relay;
use crate::cli::common::report::{More, Reporter, Stats};
use crate::cli::common::seen::Seen;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stdout::Cut;
use crate::cli::common::ui::Ui;
use crate::cli::transport::{Observe, Opening, Owned, Patience, Receiver, Sender, Transport};
use crate::framing::Framing;
use crate::sys::command::child::{Guard, memory_file, reserve};
use crate::{Error, ItemKey, RingName, StopFlag};

/// How long running commands may go on after a signal, if the command line does not say.
const GRACE: Duration = Duration::from_secs(10);
/// The longest wait without a check of the stop flag and of the other conditions.
const SLICE: Duration = Duration::from_millis(50);
/// The longest wait for an item while no command runs.
const IDLE_SLICE: Duration = Duration::from_millis(500);
/// How often `--load` and `--memfree` are checked while they forbid another command.
const LIMITS_EVERY: Duration = Duration::from_millis(500);
/// The most finished jobs that wait for earlier ones (`--keep-order`) before no more items are taken.
const MOST_UNORDERED: usize = 1024;
/// Bytes of items after which no more go into one command's arguments: what xargs takes by default.
const MOST_ARGUMENTS: usize = 128 << 10;

/// Runs the command.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run_over<T: Transport>(options: &WorkerOptions<'_>, ui: &Ui) -> Result<End, Failure> {
    let work = options.work;
    let report = Reporter::new(ui.program(), &options.process.report);
    options.process.affinity.apply()?;
    let template = Template::new(options.command, work.shell)?;
    if work.coprocess.is_some() {
        coprocess::check(&template)?;
    }
    let slots = work.jobs.map_or(1, |jobs| jobs.0);
    // No ring has more items.
    let mut prefetch = work.prefetch.map_or(0, |Count(more)| more.min(1 << 24) as usize);
    if work.keep_order {
        // Their outputs may all have to wait, each with two files.
        prefetch = prefetch.min(spool::most_files() / 2);
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
        reserve(fd).map_err(|error| Failure::io(format!("descriptor {fd} of --meta-fd"), &error))?;
    }
    // Before the ring is attached, and while there is one thread.
    let guard =
        Guard::start(slots).map_err(|error| Failure::io("starting the guard of the commands", &error))?;
    let stop = signals::catch()?;
    let done = match (&work.joblog, work.resume) {
        (Some(path), true) => Done::read(path, &work.on_exit.clone().unwrap_or_default())?,
        _ => Done::default(),
    };
    let joblog = work.joblog.as_deref().map(JobLog::open).transpose()?.map(Mutex::new);
    if let Some(folder) = &work.results {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::io(format!("results folder {}", folder.display()), &error))?;
    }
    // Commands that end within their grace may still write.
    let late = StopFlag::new();
    let printer = Printer::new(work.tag, &stop, &late)?;
    let opening = |name| Opening {
        name,
        place: Patience::of_place(options.wait.timeout),
        report: &report,
        stop: &stop,
    };
    let wait = match options.wait.timeout {
        _ if options.wait.no_wait || options.drain => Patience::None,
        Some(DurationArg(limit)) => Patience::Limited(limit),
        None => Patience::Unlimited,
    };
    let Some(mut receiver) = T::open_receiver(&opening(options.ring), wait, options.owner)? else {
        return Ok(signals::end());
    };
    receiver.set_follow(options.follow);
    let reply = match &work.reply {
        Some(name) => match T::open_sender(&opening(name), &CreateArgs::default(), false)? {
            Some(sender) => Some(Mutex::new(sender)),
            None => return Ok(signals::end()),
        },
        None => None,
    };
    let ring = receiver.observe().name().to_string();
    // Room for any item, so that none stops the worker again and again.
    let largest = (receiver.observe().capacity() / 2).saturating_mul(receiver.observe().slot_size());
    let create = for_letters(largest);
    let dead = work
        .dead_letter
        .as_ref()
        .map(|name| DeadLetters::new(&ring, opener::<T>(name, create, options, &report, &stop)));
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
    let goal = Goal { items: options.count, ..Goal::default() };
    let progress = report.progress(&ring, "done", receiver.observe().gauge(), goal);
    let worker = Worker {
        options,
        template: &template,
        guard: &guard,
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
    let standing = work.coprocess.map(|form| coprocess::Shared {
        jobs: &worker.jobs,
        finisher: &finisher,
        guard: &guard,
        terminator: &terminator,
        template: &template,
        form,
        ahead: prefetch,
        limit: work.item_timeout.map(|DurationArg(limit)| limit),
        grace: work.grace.map_or(GRACE, |DurationArg(grace)| grace),
    });
    let run = Run {
        worker: &worker,
        receiver,
        done,
        pace: Pace::new(options.pace.rate, options.pace.delay, fastrand::Rng::new()),
        due: None,
        limits: Limits::new(work.load, work.memfree),
        report: &report,
        progress,
        stop: &stop,
        taken: 0,
        number: 0,
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
        run.run()
    })
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
    name: &'o RingName,
    create: CreateArgs,
    options: &'o WorkerOptions<'o>,
    report: &Reporter,
    stop: &StopFlag,
) -> impl FnMut() -> Result<Option<T::Sender>, Failure> + Send + use<'o, T> {
    let (report, stop) = (report.clone(), stop.clone());
    move || {
        let place = Patience::of_place(options.wait.timeout);
        let opening = Opening { name, place, report: &report, stop: &stop };
        relay::open::<T>(&opening, &create)
    }
}

/// What the slots share.
struct Worker<'a, 'o, S: Sender, O> {
    options: &'o WorkerOptions<'o>,
    template: &'a Template,
    guard: &'a Guard,
    terminator: &'a Terminator,
    stop: &'a StopFlag,
    finisher: &'a Finisher<'o, S>,
    order: Mutex<Order<O>>,
    jobs: Jobs<O, Stop>,
}

impl<S: Sender, O: Owned> Worker<'_, '_, S, O> {
    /// The life of a slot.
    fn work(&self, slot: usize) {
        while let Some(job) = self.jobs.take() {
            let after = catch_unwind(AssertUnwindSafe(|| self.run(job, slot)));
            self.jobs.finished(match after {
                Ok(Ok(after)) => after,
                Ok(Err(failure)) => After::Stop(failure.into()),
                // The message of the panic is on standard error. Its items were given back.
                Err(_) => {
                    After::Stop(Failure::new(code::RUNTIME, "a thread of this worker has failed").into())
                }
            });
        }
    }

    /// Runs the command of a job. An error gives its items back, and stops the worker.
    fn run(&self, job: Job<O>, slot: usize) -> Result<After<O, Stop>, Failure> {
        let work = self.options.work;
        let items: Vec<&[u8]> = job.items.iter().map(O::bytes).collect();
        let first = job.items.first().map_or(ItemKey { producer: 0, sequence: 0 }, O::key);
        let facts = Facts {
            ring: self.finisher.ring,
            producer: first.producer,
            sequence: first.sequence,
            attempt: job.attempt(),
            job: job.number,
            slot: slot + 1,
            items: items.len(),
        };
        let line = match self.finisher.joblog {
            Some(_) => self.template.display(&items, job.number, slot + 1),
            None => String::new(),
        };
        let label = if work.tag { label(&items) } else { String::new() };
        let mut command = match self.template.command(&items, job.number, slot + 1) {
            Ok(command) => command,
            Err(_) if items.len() > 1 => return Ok(divided(job)),
            Err(why) => {
                let (ended, output) = (Ended::not_run(Ending::NotRun(why)), Collected::default());
                return Ok(self.finish(Finished {
                    job,
                    ended,
                    output,
                    tail: Vec::new(),
                    received: 0,
                    line,
                    label,
                }));
            }
        };
        template::environment(&mut command, &facts);
        let input = self.input(&items)?;
        let meta = work
            .meta_fd
            .map(|_| meta(&facts, &job.items))
            .transpose()
            .map_err(|e| Failure::io("--meta-fd", &e))?;
        let also = meta.as_ref().zip(work.meta_fd).map(|(file, fd)| (file.as_fd(), fd));
        let limit = work.item_timeout.map(|DurationArg(limit)| limit);
        let around = Surroundings {
            guard: self.guard,
            terminator: self.terminator,
            name: self.template.name(),
            slot,
            limit,
        };
        let (mut output, mut tail) = (Collected::default(), Vec::new());
        let (ended, received) = if work.line_buffer {
            let mut lines = ByLine {
                finisher: self.finisher,
                label: &label,
                partial: Default::default(),
                kept: work.results.is_some().then_some(&mut output),
                tail: &mut tail,
                received: 0,
            };
            let mut ended = supervise::run(&command, input.as_deref(), also, &around, &mut lines);
            if let (Ok(ended), Err(cut)) = (&mut ended, lines.flush()) {
                ended.cut.get_or_insert(cut);
            }
            (ended, lines.received)
        } else {
            let ended = supervise::run(&command, input.as_deref(), also, &around, &mut output);
            tail = output.stderr.tail(TAIL).unwrap_or_default();
            (ended, output.stdout.len())
        };
        let ended = match ended {
            // A service manager stops a worker with all its commands.
            Ok(ended) if self.stop.is_raised() && ended.ending.is_by_request() => {
                Ended { stopped: true, ..ended }
            }
            Ok(ended) => ended,
            // Without an item in its arguments, environment and limits are the reason.
            Err(error) if is_too_long(&error) && self.template.uses_item() && items.len() > 1 => {
                return Ok(divided(job));
            }
            Err(error) if is_too_long(&error) && self.template.uses_item() => {
                Ended::not_run(Ending::NotRun("the item is too long for an argument".into()))
            }
            Err(error) => return Err(self.template.not_started(&error)),
        };
        Ok(self.finish(Finished { job, ended, output, tail, received, line, label }))
    }

    fn finish(&self, finished: Finished<O>) -> After<O, Stop> {
        match self.options.work.keep_order {
            true => self.finisher.finish_in_order(&self.order, finished),
            false => self.finisher.finish(finished),
        }
    }

    /// The bytes for the command's standard input: an item as it is, several items framed.
    fn input(&self, items: &[&[u8]]) -> Result<Option<Vec<u8>>, Failure> {
        if self.template.uses_item() {
            return Ok(None);
        }
        if self.options.work.max_items.is_none() {
            return Ok(Some(items.concat()));
        }
        let mut bytes = Vec::new();
        let framing = self.options.framing;
        for item in items {
            let framed = framing.frame_into(item, &mut bytes);
            framed.map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?;
        }
        Ok(Some(bytes))
    }
}

/// A job for each of its items.
fn divided<O>(job: Job<O>) -> After<O, Stop> {
    let number = job.number;
    After::Divided(job.items.into_iter().map(|item| Job { number, items: vec![item] }).collect())
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::E2BIG)
}

/// The item as `--tag` writes it; in a batch, the first one.
fn label(items: &[&[u8]]) -> String {
    escape::text(&String::from_utf8_lossy(items.first().copied().unwrap_or_default()))
}

/// A file with the facts about a job.
fn meta<O: Owned>(facts: &Facts<'_>, items: &[O]) -> io::Result<std::fs::File> {
    let member = |item: &O| {
        let ItemKey { producer, sequence } = item.key();
        Member { producer, sequence, attempt: 1 + u32::from(item.failures()) }
    };
    let batch: Vec<Member> = if items.len() > 1 { items.iter().map(member).collect() } else { Vec::new() };
    let mut file = memory_file()?;
    file.write_all(template::meta_json(facts, &batch).as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Writes each line of a command when it is complete.
struct ByLine<'a, 'o, S> {
    finisher: &'a Finisher<'o, S>,
    label: &'a str,
    /// The beginnings of the next lines, of both streams.
    partial: [Partial; 2],
    /// For `--results`.
    kept: Option<&'a mut Collected>,
    /// The end of standard error, for a dead letter.
    tail: &'a mut Vec<u8>,
    /// Bytes of standard output.
    received: u64,
}

impl<S> ByLine<'_, '_, S> {
    fn flush(&mut self) -> Result<(), Cut> {
        let mut printer = self.finisher.printer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (stream, partial) in [Stream::Out, Stream::Err].into_iter().zip(&mut self.partial) {
            printer.flush_partial(self.label, stream, partial)?;
        }
        Ok(())
    }
}

impl<S> Sink for ByLine<'_, '_, S> {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Cut> {
        if let Some(kept) = &mut self.kept {
            kept.take(stream, bytes)?;
        }
        match stream {
            Stream::Out => self.received += bytes.len() as u64,
            Stream::Err => {
                self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
                self.tail.drain(..self.tail.len().saturating_sub(TAIL));
            }
        }
        let partial = &mut self.partial[usize::from(stream == Stream::Err)];
        let mut printer = self.finisher.printer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        printer.lines(self.label, stream, partial, bytes)
    }
}

/// One run: the receiving end, and what the main thread remembers.
struct Run<'a, 'o, R: Receiver, S: Sender> {
    worker: &'a Worker<'a, 'o, S, R::Owned>,
    receiver: R,
    /// Items that need no command (`--resume`).
    done: Done,
    pace: Pace,
    /// When the next item may be taken, by the pace; `None`: not known yet.
    due: Option<Instant>,
    limits: Limits,
    report: &'a Reporter,
    progress: Progress,
    stop: &'a StopFlag,
    /// Items taken, and jobs made of them.
    taken: u64,
    number: u64,
    /// Items that are only looked at (`--dry-run`).
    printed: Vec<R::Owned>,
    /// The time waited since the last item.
    waited: Duration,
    /// The last wait ended with the ring's name gone and no producer attached.
    deserted: bool,
    start: Instant,
}

/// Why no more items are taken.
enum Over {
    /// The commands in hand are to end in their own time, and failed items to be tried again.
    Taken,
    /// As `Taken`; then this failure is reported.
    Short(Failure),
    /// Stop early.
    Stop(Stop),
}

/// What the main thread found.
enum Found<O> {
    Item(O),
    /// Nothing yet.
    Nothing,
    /// An item that needed no command.
    Dropped,
    Over(Over),
}

impl<R: Receiver, S: Sender> Run<'_, '_, R, S> {
    fn run(mut self) -> Result<End, Failure> {
        let over = self.hand_out();
        let (stop, short) = match over {
            Over::Stop(stop) => (Some(stop), None),
            Over::Short(failure) => (self.wait_for_all(), Some(failure)),
            Over::Taken => (self.wait_for_all(), None),
        };
        let stop = self.end(stop);
        self.finish(stop, short)
    }

    fn options(&self) -> &WorkerOptions<'_> {
        self.worker.options
    }

    /// Takes items and hands them out until no more are to be taken.
    fn hand_out(&mut self) -> Over {
        loop {
            self.show();
            if let Some(stop) = self.early_end() {
                return Over::Stop(stop);
            }
            let room = self.worker.jobs.room();
            let held_up = if room == 0 { Some(SLICE) } else { self.held_up() };
            if let Some(wait) = held_up {
                self.worker.jobs.wait(wait);
                continue;
            }
            match self.next_items() {
                Found::Nothing | Found::Dropped => {}
                Found::Over(over) => return over,
                Found::Item(items) => {
                    self.number += 1;
                    let job = Job { number: self.number, items };
                    match self.options().work.dry_run {
                        true => {
                            if let Err(stop) = self.print_only(job) {
                                return Over::Stop(stop);
                            }
                        }
                        // A signal may have come while the last item did.
                        false if self.stop.is_raised() => return Over::Stop(Stop::Stopped),
                        false => self.worker.jobs.add(job),
                    }
                }
            }
        }
    }

    /// Why to stop now, if there is a reason.
    fn early_end(&self) -> Option<Stop> {
        if self.stop.is_raised() { Some(Stop::Stopped) } else { self.worker.jobs.stop() }
    }

    /// How long no further command may start: by the pace, by load and memory, and by outputs that wait for earlier
    /// ones. Signals, failed items that are due and requests to stop are looked at meanwhile.
    fn held_up(&mut self) -> Option<Duration> {
        let unordered = self.worker.finisher.unordered.load(Relaxed);
        if unordered >= MOST_UNORDERED || unordered > 0 && spool::is_crowded() {
            return Some(SLICE);
        }
        let now = Instant::now();
        let due = *self.due.get_or_insert_with(|| now + self.pace.wait(now));
        let left = due.saturating_duration_since(now);
        if !left.is_zero() {
            return Some(left.min(SLICE));
        }
        (!self.limits.allow()).then_some(LIMITS_EVERY)
    }

    /// The items of the next job.
    fn next_items(&mut self) -> Found<Vec<R::Owned>> {
        let most = self.options().work.max_items.map_or(1, |Count(most)| most.max(1));
        let mut items = match self.next_item(None) {
            Found::Item(item) => vec![item],
            Found::Nothing => return Found::Nothing,
            Found::Dropped => return Found::Dropped,
            Found::Over(over) => return Found::Over(over),
        };
        let wait = self.options().work.max_wait.map_or(Duration::ZERO, |DurationArg(wait)| wait);
        let start = Instant::now();
        let fits = |items: &[R::Owned]| {
            !self.worker.template.uses_item()
                || items.iter().map(|item| item.bytes().len()).sum::<usize>() < MOST_ARGUMENTS
        };
        while (items.len() as u64) < most && fits(&items) {
            // Failed items that are due go on meanwhile.
            self.worker.jobs.room();
            let left = wait.saturating_sub(start.elapsed());
            match self.next_item(Some(left)) {
                Found::Item(item) => items.push(item),
                Found::Nothing if left.is_zero() => break,
                Found::Nothing | Found::Dropped => {}
                // The items that came go back.
                Found::Over(over @ Over::Stop(_)) => return Found::Over(over),
                // It is found again for the next job.
                Found::Over(_) => break,
            }
        }
        Found::Item(items)
    }

    /// The next item. `further`: for a job that has one already; waits at most for so long.
    fn next_item(&mut self, further: Option<Duration>) -> Found<R::Owned> {
        let wanted = self.options().count.unwrap_or(u64::MAX);
        if self.taken >= wanted {
            return Found::Over(Over::Taken);
        }
        if let Some(stop) = self.early_end() {
            return Found::Over(Over::Stop(stop));
        }
        if further.is_some()
            && let Some(wait) = self.held_up()
        {
            self.worker.jobs.wait(wait.min(further.unwrap_or_default()));
            return Found::Nothing;
        }
        let tries_once = self.tries_once();
        let (busy, postponed) = self.worker.jobs.in_hand();
        let slice = if busy + postponed > 0 { SLICE } else { IDLE_SLICE };
        let limits = [self.options().wait.timeout, self.options().idle_exit];
        let left = limits.into_iter().flatten().map(|DurationArg(limit)| limit.saturating_sub(self.waited));
        let wait = match further {
            _ if tries_once => Duration::ZERO,
            Some(left) => left.min(SLICE),
            None => left.fold(slice, Duration::min).min(self.worker.jobs.until_due()),
        };
        match self.receiver.receive_owned(wait) {
            Ok(item) => {
                self.waited = Duration::ZERO;
                self.deserted = false;
                self.due = None;
                self.taken += 1;
                self.unless_done(item)
            }
            Err(Error::TimedOut | Error::Empty) if further.is_some() => Found::Nothing,
            Err(Error::TimedOut | Error::Empty) => self.nothing_came(wait, busy + postponed > 0),
            Err(Error::Ended) => Found::Over(self.short_of_count("the stream ended")),
            Err(Error::Interrupted) => Found::Over(Over::Stop(Stop::Stopped)),
            Err(error) => Found::Over(Over::Stop(self.ring_failure(&error).into())),
        }
    }

    /// Acknowledges an item that the joblog has as done.
    fn unless_done(&mut self, item: R::Owned) -> Found<R::Owned> {
        let key = item.key();
        if !self.done.contains(key.producer, key.sequence) {
            return self.unless_duplicate(item);
        }
        match self.options().work.dry_run {
            true => self.printed.push(item),
            false => item.acknowledge(),
        }
        self.worker.finisher.skipped(1);
        Found::Dropped
    }

    /// Acknowledges an item that was done before (`--dedup`). It is none of the `-n` items.
    fn unless_duplicate(&mut self, item: R::Owned) -> Found<R::Owned> {
        if !self.worker.finisher.is_duplicate(item.key()) {
            return self.unless_exhausted(item);
        }
        self.taken -= 1;
        item.acknowledge();
        Found::Dropped
    }

    /// Finishes an item that other workers have tried as often as it may be tried.
    fn unless_exhausted(&mut self, item: R::Owned) -> Found<R::Owned> {
        if self.options().work.dry_run || !self.worker.finisher.is_exhausted(&item) {
            return Found::Item(item);
        }
        self.number += 1;
        let job = Job { number: self.number, items: vec![item] };
        let ended = Ended::not_run(Ending::Exhausted);
        let (output, tail, received, line, label) = Default::default();
        match self.worker.finish(Finished { job, ended, output, tail, received, line, label }) {
            After::Stop(stop) => Found::Over(Over::Stop(stop)),
            After::Settled | After::Postponed(..) | After::Divided(_) => Found::Dropped,
        }
    }

    /// Whether to take what is there now, and wait for no item.
    fn tries_once(&self) -> bool {
        self.options().wait.no_wait || self.options().drain || self.options().work.dry_run
    }

    fn ring_failure(&self, error: &Error) -> Failure {
        self.receiver.observe().explained(Failure::of_ring(self.worker.finisher.ring, error))
    }

    /// No item came in `wait`.
    fn nothing_came(&mut self, wait: Duration, busy: bool) -> Found<R::Owned> {
        let WorkerOptions { wait: limits, drain, idle_exit, .. } = *self.options();
        let (timeout, no_wait) = (limits.timeout, limits.no_wait);
        if self.tries_once() {
            // Postponed items are this worker's own: it has them, whatever the ring has.
            return match no_wait && !drain && self.taken == 0 {
                true => Found::Over(Over::Short(self.ring_failure(&Error::Empty))),
                false => Found::Over(self.short_of_count("it is empty")),
            };
        }
        // Running commands are no idleness.
        self.waited =
            if busy { Duration::from_nanos(1) } else { self.waited + wait.max(Duration::from_nanos(1)) };
        if idle_exit.is_some_and(|DurationArg(limit)| self.waited >= limit) {
            return Found::Over(self.short_of_count("nothing came"));
        }
        if let Some(DurationArg(limit)) = timeout.filter(|limit| self.waited >= limit.0) {
            let (ring, waited) = (self.worker.finisher.ring, humantime::format_duration(limit));
            let line = format!("ring {ring:?} is empty, waited {waited}");
            let hint = format!("ringctl inspect {} shows who takes part", escape::argument(ring));
            return Found::Over(Over::Short(Failure::new(code::FULL, line).hint(hint)));
        }
        // Checked twice in a row, so that items that a producer sent before it left are received.
        let observed = self.receiver.observe();
        let deserted = observed.is_nameless() && !observed.has_live(crate::Role::Producer);
        match std::mem::replace(&mut self.deserted, deserted) && deserted {
            true => Found::Over(self.short_of_count("it was removed")),
            false => Found::Nothing,
        }
    }

    /// The end, which is a failure before `-n` items.
    fn short_of_count(&self, why: &str) -> Over {
        match self.options().count {
            Some(wanted) => {
                let (ring, taken) = (self.worker.finisher.ring, self.taken);
                let line = format!("ring {ring:?}: {why} after {taken} of {wanted} items");
                Over::Short(Failure::new(code::EMPTY, line))
            }
            None => Over::Taken,
        }
    }

    /// Prints what would run. The items go back at the end: earlier, they would come again.
    fn print_only(&mut self, job: Job<R::Owned>) -> Result<(), Stop> {
        let items: Vec<&[u8]> = job.items.iter().map(R::Owned::bytes).collect();
        let line = self.worker.template.display(&items, job.number, 1) + "\n";
        let mut printer =
            self.worker.finisher.printer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written = printer.text(&line);
        drop(items);
        self.printed.extend(job.items);
        Ok(written?)
    }

    /// Waits until all jobs in hand are settled, those included that are tried again. `Some`: stop early.
    fn wait_for_all(&mut self) -> Option<Stop> {
        loop {
            self.show();
            if let Some(stop) = self.early_end() {
                return Some(stop);
            }
            self.worker.jobs.room();
            if self.worker.jobs.in_hand() == (0, 0) {
                return self.worker.jobs.stop();
            }
            self.worker.jobs.wait(SLICE);
        }
    }

    /// Says what is waited for, from now on.
    fn begin_grace(&self, limit: Duration) -> Instant {
        let (running, _) = self.worker.jobs.in_hand();
        if running > 0 && !limit.is_zero() && self.stop.is_raised() {
            let what = if running == 1 { "1 command".into() } else { format!("{running} commands") };
            let limit = humantime::format_duration(limit);
            self.report
                .note(format!("waiting at most {limit} for {what} to end; another signal ends them now"));
        }
        Instant::now()
    }

    /// Ends all slots, and gives back what has not started. Answers the final reason to stop.
    fn end(&mut self, stop: Option<Stop>) -> Option<Stop> {
        drop(self.worker.jobs.end());
        let limit = self.options().work.grace.map_or(GRACE, |DurationArg(grace)| grace);
        // Counts from the reason to end the commands, which can be a signal that comes later.
        let mut start = None;
        loop {
            let left = match &stop {
                Some(Stop::Halted(When::Now)) => Duration::ZERO,
                // Until a signal comes.
                Some(Stop::Halted(When::Soon)) | None if !self.stop.is_raised() => Duration::MAX,
                _ => limit.saturating_sub(start.get_or_insert_with(|| self.begin_grace(limit)).elapsed()),
            };
            self.show();
            if self.worker.jobs.wait_for_running(SLICE.min(left)) {
                break;
            }
            if left.is_zero() {
                self.worker.finisher.late.raise();
                self.worker.terminator.terminate();
                while !self.worker.jobs.wait_for_running(SLICE) {}
                break;
            }
        }
        if self.stop.is_raised() {
            // No wait for room from here on, in an output or in another ring.
            self.worker.finisher.late.raise();
        }
        // Their work is done; only their place in the output is missing.
        let rest: Vec<_> = {
            let mut order = self.worker.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            order.rest().collect()
        };
        let mut late = None;
        for finished in rest {
            if let After::Stop(stop) = self.worker.finisher.finish(finished) {
                late.get_or_insert(stop);
            }
        }
        let later = self.worker.jobs.stop().or(late);
        match (stop, later) {
            (None, later) => later,
            // A failure says more.
            (Some(Stop::Stopped | Stop::Unread | Stop::Halted(_)), Some(later @ Stop::Failed(_))) => {
                Some(later)
            }
            (stop, _) => stop,
        }
    }

    fn show(&self) {
        let Tally { done, bytes, .. } = self.worker.finisher.tally();
        self.progress.update(done, bytes);
        // Without a guard the commands still run; the next call tries again.
        let _ = self.worker.guard.restore();
    }

    /// Writes the final reports, and decides the exit code.
    fn finish(mut self, stop: Option<Stop>, short: Option<Failure>) -> Result<End, Failure> {
        self.show();
        let stats = self.options().process.report.stats;
        self.progress.finish(stats);
        let tally = self.worker.finisher.tally();
        if stats {
            let stats = Stats {
                schema: "ringpipe.worker/1",
                ring: self.worker.finisher.ring,
                items: tally.done,
                bytes: tally.bytes,
                seconds: self.start.elapsed().as_secs_f64(),
                more: More::Worker {
                    retried: tally.retried,
                    failed: tally.failed,
                    skipped: tally.skipped,
                    duplicates: self.options().dedup.then_some(tally.duplicates),
                },
            };
            self.report.stats(&stats, false)?;
        }
        if tally.skipped > 0 {
            let items = if tally.skipped == 1 { "1 item".into() } else { format!("{} items", tally.skipped) };
            self.report.note(format!("{items} skipped: the joblog has them as done"));
        }
        match stop {
            Some(Stop::Failed(failure)) => return Err(failure),
            Some(Stop::Stopped) => return Ok(signals::end()),
            Some(Stop::Halted(_)) if tally.failed > 0 => {}
            Some(Stop::Halted(_) | Stop::Unread) | None => {}
        }
        if tally.failed > 0 {
            let (failed, ring) = (tally.failed, self.worker.finisher.ring);
            let items = if failed == 1 { "1 item".into() } else { format!("{failed} items") };
            let failure = Failure::new(code::FAILED_ITEMS, format!("ring {ring:?}: {items} failed for good"));
            return Err(match &self.options().work.dead_letter {
                Some(name) => {
                    failure.hint(format!("ringctl peek {} shows why", escape::argument(name.as_str())))
                }
                None => failure,
            });
        }
        short.map_or(Ok(End::Done), Err)
    }
}
