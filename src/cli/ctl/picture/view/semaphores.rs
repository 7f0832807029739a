//! Draws the semaphores: their values, and how many participants sleep on them.

use ratatui::text::{Line, Span};

use super::Screen;

/// The longest bar of a semaphore.
const BAR: u64 = 12;
/// The minimum widths for bars, and for the words about sleepers.
const WITH_BARS: u16 = super::SEMAPHORES;
const WITH_WORDS: u16 = 32;

impl Screen<'_> {
    /// A line for each semaphore, in `width` columns.
    pub fn semaphores(&self, width: u16) -> Vec<Line<'static>> {
        let snapshot = &self.model.watched.last.snapshot;
        let all = [
            ("items", snapshot.items_semaphore, "consumers"),
            ("room", snapshot.room_semaphore, "producers"),
        ];
        let line = |(name, (value, sleepers), who)| {
            let mut spans = self.counter(name, value, snapshot.capacity, width);
            spans.push(self.asleep(sleepers, if width < WITH_WORDS { "" } else { who }));
            Line::from(spans)
        };
        let mut lines: Vec<Line<'static>> = all.into_iter().map(line).collect();
        if snapshot.discipline.takes_turns() && !self.model.watched.ring.is_exclusive() {
            lines.push(self.mutex());
        }
        lines
    }

    fn counter(&self, name: &str, value: i32, capacity: u64, width: u16) -> Vec<Span<'static>> {
        let theme = self.choices.theme;
        let mut spans = vec![Span::raw(format!("{name:<6}{value:>4} "))];
        if width >= WITH_BARS {
            let shown = u64::try_from(value).unwrap_or(0);
            let length = capacity.min(BAR);
            let full = match capacity <= BAR {
                true => shown.min(length),
                false => shown.saturating_mul(length).div_ceil(capacity).min(length),
            };
            spans.push(Span::styled("●".repeat(full as usize), theme.good()));
            spans.push(Span::styled("○".repeat((length - full) as usize), theme.dim()));
        }
        spans
    }

    /// How many sleep: `who`, or participants in general if that is empty.
    fn asleep(&self, sleepers: u64, who: &str) -> Span<'static> {
        let theme = self.choices.theme;
        match (sleepers, who) {
            (0, "") => Span::styled("  none asleep", theme.dim()),
            (0, who) => Span::styled(format!("  no {who} asleep"), theme.dim()),
            (n, "") => Span::styled(format!("  {n} asleep"), theme.notable()),
            (1, who) => Span::styled(format!("  1 {} asleep", who.trim_end_matches('s')), theme.notable()),
            (n, who) => Span::styled(format!("  {n} {who} asleep"), theme.notable()),
        }
    }

    fn mutex(&self) -> Line<'static> {
        let (snapshot, theme) = (&self.model.watched.last.snapshot, self.choices.theme);
        let (value, owner) = snapshot.mutex;
        let free = value > 0;
        let turn = owner.map(|number| match snapshot.participants.iter().find(|one| one.number == number) {
            Some(one) => format!("  {} {} has its turn", one.role, one.pid),
            None => format!("  participant {number} had its turn"),
        });
        Line::from(vec![
            Span::raw(format!("{:<6}{value:>4} ", "mutex")),
            Span::styled(if free { "●" } else { "○" }, if free { theme.good() } else { theme.dim() }),
            match turn {
                Some(turn) => Span::styled(turn, theme.notable()),
                None => Span::styled("  no turn", theme.dim()),
            },
        ])
    }
}
