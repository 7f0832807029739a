//! The report of `inspect` as text.
use super::holders::Holder;
use super::runs::Running;
use super::{Counters, Holding, Participant, RingReport};
use crate::cli::common::escape;
use crate::cli::common::paint::{Paint, Tone};
use crate::cli::common::table::{Cell, Table, cell, toned};
use crate::cli::ctl::recovery_report::RecoveryReport;
use crate::cli::ctl::semaphores::SemaphoreState;
use crate::cli::ctl::show;

/// The longest list of held slots; further ones are counted.
const MOST_HELD: usize = 50;

impl RingReport<'_> {
    pub fn text(&self, paint: Paint) -> String {
        let mut text = paint.text(Tone::Heading, &show::name(self.ring)) + "\n";
        for (label, value) in self.lines(paint) {
            text += &format!("  {label:<11} {value}\n");
        }
        if !self.participants.is_empty() {
            text += &format!("\n{}", self.participants(paint));
        }
        if !self.held.is_empty() {
            text += &format!("\n{}", self.held(paint));
        }
        if !self.holders.is_empty() {
            text += &format!("\n{}", self.holders(paint));
        }
        if self.participants.iter().any(|one| one.state == "dead") {
            let ring = escape::argument(self.ring);
            let hint = format!(
                "the next process that waits recovers what dead processes hold; or run: ringctl repair {ring}"
            );
            text += &format!("\n  {}\n", paint.text(Tone::Notable, &hint));
        }
        text
    }

    fn lines(&self, paint: Paint) -> Vec<(&'static str, String)> {
        let tone = if self.state == "open" { Tone::Good } else { Tone::Notable };
        let age = show::duration(show::age_ns(self.created_at_ns));
        let options = [
            (self.exclusive, "exclusive"),
            (self.timestamps, "timestamps"),
            (self.ephemeral, "removed by the last process that leaves"),
        ];
        let options: Vec<&str> = options.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
        let asleep =
            |semaphore: &SemaphoreState| format!("{} ({} asleep)", semaphore.value, semaphore.sleepers);
        let mut lines = vec![
            (
                "state",
                format!("{}, made {age} ago by process {}", paint.text(tone, self.state), self.creator_pid),
            ),
            ("access", format!("mode {}, user {}, group {}", self.mode, self.uid, self.gid)),
            ("id", self.id.clone()),
            ("geometry", self.geometry()),
            ("options", if options.is_empty() { "none".into() } else { options.join(", ") }),
            ("fill", self.fill()),
        ];
        if let Some(framing) = &self.framing {
            lines.push(("framing", format!("{framing}, as its producers say")));
        }
        if let Some(age) = self.oldest_age_ns {
            lines.push(("oldest", format!("{} in the ring", show::duration(age))));
        }
        lines.push(("positions", format!("head {}, tail {}", self.head, self.tail)));
        lines.push(("stream", self.stream()));
        lines.push(("sync", self.sync()));
        let (items, room) = (asleep(&self.semaphores.items), asleep(&self.semaphores.room));
        let mutex = self.semaphores.mutex.as_ref().map(|mutex| match mutex.participant {
            Some(number) => format!(", mutex {} (participant {number})", mutex.value),
            None => format!(", mutex {} (no turn)", mutex.value),
        });
        lines.push(("semaphores", format!("items {items}, room {room}{}", mutex.unwrap_or_default())));
        lines.push(("totals", totals(&self.totals)));
        lines.push(("deaths", deaths(&self.recovered)));
        lines
    }

    fn geometry(&self) -> String {
        let items = match self.fixed {
            Some(bytes) => format!("for fixed items of {}", show::bytes(bytes)),
            None => format!("of {}, items up to {}", show::bytes(self.slot_size), show::bytes(self.max_item)),
        };
        format!(
            "{} slots {items}, {} of memory, up to {} participants",
            show::count(self.capacity),
            show::bytes(self.size),
            self.max_participants,
        )
    }

    fn sync(&self) -> String {
        let wake = self.wake_at.map(|slots| format!(", wakes at {slots}")).unwrap_or_default();
        let resume = self.resume_at.map(|slots| format!(", resumes at {slots}")).unwrap_or_default();
        format!("{}{wake}{resume}", self.sync)
    }

    fn fill(&self) -> String {
        let part = |number, what| (number > 0).then(|| format!("{} {what}", show::count(number)));
        let parts = [
            part(self.items_waiting_again, "to be delivered again"),
            part(self.items_waiting_failed, "with failures"),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let failed = match self.items_held_failed {
            0 => String::new(),
            items => format!(" ({} with failures)", show::counted(items, "item")),
        };
        let again = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        format!(
            "{} waiting{again}, {} held{failed}; {} of {} slots used ({:.1} %)",
            show::counted(self.items_waiting, "item"),
            show::counted(self.held.len() as u64, "run"),
            show::count(self.used_slots),
            show::count(self.capacity),
            100.0 * self.used_slots as f64 / self.capacity as f64,
        )
    }

    fn stream(&self) -> String {
        let came = |number, role| format!("{} came", show::counted(number, role));
        format!(
            "{} ({} expected), {}",
            came(self.producers_ever, "producer"),
            self.producers_expected,
            came(self.consumers_ever, "consumer"),
        )
    }

    fn participants(&self, paint: Paint) -> String {
        let mut table = Table::new(&[
            ">NO", "ROLE", ">PID", "COMMAND", "STATE", "DOING", ">ITEMS", ">ACKED", ">BYTES", ">SINCE",
        ]);
        self.participants.iter().for_each(|one| table.row(participant(one)));
        table.render("  ", paint)
    }

    fn held(&self, paint: Paint) -> String {
        let mut table =
            Table::new(&[">SLOT", ">SLOTS", "HELD BY", ">PID", "STATE", "FOR", ">TIME", ">ATTEMPT"]);
        self.held.iter().take(MOST_HELD).for_each(|held| table.row(holding(held)));
        let mut text = table.render("  ", paint);
        if let Some(more @ 1..) = self.held.len().checked_sub(MOST_HELD) {
            text += &format!("  and {}; all are in --json\n", show::counted(more as u64, "more run"));
        }
        text
    }

    /// A line for each consumer that holds items, and one for each further command that it runs.
    fn holders(&self, paint: Paint) -> String {
        let mut table = Table::new(&[
            "HOLDER",
            ">PID",
            ">ITEMS",
            ">WAITING",
            ">DELAYED",
            ">WITH FAILURES",
            ">OLDEST",
            ">ITEM",
            ">RUNS",
            "COMMAND",
        ]);
        for holder in &self.holders {
            let mut cells = self::holder(holder);
            let own = cells.len();
            if holder.runs.is_empty() {
                cells.extend([cell("-"), cell("-"), cell("-")]);
                table.row(cells);
                continue;
            }
            for Running { pid, command, work, .. } in &holder.runs {
                cells.resize_with(own, || cell(""));
                let item = work.known().map_or("-".into(), |work| work.key.to_string());
                cells.extend([cell(item), cell(pid), cell(command)]);
                table.row(std::mem::take(&mut cells));
            }
        }
        table.render("  ", paint)
    }
}

/// The cells of a holder before those of its commands.
fn holder(holder: &Holder) -> Vec<Cell> {
    let known = |number: Option<u64>| cell(number.map_or("-".into(), show::count));
    vec![
        cell(format!("participant {}", holder.participant)),
        cell(holder.pid.map_or("?".into(), |pid| pid.to_string())),
        cell(show::count(holder.items)),
        known(holder.states.waiting),
        known(holder.states.delayed),
        cell(show::count(holder.items_failed)),
        cell(holder.oldest_for_ns.map_or("-".into(), show::duration)),
    ]
}

fn totals(totals: &Counters) -> String {
    let mut text = format!(
        "{} sent ({}), {} received ({}), {} acknowledged, {} given back",
        show::count(totals.sent),
        show::bytes(totals.bytes_sent),
        show::count(totals.received),
        show::bytes(totals.bytes_received),
        show::count(totals.acknowledged),
        show::count(totals.returned),
    );
    if totals.dropped_newest + totals.dropped_oldest > 0 {
        let (newest, oldest) = (show::count(totals.dropped_newest), show::count(totals.dropped_oldest));
        text += &format!(", {newest} newest and {oldest} oldest dropped");
    }
    text
}

fn deaths(recovered: &RecoveryReport) -> String {
    match recovered.deaths {
        0 => "none".into(),
        deaths => format!(
            "{} died; {} of theirs to be delivered again, {} given up",
            show::counted(deaths, "participant"),
            show::counted(recovered.items, "item"),
            show::counted(recovered.claims, "unfinished claim"),
        ),
    }
}

fn participant(one: &Participant) -> Vec<Cell> {
    let counters = &one.counters;
    let (items, acknowledged, bytes) = match one.role {
        "producer" => (counters.sent, "-".into(), counters.bytes_sent),
        _ => (counters.received, show::count(counters.acknowledged), counters.bytes_received),
    };
    vec![
        cell(one.number),
        cell(one.role),
        cell(one.pid),
        cell(&one.command),
        state(one.state, one.pid_namespace),
        cell(one.activity),
        cell(show::count(items)),
        cell(acknowledged),
        cell(show::bytes(bytes)),
        cell(show::duration(show::age_ns(one.attached_at_ns))),
    ]
}

fn holding(held: &Holding) -> Vec<Cell> {
    vec![
        cell(held.slot),
        cell(held.slots),
        cell(format!("participant {}", held.participant)),
        cell(held.pid.map_or("?".into(), |pid| pid.to_string())),
        state(held.state.unwrap_or("left"), held.pid_namespace),
        cell(held.doing),
        cell(held.for_ns.map_or("-".into(), show::duration)),
        cell(if held.attempt == 0 { "-".into() } else { held.attempt.to_string() }),
    ]
}

fn state(state: &str, pid_namespace: Option<&str>) -> Cell {
    let tone = match state {
        "alive" => Tone::Good,
        "stopped" => Tone::Notable,
        _ => Tone::Bad,
    };
    toned(tone, format!("{state}{}", show::elsewhere(pid_namespace)))
}
