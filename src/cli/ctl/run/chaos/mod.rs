//! `ringctl run --chaos`: producers and consumers are killed and started again while real input goes through.
//!
//! A run has rounds of a bounded number of items. Each round has a ring, processes and logs of its own, ends when its ring
//! is drained, and is checked before the next one. So memory and disk do not grow with the input, and what a killed
//! producer has sent is known for sure.
mod consume;
mod judge;
mod kills;
mod produce;
mod report;
mod stage;

use std::io;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::collect::Output;
use super::feed::{Block, Input, ItemSize, Source, lock};
use super::meanwhile::{Meanwhile, Standing};
use super::{Args, DEMONSTRATION};
use crate::cli::common::args::DurationArg;
use crate::cli::common::create_args::shaped;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::{Ui, json_line};
use crate::cli::ctl::children::not_started;
use crate::cli::ctl::own_ring::OwnRing;
use crate::{Producer, RingOptions, StopFlag};
use judge::judge;
use kills::Kills;
use produce::Produced;
use report::ChaosReport;
use stage::{Folder, Life, POLL, Shared, Slot, Stage};

/// Items and bytes of a round: the logs of a round take less than 100 MB.
const ROUND_ITEMS: u64 = 250_000;
const ROUND_BYTES: u64 = 64 << 20;

/// Runs the command with kills.
pub fn run(
    args: &Args,
    inputs: Vec<Input>,
    output: &Output,
    stop: &StopFlag,
    mut meanwhile: Meanwhile,
    ui: &Ui,
) -> Result<End, Failure> {
    let start = Instant::now();
    // A time beyond the range of the clock does not limit the run.
    let until = args.chaos.flatten().and_then(|DurationArg(time)| start.checked_add(time));
    let folder = Folder::new(args.log.as_deref())?;
    let is_generated = matches!(inputs[..], [Input::Lines { count: u64::MAX, .. }]);
    let shared = Arc::new(Shared {
        framing: args.framing(),
        hash: Default::default(),
        output: output.clone(),
        logs: folder.path().into(),
        processes: AtomicU64::new(0),
        given: Default::default(),
        received: Default::default(),
        input_ends: until.filter(|_| is_generated),
    });
    let seed = args.seed.map_or_else(|| fastrand::u64(..), |count| count.0);
    let (mut kills, mut report) = (Kills::new(seed, until), ChaosReport::new(seed));
    let mut rounds = Rounds { args, shared: &shared, inputs: Some(inputs), sources: Vec::new(), start };
    let (mut left, mut is_dry) = (Block::default(), false);
    while !is_dry || left.len() > 0 {
        // When the input has ended, the rest goes through without kills: each round leaves less.
        let kills = (!is_dry).then_some(&mut kills);
        let Some(round) = rounds.run(mem::take(&mut left), kills, stop, &mut meanwhile)? else {
            ui.note("interrupted: nothing was verified");
            return Ok(signals::end());
        };
        let mut verdict = judge(round.lives(), &round.unsure, round.slots, shared.framing)?;
        folder.forget(round.lives().map(|life| &life.log));
        left = mem::take(&mut verdict.unsent);
        is_dry = rounds.is_dry();
        report.add(&round.producers, &round.consumers, verdict);
        if report.has_fault() {
            break;
        }
    }
    let given = *lock(&shared.given);
    report.finish(given, start.elapsed().as_secs_f64());
    drop(meanwhile);
    let text = if args.json { json_line(&report)? } else { report.text(ui.paint()) };
    match args.output.as_deref() == Some(Path::new("-")) {
        true => ui.emit_aside(text.as_bytes())?,
        false => ui.emit(text.as_bytes())?,
    }
    match report.verified {
        true => Ok(End::Done),
        false if report.is_empty() => Err(Failure::new(code::EMPTY, report.complaint())
            .hint(format!("ringctl run --chaos --lines {DEMONSTRATION} makes its own"))),
        false if report.is_without_kills() => Err(Failure::new(code::EMPTY, report.complaint())
            .hint("--chaos without a time kills until the input ends")),
        false => Err(Failure::new(code::ASSERTION, report.complaint()).hint(format!(
            "--log DIR keeps the logs, for ringctl check; --seed {seed} makes the same choices"
        ))),
    }
}

/// What the rounds of a run have in common.
struct Rounds<'a> {
    args: &'a Args,
    shared: &'a Arc<Shared>,
    /// The inputs, until the first ring tells the largest item.
    inputs: Option<Vec<Input>>,
    sources: Vec<Arc<Mutex<Source>>>,
    start: Instant,
}

/// What is left of a round.
#[derive(Default)]
struct Ended {
    producers: Vec<Life>,
    consumers: Vec<Life>,
    unsure: Vec<produce::Unsure>,
    /// Slots of its ring.
    slots: u64,
}

impl Ended {
    fn lives(&self) -> impl Iterator<Item = &Life> {
        self.producers.iter().chain(&self.consumers)
    }
}

impl Rounds<'_> {
    /// Whether no input has anything left: each producer may have inputs of its own.
    fn is_dry(&self) -> bool {
        let is_late = self.shared.input_ends.is_some_and(|end| Instant::now() >= end);
        is_late || self.sources.iter().all(|source| lock(source).is_exhausted())
    }

    /// Runs a round, which sends `left` before the inputs. `None`: a signal came, and all processes were ended.
    fn run(
        &mut self,
        left: Block,
        mut kills: Option<&mut Kills>,
        stop: &StopFlag,
        meanwhile: &mut Meanwhile,
    ) -> Result<Option<Ended>, Failure> {
        let mut round = self.start(left)?;
        loop {
            meanwhile.look(|| Standing {
                start: self.start,
                sent: *lock(&self.shared.given),
                received: *lock(&self.shared.received),
                ring: None,
                killed: kills.as_deref().map(|kills| kills.count),
            });
            if stop.is_raised() {
                round.end();
                return Ok(None);
            }
            if round.collect()? {
                return Ok(Some(mem::take(&mut round.ended)));
            }
            let received = lock(&self.shared.received).items;
            if let Some(kills) = &mut kills
                && let Some(pause) = kills.due(received)
            {
                thread::sleep(pause);
                kills.strike(&round.slots, |slot| slot.kill());
            }
            if round.producers.is_empty() {
                let has_items = lock(&self.shared.given).items > 0;
                match &mut kills {
                    // A short input may have passed between two checks. The consumers are still there.
                    Some(kills) if kills.owes_one() && has_items => {
                        kills.strike(&round.slots, |slot| slot.kill());
                    }
                    _ => round.keeper = None,
                }
            }
            thread::sleep(POLL);
        }
    }

    fn start(&mut self, left: Block) -> Result<Round, Failure> {
        let args = self.args;
        let options = shaped(RingOptions::new(), args.capacity, args.slot_size, None, None)
            .expected_producers(args.producers.into());
        let ring = OwnRing::make("run", &options)?;
        let keeper = ring.producer().map_err(|error| Failure::of_ring(ring.name(), &error))?;
        let limit = ring.max_item() as usize;
        if let Some(inputs) = self.inputs.take() {
            self.sources =
                Source::deal(inputs, args.producers.into(), self.shared.framing, ItemSize::of(&ring));
        }
        let stage = Arc::new(Stage {
            shared: self.shared.clone(),
            arguments: args.arguments(ring.name()),
            limit,
            items_left: AtomicU64::new(ROUND_ITEMS),
            bytes_left: AtomicU64::new(ROUND_BYTES),
            is_over: AtomicBool::new(false),
        });
        let ended = Ended { slots: ring.capacity(), ..Ended::default() };
        let (slots, producers, consumers) = (Vec::new(), Vec::new(), Vec::new());
        let mut round = Round { stage, slots, producers, consumers, keeper: Some(keeper), ended, ring };
        for _ in 0..args.consumers {
            let (stage, slot) = round.place();
            round.consumers.push(spawn(move || consume::consume(&stage, &slot))?);
        }
        let mut left = Some(left);
        for source in &self.sources {
            let (stage, slot) = round.place();
            let (source, left) = (source.clone(), left.take().unwrap_or_default());
            round.producers.push(spawn(move || produce::produce(&stage, &slot, &source, left))?);
        }
        Ok(round)
    }
}

/// The threads of a round, each with the place of its process.
struct Round {
    stage: Arc<Stage>,
    slots: Vec<Arc<Slot>>,
    producers: Vec<JoinHandle<Result<Produced, Failure>>>,
    consumers: Vec<JoinHandle<Result<Vec<Life>, Failure>>>,
    /// Keeps the stream from ending while all producers are dead.
    keeper: Option<Producer>,
    ended: Ended,
    // Dropped last: it is removed when no process uses it any more.
    ring: OwnRing,
}

impl Round {
    /// A place for another process.
    fn place(&mut self) -> (Arc<Stage>, Arc<Slot>) {
        let slot = Arc::new(Slot::default());
        self.slots.push(slot.clone());
        (self.stage.clone(), slot)
    }

    /// Takes the results of threads that have ended. True: all have.
    fn collect(&mut self) -> Result<bool, Failure> {
        for produced in finished(&mut self.producers)? {
            self.ended.producers.extend(produced.lives);
            self.ended.unsure.extend(produced.unsure);
        }
        for lives in finished(&mut self.consumers)? {
            self.ended.consumers.extend(lives);
        }
        if self.consumers.is_empty() {
            // Producers that are left would wait for ever.
            self.ring.close();
        }
        Ok(self.producers.is_empty() && self.consumers.is_empty())
    }

    /// Ends all processes. A thread may still wait for an input, and starts no process any more.
    fn end(&mut self) {
        // Relaxed: a thread that starts a process holds the lock of its place.
        self.stage.is_over.store(true, Relaxed);
        self.slots.iter().for_each(|slot| slot.end());
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.end();
    }
}

/// The results of the threads that have ended, which are taken out of the list.
fn finished<T>(threads: &mut Vec<JoinHandle<Result<T, Failure>>>) -> Result<Vec<T>, Failure> {
    let ended = threads.extract_if(.., |thread| thread.is_finished());
    let failed = || Failure::new(code::RUNTIME, "a thread of this command failed");
    ended.map(|thread| thread.join().unwrap_or_else(|_| Err(failed()))).collect()
}

/// Starts a thread: not `thread::spawn`, which panics where the system has no more threads or memory to give.
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Failure> {
    thread::Builder::new().spawn(work).map_err(|error: io::Error| not_started("thread", &error))
}
