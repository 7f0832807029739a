//! Names of servers and streams: `nats://HOST:PORT` and `nats://HOST:PORT/NAME`, with settings behind a question mark.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::args::{ArgError, DurationArg};

/// The port of a NATS server, if the name has none.
const PORT: u16 = 4222;
/// The longest NAME in bytes: names of buckets are made of it, and servers have file names of those.
const MAX_BYTES: usize = 200;
/// How long a server waits for a sign of the process that holds an item. Then it delivers the item again.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// The shortest such time: three signs fit in between.
const LEAST_ACK_WAIT: Duration = Duration::from_secs(1);
const EXPECTED: &str =
    "nats://HOST:PORT/NAME, NAME of letters, digits, - and _, with ?ack-wait=10s, replicas=3 or context=FILE";
const EXPECTED_SERVER: &str = "nats://HOST:PORT, with ?context=FILE";

/// A server.
#[derive(Debug, Clone)]
pub struct ServerName {
    /// `nats://HOST:PORT`, without settings and without secrets.
    shown: Box<str>,
    /// The context of the `nats` tool that has the credentials.
    pub context: Option<Box<str>>,
    /// A user or password was in the name.
    pub has_secret: bool,
}

impl ServerName {
    /// `nats://HOST:PORT`.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The stream of this name on the server, if a stream can have the name.
    pub fn stream(&self, name: &str) -> Option<StreamName> {
        let named: StreamName = format!("{}/{name}", self.shown).parse().ok()?;
        Some(StreamName { server: self.clone(), ..named })
    }
}

/// A stream of a server.
#[derive(Debug, Clone)]
pub struct StreamName {
    /// `nats://HOST:PORT/NAME`, without settings and without secrets.
    shown: Box<str>,
    /// The server.
    pub server: ServerName,
    /// Settings for a stream that is made.
    pub settings: Settings,
}

/// How a stream is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long the server waits for a sign of the process that holds an item.
    pub ack_wait: Duration,
    /// Servers that have a copy.
    pub replicas: usize,
}

impl StreamName {
    /// `nats://HOST:PORT/NAME`.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The stream of this name, if it is on the same server: with the same settings and credentials.
    pub fn beside(&self, shown: &str) -> Option<StreamName> {
        let other: StreamName = shown.parse().ok()?;
        let is_here = other.server.shown == self.server.shown;
        is_here.then(|| StreamName { shown: other.shown, ..self.clone() })
    }

    /// The name with what is needed to open the stream: the context for its credentials.
    pub fn to_open(&self) -> String {
        let context = self.server.context.as_ref().map(|context| format!("?context={context}"));
        format!("{}{}", self.shown, context.unwrap_or_default())
    }

    /// The stream's name on the server.
    pub fn stream(&self) -> &str {
        &self.shown[self.server.shown.len() + 1..]
    }
}

impl PartialEq for StreamName {
    /// Whether both are the same stream.
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl Eq for StreamName {}

impl fmt::Display for ServerName {
    /// Reads back as the same server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => write!(f, "{}?context={context}", self.shown),
            None => f.write_str(&self.shown),
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Scheme and host, and what follows a slash and a question mark.
fn parts(given: &str) -> Result<(ServerName, Option<&str>, &str), &'static str> {
    let (scheme, rest) = given.split_once("://").ok_or("the scheme is missing")?;
    if !["nats", "tls"].contains(&scheme) {
        return Err("the scheme is neither nats nor tls");
    }
    let (rest, settings) = rest.split_once('?').unwrap_or((rest, ""));
    let (server, name) = rest.split_once('/').map_or((rest, None), |(server, name)| (server, Some(name)));
    let has_secret = server.contains('@');
    let host = server.rsplit_once('@').map_or(server, |(_, host)| host);
    // In brackets, colons belong to an address.
    let after_address = host.rfind(']').map_or(0, |end| end + 1);
    let host = match host[after_address..].split_once(':') {
        None => format!("{host}:{PORT}"),
        Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host.to_string(),
        Some(_) => return Err("the port is not a number from 1 to 65535"),
    };
    if host.starts_with(':') || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("there is no HOST");
    }
    let server = ServerName { shown: format!("{scheme}://{host}").into(), context: None, has_secret };
    Ok((server, name, settings))
}

/// The settings, as keys and values.
fn pairs(settings: &str) -> impl Iterator<Item = (&str, &str)> {
    let given = settings.split('&').filter(|setting| !setting.is_empty());
    given.map(|setting| setting.split_once('=').unwrap_or((setting, "")))
}

impl FromStr for ServerName {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bad = |problem: &str| ArgError::new(problem, EXPECTED_SERVER);
        let (mut server, name, settings) = parts(given).map_err(bad)?;
        if name.is_some_and(|name| !name.is_empty()) {
            return Err(bad("this is the name of a stream"));
        }
        for (key, value) in pairs(settings) {
            match key {
                "context" if !value.is_empty() => server.context = Some(value.into()),
                _ => return Err(bad("a setting is unknown")),
            }
        }
        Ok(server)
    }
}

impl FromStr for StreamName {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bad = |problem: &str| ArgError::new(problem, EXPECTED);
        let (server, name, settings) = parts(given).map_err(bad)?;
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = name.filter(|name| !name.is_empty()).ok_or_else(|| bad("there is no NAME"))?;
        if !name.chars().all(is_valid) {
            return Err(bad("NAME has another character"));
        }
        if name.len() > MAX_BYTES {
            return Err(bad("NAME is longer than 200 bytes"));
        }
        let mut parsed = StreamName {
            shown: format!("{}/{name}", server.shown).into(),
            server,
            settings: Settings { ack_wait: ACK_WAIT, replicas: 1 },
        };
        for (key, value) in pairs(settings) {
            parsed.set(key, value)?;
        }
        Ok(parsed)
    }
}

impl StreamName {
    fn set(&mut self, key: &str, value: &str) -> Result<(), ArgError> {
        let bad = |problem: &str| ArgError::new(problem, EXPECTED);
        match key {
            "ack-wait" => {
                let DurationArg(time) = value.parse()?;
                if time < LEAST_ACK_WAIT {
                    return Err(bad("ack-wait is shorter than 1 second"));
                }
                self.settings.ack_wait = time;
            }
            "replicas" => match value.parse() {
                Ok(replicas @ 1..=5) => self.settings.replicas = replicas,
                _ => return Err(bad("replicas is not a number from 1 to 5")),
            },
            "context" if !value.is_empty() => self.server.context = Some(value.into()),
            _ => return Err(bad("a setting is unknown")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_server_and_stream() {
        for (given, server, stream) in [
            ("nats://localhost:4222/jobs", "nats://localhost:4222", "jobs"),
            ("nats://localhost/jobs", "nats://localhost:4222", "jobs"),
            ("tls://nats.example:443/a-b_C9", "tls://nats.example:443", "a-b_C9"),
            ("nats://[::1]/jobs", "nats://[::1]:4222", "jobs"),
            ("nats://[::1]:1/jobs", "nats://[::1]:1", "jobs"),
        ] {
            let name: StreamName = given.parse().unwrap();
            assert_eq!((name.server.as_str(), name.stream()), (server, stream), "{given}");
            assert!(!name.server.has_secret, "{given}");
            assert_eq!(name.as_str().parse(), Ok(name));
        }
    }

    #[test]
    fn settings_are_no_part_of_the_name() {
        let name: StreamName = "nats://h/jobs?ack-wait=2s&replicas=3&context=prod".parse().unwrap();
        assert_eq!(name.as_str(), "nats://h:4222/jobs");
        assert_eq!(name.settings, Settings { ack_wait: Duration::from_secs(2), replicas: 3 });
        assert_eq!(name.server.context.as_deref(), Some("prod"));
        assert_eq!(name, "nats://h/jobs".parse().unwrap());
    }

    #[test]
    fn a_secret_is_found_and_not_kept() {
        let name: StreamName = "nats://user:pass@host:1/jobs".parse().unwrap();
        assert!(name.server.has_secret && !format!("{name:?}").contains("pass"), "{name:?}");
    }

    #[test]
    fn a_server_has_no_stream() {
        for (given, shown) in [
            ("nats://localhost", "nats://localhost:4222"),
            ("tls://h:1/", "tls://h:1"),
            ("nats://me:hush@[::1]:1?context=prod", "nats://[::1]:1"),
        ] {
            let server: ServerName = given.parse().unwrap();
            assert_eq!(server.as_str(), shown, "{given}");
            assert_eq!(server.stream("jobs").unwrap().as_str(), format!("{shown}/jobs"));
            assert!(server.stream("a.b").is_none() && !format!("{server:?}").contains("hush"));
        }
        let server: ServerName = "nats://h?context=prod".parse().unwrap();
        assert_eq!(server.stream("jobs").unwrap().server.context.as_deref(), Some("prod"));
        for given in ["", "h", "nats://", "nats://h/jobs", "nats://h?replicas=3", "nats://h?context="] {
            let error = given.parse::<ServerName>().unwrap_err().to_string();
            assert!(error.contains("; expected nats://HOST:PORT"), "{given}: {error}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for given in [
            "nats://",
            "nats://host",
            "nats://host/",
            "nats:///jobs",
            "nats://:4222/jobs",
            "nats://host:0/jobs",
            "nats://host:x/jobs",
            "nats://host/a.b",
            "nats://host/a/b",
            "nats://host/a*",
            "http://host/jobs",
            "nats://host/jobs?ack-wait=1ms",
            "nats://host/jobs?replicas=6",
            "nats://host/jobs?other=1",
        ] {
            let error = given.parse::<StreamName>().unwrap_err().to_string();
            assert!(error.contains("; expected "), "{given}: {error}");
        }
    }
}
