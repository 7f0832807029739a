//! What a `kill -9` does to each queue through shared memory: the sender or the receiver is killed at random moments and
//! started again, and a ledger says what was lost, doubled or corrupted, and after which kills nothing moved any more.

mod ledger;

use std::any::Any;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::carrier::Carrier;
use crate::control::{Control, Phase};
use crate::inherit;
use crate::job::{Job, Role, Seat, WORKER};
use crate::measure::panic_text;
use crate::message;
use crate::peer::{Kind, Receiver, Sender, Work};
use crate::worker;
pub use ledger::Ledger;
use ledger::{MESSAGES, SENDERS, Sums};

/// Bytes of a message, and messages that the link may hold.
const WORK: Work = Work { size: 64, depth: 1024, batch: 1, in_place: false, senders: 1, receivers: 1 };
/// The longest time from one kill to the next, once messages move again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long nothing may move after a kill before the link counts as stuck, and is made anew.
const STUCK: Duration = Duration::from_secs(3);
/// A carrier that was stuck this often is not tried further.
const PATIENCE: u32 = 10;
/// What is left in the link counts as lost when nothing has come for this long.
const QUIET: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_micros(200);
/// The most kills of a trial: each may need two senders.
pub const MOST: u32 = (SENDERS as u32 - 2) / 2;

/// Sends as the sender of this number until it is killed.
pub fn send<S: Sender>(link: &mut S, sender: usize, ledger: &Ledger) -> ! {
    let mut message = [0; WORK.size];
    for number in 0..MESSAGES {
        message::fill(&mut message, message::stamp(sender, number));
        link.send(&message);
        ledger.count_sent(sender, number + 1);
    }
    loop {
        std::thread::park();
    }
}

/// Receives until it is killed. A carrier that can is done with a message only when it is in the ledger.
pub fn receive<R: Receiver>(link: &mut R, ledger: &Ledger) -> ! {
    let mut message = [0; WORK.size];
    loop {
        link.receive_then(&mut message, |message| ledger.count_received(message::read(message)));
    }
}

/// Tries all carriers through shared memory that are chosen, and writes the table.
pub fn run(chosen: &[String], kills: u32, seed: u64, out: &Path) -> io::Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut table = format!(
        "# Killed at random moments\n\nA sender and a receiver of {} bytes, one at a time; after each kill -9 the killed one is started again. \
         Up to {kills} kills; a queue that was stuck {PATIENCE} times was not tried further. *Stuck*: nothing moved for {} \
         seconds after the kill, or the new process could not attach; the queue was then made anew, and what was in it is lost. Seed {seed}.\n\n\
         | | kills | stuck | sent | lost | doubled | corrupted |\n|---|--:|--:|--:|--:|--:|--:|\n",
        WORK.size,
        STUCK.as_secs(),
    );
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|part| name.contains(part.as_str()));
    for carrier in crate::links::carriers() {
        let about = carrier.about;
        let is_shared = matches!(about.kind, Kind::Ours | Kind::SharedMemory);
        if !is_shared || !is_chosen(about.name) || carrier.measures_itself().is_some() {
            continue;
        }
        eprintln!("{}", about.name);
        let line = match Trial::run(&carrier, kills, seed) {
            Ok(trial) => trial.row(),
            Err(error) => format!("| {} | | | | | |", cell(&error)),
        };
        eprintln!("{line}");
        let name = if about.kind == Kind::Ours { format!("**{}**", about.name) } else { about.name.into() };
        let _ = writeln!(table, "| {name} {line}");
    }
    print!("{table}");
    fs::create_dir_all(out)?;
    fs::write(out.join("kills.md"), table)
}

/// An error as a cell of the table.
fn cell(error: &io::Error) -> String {
    error.to_string().replace('|', "\\|")
}

/// One carrier's trial.
struct Trial<'c> {
    carrier: &'c Carrier,
    ledger: Ledger,
    random: fastrand::Rng,
    /// The number of the sender at work.
    sender: usize,
    kills: u32,
    stuck: u32,
    /// Why it ended early.
    failed: Option<io::Error>,
}

/// A link with its two processes.
struct Pair {
    name: String,
    /// The words that its processes share with this one.
    shared: OwnedFd,
    /// What its processes write to standard error.
    said: File,
    /// The sender and the receiver.
    ends: [Option<Child>; 2],
    // Dropped last.
    _host: Box<dyn Any>,
}

impl Pair {
    /// The last line that its processes wrote to standard error, after a semicolon; empty: there is none.
    fn last_words(&self) -> String {
        const MOST: u64 = 4096;
        let mut end = [0; MOST as usize];
        let len = self.said.metadata().map_or(0, |file| file.len());
        let read = self.said.read_at(&mut end, len.saturating_sub(MOST)).unwrap_or(0);
        let text = String::from_utf8_lossy(&end[..read]);
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        line.map(|line| format!("; {}", line.trim())).unwrap_or_default()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.ends.iter_mut().flatten().for_each(end);
    }
}

fn end(child: &mut Child) {
    // One that has ended is only waited for.
    let _ = child.kill();
    let _ = child.wait();
}

impl<'c> Trial<'c> {
    fn run(carrier: &'c Carrier, kills: u32, seed: u64) -> io::Result<Self> {
        let (ledger, _offer) = Ledger::create()?;
        let random = fastrand::Rng::with_seed(seed);
        let mut trial = Trial { carrier, ledger, random, sender: 0, kills: 0, stuck: 0, failed: None };
        trial.failed = trial.kill(kills).err();
        Ok(trial)
    }

    /// Kills so often, unless it gives up earlier.
    fn kill(&mut self, kills: u32) -> io::Result<()> {
        let mut pair = None;
        while self.kills < kills && self.stuck < PATIENCE {
            let mut current = match pair.take() {
                Some(pair) => pair,
                None => self.new_pair()?,
            };
            if self.kill_one(&mut current)? {
                pair = Some(current);
            } else {
                self.stuck += 1;
                // Those in the link are lost with it.
                self.sender += 1;
            }
        }
        if let Some(mut pair) = pair {
            // No more is sent.
            pair.ends[0].iter_mut().for_each(end);
            self.drain();
        }
        Ok(())
    }

    /// Its row of the table, without the name. An error stands beside the counts that there were before it.
    fn row(&self) -> String {
        let Sums { sent, lost, doubled, corrupted } = self.ledger.sums();
        let (kills, stuck) = (self.kills, self.stuck);
        let kills = match &self.failed {
            Some(error) if kills == 0 => return format!("| {} | | | | | |", cell(error)),
            Some(error) => format!("{kills}, then: {}", cell(error)),
            None => kills.to_string(),
        };
        format!("| {kills} | {stuck} | {sent} | {lost} | {doubled} | {corrupted} |")
    }

    /// A link whose messages move.
    fn new_pair(&mut self) -> io::Result<Pair> {
        let name = format!("peers-{}-{}", std::process::id(), self.sender);
        let make = std::panic::AssertUnwindSafe(|| self.carrier.host(&name, &WORK));
        let host = std::panic::catch_unwind(make)
            .map_err(|panic| io::Error::other(format!("cannot make the link: {}", panic_text(&*panic))))?;
        let (control, shared) = Control::create()?;
        control.set_phase(Phase::Measure);
        let said = File::from(memfd_create("said", MFdFlags::MFD_CLOEXEC)?);
        let mut pair = Pair { name, shared, said, ends: [None, None], _host: host };
        for end in 0..2 {
            pair.ends[end] = Some(self.start(&pair, end)?);
        }
        match self.moves(&mut pair, 0) {
            true => Ok(pair),
            false => Err(io::Error::other(format!("nothing comes, without a kill{}", pair.last_words()))),
        }
    }

    fn start(&self, pair: &Pair, end: usize) -> io::Result<Child> {
        let role = if end == 0 { Role::SendUntilKilled(self.sender) } else { Role::ReceiveUntilKilled };
        let job = Job {
            carrier: self.carrier.about.name.into(),
            link: pair.name.clone(),
            work: WORK,
            seats: vec![Seat { line: end, core: worker::two_cores()[end], role }],
            inherited: inherit::offers(),
        };
        Command::new(std::env::current_exe()?)
            .arg(WORKER)
            .arg(serde_json::to_string(&job)?)
            .stdin(Stdio::from(pair.shared.try_clone()?))
            .stdout(Stdio::null())
            .stderr(Stdio::from(pair.said.try_clone()?))
            .spawn()
    }

    /// Kills one end after a while, and starts it again. False: nothing moves then.
    fn kill_one(&mut self, pair: &mut Pair) -> io::Result<bool> {
        std::thread::sleep(PAUSE.mul_f64(self.random.f64()));
        let victim = self.random.usize(..2);
        pair.ends[victim].iter_mut().for_each(end);
        self.kills += 1;
        if victim == 0 {
            self.sender += 1;
        }
        let before = self.ledger.received(self.sender);
        pair.ends[victim] = Some(self.start(pair, victim)?);
        Ok(self.moves(pair, before))
    }

    /// Waits until more than `before` messages of this sender have come. False: none comes, or an end has ended.
    fn moves(&self, pair: &mut Pair, before: u64) -> bool {
        let start = Instant::now();
        while self.ledger.received(self.sender) <= before {
            let has_ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
            // A sender that has sent all it may has shown enough.
            let is_done = self.ledger.sent(self.sender) == MESSAGES;
            if start.elapsed() > STUCK || pair.ends.iter_mut().flatten().any(has_ended) {
                return is_done;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Waits until nothing more comes.
    fn drain(&self) {
        let received = || (0..=self.sender).map(|sender| self.ledger.received(sender)).sum::<u64>();
        let (mut last, mut at) = (received(), Instant::now());
        while at.elapsed() < QUIET {
            std::thread::sleep(POLL);
            let now = received();
            if now != last {
                (last, at) = (now, Instant::now());
            }
        }
    }
}
