//! A process that does with a ring what it is told, one line at a time, so that a test can say what happens
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
//! | `ack`, `first`, `back` | acknowledges what is held, the first of it, gives it back | `done` |
//! | `reserve TEXT` | reserves room and writes it | `reserved`, and holds it |
//! | `commit`, `back` | publishes what is reserved, gives it up | `done` |
//!
//! An error is answered by its kind.

use std::io::{BufRead, BufReader, Lines, StdinLock, Write};
use std::process::{ChildStderr, ChildStdin, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ringpipe::{Consumer, Error, Producer, Ring};

use super::{Kept, again, die_with_parent, options};

const PUPPET: &str = "RINGPIPE_TEST_PUPPET";

/// The strings of a puppet; it is killed when this is dropped.
pub struct Puppet {
    child: Kept,
    to: ChildStdin,
    from: Lines<BufReader<ChildStderr>>,
}

impl Puppet {
    /// A puppet that has opened the ring `name`.
    pub fn on(name: &str) -> Puppet {
        let mut puppet = Puppet::new();
        assert_eq!(puppet.does(&format!("open {name}")), "opened");
        puppet
    }

    /// A puppet that has attached to the ring `name` as `role`: `producer` or `consumer`.
    pub fn attached(name: &str, role: &str) -> Puppet {
        let mut puppet = Puppet::on(name);
        assert_eq!(puppet.does(role), "attached");
        puppet
    }

    pub fn new() -> Puppet {
        let mut child = again("puppet", PUPPET, "1")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stderr.take().expect("piped")).lines();
        Puppet { child: Kept(child), to, from }
    }

    /// Tells it to do something, and does not wait for the answer.
    pub fn told(&mut self, what: &str) {
        writeln!(self.to, "{what}").expect("the puppet listens");
    }

    /// Waits for an answer.
    pub fn answer(&mut self) -> String {
        self.from.next().expect("the puppet answers").expect("in text")
    }

    /// Tells it to do something, and waits for the answer.
    pub fn does(&mut self, what: &str) -> String {
        self.told(what);
        self.answer()
    }

    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// How it ended by itself, within 20 seconds.
    pub fn end(&mut self) -> Option<std::process::ExitStatus> {
        let mut ended = None;
        super::wait_until("the puppet ends", || {
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

/// Does nothing by itself; in a process that [`Puppet::new`] made, it is the puppet.
pub fn run_if_told() {
    if std::env::var_os(PUPPET).is_none() {
        return;
    }
    die_with_parent();
    let mut strings = Strings { lines: std::io::stdin().lines() };
    let (mut ring, mut producer, mut consumer) = (None, None, None);
    let mut crowd = Vec::new();
    while let Some((verb, text)) = strings.pull() {
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
            "reserve" => reserve(producer.as_mut().expect("attach first"), &text, &mut strings),
            "recv" => receive(consumer.as_mut().expect("attach first"), &mut strings),
            "hold" => hold(consumer.as_mut().expect("attach first"), &text, &mut strings),
            _ => panic!("{verb}?"),
        };
        strings.say(&answer.unwrap_or_else(|error| format!("{:?}", error.kind())));
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

struct Strings {
    lines: Lines<StdinLock<'static>>,
}

impl Strings {
    fn pull(&mut self) -> Option<(String, String)> {
        let line = self.lines.next()?.ok()?;
        let (verb, text) = line.split_once(' ').unwrap_or((&line, ""));
        Some((verb.into(), text.into()))
    }

    fn say(&self, what: &str) {
        eprintln!("{what}");
    }
}

fn reserve(producer: &mut Producer, text: &str, strings: &mut Strings) -> Result<String, Error> {
    let mut reservation = producer.reserve(text.len() as u64)?;
    assert!(reservation.write_at(0, text.as_bytes()));
    strings.say("reserved");
    match strings.pull() {
        Some((verb, _)) if verb == "commit" => reservation.commit(),
        _ => drop(reservation),
    }
    Ok("done".into())
}

fn receive(consumer: &mut Consumer, strings: &mut Strings) -> Result<String, Error> {
    let item = consumer.recv()?;
    strings.say(&format!("got {} {}", item.attempt(), String::from_utf8_lossy(&item)));
    match strings.pull() {
        Some((verb, _)) if verb == "ack" => item.ack(),
        _ => item.give_back(),
    }
    Ok("done".into())
}

fn hold(consumer: &mut Consumer, most: &str, strings: &mut Strings) -> Result<String, Error> {
    let mut batch = consumer.recv_batch(most.parse().expect("a number"))?;
    let texts: Vec<String> =
        batch.iter().map(|item| String::from_utf8_lossy(&item.to_vec()).into_owned()).collect();
    let attempt = batch.iter().next().map_or(0, |item| item.attempt());
    strings.say(&format!("got {attempt} {}", texts.join(" ")));
    while let Some((verb, _)) = strings.pull() {
        match verb.as_str() {
            "first" => {
                assert!(batch.ack_first());
                strings.say("done");
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
