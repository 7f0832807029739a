//! `ringctl barrier`: waits until a number of processes has come.

use super::objects::{ObjectArgs, TimeoutArg, failure};
use super::show;
use crate::cli::common::args::DurationArg;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::{Error, RingName};

/// Wait until a number of processes has come
///
/// Processes that wait at the barrier NAME continue together when N of them have come; then the next N, and
/// so on. The barrier is made when it is missing, and removed by the last process that leaves it. A process
/// that is killed while it waits, or that gives up, does not count. A stopped process counts. All processes
/// must give the same N.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ./server & ./client & ringctl barrier ready 3  if both call `ringctl barrier ready 3`, too
  for i in 1 2 3; do ./step $i; ringctl barrier step 4 --timeout 1m || exit; done

Exit codes: 0 all have come; 1 the system refused; 2 usage, or the others wait for another number;
4 timed out; 6 not a barrier; 128+n ended by signal n.")]
pub struct Args {
    /// Name of the barrier
    name: RingName,
    /// How many processes continue together, this one among them
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    number: u32,
    #[command(flatten)]
    timeout: TimeoutArg,
    #[command(flatten)]
    object: ObjectArgs,
}

pub fn run(args: &Args, _: &Ui) -> Result<End, Failure> {
    let failed = |error: &Error| failure("barrier", &args.name, error);
    let stop = signals::catch()?;
    let options = args.object.options().ephemeral(true);
    let mut barrier = options.barrier(args.name.as_str(), args.number).map_err(|error| failed(&error))?;
    barrier.set_stop_flag(stop);
    let waited = match args.timeout.timeout {
        Some(DurationArg(time)) => barrier.wait_timeout(time),
        None => barrier.wait(),
    };
    match (waited, args.timeout.timeout) {
        (Ok(_), _) => Ok(End::Done),
        (Err(Error::Interrupted), _) => Ok(signals::end()),
        (Err(Error::TimedOut), Some(DurationArg(time))) => {
            // This one no longer counts. Others may have come since.
            let all = args.number;
            let came = barrier.waiting().saturating_add(1).min(all - 1);
            let (name, time) = (args.name.as_str(), show::given(time));
            let line = format!("barrier {name:?}: {came} of {all} processes have come, waited {time}");
            Err(Failure::new(code::FULL, line))
        }
        (Err(error), _) => Err(failed(&error)),
    }
}
