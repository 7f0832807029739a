//! The verbs for streams of a NATS server: `create`, `list`, `inspect`, `watch`, `peek`, `close`, `rm` and `wait` with a
//! name `nats://HOST:PORT/NAME`, or `nats://HOST:PORT`.

mod list;
mod watch;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::show;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::report::{ReportArgs, Reporter};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stream_name::StreamName;
use crate::cli::common::ui::Ui;
use crate::cli::transport::nats::admin::{Admin, Waiting};
use crate::cli::transport::nats::survey::{Look, Member};
use crate::framing::Recorded;
use crate::{Error, StopFlag};

pub use list::list;
pub use watch::{Watching, watch};

/// Items that a stream takes, if the command line does not say.
const CAPACITY: u64 = 8192;
/// The pause between two checks of a condition.
const PAUSE: Duration = Duration::from_millis(100);

/// The connection of a verb. `None`: a signal came first.
fn connect(name: &StreamName, ui: &Ui) -> Result<Option<Admin>, Failure> {
    let (report, stop) = reporter(ui)?;
    Admin::open(name, &report, &stop)
}

/// The messages and the stop flag of a verb.
fn reporter(ui: &Ui) -> Result<(Reporter, StopFlag), Failure> {
    let stop = signals::catch()?;
    Ok((Reporter::new(ui.program(), &ReportArgs::default()), stop))
}

fn not_found(name: &StreamName) -> Failure {
    let failure = Failure::of_ring(name.as_str(), &Error::NotFound(name.as_str().into()));
    failure.hint(format!("producer {0} or ringctl create {0} makes it", escape::argument(name.as_str())))
}

#[derive(Serialize)]
struct Created<'a> {
    schema: &'static str,
    ring: &'a str,
    id: &'a str,
    capacity: u64,
    producers_expected: u64,
    replicas: usize,
    ack_wait_ns: u64,
    server_version: String,
}

/// `ringctl create`.
pub fn create(
    name: &StreamName,
    capacity: Option<u64>,
    producers: Option<u32>,
    json: bool,
    ui: &Ui,
) -> Result<End, Failure> {
    let Some(admin) = connect(name, ui)? else { return Ok(signals::end()) };
    let found = admin.create(capacity.unwrap_or(CAPACITY), producers.unwrap_or(1).into())?;
    if json {
        ui.emit_json(&Created {
            schema: "ringpipe.create-stream/1",
            ring: name.as_str(),
            id: &found.record.id,
            capacity: found.capacity,
            producers_expected: found.record.expected,
            replicas: found.replicas,
            ack_wait_ns: found.ack_wait.as_nanos() as u64,
            server_version: admin.version(),
        })?;
    }
    Ok(End::Done)
}

#[derive(Serialize)]
struct StreamReport<'a> {
    schema: &'static str,
    ring: &'a str,
    id: &'a str,
    /// `open` or `closed`.
    state: &'static str,
    #[serde(flatten)]
    contents: Contents,
    framing: Option<String>,
    producers_expected: u64,
    producers_ever: u64,
    consumers_ever: u64,
    replicas: usize,
    ack_wait_ns: u64,
    server_version: String,
    participants: Vec<Participant>,
}

/// What a stream contains, in the JSON of every verb that shows it.
#[derive(Serialize)]
struct Contents {
    capacity: u64,
    used: u64,
    bytes: u64,
    items_waiting: u64,
    items_held: u64,
    items_held_again: u64,
    acknowledged: u64,
}

impl Contents {
    fn of(look: &Look) -> Self {
        Contents {
            capacity: look.found.capacity,
            used: look.used,
            bytes: look.bytes,
            items_waiting: look.waiting,
            items_held: look.held,
            items_held_again: look.held_again,
            acknowledged: look.acknowledged,
        }
    }
}

#[derive(Serialize)]
struct Participant {
    role: String,
    number: u64,
    pid: u32,
    host: String,
    /// `alive`, or `dead`: several signs of life are missing.
    state: &'static str,
    quiet_ns: u64,
}

impl Participant {
    fn of(member: &Member) -> Self {
        Participant {
            role: member.role.to_string(),
            number: member.number,
            pid: member.pid,
            host: member.host.clone(),
            state: if member.is_alive() { "alive" } else { "dead" },
            quiet_ns: member.quiet.as_nanos() as u64,
        }
    }
}

impl<'a> StreamReport<'a> {
    fn of(name: &'a StreamName, look: &'a Look, server_version: String) -> Self {
        let record = &look.found.record;
        let framing = Recorded::of(record.framing);
        StreamReport {
            schema: "ringpipe.inspect-stream/1",
            ring: name.as_str(),
            id: &record.id,
            state: look.state(),
            contents: Contents::of(look),
            framing: (framing != Recorded::Unknown).then(|| framing.to_string()),
            producers_expected: record.expected,
            producers_ever: record.next_producer,
            consumers_ever: record.next_consumer,
            replicas: look.found.replicas,
            ack_wait_ns: look.found.ack_wait.as_nanos() as u64,
            server_version,
            participants: look.members.iter().map(Participant::of).collect(),
        }
    }

    fn text(&self) -> String {
        let count = show::count;
        let mut text = format!(
            "{} ({}), NATS server {}, replicas {}\n\
             items: {} of {} ({}); {} waiting, {} held ({} delivered before), {} acknowledged\n\
             redelivery: {} after the last sign of the process that holds an item\n\
             producers: {} ever, {} expected; consumers: {} ever\n",
            show::name(self.ring),
            self.state,
            show::name(&self.server_version),
            self.replicas,
            count(self.contents.used),
            count(self.contents.capacity),
            show::bytes(self.contents.bytes),
            count(self.contents.items_waiting),
            count(self.contents.items_held),
            count(self.contents.items_held_again),
            count(self.contents.acknowledged),
            show::duration(self.ack_wait_ns),
            count(self.producers_ever),
            count(self.producers_expected),
            count(self.consumers_ever),
        );
        if let Some(framing) = &self.framing {
            text += &format!("framing: {framing}\n");
        }
        for Participant { role, number, pid, host, state, quiet_ns } in &self.participants {
            let (host, quiet) = (show::name(host), show::duration(*quiet_ns));
            text += &format!("{role} {number}: process {pid} on {host}, {state}, last sign {quiet} ago\n");
        }
        text
    }
}

/// `ringctl inspect`.
pub fn inspect(name: &StreamName, json: bool, ui: &Ui) -> Result<End, Failure> {
    let Some(admin) = connect(name, ui)? else { return Ok(signals::end()) };
    let look = admin.look()?.ok_or_else(|| not_found(name))?;
    let report = StreamReport::of(name, &look, admin.version());
    match json {
        true => ui.emit_json(&report)?,
        false => ui.emit(report.text().as_bytes())?,
    }
    Ok(End::Done)
}

/// `ringctl close`: returns whether the stream was open. `None`: a signal came first.
pub fn close(name: &StreamName, ui: &Ui) -> Result<Option<bool>, Failure> {
    let Some(admin) = connect(name, ui)? else { return Ok(None) };
    admin.close()?.map(Some).ok_or_else(|| not_found(name))
}

/// `ringctl rm`: returns whether this removed it, and the items that were lost by that.
pub fn remove(name: &StreamName, force: bool, ui: &Ui) -> Result<(bool, Option<u64>), Failure> {
    let interrupted = || Failure::new(code::RUNTIME, format!("{name}: interrupted"));
    let admin = connect(name, ui)?.ok_or_else(interrupted)?;
    match admin.remove(force)? {
        Some(items) => Ok((true, Some(items))),
        None if force => Ok((false, Some(0))),
        None => Err(not_found(name)),
    }
}

/// `ringctl peek`: up to `most` items, oldest first. `None`: a signal came first.
pub fn peek(name: &StreamName, most: u64, ui: &Ui) -> Result<Option<Vec<Waiting>>, Failure> {
    let Some(admin) = connect(name, ui)? else { return Ok(None) };
    admin.peek(most)?.map(Some).ok_or_else(|| not_found(name))
}

/// `ringctl wait`: checks until `is_true` of the stream, or of its absence. False: the time is over. `None`: a signal came.
pub fn wait(
    name: &StreamName,
    limit: Option<Duration>,
    is_true: impl Fn(Option<&Look>) -> bool,
    ui: &Ui,
) -> Result<Option<bool>, Failure> {
    let start = Instant::now();
    let Some(admin) = connect(name, ui)? else { return Ok(None) };
    loop {
        if is_true(admin.look()?.as_ref()) {
            return Ok(Some(true));
        }
        let left = limit.map_or(PAUSE, |limit| limit.saturating_sub(start.elapsed()).min(PAUSE));
        if left.is_zero() {
            return Ok(Some(false));
        }
        if !admin.sleep(left) {
            return Ok(None);
        }
    }
}
