//! The rings that are stormed: each form under each discipline.

use ringpipe::{Discipline, RingOptions, Role, Thresholds};

/// A ring to storm on, and its workers.
pub struct Shape {
    pub name: String,
    pub options: RingOptions,
    pub roles: Vec<Role>,
}

/// Every form of ring under every discipline, in an order in which neighbours have little in common; those with the text of
/// `RINGPIPE_STORM_ONLY` in their name.
pub fn shapes() -> Vec<Shape> {
    let (forms, disciplines) = (forms(), disciplines());
    // Their numbers have no common divisor, so that this goes through all pairs.
    assert_eq!((forms.len(), disciplines.len()), (12, 5));
    let pair = |n: usize| {
        let ((form, options, roles), (name, discipline)) =
            (&forms[n % forms.len()], &disciplines[n % disciplines.len()]);
        let name = format!("{form}, {name}");
        Shape { name, options: options.clone().sync(*discipline), roles: roles.clone() }
    };
    let only = std::env::var("RINGPIPE_STORM_ONLY").unwrap_or_default();
    let all = (0..forms.len() * disciplines.len()).map(pair);
    all.filter(|shape| shape.name.contains(&only)).collect()
}

fn disciplines() -> Vec<(&'static str, Discipline)> {
    let batches = Discipline::Monitor(Thresholds { wake_at: 4, resume_at: Some(1) });
    let all = Discipline::ALL.iter().map(|discipline| (discipline.name(), *discipline));
    all.chain([("monitor from 4 to 1", batches)]).collect()
}

fn forms() -> Vec<(&'static str, RingOptions, Vec<Role>)> {
    let of = |capacity, producers: usize, consumers: usize| {
        let roles = [vec![Role::Producer; producers], vec![Role::Consumer; consumers]].concat();
        // Few numbers, so that those of the dead come back soon.
        let participants = roles.len() as u32 + 4;
        (RingOptions::new().capacity(capacity).slot_size(64).participants(participants), roles)
    };
    let named = |name, (options, roles)| (name, options, roles);
    let (one_each, both) = of(8, 1, 1);
    let (timed, unequal) = of(16, 6, 2);
    // Items of one length, which have no keys. Rows wrap in the smallest; in the largest they are parted twice.
    let fixed = |name, bytes: u64, (options, roles): (RingOptions, _)| (name, options.fixed(bytes), roles);
    let (fixed_each, both_fixed) = of(8, 1, 1);
    vec![
        named("4 slots, 8 processes", of(4, 4, 4)),
        named("8 slots, 64 processes", of(8, 32, 32)),
        named("8 slots, 8 processes", of(8, 4, 4)),
        ("exclusive, 8 slots, 2 processes", one_each.exclusive(true), both),
        named("64 slots, 8 processes", of(64, 4, 4)),
        named("16 slots, 32 processes", of(16, 12, 20)),
        ("16 slots, 8 processes, timestamps", timed.timestamps(true), unequal),
        named("8 slots, 16 processes", of(8, 8, 8)),
        fixed("fixed items, 4 slots, 8 processes", 16, of(4, 4, 4)),
        fixed("fixed items, 256 slots, 12 processes", 40, of(256, 6, 6)),
        fixed("fixed items, exclusive, 8 slots, 2 processes", 13, (fixed_each.exclusive(true), both_fixed)),
        fixed("fixed items, 16 slots, 24 processes", 24, of(16, 12, 12)),
    ]
}
