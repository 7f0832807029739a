//! What the survivors must find, by themselves, after each death.

use std::time::{Duration, Instant};

use ringpipe::{Error, Liveness, Role};

use crate::kills::world::{Fate, Outcome, PATIENCE, Sleeper, Trouble, World, Wrong, payload, trouble};

/// The item that a sleeping consumer gets if the victim's does not come.
const WAKING: u64 = 900;
/// The item that a sleeping producer sends.
pub const SLEEPERS: u64 = 901;
const LATER: u64 = 1000;

/// Everything, from the drain to the empty table; then the ring is removed.
pub fn survivors(mut world: World) -> Outcome {
    let outcome = match world.ring.is_closed() {
        true => drain_closed(&mut world),
        false => go_on(&mut world),
    };
    // The sleeper's handle goes back before the ring is looked through.
    let outcome = outcome.and(world.join_sleeper());
    let World { ring, producer, consumer, reader, writer, .. } = &mut world;
    (*producer, *consumer, *reader, *writer) = (None, None, None, None);
    let empty = ring.participants();
    let snapshot = ring.snapshot().expect("a snapshot");
    // A claim that a producer gave up because the ring was closed is passed by the next consumer, if any.
    let used = if snapshot.closed { !ring.is_drained() as u64 } else { snapshot.used_slots };
    ring.remove().expect("it can be removed");
    outcome?;
    if !empty.is_empty() {
        return Err(trouble(Wrong::Short, format!("still in the table: {empty:?}")));
    }
    if used != 0 {
        return Err(trouble(Wrong::Short, format!("{used} slots are in use")));
    }
    Ok(())
}

fn go_on(world: &mut World) -> Outcome {
    if world.producer.is_none() && !matches!(world.sleeper, Some(Sleeper::Producer(_))) {
        let place = world.attach_producer();
        place.map_err(|error| trouble(Wrong::Wedged, format!("no place for a producer: {error}")))?;
    }
    if world.consumer.is_none() && !matches!(world.sleeper, Some(Sleeper::Consumer(_))) {
        let place = world.attach_consumer();
        place.map_err(|error| trouble(Wrong::Wedged, format!("no place for a consumer: {error}")))?;
    }
    if matches!(world.sleeper, Some(Sleeper::Consumer(_))) {
        world.send(&[WAKING]);
        world.ledger.fates.insert(WAKING, Fate::Once);
        world.join_sleeper()?;
    }
    world.let_go();
    drain(world)?;
    world.join_sleeper()?;
    world.ledger.check()?;
    world.fill()
}

fn anybody_dead(world: &World) -> bool {
    world.ring.participants().iter().any(|one| one.liveness == Liveness::Dead)
}

/// Receives until all required items have arrived and the dead are recovered.
fn drain(world: &mut World) -> Outcome {
    let begin = Instant::now();
    let mut timeout = Duration::ZERO;
    loop {
        match world.receive(timeout)? {
            Ok(_) => continue,
            Err(Error::TimedOut) => {}
            Err(error) => return Err(trouble(Wrong::Wedged, format!("receiving: {error}"))),
        }
        let missing = world.ledger.missing();
        if missing.is_none() && !anybody_dead(world) {
            // Returned items may have come just before the recovery was seen.
            while world.receive(Duration::ZERO)?.is_ok() {}
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            world.ledger.check()?;
            return Err(trouble(Wrong::Wedged, "a dead participant stays in the table"));
        }
        timeout = Duration::from_millis(25);
    }
}

fn drain_closed(world: &mut World) -> Outcome {
    if matches!(world.sleeper, Some(Sleeper::Consumer(_))) {
        // It sees the end, and nothing else may.
        if let Some(Sleeper::Consumer(thread)) = world.sleeper.take() {
            let (consumer, got) = thread.join().expect("it does not panic");
            world.consumer = Some(consumer);
            match got {
                Err(Error::Ended) => {}
                Err(error) => return Err(trouble(Wrong::Wedged, format!("a sleeping consumer: {error}"))),
                Ok(delivery) => drop(world.note(delivery)?),
            }
        }
    }
    world.let_go();
    let begin = Instant::now();
    loop {
        match world.receive(Duration::from_millis(25))? {
            Err(Error::Ended) => break,
            Err(Error::TimedOut) if begin.elapsed() < PATIENCE => {}
            Ok(_) => {}
            Err(error) => return Err(trouble(Wrong::Wedged, format!("no end of the stream: {error}"))),
        }
    }
    if let Some(producer) = &mut world.producer
        && !matches!(producer.try_send(&payload(LATER)), Err(Error::Closed))
    {
        return Err(trouble(Wrong::Doubled, "a closed ring takes an item"));
    }
    world.ledger.check()
}

/// While the victim is suspended: it is not taken for dead, and where each claim is of a single slot in a ring
/// for many the others go on.
pub fn while_stopped(world: &mut World, attached: u32, others_go_on: bool) -> Outcome {
    if others_go_on {
        for id in LATER..LATER + 20 {
            let sent = world.producer.as_mut().expect("attached").send_timeout(&payload(id), PATIENCE);
            sent.map_err(|error| trouble(Wrong::Wedged, format!("sending past the stopped: {error}")))?;
            world.ledger.fates.insert(id, Fate::Once);
            if let Err(error) = world.receive(PATIENCE)? {
                return Err(trouble(Wrong::Wedged, format!("receiving past the stopped: {error}")));
            }
        }
    } else if world.consumer.is_some() {
        // May be too much to ask for; it must not do harm.
        let _ = world.receive(Duration::from_millis(1))?;
    }
    let dead = world.ring.repair();
    let there = world.ring.participants();
    let alive = there.iter().filter(|one| one.liveness != Liveness::Dead).count() as u32;
    if dead.any() || alive != attached {
        return Err(trouble(Wrong::Doubled, format!("taken for dead: {dead:?}, {there:?}")));
    }
    Ok(())
}

/// Whether a victim of this role needs an item, or room, to come to its end.
pub fn feed(world: &mut World, role: Role) {
    if role == Role::Consumer && world.producer.is_some() {
        world.send(&[LATER + 100]);
        world.ledger.fates.insert(LATER + 100, Fate::Once);
    }
}

/// A process that was suspended and continued does not reach its end.
pub fn hangs() -> Trouble {
    trouble(Wrong::Wedged, "the stopped one hangs when it goes on")
}
