//! Every order in the ring's code that is not a relaxed one, weakened, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::explore::{explore, explore_with};
use crate::heap::faults::{self, Fault, Site};
use crate::heap::scenarios::{self, Scenario};
use crate::say;

/// The orders weaker than one: each of its halves, or nothing.
fn weaker(order: Ordering) -> &'static [Ordering] {
    match order {
        AcqRel => &[Acquire, Release],
        _ => &[Relaxed],
    }
}

/// One order at one site made weaker.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    pub site: Site,
    pub from: Ordering,
    pub to: Ordering,
}

impl Mutant {
    /// The line of source that is meant.
    pub fn code(&self) -> String {
        let text = fs::read_to_string(self.site.file).expect("the source is there");
        text.lines().nth(self.site.line as usize - 1).unwrap_or_default().trim().to_string()
    }
}

/// Which stories come to which sites, and with what order.
pub struct Map {
    sites: BTreeMap<Site, (Ordering, Vec<&'static Scenario>)>,
}

/// Explores each story for a moment, to see where it comes to.
pub fn map(limit: usize) -> Map {
    let mut sites: BTreeMap<Site, (Ordering, Vec<&'static Scenario>)> = BTreeMap::new();
    let mut breadth = BTreeMap::new();
    for scenario in scenarios::all() {
        faults::forget_reached();
        explore(scenario, limit).unwrap_or_else(|wrong| panic!("{}: {wrong}", scenario.name));
        breadth.insert(scenario.name, faults::reached().len());
        for (site, (_, order)) in faults::reached() {
            if let Some(order) = order.filter(|_| site.file.starts_with("src/")) {
                sites.entry(site).or_insert((order, Vec::new())).1.push(scenario);
            }
        }
    }
    // First the stories that come to few sites: they are short, and made for these.
    for (_, stories) in sites.values_mut() {
        stories.sort_by_key(|story| breadth[story.name]);
    }
    Map { sites }
}

impl Map {
    /// All orders made weaker.
    pub fn mutants(&self) -> Vec<Mutant> {
        let sites = self.sites.iter();
        sites
            .flat_map(|(site, (from, _))| {
                weaker(*from).iter().map(|to| Mutant { site: *site, from: *from, to: *to })
            })
            .collect()
    }

    /// The story that notices, what was wrong, and how long it took. None: no story did.
    pub fn hunt(&self, mutant: Mutant, limit: usize) -> Option<(&'static str, String, Duration)> {
        let begin = Instant::now();
        self.sites[&mutant.site].1.iter().find_map(|scenario| {
            let (result, _) = explore_with(Fault::Weaken(mutant.site, mutant.to), scenario, limit);
            let wrong = result.err()?;
            Some((scenario.name, wrong, begin.elapsed()))
        })
    }

    /// Lines of the ring's source that name an order which no story comes to.
    pub fn not_reached(&self) -> Vec<String> {
        let reached: BTreeSet<(String, u32)> =
            self.sites.keys().map(|site| (site.file.to_string(), site.line)).collect();
        let mut missing = Vec::new();
        for entry in fs::read_dir(Path::new("src/ring")).expect("the source is there") {
            let path = entry.expect("the source is there").path();
            let text = fs::read_to_string(&path).expect("the source is there");
            for (at, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let named =
                    ["Acquire", "Release", "AcqRel", "SeqCst"].iter().any(|order| code.contains(order));
                // The counter's exchange has its order from its callers.
                if !named || code.trim_start().starts_with("use ") || code.contains("self.move_counter(") {
                    continue;
                }
                let place = (path.to_string_lossy().to_string(), at as u32 + 1);
                if !reached.contains(&place) {
                    missing.push(format!("{}:{} {}", place.0, place.1, code.trim()));
                }
            }
        }
        missing
    }
}

/// What is weakened and not noticed, and why that is no fault of the stories.
pub const HARMLESS: &[(&str, Ordering, &str)] = &[];

pub fn hunt_all(limit: usize) {
    let map = map(500);
    for line in map.not_reached() {
        say(&format!("not reached: {line}"));
    }
    let mutants = map.mutants();
    let mut survivors = 0;
    for mutant in &mutants {
        let what = format!("{} {:?} -> {:?}: {}", mutant.site, mutant.from, mutant.to, mutant.code());
        match map.hunt(*mutant, limit) {
            Some((story, wrong, time)) => {
                let wrong = wrong.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
                say(&format!("caught: {what}\n    by {story:?} after {:.1} s: {wrong}", time.as_secs_f32()))
            }
            None => {
                survivors += 1;
                say(&format!("SURVIVES: {what}"));
            }
        }
    }
    say(&format!("{} mutants, {survivors} survive", mutants.len()));
}
