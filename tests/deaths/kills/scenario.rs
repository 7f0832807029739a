//! The operations, and the states of the ring in which each is killed.

use ringpipe::{Discipline, Ring, RingOptions, Role};

use crate::kills::lives::*;
use crate::kills::trace::Stage;
use crate::kills::world::{CAPACITY, Effect, PATIENCE, SHORT, SLOT_SIZE, WIDE, World};
use crate::support::other_disciplines;

/// A kind of ring.
pub struct Kind {
    pub name: String,
    pub options: RingOptions,
    pub exclusive: bool,
    pub fixed: bool,
    /// It is of another discipline than the default one.
    pub other_discipline: bool,
}

impl Kind {
    fn new(name: &str, options: RingOptions) -> Kind {
        Kind { name: name.into(), options, exclusive: false, fixed: false, other_discipline: false }
    }

    fn exclusive(self) -> Kind {
        Kind { options: self.options.exclusive(true), exclusive: true, ..self }
    }

    /// With fixed items, of the length of short ones.
    fn fixed(self) -> Kind {
        let name = format!("{}, fixed items", self.name);
        Kind { name, options: self.options.fixed(SHORT as u64), fixed: true, ..self }
    }
}

fn options() -> RingOptions {
    RingOptions::new().capacity(CAPACITY).slot_size(SLOT_SIZE).participants(8)
}

/// The kinds of ring.
pub fn kinds() -> Vec<Kind> {
    let many = || Kind::new("for many", options());
    let exclusive = || Kind::new("exclusive", options()).exclusive();
    vec![many(), exclusive(), many().fixed(), exclusive().fixed()]
}

/// Rings of the other disciplines.
pub fn disciplines() -> Vec<Kind> {
    let of = |discipline: Discipline| Kind {
        other_discipline: true,
        ..Kind::new(discipline.name(), options().sync(discipline))
    };
    other_disciplines().map(of).chain(other_disciplines().map(|discipline| of(discipline).fixed())).collect()
}

pub type Hook = fn(&mut World);

/// One operation in one state of the ring.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub operation: &'static str,
    pub path: &'static str,
    /// What the victim takes part as, if it does.
    pub role: Option<Role>,
    /// Not on exclusive rings.
    pub many_only: bool,
    /// Only in rings of fixed items.
    pub fixed_only: bool,
    /// Reserves room of several slots, even if it sends no item of several: not in rings of fixed items.
    spans: bool,
    /// Brings the ring into its state.
    pub before: Hook,
    /// What the victim does.
    pub life: fn(&Stage, &Ring),
    /// What others do when the victim is about to act.
    pub at_mark: Option<Hook>,
    /// What others do when the victim waits for them.
    pub when_blocked: Option<Hook>,
    /// The process that sleeps meanwhile.
    pub sleeper: Option<Role>,
    pub effects: &'static [(Effect, &'static [u64])],
    /// Stopped instead of killed, too: all claims are of one slot.
    pub stops: bool,
    /// Too long for a sample: it spins over a slow path.
    pub long: bool,
    /// Its course depends on the time, since it waits.
    pub timed: bool,
}

impl Scenario {
    fn new(
        operation: &'static str,
        path: &'static str,
        role: Role,
        before: Hook,
        life: fn(&Stage, &Ring),
    ) -> Self {
        Scenario {
            operation,
            path,
            role: Some(role),
            many_only: false,
            fixed_only: false,
            spans: false,
            before,
            life,
            at_mark: None,
            when_blocked: None,
            sleeper: None,
            effects: &[],
            stops: false,
            long: false,
            timed: false,
        }
    }

    fn sends(operation: &'static str, path: &'static str, before: Hook, life: fn(&Stage, &Ring)) -> Self {
        Self::new(operation, path, Role::Producer, before, life).with(&[(Effect::Sends, &[MINE])])
    }

    fn receives(operation: &'static str, path: &'static str, before: Hook, life: fn(&Stage, &Ring)) -> Self {
        Self::new(operation, path, Role::Consumer, before, life).with(&[(Effect::Takes, &[1])])
    }

    fn with(mut self, effects: &'static [(Effect, &'static [u64])]) -> Self {
        self.effects = effects;
        self
    }

    fn many(mut self) -> Self {
        self.many_only = true;
        self
    }

    fn fixed(mut self) -> Self {
        self.fixed_only = true;
        self
    }

    fn spans(mut self) -> Self {
        self.spans = true;
        self
    }

    /// Whether it can be tried on this kind of ring.
    pub fn fits(&self, kind: &Kind) -> bool {
        let spans = self.spans || self.effects.iter().any(|(_, ids)| ids.iter().any(|id| id & WIDE != 0));
        !(kind.exclusive && self.many_only || kind.fixed && spans || !kind.fixed && self.fixed_only)
    }

    fn at_mark(mut self, hook: Hook) -> Self {
        self.at_mark = Some(hook);
        self
    }

    fn when_blocked(mut self, hook: Hook) -> Self {
        self.when_blocked = Some(hook);
        self.timed()
    }

    fn sleeping(mut self, role: Role) -> Self {
        self.sleeper = Some(role);
        self
    }

    fn stops(mut self) -> Self {
        self.stops = true;
        self
    }

    fn long(mut self) -> Self {
        self.long = true;
        self.timed()
    }

    fn timed(mut self) -> Self {
        self.timed = true;
        self
    }

    fn nobody(mut self) -> Self {
        self.role = None;
        self
    }
}

// States.

pub fn empty(_: &mut World) {}

fn lap_later(world: &mut World) {
    world.advance(CAPACITY);
}

/// Two slots are left before the end.
pub fn near_the_end(world: &mut World) {
    world.advance(CAPACITY - 2);
}

pub fn one(world: &mut World) {
    world.send(&[1]);
}

pub fn two(world: &mut World) {
    world.send(&[1, 2]);
}

pub fn four(world: &mut World) {
    world.send(&[1, 2, 3, 4]);
}

pub fn four_over_the_end(world: &mut World) {
    near_the_end(world);
    four(world);
}

pub fn full(world: &mut World) {
    world.send(&[1, 2, 3, 4, 5, 6, 7, 8]);
}

pub fn wide(world: &mut World) {
    world.send(&[WIDE + 1, 2]);
}

fn wide_over_the_end(world: &mut World) {
    near_the_end(world);
    wide(world);
}

fn one_returned(world: &mut World) {
    two(world);
    world.give_back(1);
}

/// The slot at tail is held by a living consumer.
pub fn held_a_lap_ago(world: &mut World) {
    one(world);
    world.hold_item(1);
    world.advance(CAPACITY - 1);
}

/// The same with an item that was given back since.
fn returned_a_lap_ago(world: &mut World) {
    held_a_lap_ago(world);
    world.return_held();
}

/// The slot at tail is held by a living consumer, and was stepped over once.
fn held_two_laps_ago(world: &mut World) {
    held_a_lap_ago(world);
    world.advance(CAPACITY - 1);
}

/// Four items, sent at once.
pub fn row(world: &mut World) {
    world.send_row(&[1, 2, 3, 4]);
}

pub fn row_over_the_end(world: &mut World) {
    near_the_end(world);
    row(world);
}

pub fn two_rows(world: &mut World) {
    world.send_row(&[1, 2]);
    world.send_row(&[3, 4]);
}

/// A row between single items.
pub fn row_and_singles(world: &mut World) {
    world.send(&[1]);
    world.send_row(&[2, 3]);
    world.send(&[4]);
}

/// A row, part of which was received and returned.
fn row_parted_and_returned(world: &mut World) {
    row(world);
    world.give_back(1);
}

/// The item at head is being written by a living producer.
fn writer_at_head(world: &mut World) {
    world.hold_room(1);
    world.send(&[2]);
}

/// The next item but one is held by a living consumer, and so is head's position.
fn held_at_head(world: &mut World) {
    world.send(&[7]);
    world.hold_item(7);
    two(world);
}

// What others do meanwhile.

fn receive_one(world: &mut World) {
    world.receive(PATIENCE).map_err(|trouble| trouble.text).expect("whole").expect("an item");
}

/// Consumers pass the victim, which is slow to write.
fn pass_the_writer(world: &mut World) {
    if world.ring.is_exclusive() {
        return;
    }
    world.send(&[1]);
    receive_one(world);
}

/// The ring goes round, past the slot that the victim holds.
fn go_round(world: &mut World) {
    world.advance(CAPACITY + 3);
}

pub fn sending() -> Vec<Scenario> {
    use Scenario as S;
    const THREE: &[(Effect, &[u64])] = &[(Effect::Sends, &[MINE, MINE + 1, MINE + 2])];
    const LONG: &[(Effect, &[u64])] = &[(Effect::Sends, &[WIDE + MINE])];
    const MIXED: &[(Effect, &[u64])] = &[(Effect::Sends, &[MINE, WIDE + MINE])];
    const FOR_ONE: &[(Effect, &[u64])] = &[(Effect::Sends, &[MINE]), (Effect::Drops, &[1])];
    const FOR_LONG: &[(Effect, &[u64])] = &[
        (Effect::Sends, &[WIDE + MINE]),
        (Effect::Drops, &[1]),
        (Effect::Drops, &[2]),
        (Effect::Drops, &[3]),
    ];
    const NOTHING: &[(Effect, &[u64])] = &[];
    vec![
        S::sends("send", "empty", empty, send).stops(),
        S::sends("send", "a lap later", lap_later, send).stops(),
        S::sends("send", "behind others", two, send).stops(),
        S::sends("send", "full, refused", full, try_send),
        S::sends("send", "full, times out", full, send_a_moment).timed(),
        S::sends("send", "full, waits", full, send).when_blocked(receive_one),
        S::sends("send", "full, drops the oldest", full, send_dropping).with(FOR_ONE).many(),
        S::sends("send", "steps over a held slot", held_a_lap_ago, send).many().stops(),
        S::sends("send", "wakes a consumer", empty, send).sleeping(Role::Consumer),
        S::sends("send_batch", "empty", empty, send_three).with(THREE),
        S::sends("send_batch", "around the end", near_the_end, send_three).with(THREE),
        S::sends("send_batch", "steps over a held slot", held_a_lap_ago, send_three).with(THREE).many(),
        S::sends("send_batch", "full, waits", full, send_three).with(THREE).when_blocked(receive_one),
        S::sends("send_batch", "short and spanning", empty, send_mixed).with(MIXED),
        S::sends("send, spanning", "empty", empty, send_wide).with(LONG),
        S::sends("send, spanning", "around the end", near_the_end, send_wide).with(LONG),
        S::sends("send, spanning", "full, times out", full, send_wide_a_moment).with(LONG).long(),
        S::sends("send, spanning", "full, drops the oldest", full, send_wide_dropping).with(FOR_LONG).many(),
        S::sends("send, spanning", "past a held slot", held_a_lap_ago, send_wide).with(LONG).many(),
        S::sends("reserve, commit", "empty", empty, reserve_and_commit).stops(),
        S::sends("commit", "a part", empty, commit_a_part).spans(),
        S::sends("commit", "passed by consumers", empty, commit).at_mark(pass_the_writer).many(),
        S::sends("reserve, drop", "empty", empty, reserve_and_drop).with(NOTHING),
        S::sends("reserve, drop", "around the end", near_the_end, reserve_wide_and_drop)
            .with(NOTHING)
            .spans(),
        S::sends("drop reserved", "passed by consumers", empty, drop_reserved)
            .with(NOTHING)
            .at_mark(pass_the_writer)
            .many(),
        S::sends("send", "steps over a returned item", returned_a_lap_ago, send).many().stops(),
        S::sends("send", "steps over a held slot again", held_two_laps_ago, send).many().stops(),
        S::sends("send_packed", "empty", empty, send_packed).with(THREE).fixed(),
        S::sends("send_packed", "around the end", near_the_end, send_packed).with(THREE).fixed(),
        S::sends("send_packed", "steps over a held slot", held_a_lap_ago, send_packed)
            .with(THREE)
            .many()
            .fixed(),
        S::sends("send_packed", "full, waits", full, send_packed)
            .with(THREE)
            .when_blocked(receive_one)
            .fixed(),
        S::sends("send_batch, typed", "empty", empty, send_typed).with(THREE).fixed(),
    ]
}

pub fn receiving() -> Vec<Scenario> {
    use Scenario as S;
    const FOUR: &[(Effect, &[u64])] = &[(Effect::Takes, &[1, 2, 3, 4])];
    const LONG: &[(Effect, &[u64])] = &[(Effect::Takes, &[WIDE + 1])];
    const SECOND: &[(Effect, &[u64])] = &[(Effect::Takes, &[2])];
    const MIXED: &[(Effect, &[u64])] = &[(Effect::Takes, &[WIDE + 1, 2])];
    const ONE_DONE: &[(Effect, &[u64])] = &[(Effect::Consumes, &[1])];
    const TWO: &[(Effect, &[u64])] = &[(Effect::Takes, &[1, 2])];
    const FIRST_THREE: &[(Effect, &[u64])] = &[(Effect::Takes, &[1, 2, 3])];
    const FOUR_DONE: &[(Effect, &[u64])] = &[(Effect::Consumes, &[1, 2, 3, 4])];
    const ONE_BEFORE: &[(Effect, &[u64])] = &[(Effect::Acknowledged, &[1]), (Effect::Takes, &[2])];
    vec![
        S::receives("recv", "one there", one, recv).stops(),
        S::receives("recv", "the second in a row", four, recv_second).with(ONE_BEFORE),
        S::receives("recv", "over the end", four_over_the_end, recv).stops(),
        S::receives("recv", "one returned", one_returned, recv).many().stops(),
        S::receives("recv", "empty, refused", empty, try_recv),
        S::receives("recv", "empty, times out", empty, recv_a_moment).timed(),
        S::receives("recv", "empty, waits", empty, recv).when_blocked(one),
        S::receives("recv", "behind a held slot", held_at_head, recv).many().stops(),
        S::receives("recv", "a writer is in the way", writer_at_head, recv_a_moment)
            .with(SECOND)
            .many()
            .long(),
        S::receives("recv", "passes a writer", writer_at_head, recv_patiently).with(SECOND).many().long(),
        S::receives("recv, spanning", "there", wide, recv).with(LONG),
        S::receives("recv, spanning", "around the end", wide_over_the_end, recv).with(LONG),
        S::receives("recv_batch", "four there", four, recv_four).with(FOUR),
        S::receives("recv_batch", "around the end", four_over_the_end, recv_four).with(FOUR),
        S::receives("recv_batch", "short and spanning", wide, recv_four).with(MIXED),
        S::receives("recv, ack", "one there", one, recv_and_ack).with(ONE_DONE),
        S::receives("recv, ack", "full, wakes a producer", full, recv_and_ack)
            .with(ONE_DONE)
            .sleeping(Role::Producer),
        S::receives("recv", "parts a row", row, recv),
        S::receives("recv", "a row, one returned", row_parted_and_returned, recv).many(),
        S::receives("recv_batch", "a row", row, recv_four).with(FOUR),
        S::receives("recv_batch", "a row around the end", row_over_the_end, recv_four).with(FOUR),
        S::receives("recv_batch", "a row and single items", row_and_singles, recv_four).with(FOUR),
        S::receives("recv_batch", "two rows", two_rows, recv_four).with(FOUR),
        S::receives("recv_batch", "parts a row", row, recv_two).with(TWO),
        S::receives("recv_batch", "parts a row, unevenly", row, recv_three).with(FIRST_THREE),
        S::receives("recv_batch", "a single item, parts a row", row_and_singles, recv_two).with(TWO),
        S::receives("recv_batch, copy_packed", "a row", row, recv_packed).with(FOUR).fixed(),
        S::receives("recv_batch, copy_packed, ack", "two rows", two_rows, recv_packed_and_ack)
            .with(FOUR_DONE)
            .fixed(),
        S::receives("recv_batch, typed, ack", "a row", row, recv_typed_and_ack).with(FOUR_DONE).fixed(),
    ]
}

pub fn acknowledging() -> Vec<Scenario> {
    use Scenario as S;
    const DONE: &[(Effect, &[u64])] = &[(Effect::Acknowledges, &[1])];
    const LONG_DONE: &[(Effect, &[u64])] = &[(Effect::Acknowledges, &[WIDE + 1])];
    const FIRST_DONE: &[(Effect, &[u64])] = &[(Effect::Acknowledges, &[1]), (Effect::Keeps, &[2, 3, 4])];
    const TWO_DONE: &[(Effect, &[u64])] = &[(Effect::Acknowledges, &[1, 2]), (Effect::Keeps, &[3, 4])];
    const REST_DONE: &[(Effect, &[u64])] =
        &[(Effect::Acknowledged, &[1]), (Effect::Acknowledges, &[2, 3, 4])];
    const REST_BACK: &[(Effect, &[u64])] = &[(Effect::Acknowledged, &[1]), (Effect::Returns, &[2, 3, 4])];
    const WIDE_DONE: &[(Effect, &[u64])] = &[(Effect::Acknowledges, &[WIDE + 1]), (Effect::Keeps, &[2])];
    const FOUR_DONE: &[(Effect, &[u64])] = &[(Effect::Acknowledges, &[1, 2, 3, 4])];
    const MIXED_DONE: &[(Effect, &[u64])] = &[(Effect::Acknowledges, &[WIDE + 1, 2])];
    const BACK: &[(Effect, &[u64])] = &[(Effect::Returns, &[1])];
    const LONG_BACK: &[(Effect, &[u64])] = &[(Effect::Returns, &[WIDE + 1])];
    const FOUR_BACK: &[(Effect, &[u64])] = &[(Effect::Returns, &[1, 2, 3, 4])];
    const MIXED_BACK: &[(Effect, &[u64])] = &[(Effect::Returns, &[WIDE + 1, 2])];
    let acks = |operation, path, before, life| S::receives(operation, path, before, life).with(DONE);
    vec![
        acks("ack", "one held", two, ack).stops(),
        acks("ack", "stepped over meanwhile", one, ack).at_mark(go_round).many().stops(),
        acks("ack", "full, wakes a producer", full, ack).sleeping(Role::Producer),
        acks("ack", "spanning", wide, ack).with(LONG_DONE),
        acks("ack_first", "of four", four, ack_first).with(FIRST_DONE),
        acks("ack_first", "spanning", wide, ack_first).with(WIDE_DONE),
        acks("ack, batch", "of four", four, ack_all).with(FOUR_DONE),
        acks("ack, batch", "short and spanning", wide, ack_all).with(MIXED_DONE),
        acks("give back", "one held", two, give_back).with(BACK).stops(),
        acks("give back", "stepped over meanwhile", one, give_back)
            .with(BACK)
            .at_mark(go_round)
            .many()
            .stops(),
        acks("give back", "wakes a consumer", one, give_back).with(BACK).sleeping(Role::Consumer).many(),
        acks("give back", "spanning", wide, give_back).with(LONG_BACK),
        acks("give back, batch", "of four", four, give_all_back).with(FOUR_BACK),
        acks("give back, batch", "short and spanning", wide, give_all_back).with(MIXED_BACK),
        acks("ack_first", "of a row", row, ack_first).with(FIRST_DONE),
        acks("ack_first", "of a row and single items", row_and_singles, ack_first).with(FIRST_DONE),
        acks("ack_first, twice", "of a row", row, ack_first_two).with(TWO_DONE),
        acks("ack_first, twice", "of two rows", two_rows, ack_first_two).with(TWO_DONE),
        acks("ack, batch", "of a row", row, ack_all).with(FOUR_DONE),
        acks("ack, batch", "of a row and single items", row_and_singles, ack_all).with(FOUR_DONE),
        acks("ack, batch", "the rest of a row", row, ack_rest).with(REST_DONE),
        acks("give back, batch", "of a row", row, give_all_back).with(FOUR_BACK),
        acks("give back, batch", "of a row and single items", row_and_singles, give_all_back).with(FOUR_BACK),
        acks("give back, batch", "the rest of a row", row, give_rest_back).with(REST_BACK),
    ]
}

pub fn coming_and_going() -> Vec<Scenario> {
    use Scenario as S;
    const NOTHING: &[(Effect, &[u64])] = &[];
    const SENT_BEFORE: &[(Effect, &[u64])] = &[(Effect::Sent, &[MINE])];
    const DONE_BEFORE: &[(Effect, &[u64])] = &[(Effect::Acknowledged, &[1])];
    vec![
        S::sends("attach", "producer", two, attach_producer).with(NOTHING),
        S::receives("attach", "consumer", two, attach_consumer).with(NOTHING),
        S::sends("leave", "producer", two, producer_leaves).with(SENT_BEFORE),
        S::receives("leave", "consumer", two, consumer_leaves).with(DONE_BEFORE),
        S::sends("close", "two there", two, close).with(NOTHING).nobody(),
        S::sends("close", "wakes a consumer", empty, close).with(NOTHING).nobody().sleeping(Role::Consumer),
    ]
}

/// Operations whose crashes a recovery must repair: each leaves claims of another form.
pub fn to_be_recovered() -> Vec<Scenario> {
    let all = [sending(), receiving(), acknowledging()].concat();
    let wanted = [
        ("send_batch", "around the end"),
        ("send, spanning", "around the end"),
        ("send_batch", "short and spanning"),
        ("reserve, drop", "around the end"),
        ("commit", "passed by consumers"),
        ("recv", "one returned"),
        ("recv_batch", "four there"),
        ("recv_batch", "short and spanning"),
        ("ack", "stepped over meanwhile"),
        ("ack_first", "of four"),
        ("ack_first", "spanning"),
        ("ack, batch", "of four"),
        ("give back, batch", "of four"),
        ("send", "steps over a held slot"),
        ("send_packed", "around the end"),
        ("recv_batch", "a row and single items"),
        ("recv_batch", "parts a row"),
        ("ack_first, twice", "of a row"),
        ("ack_first", "of a row and single items"),
        ("give back, batch", "of a row"),
        ("give back, batch", "the rest of a row"),
    ];
    let is_wanted = |one: &Scenario| wanted.contains(&(one.operation, one.path));
    let found: Vec<Scenario> = all.into_iter().filter(is_wanted).collect();
    assert_eq!(found.len(), wanted.len());
    found
}
