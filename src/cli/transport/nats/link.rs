//! The connection to a server, and the thread that drives all connections of this process.
//!
//! The commands are synchronous. Their threads wait here for the answers of the server: each wait has a limit and ends
//! early when the stop flag is raised.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::jetstream::context::{
    ConsumerInfoError, ConsumerInfoErrorKind, CreateStreamError, CreateStreamErrorKind, DeleteStreamError,
    DeleteStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::jetstream::{self, Context, ContextBuilder, ErrorCode};
use async_nats::{Client, ConnectErrorKind, Event};
use tokio::runtime::{Builder, Handle};

use super::access;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::report::Reporter;
use crate::cli::common::stream_name::ServerName;
use crate::{Error, StopFlag};

/// How long a request waits for its answer.
pub const ANSWER: Duration = Duration::from_secs(5);
/// How long the client waits by itself: a little longer, so that the waits here tell what was not answered.
const CLIENT: Duration = Duration::from_millis(5200);
/// How long an answer is still awaited after a stop signal.
pub const LAST_ANSWER: Duration = Duration::from_secs(1);
/// The time between two checks of the stop flag.
const TICK: Duration = Duration::from_millis(20);
/// The time between two pings, which find a connection that is dead without a sign.
const PING: Duration = Duration::from_secs(5);
/// The longest pause between two attempts to connect again.
const RECONNECT: Duration = Duration::from_secs(1);
/// A connection that is lost for longer is noted.
const UNSAID: Duration = Duration::from_secs(2);
/// Publications without an answer at a time: more than a sender ever has.
const MOST_IN_FLIGHT: usize = 4096;

/// JetStream's codes for a server or an account without it.
const NO_JETSTREAM: [ErrorCode; 2] =
    [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];
const NEEDS_JETSTREAM: &str = "the server has no JetStream; expected one that was started with -js";

static ENGINE: Mutex<Option<Handle>> = Mutex::new(None);

/// The handle of the thread that drives the connections; starts it at the first call.
fn engine() -> io::Result<Handle> {
    let mut engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*engine {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("nats".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(engine.insert(handle).clone())
}

/// A connection.
#[derive(Clone)]
pub struct Link {
    pub client: Client,
    pub jetstream: Context,
    engine: Handle,
    server: Box<str>,
    stop: StopFlag,
    /// The last request had no answer in its time.
    is_quiet: Arc<AtomicBool>,
}

impl Link {
    /// Connects to a server.
    ///
    /// # Errors
    /// A [`Failure`] that names the server, and no secret.
    pub fn connect(
        name: &ServerName,
        report: &Reporter,
        stop: &StopFlag,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let engine = engine().map_err(|error| Failure::io("starting the thread for NATS", &error))?;
        let server = name.as_str();
        let options = access::options(name)?;
        let options = options
            .name("ringpipe")
            .connection_timeout(ANSWER)
            .request_timeout(Some(CLIENT))
            .ping_interval(PING)
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| (attempts as u32 * (RECONNECT / 10)).min(RECONNECT))
            .event_callback(notes(server, report));
        let connected = engine.block_on(async {
            tokio::select! {
                connected = options.connect(server) => Some(connected),
                () = raised(stop) => None,
                () = tokio::time::sleep(limit) => Some(Err(ConnectErrorKind::TimedOut.into())),
            }
        });
        let client = match connected {
            None => return Err(Failure::new(code::RUNTIME, format!("{server}: interrupted"))),
            Some(Ok(client)) => client,
            Some(Err(error)) => {
                let line = format!("cannot connect to {server}: {}", one_line(&error));
                return Err(Failure::new(code::RUNTIME, line).hint(
                    "NATS_CONTEXT, NATS_CREDS, NATS_USER and others name credentials: docs/SCALING.md",
                ));
            }
        };
        let jetstream = engine.block_on(async {
            ContextBuilder::new()
                .timeout(CLIENT)
                .ack_timeout(CLIENT)
                .max_ack_inflight(MOST_IN_FLIGHT)
                .backpressure_on_inflight(true)
                .build(client.clone())
        });
        let (server, stop) = (server.into(), stop.clone());
        Ok(Link { client, jetstream, engine, server, stop, is_quiet: Arc::default() })
    }

    /// Whether the connection is up, as far as is known.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// How often the connection was made.
    pub fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Relaxed)
    }

    /// The flag that ends waits.
    pub fn stop(&self) -> &StopFlag {
        &self.stop
    }

    /// Waits for `work`, at most `limit`. After the stop flag was raised, at most `last` longer.
    ///
    /// # Errors
    /// [`Error::TimedOut`] and [`Error::Interrupted`].
    pub fn wait<T>(
        &self,
        limit: Duration,
        last: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        self.engine.block_on(async {
            tokio::select! {
                biased;
                done = work => Ok(done),
                () = tokio::time::sleep(limit) => Err(Error::TimedOut),
                () = async { raised(&self.stop).await; tokio::time::sleep(last).await } => Err(Error::Interrupted),
            }
        })
    }

    /// Waits for an answer of the server.
    ///
    /// # Errors
    /// [`Error::Io`] if none comes in time.
    pub fn answer<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        self.answer_within(ANSWER, work)
    }

    /// Waits for an answer of the server, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Io`] if none comes in time.
    pub fn answer_within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
        let result = self.wait(limit, LAST_ANSWER, work);
        match &result {
            Ok(_) => self.note_answer(true),
            Err(Error::TimedOut) if limit >= LAST_ANSWER => self.note_answer(false),
            // Less time says nothing about the server.
            Err(_) => {}
        }
        match result {
            Err(Error::TimedOut) => Err(self.silent()),
            result => result,
        }
    }

    /// Notes whether the server has answered in time.
    pub fn note_answer(&self, has_answered: bool) {
        // Relaxed: only chooses a text, and whether to wait for figures of it.
        self.is_quiet.store(!has_answered, Relaxed);
    }

    /// Whether the server does not answer, as far as is known.
    pub fn is_silent(&self) -> bool {
        !self.is_up() || self.is_quiet.load(Relaxed)
    }

    /// Returns when the connection is no longer the one that was made as number `connects`.
    pub async fn is_cut(&self, connects: u64) {
        while self.is_up() && self.connects() == connects {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Sleeps. False: the stop flag was raised first.
    pub fn sleep(&self, time: Duration) -> bool {
        self.wait(time, Duration::ZERO, std::future::pending::<()>()).is_err_and(|error| match error {
            Error::Interrupted => false,
            _ => !self.stop.is_raised(),
        })
    }

    /// Runs `work` beside everything else.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.engine.spawn(work)
    }

    /// The error for a server that does not answer.
    pub fn silent(&self) -> Error {
        let source = io::Error::new(io::ErrorKind::TimedOut, "no answer");
        Error::Io { what: self.server.clone(), source }
    }

    /// The error for an answer that says no, or for one that did not come. [`Error::NotFound`]: there is no such stream.
    pub fn refused(&self, error: &(dyn StdError + 'static)) -> Error {
        if is_said(error, ErrorCode::STREAM_NOT_FOUND) {
            return Error::NotFound(self.server.clone());
        }
        let (kind, text) = match said(error) {
            Some(said) if NO_JETSTREAM.contains(&said.error_code()) => {
                (io::ErrorKind::Unsupported, NEEDS_JETSTREAM.into())
            }
            Some(said) if passes(&said) => (io::ErrorKind::TimedOut, one_line(error)),
            Some(_) => (io::ErrorKind::Other, one_line(error)),
            None => (io::ErrorKind::TimedOut, one_line(error)),
        };
        Error::Io { what: self.server.clone(), source: io::Error::new(kind, text) }
    }

    /// Whether the server says that it has no JetStream, and none of its cluster answers instead.
    pub fn lacks_jetstream(&self) -> bool {
        if self.client.server_info().jetstream {
            return false;
        }
        let asked = self.wait(ANSWER, LAST_ANSWER, self.client.request("$JS.API.INFO", "".into()));
        matches!(asked, Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders)
    }

    /// The error for a server that does not have JetStream.
    pub fn needs_jetstream(&self) -> Error {
        let source = io::Error::new(io::ErrorKind::Unsupported, NEEDS_JETSTREAM);
        Error::Io { what: self.server.clone(), source }
    }
}

/// Whether an error may pass by itself: no answer, or one that says so.
pub fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut)
}

/// Returns after the flag was raised.
async fn raised(stop: &StopFlag) {
    while !stop.is_raised() {
        tokio::time::sleep(TICK).await;
    }
}

/// The text of an error and of its causes, on one line.
pub fn one_line(error: &(dyn StdError + 'static)) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The JetStream error that caused this one.
pub fn said(error: &(dyn StdError + 'static)) -> Option<jetstream::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = jetstream_error(error) {
            return Some(found);
        }
        at = error.source();
    }
    None
}

/// Whether this is the JetStream error with that code.
pub fn is_said(error: &(dyn StdError + 'static), code: ErrorCode) -> bool {
    said(error).is_some_and(|said| said.error_code() == code)
}

/// Whether what the server says passes by itself: it is starting, has no leader or no room on its disk, or still works on
/// the same item.
pub fn passes(said: &jetstream::Error) -> bool {
    let is_ours = said.error_code() == ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT;
    is_ours || said.code() >= 500 && !NO_JETSTREAM.contains(&said.error_code())
}

/// The JetStream error that an error is, or has in its kind.
fn jetstream_error(error: &(dyn StdError + 'static)) -> Option<jetstream::Error> {
    if let Some(found) = error.downcast_ref::<jetstream::Error>() {
        return Some(found.clone());
    }
    if let Some(GetStreamErrorKind::JetStream(found)) =
        error.downcast_ref::<GetStreamError>().map(|e| e.kind())
    {
        return Some(found);
    }
    if let Some(CreateStreamErrorKind::JetStream(found)) =
        error.downcast_ref::<CreateStreamError>().map(|e| e.kind())
    {
        return Some(found);
    }
    if let Some(DeleteStreamErrorKind::JetStream(found)) =
        error.downcast_ref::<DeleteStreamError>().map(|e| e.kind())
    {
        return Some(found);
    }
    if let Some(ConsumerInfoErrorKind::JetStream(found)) =
        error.downcast_ref::<ConsumerInfoError>().map(|e| e.kind())
    {
        return Some(found);
    }
    match error.downcast_ref::<ConsumerError>().map(|e| e.kind()) {
        Some(ConsumerErrorKind::JetStream(found)) => Some(found),
        _ => None,
    }
}

/// What was noted about a connection.
struct Notes {
    server: Box<str>,
    report: Mutex<Reporter>,
    /// Counts the changes, so that a delayed note finds out whether it is still true.
    changes: AtomicU64,
    has_noted: AtomicBool,
}

impl Notes {
    fn note(&self, text: &str) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).note(format!("{}: {text}", self.server));
    }
}

/// Notes a connection that is lost for some time, and its return.
fn notes(server: &str, report: &Reporter) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync + use<> {
    let notes = Arc::new(Notes {
        server: server.into(),
        report: Mutex::new(report.clone()),
        changes: AtomicU64::new(0),
        has_noted: AtomicBool::new(false),
    });
    move |event| {
        // Relaxed: only this thread, which drives the connections, changes and reads them.
        let change = notes.changes.fetch_add(1, Relaxed) + 1;
        match event {
            Event::Disconnected => {
                let notes = Arc::clone(&notes);
                tokio::spawn(async move {
                    tokio::time::sleep(UNSAID).await;
                    if notes.changes.load(Relaxed) == change {
                        notes.has_noted.store(true, Relaxed);
                        notes.note("the connection is lost; trying again");
                    }
                });
            }
            Event::Connected => {
                if notes.has_noted.swap(false, Relaxed) {
                    notes.note("connected again");
                }
            }
            _ => {
                notes.changes.fetch_sub(1, Relaxed);
            }
        }
        std::future::ready(())
    }
}
