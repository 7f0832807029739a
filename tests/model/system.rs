//! The whole: shared memory, processes, and what must hold of them.

use stateright::{Model, Property};

use ringpipe::ring::word::Codec;
use ringpipe::ring::{Claim, Slots};

use crate::memory::{End, MAX_SLOTS, Replay, Run, Shared};
use crate::mutation::Mutation;
use crate::process::{Kind, Life, Outcome, Process, Role, Sending, Work, fitting};
use crate::survivor;

/// Accesses that one operation may take when nobody else moves.
pub const ALONE: usize = 400;

/// A system to explore.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub capacity: u64,
    pub exclusive: bool,
    /// The position at which the ring begins.
    pub base: u64,
    pub roles: Vec<Role>,
    /// Processes that may be killed, at any step.
    pub crashes: u8,
    /// Processes that may be stopped for ever, at any step.
    pub stops: u8,
    /// How often a process tries again on a full or empty ring.
    pub tries: u8,
    /// How often each consumer passes a writer.
    pub passes: u8,
    /// Whether, in every state, everybody is killed at once to see whether a survivor can go on.
    pub kill_all: bool,
    /// Likewise with everybody stopped, where every run has one slot.
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

type Check = Result<(), String>;

impl Scenario {
    pub fn codec(&self) -> Codec {
        Codec::new(self.capacity)
    }

    pub fn slot(&self, position: u64) -> usize {
        self.codec().slot(position) as usize
    }

    pub fn memory(&self) -> Replay {
        Replay { capacity: self.capacity, exclusive: self.exclusive }
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
            words[self.slot(position)] = self.codec().free(position).0;
        }
        let shared = Shared {
            words,
            tail: self.base,
            head: self.base,
            spans: [0; MAX_SLOTS],
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
                let mut run = Run::new(state.shared.clone(), std::mem::take(&mut process.log), process.op, 1);
                run.mutation = self.mutation;
                run.trace = trace;
                // On a replay the held back stores are not made again: they are in the log.
                run.held_back = std::mem::take(&mut process.held_back);
                let (run, end) = run.run(self.memory(), |slots| process.call(role, slots));
                state.shared = run.shared;
                process.log = run.log;
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
        processes[p].settle(p, role, self.exclusive, shared, &outcome, dead_or_called);
        Ok(())
    }

    /// What holds from the first access of an operation on.
    fn begin(&self, state: &mut State, p: usize) -> Check {
        let State { shared, processes, items, .. } = state;
        let (process, role) = (&mut processes[p], &self.roles[p]);
        process.waiting = false;
        match process.op {
            Kind::ClaimRoom | Kind::ClaimItems => shared.woken &= !(1 << p),
            Kind::ClaimReturned => shared.returned &= !(1 << p),
            Kind::Recover if process.life == Life::Alive && matches!(role.work, Work::Recover) => {
                process.dead = (shared.dead & !process.recovered).trailing_zeros();
            }
            Kind::Publish => {
                process.holds = false;
                let first = self.first_id(p) + process.done as usize;
                for item in &mut items[first..first + process.spans().count()] {
                    item.begun = true;
                    item.group = first as u8;
                }
            }
            Kind::Abandon => process.holds = false,
            Kind::GiveBack => {
                process.holds = false;
                self.read(shared, items, process.claim.expect("a claim to give back"))?;
            }
            Kind::AcknowledgeFirst | Kind::AcknowledgeAll => {
                self.read(shared, items, process.claim.expect("a claim to acknowledge"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes the headers of a producer's claim.
    fn write(&self, state: &mut State, p: usize) {
        let State { shared, processes, items, .. } = state;
        let mut position = processes[p].claim.expect("a claim to write to").position;
        let mut id = self.first_id(p) + processes[p].done as usize;
        for span in processes[p].spans() {
            shared.spans[self.slot(position)] = span as u8;
            for ahead in 0..span {
                shared.ids[self.slot(position.wrapping_add(ahead))] = id as u8;
            }
            items[id].span = span as u8;
            items[id].position = position;
            id += 1;
            position = position.wrapping_add(span);
        }
    }

    /// Reads the items of a consumer's claim: ids and spans.
    pub fn read(&self, shared: &Shared, items: &[Item], claim: Claim) -> Result<Vec<(usize, u8)>, String> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < claim.run {
            let position = claim.position.wrapping_add(at);
            let slot = self.slot(position);
            let (id, span) = (shared.ids[slot] as usize, shared.spans[slot] as u64);
            let whole = (0..span).all(|k| shared.ids[self.slot(position.wrapping_add(k))] as usize == id);
            let item = items.get(id).filter(|_| id > 0);
            let Some(item) = item.filter(|item| whole && span > 0 && item.span as u64 == span) else {
                return Err(format!("what was read at {position} was never written"));
            };
            if !item.begun {
                return Err(format!("item {id} was read before it was published"));
            }
            if item.acknowledged {
                return Err(format!("item {id} was read after it was acknowledged"));
            }
            if self.slot(item.position) != slot {
                return Err(format!("item {id} was read where it is not"));
            }
            found.push((id, span as u8));
            at += span;
        }
        match at == claim.run {
            true => Ok(found),
            false => Err(format!("the items at {} do not fill the run", claim.position)),
        }
    }

    /// Checks and notes the end of an operation.
    fn note(&self, state: &mut State, p: usize, outcome: &Outcome) -> Check {
        let codec = self.codec();
        match (state.processes[p].op, outcome) {
            (Kind::ClaimRoom, Outcome::Room(Ok(claim))) => {
                self.take(state, p, *claim)?;
                self.follow(state, p, *claim)?;
                let Work::Produce { batches, how } = &self.roles[p].work else { unreachable!() };
                let spans = state.processes[p].to_send(batches);
                let spans = match how {
                    Sending::PublishPart => &spans[..1],
                    _ => fitting(&spans, claim.run),
                };
                state.processes[p].spans[..spans.len()].copy_from_slice(spans);
            }
            (Kind::ClaimItems, Outcome::Items(Ok(claim))) => {
                self.take(state, p, *claim)?;
                self.follow(state, p, *claim)?;
                let mut position = claim.position;
                for (id, span) in self.receive(state, p, *claim)? {
                    let item = &mut state.items[id];
                    if item.delivered {
                        return Err(format!("item {id} came twice as a new one"));
                    }
                    if item.position != position {
                        return Err(format!("item {id} was moved"));
                    }
                    item.delivered = true;
                    position = position.wrapping_add(span as u64);
                }
            }
            (Kind::ClaimReturned, Outcome::Returned(Some(claim))) => {
                self.take(state, p, *claim)?;
                self.receive(state, p, *claim)?;
            }
            (Kind::Publish | Kind::FlushHeldBack, _) if state.processes[p].held_back.is_empty() => {
                let first = self.first_id(p) + state.processes[p].done as usize;
                let count = state.processes[p].spans().count();
                state.items[first..first + count].iter_mut().for_each(|item| item.committed = true);
            }
            (Kind::HoldsAny, Outcome::HoldsAny(false)) => {
                let kept = |item: &Item| item.committed && !item.acknowledged && !item.perhaps;
                if let Some(id) = state.items.iter().position(kept) {
                    return Err(format!("nothing is held, it says, but item {id} is"));
                }
            }
            (Kind::AcknowledgeFirst | Kind::AcknowledgeAll, _) => {
                let process = &state.processes[p];
                let count = if process.op == Kind::AcknowledgeAll { process.spans().count() } else { 1 };
                let mut position = process.claim.expect("the claim acknowledged").position;
                for span in process.spans().take(count) {
                    let id = state.shared.ids[codec.slot(position) as usize] as usize;
                    self.acknowledge(&mut state.items, id)?;
                    position = position.wrapping_add(span);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub fn acknowledge(&self, items: &mut [Item], id: usize) -> Check {
        match std::mem::replace(&mut items[id].acknowledged, true) {
            true => Err(format!("item {id} was acknowledged twice")),
            false => Ok(()),
        }
    }

    /// Notes a claim; nobody else that lives may hold any of it.
    fn take(&self, state: &mut State, p: usize, claim: Claim) -> Check {
        let slots = |claim: Claim| {
            (0..claim.run).fold(0u32, |set, k| set | 1 << self.slot(claim.position.wrapping_add(k)))
        };
        for (other, process) in state.processes.iter().enumerate() {
            if let Some(theirs) = process.claim.filter(|_| process.holds)
                && slots(theirs) & slots(claim) != 0
            {
                return Err(format!("claimed at {} what process {other} holds", claim.position));
            }
        }
        state.processes[p].claim = Some(claim);
        state.processes[p].holds = true;
        Ok(())
    }

    /// New claims of one process go upwards, which is the order of its items.
    fn follow(&self, state: &mut State, p: usize, claim: Claim) -> Check {
        let process = &mut state.processes[p];
        let behind = std::mem::replace(&mut process.behind, claim.position.wrapping_add(1));
        match behind == 0 || (claim.position.wrapping_sub(behind) as i64) >= 0 {
            true => Ok(()),
            false => Err(format!("claimed at {} after {behind}", claim.position)),
        }
    }

    fn receive(&self, state: &mut State, p: usize, claim: Claim) -> Result<Vec<(usize, u8)>, String> {
        let found = self.read(&state.shared, &state.items, claim)?;
        for (to, (_, span)) in state.processes[p].spans.iter_mut().zip(&found) {
            *to = *span;
        }
        Ok(found)
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
                println!("  nobody can go on; a survivor tries");
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
        operation: impl FnOnce(&Slots<Replay>) -> T,
    ) -> Result<T, String> {
        if trace {
            println!("  survivor: {kind:?}");
        }
        let mut run = Run::new(shared.clone(), Vec::new(), kind, ALONE);
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
