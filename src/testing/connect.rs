//! Whether a TCP server accepts connections, asked without waiting for it.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::connect;

/// After this time, a connection is tried again, or to another address: what it began with may be lost.
const AGAIN: Duration = Duration::from_millis(200);

/// Tries to connect to an address until that succeeds.
#[derive(Debug)]
pub(super) struct Connecting {
    /// `HOST:PORT`.
    address: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The addresses of the host are not known; not before this moment, they are looked up.
    Unknown(Option<Instant>),
    /// Another thread looks them up, which may take long.
    LookedUp(Receiver<Vec<SocketAddr>>),
    /// They are tried in turn: the next one, and the connection that is being made.
    Known { addresses: Vec<SocketAddr>, next: usize, attempt: Option<Attempt> },
}

/// A connection that is being made, and since when.
type Attempt = (TcpStream, Instant);

impl Connecting {
    pub(super) fn to(address: &str) -> Self {
        Connecting { address: address.into(), state: State::Unknown(None) }
    }

    /// Whether a connection is made. It is closed again.
    pub(super) fn has_connected(&mut self) -> bool {
        match &mut self.state {
            State::Unknown(Some(moment)) if Instant::now() < *moment => false,
            State::Unknown(_) => {
                self.state = match self.address.parse() {
                    Ok(address) => State::known(vec![address]),
                    Err(_) => look_up(self.address.clone()).map_or_else(|_| State::later(), State::LookedUp),
                };
                matches!(self.state, State::Known { .. }) && self.has_connected()
            }
            State::LookedUp(answer) => {
                self.state = match answer.try_recv() {
                    Err(TryRecvError::Empty) => return false,
                    Ok(addresses) if !addresses.is_empty() => State::known(addresses),
                    Ok(_) | Err(TryRecvError::Disconnected) => State::later(),
                };
                matches!(self.state, State::Known { .. }) && self.has_connected()
            }
            State::Known { addresses, next, attempt } => {
                match proceed(&addresses[*next % addresses.len()], attempt.take()) {
                    Ok((true, _)) => return true,
                    Ok((false, begun)) if begun.1.elapsed() < AGAIN => *attempt = Some(begun),
                    Ok(_) | Err(_) => *next += 1,
                }
                false
            }
        }
    }
}

/// Begins a connection if none is begun, and says whether it is made; an error: it has failed.
fn proceed(address: &SocketAddr, attempt: Option<Attempt>) -> io::Result<(bool, Attempt)> {
    let (stream, began) = match attempt {
        Some(attempt) => attempt,
        None => (connect::begin(address)?, Instant::now()),
    };
    Ok((is_connected(&stream)?, (stream, began)))
}

impl State {
    fn known(addresses: Vec<SocketAddr>) -> Self {
        State::Known { addresses, next: 0, attempt: None }
    }

    fn later() -> Self {
        State::Unknown(Some(Instant::now() + AGAIN))
    }
}

/// Looks up the addresses of a host; none: there is no such host.
fn look_up(address: String) -> io::Result<Receiver<Vec<SocketAddr>>> {
    let (answer, result) = mpsc::channel();
    let look_up = move || {
        let found = address.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
        // Fails if the process is not waited for any more.
        let _ = answer.send(found);
    };
    thread::Builder::new().name("resolver".into()).spawn(look_up)?;
    Ok(result)
}

/// Whether a connection is made; an error: it has failed.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match (stream.peer_addr(), stream.local_addr()?) {
        // Without a listener, a connection to a port of this machine may get that very port, and meet itself.
        (Ok(peer), own) if peer == own => Err(io::ErrorKind::ConnectionRefused.into()),
        (Ok(_), _) => Ok(true),
        (Err(error), _) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        (Err(error), _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// How often it is asked: with a wait of 200 ms each time, no test would wait for the end.
    const MANY: u32 = 3000;
    const LONG: Duration = Duration::from_secs(300);

    /// Does this in another thread, and fails if that hangs.
    fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, result) = mpsc::channel();
        thread::spawn(move || answer.send(work()));
        result.recv_timeout(LONG).expect("it ends")
    }

    #[test]
    fn a_server_that_does_not_answer_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        connect::shorten(&listener);
        let address = listener.local_addr().unwrap();
        // With this one, its queue is full: the kernel answers to no more connections.
        let queued = connect::begin(&address).unwrap();
        while !is_connected(&queued).unwrap() {
            thread::yield_now();
        }
        let mut connecting = Connecting::to(&address.to_string());
        let mut connecting = in_time(move || {
            assert!((0..MANY).all(|_| !connecting.has_connected()));
            connecting
        });
        drop(queued);
        in_time(move || {
            let accepting = thread::spawn(move || while listener.accept().is_ok() {});
            while !connecting.has_connected() {
                assert!(!accepting.is_finished());
                thread::yield_now();
            }
        });
    }

    #[test]
    fn a_server_is_found_by_its_name_when_it_listens() {
        let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = reserved.local_addr().unwrap().port();
        drop(reserved);
        let mut connecting = Connecting::to(&format!("localhost:{port}"));
        while !matches!(connecting.state, State::Known { .. }) {
            assert!(!connecting.has_connected());
            thread::yield_now();
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        in_time(move || {
            while !connecting.has_connected() {
                thread::yield_now();
            }
        });
        drop(listener);
        // Without a port, no server of names is asked.
        let mut nowhere = Connecting::to("nowhere");
        assert!(!nowhere.has_connected());
        while matches!(nowhere.state, State::LookedUp(_)) {
            assert!(!nowhere.has_connected());
            thread::yield_now();
        }
        assert!(matches!(nowhere.state, State::Unknown(Some(_))), "{nowhere:?}");
    }
}
