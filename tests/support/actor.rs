//! The remote actor: a process that does with a ring what it is told, one line at a time, so that a test can say what happens
//! in which process and when.
//!
//! | told | does | answers |
//! |---|---|---|
//! | `open NAME` | opens the ring | `opened` |
//! | `create NAME` | makes it, 4 slots of 64 bytes | `created` |
//! | `producer`, `consumer` | attaches | `attached` |
//! | `crowd N` | attaches N more, half of them consumers | `attached` |
//! | `leave` | drops both handles | `left` |
//! | `send TEXT` | sends, and waits for room | `sent` |
//! | `recv` | receives, and waits | `got ATTEMPT TEXT`, and holds it |
//! | `hold N` | receives a batch of up to N | `got ATTEMPT TEXT TEXT...`, and holds it |
//! | `key` | nothing | the key of the received item |
//! | `ack`, `first`, `back` | acknowledges what is held, the first of it, gives it back | `done` |
//! | `own` | receives, and makes an owned item of it | `owns ATTEMPT TEXT`, and keeps it whatever else it is told |
//! | `settle TEXT`, `return TEXT` | acknowledges the owned item of this text, gives it back | `done` |
//! | `fail TEXT` | records a failure of the owned item of this text | `failed FAILURES` |
//! | `fails TEXT` | the same, then kills itself | nothing |
//! | `lose` | closes all descriptors that it was not given, as daemons do, and opens others | `lost`, and holds what it held |
//! | `reserve TEXT` | reserves room and writes it | `reserved`, and holds it |
//! | `commit`, `back` | publishes what is reserved, gives it up | `done` |
//!
//! An error is answered by its kind.

use std::io::{BufRead, BufReader, Lines, StdinLock, Write};
use std::process::{ChildStderr, ChildStdin, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ringpipe::{Consumer, Error, OwnedItem, Producer, Ring};

use super::{Kept, again, die_with_parent, options};

const ACTOR: &str = "RINGPIPE_TEST_REMOTE_ACTOR";

/// Tells a remote actor what to do; it is killed when this is dropped.
pub struct RemoteActor {
    child: Kept,
    to: ChildStdin,
    from: Lines<BufReader<ChildStderr>>,
}

impl RemoteActor {
    /// An actor that has opened the ring `name`.
    pub fn on(name: &str) -> RemoteActor {
        let mut actor = RemoteActor::new();
        assert_eq!(actor.does(&format!("open {name}")), "opened");
        actor
    }

    /// An actor that has attached to the ring `name` as `role`: `producer` or `consumer`.
    pub fn attached(name: &str, role: &str) -> RemoteActor {
        let mut actor = RemoteActor::on(name);
        assert_eq!(actor.does(role), "attached");
        actor
    }

    pub fn new() -> RemoteActor {
        let mut child = again("remote_actor", ACTOR, "1")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stderr.take().expect("piped")).lines();
        RemoteActor { child: Kept(child), to, from }
    }

    /// Tells it to do something, and does not wait for the answer.
    pub fn told(&mut self, what: &str) {
        writeln!(self.to, "{what}").expect("the actor listens");
    }

    /// Waits for an answer.
    pub fn answer(&mut self) -> String {
        self.from.next().expect("the actor answers").expect("in text")
    }

    /// Tells it to do something, and waits for the answer.
    pub fn does(&mut self, what: &str) -> String {
        self.told(what);
        self.answer()
    }

    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// How it ended by itself, within the watchdog's time.
    pub fn end(&mut self) -> Option<std::process::ExitStatus> {
        let mut ended = None;
        super::wait_until("the actor ends", || {
            ended = self.child.0.try_wait().expect("it can be asked");
            ended.is_some()
        });
        ended
    }

    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Stops it, and waits until it stands still.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.child.pid());
        super::wait_until("stopped", || {
            std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
        });
    }
}

/// Does nothing by itself; in a process that [`RemoteActor::new`] made, it is that actor.
pub fn run_if_told() {
    if std::env::var_os(ACTOR).is_none() {
        return;
    }
    die_with_parent();
    let mut orders = Orders { lines: std::io::stdin().lines() };
    let (mut ring, mut producer, mut consumer) = (None, None, None);
    let (mut crowd, mut owned) = (Vec::new(), Vec::new());
    while let Some((verb, text)) = orders.next() {
        let answer = match verb.as_str() {
            "open" => keep(&mut ring, Ring::open(&text), "opened"),
            "create" => keep(&mut ring, options().capacity(4).slot_size(64).create(&text), "created"),
            "producer" => keep(&mut producer, ring.as_ref().expect("open first").producer(), "attached"),
            "consumer" => keep(&mut consumer, ring.as_ref().expect("open first").consumer(), "attached"),
            "crowd" => crowd_of(ring.as_ref().expect("open first"), &text).map(|more| {
                crowd.extend(more);
                "attached".into()
            }),
            "leave" => {
                (producer, consumer) = (None, None);
                Ok("left".into())
            }
            "send" => producer.as_mut().expect("attach first").send(text.as_bytes()).map(|()| "sent".into()),
            "reserve" => reserve(producer.as_mut().expect("attach first"), &text, &mut orders),
            "own" => own(consumer.as_mut().expect("attach first"), &mut owned),
            "settle" => Ok(settle(&mut owned, &text, OwnedItem::ack)),
            "return" => Ok(settle(&mut owned, &text, OwnedItem::give_back)),
            "fail" => Ok(format!("failed {}", named(&owned, &text).record_failure())),
            "fails" => {
                named(&owned, &text).record_failure();
                nix::sys::signal::kill(Pid::this(), Signal::SIGKILL).map(|()| unreachable!()).expect("itself")
            }
            "lose" => Ok(lose()),
            "recv" => receive(consumer.as_mut().expect("attach first"), &mut orders),
            "hold" => hold(consumer.as_mut().expect("attach first"), &text, &mut orders),
            _ => panic!("{verb}?"),
        };
        orders.answer(&answer.unwrap_or_else(|error| format!("{:?}", error.kind())));
    }
}

fn keep<T>(place: &mut Option<T>, result: Result<T, Error>, answer: &str) -> Result<String, Error> {
    *place = Some(result?);
    Ok(answer.into())
}

type Pair = (Producer, Consumer);

fn crowd_of(ring: &Ring, number: &str) -> Result<Vec<Pair>, Error> {
    let pairs = number.parse::<u32>().expect("a number") / 2;
    (0..pairs).map(|_| Ok((ring.producer()?, ring.consumer()?))).collect()
}

struct Orders {
    lines: Lines<StdinLock<'static>>,
}

impl Orders {
    fn next(&mut self) -> Option<(String, String)> {
        let line = self.lines.next()?.ok()?;
        let (verb, text) = line.split_once(' ').unwrap_or((&line, ""));
        Some((verb.into(), text.into()))
    }

    fn answer(&self, what: &str) {
        eprintln!("{what}");
    }
}

fn reserve(producer: &mut Producer, text: &str, orders: &mut Orders) -> Result<String, Error> {
    let mut reservation = producer.reserve(text.len() as u64)?;
    assert!(reservation.write_at(0, text.as_bytes()));
    orders.answer("reserved");
    match orders.next() {
        Some((verb, _)) if verb == "commit" => reservation.commit(),
        _ => drop(reservation),
    }
    Ok("done".into())
}

fn receive(consumer: &mut Consumer, orders: &mut Orders) -> Result<String, Error> {
    let item = consumer.recv()?;
    orders.answer(&format!("got {} {}", item.attempt(), String::from_utf8_lossy(&item)));
    while let Some((verb, _)) = orders.next() {
        match verb.as_str() {
            "lose" => orders.answer(&lose()),
            "key" => orders.answer(&item.key().to_string()),
            "ack" => {
                item.ack();
                break;
            }
            _ => {
                item.give_back();
                break;
            }
        }
    }
    Ok("done".into())
}

fn own(consumer: &mut Consumer, owned: &mut Vec<OwnedItem>) -> Result<String, Error> {
    let item = consumer.recv()?.into_owned();
    let answer = format!("owns {} {}", item.attempt(), String::from_utf8_lossy(&item));
    owned.push(item);
    Ok(answer)
}

fn named<'o>(owned: &'o [OwnedItem], text: &str) -> &'o OwnedItem {
    owned.iter().find(|item| ***item == *text.as_bytes()).expect("own it first")
}

fn settle(owned: &mut Vec<OwnedItem>, text: &str, resolve: fn(OwnedItem)) -> String {
    let at = owned.iter().position(|item| **item == *text.as_bytes()).expect("own it first");
    resolve(owned.remove(at));
    "done".into()
}

/// Closes all but the standard descriptors, and has other files take their numbers.
#[allow(unsafe_code)]
fn lose() -> String {
    // SAFETY: closes descriptors that others rely on, which is what is tried.
    assert_eq!(unsafe { libc::close_range(3, libc::c_uint::MAX, 0) }, 0);
    for _ in 0..64 {
        std::mem::forget(std::fs::File::open("/dev/null").expect("there is one"));
    }
    "lost".into()
}

fn hold(consumer: &mut Consumer, most: &str, orders: &mut Orders) -> Result<String, Error> {
    let mut batch = consumer.recv_batch(most.parse().expect("a number"))?;
    let texts: Vec<String> =
        batch.iter().map(|item| String::from_utf8_lossy(&item.to_vec()).into_owned()).collect();
    let attempt = batch.iter().next().map_or(0, |item| item.attempt());
    orders.answer(&format!("got {attempt} {}", texts.join(" ")));
    while let Some((verb, _)) = orders.next() {
        match verb.as_str() {
            "first" => {
                assert!(batch.ack_first());
                orders.answer("done");
            }
            "ack" => {
                batch.ack();
                break;
            }
            _ => break,
        }
    }
    Ok("done".into())
}
