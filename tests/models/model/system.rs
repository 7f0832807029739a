//! The whole: shared memory, processes, and what must hold of them.

use std::rc::Rc;

use stateright::{Model, Property};

use ringpipe::internal::protocol::RingCore;
use ringpipe::internal::protocol::word::{Codec, REFRESH_PERIOD};

use crate::model::memory::{End, MAX_SLOTS, Replay, Run, Seen, Shared};
use crate::model::mutation::Mutation;
use crate::model::process::{Kind, Lead, Life, Outcome, Process, Role, Work};
use crate::model::survivor;

/// Accesses that one operation may take when no other process runs.
pub const ALONE: usize = 400;

/// A system to explore.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub capacity: u64,
    pub exclusive: bool,
    /// The most items in a published row.
    pub most_in_row: u64,
    /// Whether items are named by their positions.
    pub named: bool,
    /// The position at which the ring begins.
    pub base: u64,
    /// Whether all words are as old as the inner word of an item of several slots ever gets.
    pub aged: bool,
    pub roles: Vec<Role>,
    /// Processes that may be killed, at any step.
    pub crashes: u8,
    /// Processes that may be stopped for ever, at any step.
    pub stops: u8,
    /// How often a process tries again on a full or empty ring.
    pub tries: u8,
    /// How often each consumer passes a writer.
    pub passes: u8,
    /// Whether, in every state, all processes are killed at once to see whether a survivor can continue.
    pub kill_all: bool,
    /// Likewise with all processes suspended, where every run has one slot.
    pub stop_all: bool,
    pub mutation: Option<Mutation>,
    /// States after which the exploration ends.
    pub limit: usize,
}

/// What has happened to one item, for the checks only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Item {
    pub span: u8,
    pub position: u64,
    /// The first item of the batch that it was published in.
    pub group: u8,
    /// Its publishing has begun.
    pub begun: bool,
    /// Its publishing has returned.
    pub committed: bool,
    /// It was delivered at head.
    pub delivered: bool,
    pub acknowledged: bool,
    /// Its consumer died while it acknowledged.
    pub perhaps: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub shared: Shared,
    pub processes: Vec<Process>,
    /// By id; there is no item 0.
    pub items: Vec<Item>,
    pub crashes: u8,
    pub stops: u8,
    pub fault: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Step(usize),
    Crash(usize),
    Stop(usize),
}

pub type Check = Result<(), String>;

impl Scenario {
    pub fn codec(&self) -> Codec {
        Codec::new(self.capacity)
    }

    pub fn slot(&self, position: u64) -> usize {
        self.codec().slot(position) as usize
    }

    pub fn memory(&self) -> Replay {
        let Scenario { capacity, exclusive, most_in_row, named, .. } = *self;
        Replay { capacity, exclusive, most_in_row, named, local_cursors: Rc::default() }
    }

    /// How far a handle sees that knows this more than the counters say.
    fn local_cursors(&self, lead: Lead) -> Seen {
        Seen { tail: lead.tail.unwrap_or(self.base), head: lead.head.unwrap_or(self.base) }
    }

    /// The id of the first item of process `p`.
    pub fn first_id(&self, p: usize) -> usize {
        let before = self.roles[..p].iter().map(|role| match &role.work {
            Work::Produce { batches, .. } => batches.iter().map(Vec::len).sum(),
            _ => 0,
        });
        1 + before.sum::<usize>()
    }

    pub fn initial(&self) -> State {
        let mut words = [0; MAX_SLOTS];
        for ahead in 0..self.capacity {
            let position = self.base.wrapping_add(ahead);
            let written = if self.aged { position.wrapping_sub(REFRESH_PERIOD) } else { position };
            words[self.slot(position)] = self.codec().free(written).0;
        }
        let shared = Shared {
            words,
            tail: self.base,
            head: self.base,
            spans: [0; MAX_SLOTS],
            names: [0; MAX_SLOTS],
            ids: [0; MAX_SLOTS],
            dead: 0,
            woken: 0,
            returned: 0,
        };
        let processes = self.roles.iter().map(|role| Process::new(role, self.tries, self.passes)).collect();
        let items = vec![Item::default(); self.first_id(self.roles.len())];
        State { shared, processes, items, crashes: self.crashes, stops: self.stops, fault: None }
    }

    /// Whether process `p` has a step to do.
    pub fn can_step(&self, state: &State, p: usize) -> bool {
        let (process, role) = (&state.processes[p], &self.roles[p]);
        let dead = state.shared.dead;
        match process.life {
            Life::Stopped | Life::Crashed => false,
            Life::Attaching => !process.log.is_empty() || dead >> role.number & 1 == 1,
            Life::Alive if process.op == Kind::Finished => false,
            Life::Alive if matches!(role.work, Work::Recover) => {
                !process.log.is_empty() || dead & !process.recovered != 0
            }
            Life::Alive if matches!(role.work, Work::Watch) => {
                state.processes.iter().zip(&self.roles).all(|(other, role)| {
                    other.op == Kind::Finished || !matches!(role.work, Work::Produce { .. })
                })
            }
            Life::Alive => !process.waiting || state.shared.woken >> p & 1 == 1,
        }
    }

    /// One step of process `p`.
    pub fn step(&self, state: &mut State, p: usize, trace: bool) {
        if let Err(fault) = self.try_step(state, p, trace) {
            state.fault = Some(format!("process {p}: {fault}"));
        }
    }

    fn try_step(&self, state: &mut State, p: usize, trace: bool) -> Check {
        if state.processes[p].log.is_empty() {
            self.begin(state, p)?;
        }
        let (process, role) = (&mut state.processes[p], &self.roles[p]);
        if trace {
            println!("  process {p} (number {}): {:?}", role.number, process.op);
        }
        let outcome = match process.op {
            Kind::Write => {
                self.write(state, p);
                Outcome::Nothing
            }
            Kind::FlushHeldBack => {
                for (slot, word) in std::mem::take(&mut process.held_back) {
                    state.shared.words[slot as usize] = word;
                }
                Outcome::Nothing
            }
            _ => {
                let log = std::mem::take(&mut process.log);
                let local_cursors = self.local_cursors(process.lead);
                let mut run = Run::new(state.shared.clone(), log, local_cursors, process.op, 1);
                run.mutation = self.mutation;
                run.trace = trace;
                // On a replay the held back stores are not made again: they are in the log.
                run.held_back = std::mem::take(&mut process.held_back);
                let (run, end) = run.run(self.memory(), |slots| process.call(role, slots));
                state.shared = run.shared;
                process.log = run.log;
                if run.local_cursors != local_cursors {
                    process.lead =
                        Lead { tail: Some(run.local_cursors.tail), head: Some(run.local_cursors.head) };
                }
                process.held_back = run.held_back;
                match end {
                    End::Cut => return Ok(()),
                    End::Panicked(text) => return Err(format!("panicked: {text}")),
                    End::Done(outcome) => outcome,
                }
            }
        };
        if trace {
            println!("      -> {outcome:?}");
        }
        self.note(state, p, &outcome)?;
        let State { shared, processes, .. } = state;
        let dead = shared.dead;
        let dead_or_called =
            |number: u32| dead >> number & 1 == 1 || self.mutation == Some(Mutation::CallDead(number));
        processes[p].log.clear();
        processes[p].lead.forget_old(shared);
        processes[p].settle(p, role, self.exclusive, shared, &outcome, dead_or_called);
        Ok(())
    }

    /// Kills process `p`.
    pub fn crash(&self, state: &mut State, p: usize) {
        let State { shared, processes, items, .. } = state;
        let process = &mut processes[p];
        if process.op == Kind::AcknowledgeAll && !process.log.is_empty() {
            let mut position = process.claim.expect("the claim acknowledged").position;
            for (at, span) in process.spans().enumerate() {
                let id = shared.ids[self.slot(position)] as usize;
                // The first word goes last, and with its exchange the operation is over.
                items[id].perhaps |= at > 0;
                position = position.wrapping_add(span);
            }
        }
        if process.life != Life::Attaching {
            shared.dead |= 1 << self.roles[p].number;
        }
        shared.woken = u16::MAX;
        process.end(Life::Crashed);
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.fault.is_some() {
            return;
        }
        for (p, process) in state.processes.iter().enumerate() {
            if self.can_step(state, p) {
                actions.push(Action::Step(p));
            }
            let begun = process.life == Life::Alive || !process.log.is_empty();
            if begun && process.op != Kind::Finished && process.life != Life::Stopped {
                if state.crashes > 0 {
                    actions.push(Action::Crash(p));
                }
                if state.stops > 0 {
                    actions.push(Action::Stop(p));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(p) => self.step(&mut state, p, false),
            Action::Crash(p) => {
                state.crashes -= 1;
                self.crash(&mut state, p);
            }
            Action::Stop(p) => {
                state.stops -= 1;
                state.processes[p].life = Life::Stopped;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("sound", |scenario: &Scenario, state: &State| {
            scenario.fault(state, false).is_none()
        })]
    }
}

impl Scenario {
    /// What is wrong with a state, if anything.
    pub fn fault(&self, state: &State, trace: bool) -> Option<String> {
        if state.fault.is_some() {
            return state.fault.clone();
        }
        let over = !(0..state.processes.len()).any(|p| self.can_step(state, p));
        if over {
            if trace {
                println!("  no process can continue; a survivor tries");
            }
            return survivor::survive(self, state.clone(), trace).err();
        }
        let everybody = |what: &str, change: &dyn Fn(&mut State, usize)| {
            let mut state = state.clone();
            for p in 0..state.processes.len() {
                if state.processes[p].op != Kind::Finished {
                    change(&mut state, p);
                }
            }
            if trace {
                println!("  everybody is {what}; a survivor tries");
            }
            survivor::survive(self, state, trace).err()
        };
        let kill = |state: &mut State, p: usize| self.crash(state, p);
        let stop = |state: &mut State, p: usize| state.processes[p].life = Life::Stopped;
        let killed = || self.kill_all.then(|| everybody("killed", &kill)).flatten();
        let stopped = || self.stop_all.then(|| everybody("stopped", &stop)).flatten();
        killed().or_else(stopped)
    }

    /// Calls the ring's code for the survivor, alone, with a bound on its accesses.
    pub fn alone<T>(
        &self,
        shared: &mut Shared,
        kind: Kind,
        trace: bool,
        operation: impl FnOnce(&RingCore<Replay>) -> T,
    ) -> Result<T, String> {
        if trace {
            println!("  survivor: {kind:?}");
        }
        let mut run = Run::new(shared.clone(), Vec::new(), self.local_cursors(Lead::default()), kind, ALONE);
        // It is honest, but its recovery is the one under test.
        run.mutation = self.mutation.filter(|_| kind == Kind::Recover);
        run.trace = trace;
        let (run, end) = run.run(self.memory(), operation);
        *shared = run.shared;
        match end {
            End::Done(result) => Ok(result),
            End::Cut => Err(format!("the survivor's {kind:?} does not end")),
            End::Panicked(text) => Err(format!("the survivor's {kind:?} panicked: {text}")),
        }
    }
}
