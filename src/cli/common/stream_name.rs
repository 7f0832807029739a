//! Names of streams: `nats://HOST:PORT/NAME`, with settings behind a question mark.

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

/// A stream of a server.
#[derive(Debug, Clone, Eq)]
pub struct StreamName {
    /// `nats://HOST:PORT/NAME`, without settings and without secrets.
    shown: Box<str>,
    /// The bytes of `shown` before `/NAME`.
    server: usize,
    /// Settings for a stream that is made.
    pub settings: Settings,
    /// The context of the `nats` tool that has the credentials.
    pub context: Option<Box<str>>,
    /// A user or password was in the name.
    pub has_secret: bool,
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

    /// `nats://HOST:PORT`.
    pub fn server(&self) -> &str {
        &self.shown[..self.server]
    }

    /// The stream of this name, if it is on the same server: with the same settings and credentials.
    pub fn beside(&self, shown: &str) -> Option<StreamName> {
        let other: StreamName = shown.parse().ok()?;
        (other.server() == self.server()).then(|| StreamName { shown: other.shown, ..self.clone() })
    }

    /// The stream's name on the server.
    pub fn stream(&self) -> &str {
        &self.shown[self.server + 1..]
    }
}

impl PartialEq for StreamName {
    /// Whether both are the same stream.
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StreamName {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bad = |problem: &str| ArgError::new(problem, EXPECTED);
        let (scheme, rest) = given.split_once("://").ok_or_else(|| bad("the scheme is missing"))?;
        if !["nats", "tls"].contains(&scheme) {
            return Err(bad("the scheme is neither nats nor tls"));
        }
        let (rest, settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (server, name) = rest.split_once('/').ok_or_else(|| bad("there is no NAME"))?;
        let has_secret = server.contains('@');
        let host = server.rsplit_once('@').map_or(server, |(_, host)| host);
        // In brackets, colons belong to an address.
        let after_address = host.rfind(']').map_or(0, |end| end + 1);
        let host = match host[after_address..].split_once(':') {
            None => format!("{host}:{PORT}"),
            Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host.to_string(),
            Some(_) => return Err(bad("the port is not a number from 1 to 65535")),
        };
        if host.starts_with(':') || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(bad("there is no HOST"));
        }
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() {
            return Err(bad("there is no NAME"));
        }
        if !name.chars().all(is_valid) {
            return Err(bad("NAME has another character"));
        }
        if name.len() > MAX_BYTES {
            return Err(bad("NAME is longer than 200 bytes"));
        }
        let server = format!("{scheme}://{host}");
        let mut parsed = StreamName {
            shown: format!("{server}/{name}").into(),
            server: server.len(),
            settings: Settings { ack_wait: ACK_WAIT, replicas: 1 },
            context: None,
            has_secret,
        };
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            parsed.set(setting)?;
        }
        Ok(parsed)
    }
}

impl StreamName {
    fn set(&mut self, setting: &str) -> Result<(), ArgError> {
        let bad = |problem: &str| ArgError::new(problem, EXPECTED);
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
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
            "context" if !value.is_empty() => self.context = Some(value.into()),
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
            assert_eq!((name.server(), name.stream(), name.has_secret), (server, stream, false), "{given}");
            assert_eq!(name.as_str().parse(), Ok(name));
        }
    }

    #[test]
    fn settings_are_no_part_of_the_name() {
        let name: StreamName = "nats://h/jobs?ack-wait=2s&replicas=3&context=prod".parse().unwrap();
        assert_eq!(name.as_str(), "nats://h:4222/jobs");
        assert_eq!(name.settings, Settings { ack_wait: Duration::from_secs(2), replicas: 3 });
        assert_eq!(name.context.as_deref(), Some("prod"));
        assert_eq!(name, "nats://h/jobs".parse().unwrap());
    }

    #[test]
    fn a_secret_is_found_and_not_kept() {
        let name: StreamName = "nats://user:pass@host:1/jobs".parse().unwrap();
        assert!(name.has_secret && !format!("{name:?}").contains("pass"), "{name:?}");
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
