//! What must be possible when no other process runs any more: recover the dead, drain the ring, fill it
//! to the last slot, drain it again; and then the suspended processes continue to their end.

use ringpipe::internal::protocol::word::Word;
use ringpipe::internal::protocol::{Claim, NoItem};

use crate::model::memory::Shared;
use crate::model::process::{Kind, Life};
use crate::model::system::{Item, Scenario, State};

/// The survivor's participant number.
const ME: u32 = 15;
/// Steps that a resumed process may take alone.
const RESUMED: usize = 2000;

type Check = Result<(), String>;

pub fn survive(scenario: &Scenario, mut state: State, trace: bool) -> Check {
    let stopped: Vec<usize> =
        (0..state.processes.len()).filter(|&p| state.processes[p].life == Life::Stopped).collect();
    recover_the_dead(scenario, &mut state.shared, trace)?;
    drain(scenario, &mut state, trace)?;
    let single = are_single(scenario, &state.shared);
    if stopped.is_empty() {
        all_accounted_for(scenario, &state)?;
        refill(scenario, &mut state.shared, 0, trace)?;
    } else if single {
        let open = state.items.iter().filter(|item| item.committed && !settled(item)).count();
        if open > stopped.len() {
            return Err(format!("{} stopped processes keep {open} items from others", stopped.len()));
        }
        let held = state.shared.words.iter().filter(|&&word| Word(word).is_owned()).count();
        if held > stopped.len() {
            return Err(format!("{} stopped processes hold {held} slots", stopped.len()));
        }
        refill(scenario, &mut state.shared, held as u64, trace)?;
    }
    for p in stopped {
        if trace {
            println!("  process {p} goes on");
        }
        state.processes[p].life = if scenario.roles[p].successor && state.processes[p].op == Kind::Recover {
            Life::Attaching
        } else {
            Life::Alive
        };
        let mut steps = 0;
        while scenario.can_step(&state, p) && state.fault.is_none() {
            scenario.step(&mut state, p, trace);
            steps += 1;
            if steps > RESUMED {
                return Err(format!("process {p} goes on without end"));
            }
        }
        if let Some(fault) = state.fault {
            return Err(fault);
        }
        drain(scenario, &mut state, trace)?;
        if state.processes.iter().all(|process| process.life != Life::Stopped) {
            all_accounted_for(scenario, &state)?;
            refill(scenario, &mut state.shared, 0, trace)?;
        }
    }
    Ok(())
}

/// Whether each held item has one slot: nothing else can be passed.
fn are_single(scenario: &Scenario, shared: &Shared) -> bool {
    let mut owned = shared.words.iter().filter(|&&word| Word(word).is_owned());
    owned.all(|&word| scenario.codec().run(Word(word)) == 1)
}

fn settled(item: &Item) -> bool {
    item.acknowledged || item.perhaps
}

fn recover_the_dead(scenario: &Scenario, shared: &mut Shared, trace: bool) -> Check {
    for number in 0..16 {
        if shared.dead >> number & 1 == 1 {
            scenario.alone(shared, Kind::Recover, trace, |slots| slots.recover(number))?;
        }
    }
    if scenario.exclusive {
        scenario.alone(shared, Kind::ResumeTail, trace, |slots| slots.resume_tail())?;
    }
    Ok(())
}

/// Takes one claim, of one item or of several. `None`: nothing there.
fn take(scenario: &Scenario, shared: &mut Shared, trace: bool) -> Result<Option<Claim>, String> {
    loop {
        let returned =
            scenario.alone(shared, Kind::ClaimReturned, trace, |slots| slots.claim_returned(ME, None))?;
        if returned.is_some() {
            return Ok(returned);
        }
        match scenario.alone(shared, Kind::ClaimItems, trace, |slots| slots.claim_items(ME, 2, 2))? {
            Ok(claim) => return Ok(Some(claim)),
            Err(NoItem::Empty) => return Ok(None),
            Err(NoItem::Writing(position, word)) => {
                let pass =
                    |slots: &ringpipe::internal::protocol::RingCore<_>| slots.pass_writer(position, word);
                if !scenario.alone(shared, Kind::PassWriter, trace, pass)? {
                    return Ok(None);
                }
            }
        }
    }
}

fn drain(scenario: &Scenario, state: &mut State, trace: bool) -> Check {
    while let Some(claim) = take(scenario, &mut state.shared, trace)? {
        let items = scenario.read(&state.shared, &state.items, claim)?;
        for &(id, _) in &items {
            scenario.acknowledge(&mut state.items, id)?;
        }
        let spans: Vec<u64> = items.iter().map(|&(_, span)| span as u64).collect();
        scenario.alone(&mut state.shared, Kind::AcknowledgeAll, trace, |slots| {
            slots.acknowledge_all(claim, spans.into_iter())
        })?;
    }
    Ok(())
}

/// After the last drain: what was committed was acknowledged, and what was published in one step
/// came whole or not at all.
fn all_accounted_for(scenario: &Scenario, state: &State) -> Check {
    for (id, item) in state.items.iter().enumerate() {
        if item.committed && !settled(item) {
            return Err(format!("item {id} is lost"));
        }
        let with_group =
            settled(&state.items[item.group as usize]) || state.items[item.group as usize].perhaps;
        if !scenario.exclusive && item.begun && settled(item) != with_group {
            return Err(format!("item {id} has another fate than its batch"));
        }
    }
    Ok(())
}

/// Fills the ring to the last slot and drains it, more than one lap, with items of one slot and of two.
fn refill(scenario: &Scenario, shared: &mut Shared, held: u64, trace: bool) -> Check {
    // One held slot leaves room for two in a row somewhere.
    let spans: &[u64] = if scenario.capacity >= 4 && held <= 1 { &[1, 2, 1] } else { &[1, 1] };
    for &span in spans {
        let mut filled = 0;
        let mut order = Vec::new();
        while let Ok(claim) = scenario
            .alone(shared, Kind::ClaimRoom, trace, |slots| slots.claim_room(ME, span, span, |_| span))?
        {
            filled += span;
            order.push(claim.position);
            scenario
                .alone(shared, Kind::Publish, trace, |slots| slots.publish(claim, std::iter::once(span)))?;
            if filled > scenario.capacity {
                return Err("the ring takes more than it has".to_string());
            }
        }
        // With a padding, and a slot left over on its other side, at least half are filled.
        let least = if span == 1 { scenario.capacity - held } else { scenario.capacity / 2 };
        if filled < least {
            return Err(format!("only {filled} slots of {} come back", scenario.capacity));
        }
        for position in order {
            let claim = take(scenario, shared, trace)?.ok_or("what was filled in is not there")?;
            if claim.position != position {
                return Err(format!("{} came before {position}", claim.position));
            }
            let first = scenario
                .alone(shared, Kind::AcknowledgeFirst, trace, |slots| slots.acknowledge_first(claim, span))?;
            if let Some(rest) = first {
                // Taken two at a time: the next one's turn is now.
                scenario.alone(shared, Kind::GiveBack, trace, |slots| {
                    slots.give_back(rest, std::iter::once(span))
                })?;
            }
        }
        // One more look at head passes a last padding.
        if let Some(claim) = take(scenario, shared, trace)? {
            return Err(format!("{} was never filled in", claim.position));
        }
    }
    Ok(())
}
