//! Where a victim is after each instruction of an operation, and the shortest way to bring another one there.
//!
//! Victims are forks of one process, so that all run the same code at the same addresses. The first run of an
//! operation is made of single steps, and notes the registers after each. Another run that steps over the same
//! instructions confirms what the first has found. What two runs have in common can be reached by breakpoints:
//! the n-th instruction is the k-th at its address. At each stop the registers must be those that all runs
//! by steps had there, and in the end the segment, too, must have the bytes that it had in all of them. If not, the victim
//! has gone astray, and the point is tried anew by steps. Registers and bytes that runs by steps do not have in common
//! (numbers of processes, times) are not compared, nor is one address of the heap with another.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use nix::unistd::Pid;

use crate::kills::breakpoint::{self, Astray};
use crate::kills::trace::Victim;
use crate::registers::{self, OTHERS, State};

/// Instructions that are noted at most; from there on, steps.
const MOST: usize = 20_000;
/// What one arrival at a breakpoint takes, in steps.
const HIT: u32 = 3;
/// A trail is given up if more than this number of victims, and more than one in five, went astray; or, where as many
/// runs by steps differ from the first.
const MOST_ASTRAY: u64 = 16;

/// How many points were reached in which way, by one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrivals {
    pub by_breakpoints: u64,
    pub by_steps: u64,
    pub astray: u64,
}

impl Arrivals {
    pub fn add(&mut self, other: Arrivals) {
        self.by_breakpoints += other.by_breakpoints;
        self.by_steps += other.by_steps;
        self.astray += other.astray;
    }
}

/// How the victim comes to an instruction from an earlier one: by one step if `hits` is zero.
#[derive(Debug, Clone, Copy)]
struct Leg {
    from: u32,
    hits: u32,
}

#[derive(Default)]
pub struct Trail {
    /// After 0, 1, 2, ... instructions.
    at: Vec<State>,
    /// Which registers all runs had alike there, a bit for each.
    alike: Vec<u16>,
    /// The first run has ended.
    complete: bool,
    /// Where a later run by steps is, as far as it has been the same.
    cursor: usize,
    in_clock: bool,
    clock: Range<u64>,
    /// This run by steps goes another way, and confirms nothing more.
    differs: bool,
    /// How many have.
    others: u64,
    /// A second run by steps was the same up to here.
    confirmed: usize,
    /// From here on courses differ, or depend on the time that they take.
    common: usize,
    legs: Vec<Leg>,
    /// After how many instructions the segment was another, and its bytes.
    states: Vec<(usize, Vec<u8>)>,
    /// Which of its bytes all runs had alike.
    same: Vec<bool>,
    pub arrivals: Arrivals,
}

impl Trail {
    /// To be called after each of `steps` single steps (with 0, before the first): notes in the first run, and confirms in
    /// later ones.
    pub fn see(&mut self, steps: u64, victim: Pid) {
        if self.complete && (self.differs || self.cursor + 1 >= self.common) {
            return;
        }
        let Some(now) = registers::state(victim) else { return };
        match self.complete {
            true => self.confirm(&now),
            false if steps as usize == self.at.len() && self.at.len() <= MOST => {
                self.at.push(now);
                self.alike.push(u16::MAX);
            }
            false => {}
        }
    }

    /// In a later run by steps, which is at `cursor` and goes on. The clock's own instructions are not always as many,
    /// and not compared.
    fn confirm(&mut self, now: &State) {
        self.in_clock |= self.clock.contains(&now.pc);
        if self.clock.contains(&now.pc) {
            return;
        }
        let is_next = |n: &usize| !self.in_clock || !self.clock.contains(&self.at[*n].pc);
        let next = (self.cursor + 1..self.common).find(is_next);
        self.in_clock = false;
        let Some(n) = next else { return };
        let then = &self.at[n];
        if (now.pc, now.sp) != (then.pc, then.sp) {
            self.differs = true;
            self.others += 1;
            if self.is_too_often(self.others) {
                self.common = n;
                self.confirmed = self.confirmed.min(n.saturating_sub(1));
            }
            return;
        }
        self.alike[n] &= alike(now, then);
        self.cursor = n;
        self.confirmed = self.confirmed.max(n);
    }

    /// In the first run: from here on, the segment has these bytes.
    pub fn segment_is(&mut self, steps: u64, bytes: &[u8]) {
        self.states.push((steps as usize, bytes.to_vec()));
    }

    /// The first run has ended. An operation that is `timed` waits: one reading of the clock decides nothing, but from
    /// the second on a victim that runs faster may go another way.
    pub fn close(&mut self, timed: bool) {
        self.clock = clock_code();
        let clock = &self.clock;
        let entered = |n: &usize| clock.contains(&self.at[*n].pc) && !clock.contains(&self.at[*n - 1].pc);
        let second = (1..self.at.len()).filter(entered).nth(1).filter(|_| timed);
        self.common = second.unwrap_or(self.at.len());
        self.complete = true;
        self.legs = legs(&self.at[..self.common], clock);
        self.same = vec![true; self.states.first().map_or(0, |(_, bytes)| bytes.len())];
    }

    /// A victim has come by steps to where it is, with this segment.
    fn arrived_by_steps(&mut self, segment: &File) {
        // Beyond the end of what was noted, the segment may be another.
        let is_cut = self.common < self.at.len() || self.at.len() > MOST;
        if self.differs || (is_cut && self.cursor + 1 >= self.common) {
            return;
        }
        if let Some(alike) = self.alike_segment(self.cursor, segment) {
            self.same.iter_mut().zip(alike).for_each(|(same, alike)| *same &= alike);
        }
    }

    /// Both compare only the bytes of the segment that neither has found to vary.
    pub fn share_with(&mut self, other: &mut Trail) {
        for (one, other) in self.same.iter_mut().zip(&mut other.same) {
            (*one, *other) = (*one && *other, *one && *other);
        }
    }

    /// Which bytes of the segment are those that it had after `n` instructions of the first run.
    fn alike_segment(&self, n: usize, segment: &File) -> Option<Vec<bool>> {
        let then = self.states[..self.states.partition_point(|(from, _)| *from <= n)].last();
        let (_, then) = then.filter(|_| n < self.common)?;
        let mut now = vec![0; then.len()];
        segment.read_exact_at(&mut now, 0).expect("the segment");
        Some(now.iter().zip(then).map(|(now, then)| now == then).collect())
    }

    /// Whether anything was noted, which needs to know the processor.
    pub fn is_known(&self) -> bool {
        !self.at.is_empty()
    }

    /// The last instruction up to this one that is not of the clock's code, which may be longer or shorter.
    pub fn before_clock(&self, steps: u64) -> u64 {
        (0..=steps).rev().find(|n| self.is_outside_clock(*n)).unwrap_or(0)
    }

    /// The same, of those whose cheapest way has a breakpoint that is hit several times.
    pub fn counting(&self, steps: u64) -> Option<u64> {
        let counts = |n: u64| self.way(n as usize).iter().any(|(_, hits)| *hits > 1);
        (1..=steps).rev().find(|n| self.is_outside_clock(*n) && counts(*n))
    }

    fn is_outside_clock(&self, n: u64) -> bool {
        !self.clock.contains(&self.at[n as usize].pc)
    }

    /// How many of the first `steps` instructions lead to one that is not of the clock's code.
    pub fn without_clock(&self, steps: u64) -> u64 {
        let noted = &self.at[1..=steps as usize];
        noted.iter().filter(|state| !self.clock.contains(&state.pc)).count() as u64
    }

    /// How far breakpoints can bring a victim that is to run `steps` instructions.
    pub fn reach(&self, steps: u64) -> u64 {
        steps.min(self.confirmed as u64)
    }

    /// Brings a victim that has not begun to where it has run `reach(steps)` instructions.
    ///
    /// # Errors
    /// If it goes another way: then it is of no further use.
    fn follow(&mut self, steps: u64, victim: Pid, segment: &File) -> Result<u64, Astray> {
        let goal = self.reach(steps);
        match self.go(goal as usize, victim, segment) {
            Ok(()) if goal == 0 => self.arrivals.by_steps += 1,
            Ok(()) => self.arrivals.by_breakpoints += 1,
            Err(Astray) => {
                self.arrivals.astray += 1;
                if self.is_too_often(self.arrivals.astray) {
                    (self.common, self.confirmed) = (0, 0);
                }
                return Err(Astray);
            }
        }
        Ok(goal)
    }

    fn is_too_often(&self, astray: u64) -> bool {
        astray > MOST_ASTRAY && astray * 4 > self.arrivals.by_breakpoints
    }

    /// Instructions to stop at, in this order; a breakpoint's hits, or zero for a step.
    fn way(&self, goal: usize) -> Vec<(usize, u32)> {
        let mut way = Vec::new();
        let mut n = goal;
        while n > 0 {
            let Leg { from, hits } = self.legs[n];
            way.push((n, hits));
            n = from as usize;
        }
        way.reverse();
        way
    }

    fn go(&self, goal: usize, victim: Pid, segment: &File) -> Result<(), Astray> {
        if goal == 0 {
            return Ok(());
        }
        for (n, hits) in self.way(goal) {
            match hits {
                0 => breakpoint::step(victim)?,
                hits => breakpoint::run_to(victim, self.at[n].pc, hits)?,
            }
            if hits > 0 || n == goal {
                self.check(n, victim)?;
            }
        }
        let alike = self.alike_segment(goal, segment).ok_or(Astray)?;
        match self.same.iter().zip(alike).all(|(same, alike)| alike || !same) {
            true => Ok(()),
            false => Err(Astray),
        }
    }

    fn check(&self, n: usize, victim: Pid) -> Result<(), Astray> {
        let (now, then) = (registers::state(victim).ok_or(Astray)?, &self.at[n]);
        let is_there = (now.pc, now.sp) == (then.pc, then.sp);
        // What was alike in all runs by steps is alike now.
        match is_there && (self.clock.contains(&now.pc) || self.alike[n] & !alike(&now, then) == 0) {
            true => Ok(()),
            false => Err(Astray),
        }
    }
}

/// How a victim comes to an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By breakpoints as far as they go, then by steps.
    Shortest,
    /// By single steps alone.
    Steps,
}

/// The ways in which a point is tried, each with a fresh victim, until one comes to it.
pub const WAYS: [Way; 2] = [Way::Shortest, Way::Steps];

impl Way {
    /// Brings a victim at its mark to where it has run `steps` instructions of the operation, or to the operation's end.
    /// Breakpoints bring it to `most` of them at most; `run(done, seen)` is to bring one that has run `done`
    /// to the end by steps, and to call `seen` after each.
    ///
    /// # Errors
    /// If it goes another way: then it is of no further use. Never with [`Way::Steps`].
    pub fn run_with(
        self,
        trail: &mut Trail,
        victim: &mut Victim<'_>,
        (steps, most): (u64, u64),
        segment: &File,
        run: impl FnOnce(&mut Victim<'_>, u64, &mut dyn FnMut(u64)),
    ) -> Result<(), Astray> {
        victim.begin();
        let pid = victim.pid();
        let done = match self {
            Way::Shortest => trail.follow(steps.min(most), pid, segment)?,
            Way::Steps => {
                trail.arrivals.by_steps += 1;
                0
            }
        };
        (trail.cursor, trail.in_clock, trail.differs) = (done as usize, false, false);
        if done < steps {
            run(victim, done, &mut |n| trail.see(n, pid));
            trail.arrived_by_steps(segment);
        }
        Ok(())
    }

    /// Likewise, if no other process helps.
    pub fn run(
        self,
        trail: &mut Trail,
        victim: &mut Victim<'_>,
        steps: u64,
        segment: &File,
    ) -> Result<(), Astray> {
        self.run_with(trail, victim, (steps, steps), segment, |victim, done, seen| {
            victim.run(steps - done, None, |n| seen(done + n));
        })
    }
}

/// A bit for each register that is the same in both; those beyond the last count as the same, and so do two addresses of
/// the heap, where things are elsewhere in each victim.
fn alike(one: &State, other: &State) -> u16 {
    let is_alike = |(one, other): (u64, u64)| one == other || is_of_heap(one) && is_of_heap(other);
    let same = (0..OTHERS).filter(|n| is_alike((one.others[*n], other.others[*n]))).map(|n| 1 << n);
    same.sum::<u16>() | (u16::MAX << OTHERS)
}

/// Whether it is an address near what this thread, and so its victims, get from the heap: glibc gives threads 64 MiB each.
fn is_of_heap(value: u64) -> bool {
    static HEAP: OnceLock<u64> = OnceLock::new();
    let part = |address: u64| address >> 26;
    let heap = HEAP.get_or_init(|| part((&raw const *Box::new(0_u64)).addr() as u64));
    part(value) == *heap
}

/// Where the kernel's code is that reads the clock in the process itself.
pub fn clock_code() -> Range<u64> {
    const LENGTH: u64 = 0x4000;
    // SAFETY: reads a number that the kernel has given to the process.
    let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    start..start + LENGTH
}

/// The cheapest last leg to each instruction of a course: a step from the one before, or a breakpoint at it, set
/// when the victim is at an earlier one, and hit as often as its address is passed from there. None is set in the
/// clock's code.
fn legs(at: &[State], clock: &Range<u64>) -> Vec<Leg> {
    let mut cheapest = Cheapest::default();
    let mut legs = vec![Leg { from: 0, hits: 0 }; at.len()];
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    for (n, state) in at.iter().enumerate() {
        let mut best = 0;
        if n > 0 {
            legs[n].from = n as u32 - 1;
            best = cheapest.cost(n - 1) + 1;
        }
        let passed = seen.entry(state.pc).or_default();
        // From behind the k-th last passing to the one after it, the breakpoint is hit k times.
        let mut end = n;
        for (hits, start) in (1..).zip(passed.iter().rev().map(|passing| passing + 1).chain([0])) {
            if hits * HIT >= best || clock.contains(&state.pc) {
                break;
            }
            if start < end {
                let from = cheapest.within(start..end);
                let cost = cheapest.cost(from) + hits * HIT;
                if cost < best {
                    (best, legs[n]) = (cost, Leg { from: from as u32, hits });
                }
            }
            end = start;
        }
        passed.push(n);
        cheapest.push(best);
    }
    legs
}

/// Costs of instructions, and the cheapest of a range of them.
#[derive(Default)]
struct Cheapest {
    costs: Vec<u32>,
    /// At `[k][n]`: the cheapest of the 2^k that end with n.
    tables: Vec<Vec<usize>>,
}

impl Cheapest {
    fn cost(&self, n: usize) -> u32 {
        self.costs[n]
    }

    fn cheaper(&self, one: usize, other: usize) -> usize {
        if self.costs[one] <= self.costs[other] { one } else { other }
    }

    fn push(&mut self, cost: u32) {
        let n = self.costs.len();
        self.costs.push(cost);
        let mut best = n;
        for k in 0.. {
            if self.tables.len() == k {
                self.tables.push(vec![0; n]);
            }
            self.tables[k].push(best);
            let Some(before) = n.checked_sub(1 << k) else { break };
            best = self.cheaper(self.tables[k][before], best);
        }
    }

    /// The range is not empty.
    fn within(&self, range: Range<usize>) -> usize {
        let k = range.len().ilog2() as usize;
        self.cheaper(self.tables[k][range.start + (1 << k) - 1], self.tables[k][range.end - 1])
    }
}
