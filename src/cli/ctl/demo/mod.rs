//! `ringctl demo`: producers and workers on a ring, and keys that kill, stop and continue them.
mod ledger;
mod player;
mod record;
mod scene;
mod script;
mod stage;
mod textbook;
pub mod worker;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::cli::ctl::picture::screen::{self, Outcome};
use crate::cli::ctl::picture::view::Choices;
use crate::cli::ctl::picture::view::theme::Theme;
use crate::cli::ctl::show;
use crate::cli::ctl::svg_file::SvgFile;
use crate::testing::history::{Fault, Report};
use player::Player;
use record::Recorder;
use scene::{Demo, GUIDE};
use script::{Script, SizeArg};

/// The time between two observations.
const INTERVAL: Duration = Duration::from_millis(20);

/// Kill processes that use a ring, and see that nothing is lost
///
/// Starts two producers and three workers on a ring of its own, and shows them as ringctl watch does, with the items
/// that were sent and done, the processes that were killed, and the items that were lost. A key kills a worker with the
/// item that it has; the picture shows which worker gets the item, and how long after the kill. The counts come from
/// logs that all processes write. In the end, all logs are checked. Keys 1 to 4 are lessons: solutions of the textbooks, with
/// what breaks them, and why. Everything that it started ends with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: k kills the selected process, or a worker that has an item; s stops it, c continues it, r
starts dead processes again. Tab, left and right select a process, q quits, ? explains the
picture. 1 to 4 are lessons, with processes on the buffer of the textbooks: 1 two semaphores and
a mutex, 2 the wrong signal, 3 a condition variable, 4 a semaphore as an event. There k kills the
selected process; if none is selected, a process that has what all others need, such as the mutex.
Then nothing moves any more, and the picture says why. t shows lesson 1, or our ring again.

A script has a step per line: wait TEXT (until a row of the picture has it; quotes keep spaces),
limit DURATION (for each later wait; 30 seconds at first), key NAME (k, s, c, r, t, 1 to 4,
tab, left, right), print (the picture), quit, # a comment. For example:
  wait lost 0
  key k
  wait got it after
  print

--record writes the pictures that the script takes into an SVG file, which plays them in a loop.
These steps take pictures, or describe them. All other steps have no length in the recording: what
happens during a wait is left out.
  frame DURATION   the picture of this moment, shown for that time, which stretches the moment
  film DURATION    what happens in that time, at its real pace, 5 pictures a second
  caption TEXT     stands above later pictures, as a key stands above the next one
A script with one picture makes a still; without any, of the last thing it shows. The last
picture is what a viewer sees who asks for less motion. The file is written at the end, also
after quit; if the script fails or a signal comes, an earlier file stays.

Examples:
  ringctl demo
  ringctl demo --script kill.demo --size 120x40 > picture.txt
  ringctl demo --script kill.demo --record kill.svg

Exit codes: 0 nothing was lost; 1 runtime error; 2 usage, no terminal, or a wrong line of the
script; 3 the ring was removed; 4 the picture did not show a text of the script; 10 the check of
the logs found a fault; 128+n ended by signal n.")]
pub struct Args {
    /// Play the keys of a script, without a terminal
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Columns and rows of the picture of a script [default: 80x24]
    #[arg(long, value_name = "COLUMNSxROWS", requires = "script")]
    size: Option<SizeArg>,
    /// Write the pictures that the script takes to this file, as an animation or a still
    #[arg(long, value_name = "FILE.svg", requires = "script")]
    record: Option<SvgFile>,
}

/// Runs the demonstration.
pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let script = args.script.as_deref().map(Script::read).transpose()?;
    let size = args.size.map_or_else(|| "80x24".parse(), Ok);
    let area = size.map_err(|error| Failure::new(code::USAGE, error.to_string()))?.area();
    let recorder = args.record.as_ref().map(|file| Recorder::new(file, area)).transpose()?;
    if script.is_none() {
        if !screen::is_possible() {
            let line =
                "no terminal to draw on; expected standard input and output on a terminal that has a screen";
            return Err(Failure::new(code::USAGE, line)
                .hint("ringctl run --chaos kills processes without a terminal, too"));
        }
        // Before a second thread exists, which would get the signals.
        screen::hold_signals()?;
    }
    let stop = signals::catch()?;
    let mut demo = Demo::start()?;
    let choices = Choices::new(Theme::new(ui.paint().is_on()), INTERVAL, &GUIDE);
    let mut player = Player { area, choices, recorder, ui, stop: &stop };
    let outcome = match script {
        None => screen::show(&mut demo, &GUIDE, INTERVAL, ui.paint(), &stop)?,
        Some(script) => player.play(&script, &mut demo)?,
    };
    match outcome {
        Outcome::Stopped => Ok(signals::end()),
        Outcome::Gone => Err(Failure::new(code::EMPTY, "the ring of the demonstration was removed")
            .hint("ringctl demo starts another one")),
        Outcome::Quit => {
            let (report, killed) = demo.end()?;
            // The result first: a file that cannot be written does not hide it.
            let shown = ui.emit((summary(&report, killed) + "\n").as_bytes());
            let judged = judge(&report);
            let written = player.recorder.map_or(Ok(()), |recorder| recorder.write());
            if let (Err(_), Err(failure)) = (&judged, &written) {
                ui.note(&failure.line);
            }
            let end = judged?;
            shown.and(written).map(|()| end)
        }
    }
}

/// The result in one line.
fn summary(report: &Report, killed: u64) -> String {
    let counts = &report.counts;
    format!(
        "{} sent, {} killed, {} delivered again, {} lost",
        show::counted(counts.sent + counts.recovered, "item"),
        match killed {
            1 => "1 process".into(),
            n => format!("{} processes", show::count(n)),
        },
        show::count(counts.redelivered),
        show::count(report.count(Fault::Lost)),
    )
}

fn judge(report: &Report) -> Result<End, Failure> {
    if report.is_clean() {
        return Ok(End::Done);
    }
    let faults = report.to_string();
    let line = faults.lines().last().unwrap_or_default();
    Err(Failure::new(code::ASSERTION, format!("the check of the logs: {line}; expected none"))
        .hint("ringctl run --chaos --log DIR keeps its logs, for ringctl check"))
}
