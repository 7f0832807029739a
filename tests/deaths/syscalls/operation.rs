//! What the victims do, and what must hold afterwards.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use ringpipe::{ErrorKind, Ring, RingName, RingOptions};

use crate::support::{TestName, within};
use crate::syscalls::victim::{Outcome, Plan};

const SLOTS: u64 = 8;
const ITEM: &str = "the item";
const FRESH: &str = "fresh";
/// Nothing takes a tenth of this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A whole life of one of the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `ringctl create`
    Create,
    /// `producer --item`, which attaches to a ring, sends and detaches.
    Send,
    /// The same where there is no ring: it makes one.
    MakeAndSend,
    /// `consumer -n 1`, which attaches, receives, acknowledges and detaches. Its output is read when it has ended.
    Receive,
    /// `ringctl rm`
    Remove,
}

impl Operation {
    /// What was there before.
    pub fn prepare(self, name: &str) {
        if matches!(self, Operation::Create | Operation::MakeAndSend) {
            return;
        }
        let ring = options().create(name).expect("a ring");
        if self == Operation::Receive {
            ring.producer().expect("a producer").send(ITEM.as_bytes()).expect("it fits");
        }
    }

    pub fn command(self, name: &str) -> Command {
        let (program, arguments): (_, &[&str]) = match self {
            Operation::Create => ("ringctl", &["create", name, "--capacity", "8"]),
            Operation::Send | Operation::MakeAndSend => {
                ("producer", &[name, "--capacity", "8", "--item", ITEM, "--timeout", "1s"])
            }
            Operation::Receive => ("consumer", &[name, "-n", "1", "--timeout", "1s", "--ack", "write"]),
            Operation::Remove => ("ringctl", &["rm", name]),
        };
        let mut command = Command::new(match program {
            "ringctl" => env!("CARGO_BIN_EXE_ringctl"),
            "producer" => env!("CARGO_BIN_EXE_producer"),
            _ => env!("CARGO_BIN_EXE_consumer"),
        });
        command.args(arguments);
        command
    }

    fn program(self) -> &'static str {
        match self {
            Operation::Create | Operation::Remove => "ringctl",
            Operation::Send | Operation::MakeAndSend => "producer",
            Operation::Receive => "consumer",
        }
    }

    /// Whether a ring may be there while the victim is at it, and none may.
    fn may_be(self) -> (bool, bool) {
        match self {
            Operation::Create | Operation::MakeAndSend | Operation::Remove => (true, true),
            Operation::Send | Operation::Receive => (true, false),
        }
    }

    /// What another process sees that looks at the name meanwhile: nothing, or a whole ring.
    pub fn look(self, name: &str) -> Result<(), String> {
        let found = Ring::look(&RingName::parse(name).expect("a name"));
        match (found.and_then(|ring| ring.snapshot()), self.may_be()) {
            (Ok(snapshot), (true, _)) if snapshot.capacity == SLOTS => Ok(()),
            (Err(error), (_, true)) if error.kind() == ErrorKind::NotFound => Ok(()),
            (found, _) => Err(format!("meanwhile: {:?}", found.map(|snapshot| snapshot.capacity))),
        }
    }

    /// Everything that must hold after a victim.
    pub fn check(self, name: &TestName, plan: Plan, outcome: &Outcome) -> Result<(), String> {
        self.check_words(plan, outcome)?;
        let ring = self.what_is_left(name, plan, outcome)?;
        let done = outcome.status.success();
        let closed = ring.as_ref().filter(|ring| ring.is_closed());
        if let (Operation::Remove, false, Some(ring)) = (self, done, closed) {
            // It was to go, and nothing keeps the next one from removing it.
            let removed = ring.remove().map_err(|error| format!("a closed ring stays: {error}"))?;
            return if removed { Ok(()) } else { Err("a closed ring without its name".into()) };
        }
        if closed.is_some() {
            return Err("the ring was left closed, under its name".into());
        }
        let own_name = name.to_string();
        let items = within("the producer and consumer that follow", move || work_on(&own_name))?;
        let items = items.iter().filter(|item| *item == ITEM).count();
        let taken = outcome.stdout == format!("{ITEM}\n");
        let right = match self {
            Operation::Create | Operation::Remove => items == 0,
            Operation::Send | Operation::MakeAndSend if done => items == 1,
            Operation::Send | Operation::MakeAndSend => items <= 1,
            Operation::Receive if done => taken && items == 0,
            // Written and not acknowledged: it comes again.
            Operation::Receive => items == 1 || (taken && items == 0),
        };
        if !right {
            return Err(format!("the item came {items} times afterwards"));
        }
        if name.exists() { Err("the name was left".into()) } else { Ok(()) }
    }

    /// It was killed by us, or ended as it should: well, or with one line that says why.
    fn check_words(self, plan: Plan, outcome: &Outcome) -> Result<(), String> {
        if outcome.is_killed() && plan.kill.is_some() {
            return Ok(());
        }
        let Some(code) = outcome.status.code() else {
            return Err(format!("ended by signal {:?}", outcome.status.signal()));
        };
        if code > 6 {
            return Err(format!("exit code {code}"));
        }
        let prefix = format!("{}: ", self.program());
        let (said, rest): (Vec<&str>, Vec<&str>) =
            outcome.stderr.lines().partition(|line| line.starts_with(&prefix));
        let could_say = plan.fail.is_none_or(|(call, _)| {
            outcome.calls.get(call).is_none_or(|call| {
                call.number != libc::SYS_write || call.arguments[0] != libc::STDERR_FILENO as u64
            })
        });
        if code != 0 && said.len() != 1 && could_say {
            return Err(format!("exit code {code} with {} lines", said.len()));
        }
        match rest.iter().find(|line| !line.starts_with("hint: ")) {
            Some(line) => Err(format!("it says {line:?}")),
            None => Ok(()),
        }
    }

    /// The ring that is under the name, if any; what a creator that died under the name left is removed, as
    /// `ringctl rm -f` does.
    fn what_is_left(self, name: &TestName, plan: Plan, outcome: &Outcome) -> Result<Option<Ring>, String> {
        let done = outcome.status.success();
        match Ring::open(name) {
            Ok(_) if done && self == Operation::Remove => Err("removed, and still there".into()),
            Ok(_) if outcome.status.code().is_some() && !done && self == Operation::Create => {
                Err("a command reported that it failed to create a ring, and left one behind".into())
            }
            Ok(ring) if ring.capacity() == SLOTS => Ok(Some(ring)),
            Ok(ring) => Err(format!("a ring of {} slots", ring.capacity())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let may_lack = self.may_be().1 && !(done && self == Operation::Create);
                match (name.exists(), may_lack) {
                    (false, true) => Ok(None),
                    (true, _) => Err("not found, but there".into()),
                    (false, false) => Err("there is no ring".into()),
                }
            }
            // Only where unnamed files cannot be had is a ring made under its name.
            Err(error) if plan.fail.is_some() && plan.kill.is_some() => {
                // Killed before it could mark the file: an empty file may belong to any process, and stays.
                if std::fs::metadata(name.path()).is_ok_and(|found| found.len() == 0) {
                    std::fs::remove_file(name.path()).map_err(|error| error.to_string())?;
                    return Ok(None);
                }
                let name = RingName::parse(name).expect("a name");
                match (error.kind(), Ring::remove_leftover(&name)) {
                    (ErrorKind::Incompatible, Ok(true)) => Ok(None),
                    (_, result) => Err(format!("{error}, and cannot be removed: {result:?}")),
                }
            }
            Err(error) => Err(format!("afterwards: {error}")),
        }
    }
}

fn options() -> RingOptions {
    RingOptions::new().capacity(SLOTS)
}

/// A fresh producer and consumer use the name: all that there is comes out, all slots can be filled, and the
/// ring can be removed.
fn work_on(name: &str) -> Result<Vec<String>, String> {
    let failed = |error: ringpipe::Error| format!("afterwards: {error}");
    let ring = options().open_or_create(name).map_err(failed)?;
    let (mut producer, mut consumer) = (ring.producer().map_err(failed)?, ring.consumer().map_err(failed)?);
    producer.send(FRESH.as_bytes()).map_err(failed)?;
    drop(producer);
    let mut items = Vec::new();
    // The stream does not end before what a dead consumer held has come.
    loop {
        match consumer.recv_timeout(PATIENCE) {
            Ok(item) => {
                items.push(String::from_utf8_lossy(&item).into_owned());
                item.ack();
            }
            Err(error) if error.kind() == ErrorKind::Ended => break,
            Err(error) => return Err(failed(error)),
        }
    }
    if items.iter().filter(|item| *item == FRESH).count() != 1 {
        return Err("what was sent afterwards did not come".into());
    }
    let mut producer = ring.producer().map_err(failed)?;
    let room = (0..=SLOTS).take_while(|_| producer.try_send(b"fill").is_ok()).count();
    if room as u64 != SLOTS {
        return Err(format!("{room} of {SLOTS} slots can be used afterwards"));
    }
    drop((producer, consumer));
    match ring.remove() {
        Ok(true) => Ok(items),
        result => Err(format!("afterwards, removing: {result:?}")),
    }
}
