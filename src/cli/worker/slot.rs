//! A slot that runs a command for each job.

use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::by_line::ByLine;
use super::finish::{Finished, Finisher, Order, TAIL};
use super::options::WorkerOptions;
use super::slots::{After, Job, Jobs};
use super::stop::Stop;
use super::supervise::{self, Collected, Ended, Surroundings, Terminator};
use super::template::{self, Facts, Member, Template};
use super::verdict::Ending;
use crate::cli::common::args::DurationArg;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::transport::{Owned, Sender};
use crate::sys::command::child::{Guard, memory_file};
use crate::{ItemKey, StopFlag};

/// What the slots share.
pub struct Worker<'a, 'o, S: Sender, O> {
    pub options: &'o WorkerOptions<'o>,
    pub template: &'a Template,
    pub guard: &'a Guard,
    pub terminator: &'a Terminator,
    pub stop: &'a StopFlag,
    pub finisher: &'a Finisher<'o, S>,
    pub order: Mutex<Order<O>>,
    pub jobs: Jobs<O, Stop>,
}

impl<S: Sender, O: Owned> Worker<'_, '_, S, O> {
    /// The life of a slot.
    pub fn work(&self, slot: usize) {
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
        if self.finisher.are_exhausted(&job.items) {
            let ended = Ended::not_run(Ending::Exhausted);
            let (output, tail, received, line, label) = Default::default();
            return Ok(self.finish(Finished { job, ended, output, tail, received, line, label }));
        }
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
            // A service manager that stops a worker also signals the worker's commands.
            Ok(ended) if self.stop.is_raised() && ended.ending.is_by_request() => {
                Ended { stopped: true, ..ended }
            }
            Ok(ended) => ended,
            // If the arguments do not contain the item, its size is not the reason.
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

    pub fn finish(&self, finished: Finished<O>) -> After<O, Stop> {
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
