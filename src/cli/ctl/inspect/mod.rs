//! `ringctl inspect`: reports everything about one ring.
mod holders;
mod runs;
mod text;

use serde::Serialize;

use self::holders::{Holder, holders};
use super::{list::state, recovery_report::RecoveryReport, semaphores::Semaphores, show};
use crate::cli::common::address::Address;
use crate::cli::common::start::End;
use crate::cli::common::ui::{Ui, json_line};
use crate::framing::Recorded;
use crate::{Held, ParticipantInfo, RingObserver, Role, Snapshot, Totals, cli::common::exit::Failure};

/// Show everything about a ring: fill, participants, held items, counters
///
/// Inspecting changes nothing. The parts are read one after the other while other processes continue, so the
/// figures of a busy ring need not add up.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A participant is alive, stopped (alive, and it keeps what it holds), or dead (what it holds
is delivered again as soon as a process waits, or by ringctl repair). A process id is as
the participant sees it: 'in another PID namespace' if it means another process here, 'no
such process here' if it means none.

For a consumer that holds items, the child processes of its process are shown, if the
system allows it: the commands that it runs, and the item of each. Of the other items that a
worker holds, those with failures are delayed: they wait for their next attempt. Those without
wait for a command. '-' (in JSON null) where that cannot be known, as with --coprocess and
--keep-order. docs/COMMANDS.md lists these cases and the keys.

Examples:
  ringctl inspect jobs
  ringctl inspect jobs --json | jq '.participants[] | select(.state == \"dead\")'

Exit codes: 0 shown; 3 no such ring; 6 damaged, or not a ring.")]
pub struct Args {
    /// Name of the ring
    ring: Address,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The report. Times are nanoseconds, ages included; sizes are bytes.
#[derive(Serialize)]
struct RingReport<'a> {
    schema: &'static str,
    ring: &'a str,
    id: String,
    /// `open`, `closed`, or `over`.
    state: &'static str,
    created_at_ns: u64,
    creator_pid: u32,
    mode: String,
    uid: u32,
    gid: u32,
    size: u64,
    capacity: u64,
    slot_size: u64,
    /// The length of each item, if all have one.
    fixed: Option<u64>,
    max_item: u64,
    max_participants: u32,
    exclusive: bool,
    timestamps: bool,
    ephemeral: bool,
    /// As its producers have recorded it.
    framing: Option<String>,
    used_slots: u64,
    items_waiting: u64,
    items_waiting_again: u64,
    items_waiting_failed: u64,
    /// Items that consumers hold, and that have failed before.
    items_held_failed: u64,
    oldest_age_ns: Option<u64>,
    head: u64,
    tail: u64,
    producers_expected: u32,
    producers_ever: u64,
    consumers_ever: u64,
    sync: &'static str,
    /// Of a monitor.
    wake_at: Option<u64>,
    resume_at: Option<u64>,
    semaphores: Semaphores,
    participants: Vec<Participant>,
    held: Vec<Holding>,
    /// Consumers that hold items.
    holders: Vec<Holder>,
    totals: Counters,
    recovered: RecoveryReport,
}

#[derive(Serialize)]
struct Participant {
    number: u32,
    serial: u32,
    role: &'static str,
    pid: u32,
    command: String,
    /// Where the process id refers to the participant: in `this` PID namespace; in an `other` one, while here it
    /// refers to another process; `unseen` if here it refers to none. `None` for a dead participant, and where it
    /// is unknown.
    pid_namespace: Option<&'static str>,
    /// `alive`, `stopped`, or `dead`.
    state: &'static str,
    activity: &'static str,
    attached_at_ns: u64,
    counters: Counters,
}

/// A run of slots that a participant holds.
#[derive(Serialize)]
struct Holding {
    slot: u64,
    slots: u64,
    participant: u32,
    /// The participant's process id; `None` if it is not in the table.
    pid: Option<u32>,
    pid_namespace: Option<&'static str>,
    state: Option<&'static str>,
    /// `writing` or `reading`.
    doing: &'static str,
    attempt: u8,
    for_ns: Option<u64>,
}

#[derive(Serialize)]
struct Counters {
    sent: u64,
    received: u64,
    acknowledged: u64,
    returned: u64,
    dropped_newest: u64,
    dropped_oldest: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    #[cfg_attr(not(feature = "nats"), allow(clippy::infallible_destructuring_match))]
    let name = match &args.ring {
        Address::Ring(name) => name,
        #[cfg(feature = "nats")]
        Address::Stream(name) => return super::streams::inspect(name, args.json, ui),
    };
    let ring = super::observe(name)?;
    let snapshot = ring.snapshot().map_err(|error| Failure::of_ring(name.as_str(), &error))?;
    let report = RingReport::new(&ring, snapshot);
    let text = if args.json { json_line(&report)? } else { report.text(ui.paint()) };
    ui.emit(text.as_bytes())?;
    Ok(End::Done)
}

impl<'a> RingReport<'a> {
    fn new(ring: &'a RingObserver, snapshot: Snapshot) -> Self {
        let discipline = snapshot.discipline;
        let thresholds = discipline.thresholds();
        let holders = holders(ring, &snapshot.held, &snapshot.participants);
        let holding = |held: &Held| Holding::new(held, &snapshot.participants);
        RingReport {
            schema: "ringpipe.inspect/1",
            ring: ring.name(),
            id: super::hex(ring.id()),
            state: state(ring),
            created_at_ns: snapshot.created_at,
            creator_pid: snapshot.creator,
            mode: format!("{:04o}", snapshot.attributes.mode),
            uid: snapshot.attributes.uid,
            gid: snapshot.attributes.gid,
            size: snapshot.size,
            capacity: snapshot.capacity,
            slot_size: snapshot.slot_size,
            fixed: snapshot.fixed,
            max_item: ring.max_item(),
            max_participants: ring.max_participants(),
            exclusive: ring.is_exclusive(),
            timestamps: ring.has_timestamps(),
            ephemeral: ring.is_ephemeral(),
            framing: Some(Recorded::of(ring.framing_word()))
                .filter(|told| *told != Recorded::Unknown)
                .map(|told| told.to_string()),
            used_slots: snapshot.used_slots,
            items_waiting: snapshot.ready,
            items_waiting_again: snapshot.returned,
            items_waiting_failed: snapshot.failed,
            items_held_failed: holders.iter().map(|holder| holder.items_failed).sum(),
            oldest_age_ns: snapshot.oldest_age,
            head: snapshot.head,
            tail: snapshot.tail,
            producers_expected: snapshot.expected_producers,
            producers_ever: snapshot.producers_ever,
            consumers_ever: snapshot.consumers_ever,
            sync: discipline.name(),
            wake_at: thresholds.map(|thresholds| thresholds.wake_at),
            resume_at: thresholds.and_then(|thresholds| thresholds.resume_at),
            semaphores: Semaphores::of(&snapshot, ring.is_exclusive()),
            held: snapshot.held.iter().map(holding).collect(),
            holders,
            totals: Counters::new(&snapshot.totals),
            recovered: snapshot.recovered.into(),
            participants: snapshot.participants.into_iter().map(Participant::new).collect(),
        }
    }
}

impl Participant {
    fn new(info: ParticipantInfo) -> Self {
        Participant {
            number: info.number,
            serial: info.serial,
            role: match info.role {
                Role::Producer => "producer",
                Role::Consumer => "consumer",
            },
            pid: info.pid,
            pid_namespace: info.pid_namespace.map(show::pid_namespace),
            state: show::liveness(info.liveness),
            activity: show::activity(info.activity),
            attached_at_ns: info.attached_at,
            counters: Counters::new(&info.totals),
            command: info.command,
        }
    }
}

impl Holding {
    fn new(held: &Held, participants: &[ParticipantInfo]) -> Self {
        let owner = participants.iter().find(|one| one.number == held.owner);
        Holding {
            slot: held.slot,
            slots: held.run,
            participant: held.owner,
            pid: owner.map(|one| one.pid),
            pid_namespace: owner.and_then(|one| one.pid_namespace).map(show::pid_namespace),
            state: owner.map(|one| show::liveness(one.liveness)),
            doing: if held.writing { "writing" } else { "reading" },
            attempt: held.attempt,
            for_ns: held.since,
        }
    }
}

impl Counters {
    fn new(totals: &Totals) -> Self {
        Counters {
            sent: totals.sent,
            received: totals.received,
            acknowledged: totals.acknowledged,
            returned: totals.returned,
            dropped_newest: totals.dropped_newest,
            dropped_oldest: totals.dropped_oldest,
            bytes_sent: totals.bytes_sent,
            bytes_received: totals.bytes_received,
        }
    }
}
