//! Faults in single accesses of the ring's code, one at a time: every order that is not a relaxed one made weaker, and every
//! change of a shared word left out. Each must be noticed by some story, or be known for harmless, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::loom::explore::{explore, explore_with};
use crate::loom::heap::faults::{self, Access, Fault, Site};
use crate::loom::heap::scenarios::{self, Scenario};

/// Runs of each story that show where it comes to.
const RUNS_FOR_MAP: usize = 200;

/// The orders weaker than one: without either of its halves.
fn weaker(order: Ordering) -> &'static [Ordering] {
    match order {
        AcqRel => &[Acquire, Release],
        _ => &[Relaxed],
    }
}

/// A fault at one site.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    pub site: Site,
    /// The order that it has instead of its own. None: it is left out.
    pub weaker: Option<(Ordering, Ordering)>,
}

impl Mutant {
    /// The line of source that is meant.
    pub fn code(&self) -> String {
        let text = fs::read_to_string(self.site.file).expect("the source is there");
        text.lines().nth(self.site.line as usize - 1).unwrap_or_default().trim().to_string()
    }

    fn fault(&self) -> Fault {
        match self.weaker {
            Some((_, to)) => Fault::Weaken(self.site, to),
            None => Fault::LeaveOut(self.site),
        }
    }

    /// Why it need not be noticed.
    pub fn harmless(&self) -> Option<&'static str> {
        let (code, to) = (self.code(), self.weaker.map(|(_, to)| to));
        let file = Path::new(self.site.file).file_name()?.to_str()?;
        let known = super::harmless::ALL
            .iter()
            .find(|known| known.file == file && known.weakened_to == to && code.contains(known.code));
        known.map(|known| known.why)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weaker {
            Some((from, to)) => write!(f, "{} {from:?} -> {to:?}: {}", self.site, self.code()),
            None => write!(f, "{} left out: {}", self.site, self.code()),
        }
    }
}

/// Which stories come to which sites, with what access and order.
pub struct Map {
    sites: BTreeMap<Site, (Access, Option<Ordering>, Vec<&'static Scenario>)>,
}

/// Explores each story for a moment, to see where it comes to.
pub fn map() -> Map {
    let mut map = Map { sites: BTreeMap::new() };
    let mut breadth = BTreeMap::new();
    for scenario in scenarios::all() {
        faults::forget_reached();
        explore(scenario, RUNS_FOR_MAP).unwrap_or_else(|wrong| panic!("{}: {wrong}", scenario.name));
        let reached = faults::reached();
        breadth.insert(scenario.name, reached.len());
        for (site, (access, order)) in reached {
            let known = map.sites.entry(site).or_insert((access, None, Vec::new()));
            known.1 = known.1.or(order);
            known.2.push(scenario);
        }
    }
    map.sites.retain(|site, _| site.file.starts_with("src/"));
    // First the stories that are told once, and of these the ones that come to few sites: they are short, and made
    // for these.
    for (_, _, stories) in map.sites.values_mut() {
        stories.sort_by_key(|story| (story.deaths, breadth[story.name]));
    }
    map
}

impl Map {
    /// All orders made weaker.
    pub fn weakened(&self) -> Vec<Mutant> {
        let sites = self.sites.iter().filter_map(|(site, (_, order, _))| Some((*site, (*order)?)));
        sites
            .flat_map(|(site, from)| {
                weaker(from).iter().map(move |to| Mutant { site, weaker: Some((from, *to)) })
            })
            .collect()
    }

    /// All changes left out.
    pub fn left_out(&self) -> Vec<Mutant> {
        let changes = self.sites.iter().filter(|(_, (access, _, _))| *access != Access::Load);
        changes.map(|(site, _)| Mutant { site: *site, weaker: None }).collect()
    }

    /// The story that notices, what was wrong, and how long it took. None: no story did.
    pub fn hunt(&self, mutant: Mutant, most: usize) -> Option<(&'static str, String, Duration)> {
        let begin = Instant::now();
        // Some stories notice at once, and which ones is not known: each gets a little first, and then more.
        [64, 512, most].into_iter().find_map(|runs| {
            self.sites[&mutant.site].2.iter().find_map(|scenario| {
                let wrong = explore_with(mutant.fault(), scenario, runs).err()?;
                Some((scenario.name, wrong, begin.elapsed()))
            })
        })
    }

    /// Lines of the ring's source that name an order which no story comes to.
    pub fn not_reached(&self) -> Vec<String> {
        let reached: BTreeSet<(String, u32)> =
            self.sites.keys().map(|site| (site.file.to_string(), site.line)).collect();
        let mut missing = Vec::new();
        for entry in fs::read_dir(Path::new("src/protocol")).expect("the source is there") {
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
