//! Draws the processes: the participants and what they do, and recent deaths.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Screen, rate};
use crate::cli::ctl::picture::deaths::Death;
use crate::cli::ctl::picture::model::Rates;
use crate::cli::ctl::picture::observation::items_of;
use crate::cli::ctl::show;
use crate::{Activity, Liveness, ParticipantInfo, Role, SlotState};

/// The columns of a role.
const ROLE: usize = 8;

/// The columns of a process, the most important first: a narrow screen cuts off the last.
struct Card {
    pid: u32,
    name: (String, Style),
    doing: (String, Style),
    done: String,
    rate: String,
    command: String,
}

impl Screen<'_> {
    /// How many participants there are and how many died, in at most `width` columns.
    pub fn census(&self, width: usize) -> String {
        let snapshot = &self.model.watched.last.snapshot;
        let producers = show::counted(snapshot.producers_ever, "producer");
        let consumers = show::counted(snapshot.consumers_ever, "consumer");
        let died = match snapshot.recovered.participants + self.model.tally.deaths.unreaped() {
            0 => String::new(),
            n => format!(", {} died", show::count(n)),
        };
        let came = show::count(snapshot.producers_ever + snapshot.consumers_ever);
        match format!("{producers} and {consumers} came so far{died}") {
            text if text.chars().count() <= width => text,
            _ => format!("{came} came{died}"),
        }
    }

    /// A line for each process.
    pub fn processes(&self, rates: Option<&Rates>) -> Vec<Line<'static>> {
        let deaths = &self.model.tally.deaths;
        let participants = self.model.watched.last.snapshot.participants.iter();
        let mut sorted: Vec<&ParticipantInfo> =
            participants.filter(|one| deaths.of(one.serial).is_none()).collect();
        sorted.sort_by_key(|one| (one.role == Role::Consumer, one.serial));
        let mut cards: Vec<Card> = sorted.into_iter().map(|one| self.living(one, rates)).collect();
        // The latest first: if not all fit, the oldest are left out.
        let mut dead: Vec<&Death> = deaths.shown(self.model.watched.last.at).collect();
        dead.reverse();
        cards.extend(dead.into_iter().map(|one| self.dead(one)));
        let order = self.extras.order;
        // A stable sort: processes without a place keep their order.
        cards.sort_by_key(|card| order.iter().position(|pid| *pid == card.pid).unwrap_or(order.len()));
        cards.iter_mut().filter(|card| Some(card.pid) == self.extras.selected).for_each(Card::select);
        if cards.is_empty() {
            return vec![Line::styled("no process is attached", self.choices.theme.dim())];
        }
        let widest =
            |of: fn(&Card) -> &str| cards.iter().map(|card| of(card).chars().count()).max().unwrap_or(0);
        let name = widest(|card| &card.name.0);
        let doing = widest(|card| &card.doing.0);
        let done = widest(|card| &card.done);
        let rate = widest(|card| &card.rate);
        let line = |card: Card| {
            Line::from(vec![
                Span::styled(format!("{:<name$}  ", card.name.0), card.name.1),
                Span::styled(format!("{:<doing$}  ", card.doing.0), card.doing.1),
                Span::raw(format!("{:>done$}  {:>rate$}  {}", card.done, card.rate, card.command)),
            ])
        };
        cards.into_iter().map(line).collect()
    }

    fn living(&self, one: &ParticipantInfo, rates: Option<&Rates>) -> Card {
        let theme = self.choices.theme;
        let state = if one.role == Role::Producer { SlotState::Writing } else { SlotState::Reading };
        let doing = match (one.liveness, one.activity) {
            (Liveness::Dead, _) => ("dead".to_string(), theme.bad()),
            (Liveness::Stopped, _) => (self.stopped(one), theme.bad()),
            (_, Activity::Busy) => (self.holds(one).unwrap_or("busy".into()), theme.state(state)),
            (_, Activity::WaitingForItems) => ("waits for items".to_string(), theme.dim()),
            (_, Activity::WaitingForRoom) => ("waits for room".to_string(), theme.notable()),
        };
        let per_second =
            rates.and_then(|rates| rates.of.get(&one.serial)).map(|own| format!("{}/s", rate(*own)));
        Card { rate: per_second.unwrap_or_default(), ..card(one, theme.state(state), doing) }
    }

    fn dead(&self, death: &Death) -> Card {
        let theme = self.choices.theme;
        let held = death.held(&self.model.watched).unwrap_or("nothing".into());
        let text = match self.extras.fates.get(&death.info.pid) {
            Some(fate) => fate.clone(),
            None => format!("died, had {held}"),
        };
        card(&death.info, theme.bad(), (text, theme.bad()))
    }

    fn stopped(&self, one: &ParticipantInfo) -> String {
        self.holds(one).map_or("stopped".into(), |holds| format!("stopped, {holds}"))
    }

    /// What a participant is writing or reading, if slots are observed one by one.
    fn holds(&self, one: &ParticipantInfo) -> Option<String> {
        let mut held = self.model.watched.last.held_by(one.number);
        let first = held.next()?;
        let verb = if one.role == Role::Producer { "writes" } else { "has" };
        Some(match (first.id(), held.count()) {
            (_, more) if more > 0 => format!("{verb} {} items", more + 1),
            (Some((_, sequence)), _) => format!("{verb} item {sequence}"),
            (None, _) => format!("{verb} slot {}", first.slot.number),
        })
    }
}

impl Card {
    /// Marks the process that keys act on, without colours, too.
    fn select(&mut self) {
        self.name.0.replace_range(ROLE..=ROLE, "▸");
        self.name.1 = self.name.1.add_modifier(Modifier::REVERSED);
    }
}

fn card(one: &ParticipantInfo, style: Style, doing: (String, Style)) -> Card {
    let done = if one.role == Role::Producer { "sent" } else { "taken" };
    Card {
        pid: one.pid,
        name: (format!("{:<ROLE$} {:>5}", one.role.to_string(), one.pid), style),
        doing,
        done: format!("{} {done:<5}", show::count(items_of(one))),
        rate: String::new(),
        command: show::name(&one.command) + show::elsewhere(one.pid_namespace.map(show::pid_namespace)),
    }
}
