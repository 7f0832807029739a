//! A proxy between the commands and a server, which cuts connections, lets nothing through, or changes what it passes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub struct Proxy {
    port: u16,
    rules: Arc<Rules>,
}

#[derive(Default)]
struct Rules {
    connections: Mutex<Vec<TcpStream>>,
    is_silent: AtomicBool,
    holds_answers: AtomicBool,
    /// Answers that still pass before all connections are cut; negative: no limit.
    answers_left: AtomicI64,
    /// What is replaced on its way to the server, by what, and how often.
    forged: Mutex<Vec<(String, String, usize)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Arc::new(Rules { answers_left: AtomicI64::new(-1), ..Rules::default() });
        let kept = Arc::clone(&rules);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let both = [(&client, &server, Direction::ToServer), (&server, &client, Direction::ToClient)];
                for (from, to, direction) in both {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let rules = Arc::clone(&kept);
                    thread::spawn(move || pass(from, to, direction, &rules));
                }
                kept.connections.lock().unwrap().extend([client, server]);
            }
        });
        Proxy { port, rules }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections that there are.
    pub fn cut(&self) {
        self.rules.cut();
    }

    /// Cuts all connections once, after this many pieces from the server.
    pub fn cut_after(&self, answers: i64) {
        self.rules.answers_left.store(answers, SeqCst);
    }

    /// Lets nothing through, and closes nothing: a connection that is half open.
    pub fn set_silent(&self, is_silent: bool) {
        self.rules.is_silent.store(is_silent, SeqCst);
    }

    /// Lets nothing through that comes from the server.
    pub fn hold_answers(&self) {
        self.rules.holds_answers.store(true, SeqCst);
    }

    /// Replaces a text, so many times, by another of the same length on its way to the server.
    pub fn forge(&self, from: &str, to: &str, times: usize) {
        assert_eq!(from.len(), to.len());
        self.rules.forged.lock().unwrap().push((from.into(), to.into(), times));
    }

    /// Whether all texts were replaced as often as they were to be.
    pub fn has_forged_all(&self) -> bool {
        self.rules.forged.lock().unwrap().iter().all(|(_, _, times)| *times == 0)
    }
}

impl Rules {
    fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn forge(&self, bytes: &mut [u8]) {
        for (from, to, times) in self.forged.lock().unwrap().iter_mut() {
            let mut at = 0;
            while *times > 0 && at + from.len() <= bytes.len() {
                let part = &mut bytes[at..at + from.len()];
                if part == from.as_bytes() {
                    part.copy_from_slice(to.as_bytes());
                    *times -= 1;
                }
                at += 1;
            }
        }
    }

    fn is_held(&self, direction: Direction) -> bool {
        let answers = direction == Direction::ToClient && self.holds_answers.load(SeqCst);
        answers || self.is_silent.load(SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, direction: Direction, rules: &Rules) {
    let mut buffer = [0; 65536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while rules.is_held(direction) {
            thread::sleep(Duration::from_millis(10));
        }
        match direction {
            Direction::ToServer => rules.forge(&mut buffer[..read]),
            Direction::ToClient if rules.answers_left.fetch_sub(1, SeqCst) == 0 => {
                rules.cut();
                break;
            }
            Direction::ToClient => {}
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
