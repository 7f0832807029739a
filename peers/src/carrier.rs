//! A carrier as a value, so that there can be a list of them. What a value refers to is compiled for its
//! carrier alone: between here and the queue everything is a direct call.

use std::any::Any;

use crate::control::Control;
use crate::drive::{self, Times};
use crate::job::{Job, Role, Seat};
use crate::kills::{self, Ledger};
use crate::measure::Figures;
use crate::peer::{About, Peer, Work};
use crate::plan::Shape;

/// A carrier for all the sizes that it has.
pub struct Carrier {
    pub about: About,
    variants: Vec<Variant>,
    /// How it measures itself, where it cannot be driven from here.
    external: Option<External>,
}

/// A carrier whose ends are programs of its own, which send and check for a while on two cores.
#[derive(Clone, Copy)]
pub struct External {
    /// Why it cannot do this work, if it cannot.
    pub refuses: fn(&Work) -> Option<&'static str>,
    /// Sends for this number of seconds from the first core to the second.
    pub measure: fn(&Work, f64, [usize; 2]) -> Result<Figures, String>,
}

/// A [`Peer`], and what can be done with it.
pub struct Variant {
    about: About,
    refuses: fn(&Work) -> Option<&'static str>,
    host: fn(&str, &Work) -> Box<dyn Any>,
    sit: fn(&Seat, &Job, &Control) -> Option<Times>,
}

impl Variant {
    pub fn of<P: Peer>() -> Self
    where
        P::Host: 'static,
    {
        Variant {
            about: P::ABOUT,
            refuses: P::refuses,
            host: |name, work| Box::new(P::host(name, work)),
            sit: sit::<P>,
        }
    }
}

impl Carrier {
    pub fn of<P: Peer>() -> Self
    where
        P::Host: 'static,
    {
        Carrier::by_size([Variant::of::<P>()])
    }

    /// One whose type depends on the size of the messages: the first variant that does not refuse is taken.
    pub fn by_size<const N: usize>(variants: [Variant; N]) -> Self {
        Carrier { about: variants[0].about, variants: variants.into(), external: None }
    }

    /// One that measures itself.
    pub fn external(about: About, external: External) -> Self {
        Carrier { about, variants: Vec::new(), external: Some(external) }
    }

    /// How it measures itself, if it does.
    pub fn measures_itself(&self) -> Option<External> {
        self.external
    }

    /// Why it cannot do this work, if it cannot.
    pub fn refuses(&self, shape: &Shape) -> Option<&'static str> {
        match self.external {
            Some(_) if shape.trip.is_some() => Some("measures itself, one way"),
            Some(external) => (external.refuses)(&shape.work),
            None => (self.variant(&shape.work).refuses)(&shape.work),
        }
    }

    /// Makes a link.
    pub fn host(&self, name: &str, work: &Work) -> Box<dyn Any> {
        (self.variant(work).host)(name, work)
    }

    /// Does the work of a seat. Answers the times of round trips; does not return where the seat is one that
    /// works until it is killed.
    pub fn sit(&self, seat: &Seat, job: &Job, control: &Control) -> Option<Times> {
        (self.variant(&job.work).sit)(seat, job, control)
    }

    /// The variant for this work. Only for carriers that are driven from here.
    fn variant(&self, work: &Work) -> &Variant {
        let able = self.variants.iter().find(|variant| (variant.refuses)(work).is_none());
        able.unwrap_or(&self.variants[self.variants.len() - 1])
    }
}

fn sit<P: Peer>(seat: &Seat, job: &Job, control: &Control) -> Option<Times> {
    let work = &job.work;
    let pass_gate = || control.pass_gate(seat.line);
    match seat.role {
        Role::Send(sender) => {
            let mut link = P::sender(&job.link, work);
            pass_gate();
            drive::send(&mut link, work, sender, control, seat.line);
            // The link stays: its end may mean more to a carrier than that nothing comes.
            std::mem::forget(link);
            None
        }
        Role::Receive => {
            let mut link = P::receiver(&job.link, work);
            pass_gate();
            drive::receive(&mut link, work, control, seat.line)
        }
        Role::Ping(pause) => {
            let mut to = P::sender(&job.link, work);
            let mut from = P::receiver(&job.answers(), work);
            pass_gate();
            let times = drive::ping(&mut to, &mut from, pause, control);
            std::mem::forget((to, from));
            Some(times)
        }
        Role::Pong(pause) => {
            let mut from = P::receiver(&job.link, work);
            let mut to = P::sender(&job.answers(), work);
            pass_gate();
            drive::pong(&mut to, &mut from, pause)
        }
        Role::SendUntilKilled(sender) => {
            let ledger = Ledger::inherited().expect("the ledger");
            kills::send(&mut P::sender(&job.link, work), sender, &ledger)
        }
        Role::ReceiveUntilKilled => {
            let ledger = Ledger::inherited().expect("the ledger");
            kills::receive(&mut P::receiver(&job.link, work), &ledger)
        }
    }
}
