//! What is written, read and noted around the operations, and what must hold of it.

use ringpipe::internal::protocol::Claim;

use crate::model::memory::Shared;
use crate::model::process::{Kind, Life, Outcome, Sending, Work, fitting};
use crate::model::system::{Check, Item, Scenario, State};

/// The bits of a position that name an item.
const NAME: u64 = (1 << 56) - 1;

impl Scenario {
    /// What holds from the first access of an operation on.
    pub fn begin(&self, state: &mut State, p: usize) -> Check {
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
            Kind::Abandon => {
                process.holds = false;
                if self.exclusive
                    && let Some(claim) = process.claim
                {
                    // No process has seen it: the next claim is of the same place.
                    process.behind = claim.position;
                }
            }
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
    pub fn write(&self, state: &mut State, p: usize) {
        let State { shared, processes, items, .. } = state;
        let mut position = processes[p].claim.expect("a claim to write to").position;
        let first = self.first_id(p) + processes[p].done as usize;
        for (id, span) in (first..).zip(processes[p].spans()) {
            shared.spans[self.slot(position)] = span as u8;
            for ahead in 0..span {
                shared.ids[self.slot(position.wrapping_add(ahead))] = id as u8;
            }
            items[id].span = span as u8;
            items[id].position = position;
            position = position.wrapping_add(span);
        }
    }

    /// Reads the items of a consumer's claim: ids and spans.
    pub fn read(&self, shared: &Shared, items: &[Item], claim: Claim) -> Result<Vec<(usize, u8)>, String> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.codec().run(claim.word) {
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
            let name = match claim.word.is_renewed() {
                true => shared.names[slot],
                false => position,
            };
            if self.named && name & NAME != item.position & NAME {
                return Err(format!("item {id} of position {} has the name {name}", item.position));
            }
            found.push((id, span as u8));
            at += span;
        }
        match at == self.codec().run(claim.word) {
            true => Ok(found),
            false => Err(format!("the items at {} do not fill the run", claim.position)),
        }
    }

    /// Checks and notes the end of an operation.
    pub fn note(&self, state: &mut State, p: usize, outcome: &Outcome) -> Check {
        let codec = self.codec();
        match (state.processes[p].op, outcome) {
            (Kind::ClaimRoom, Outcome::Room(Ok(claim))) => {
                self.take(state, p, *claim)?;
                self.follow(state, p, *claim)?;
                let Work::Produce { batches, how } = &self.roles[p].work else { unreachable!() };
                let spans = state.processes[p].to_send(batches);
                let spans = match how {
                    Sending::PublishPart => &spans[..1],
                    _ => fitting(&spans, self.codec().run(claim.word)),
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

    /// Notes a claim; no other live process may hold any of it.
    fn take(&self, state: &mut State, p: usize, claim: Claim) -> Check {
        let slots = |claim: Claim| {
            (0..self.codec().run(claim.word))
                .fold(0u32, |set, k| set | 1 << self.slot(claim.position.wrapping_add(k)))
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
}
