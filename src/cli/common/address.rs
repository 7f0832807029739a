//! What RING means on the command lines of `producer` and `consumer`: a ring in shared memory, or a stream of a NATS
//! server.

use std::fmt;
use std::str::FromStr;

use super::args::ArgError;
use super::exit::Failure;
#[cfg(feature = "nats")]
use super::exit::code;
#[cfg(feature = "nats")]
use super::stream_name::{ServerName, StreamName};
use crate::RingName;

/// The schemes of the names of streams.
const SCHEMES: [&str; 2] = ["nats://", "tls://"];

/// Where items go or come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A ring in shared memory: `NAME`, `/NAME` or `shm:NAME`.
    Ring(RingName),
    /// A stream: `nats://HOST:PORT/NAME` or `tls://HOST:PORT/NAME`.
    #[cfg(feature = "nats")]
    Stream(StreamName),
}

impl Address {
    /// The name in messages; reads back as the same address.
    pub fn as_str(&self) -> &str {
        match self {
            Address::Ring(name) => name.as_str(),
            #[cfg(feature = "nats")]
            Address::Stream(name) => name.as_str(),
        }
    }

    /// The name of a ring in shared memory.
    ///
    /// # Errors
    /// A usage error for a stream.
    pub fn ring(&self) -> Result<&RingName, Failure> {
        match self {
            Address::Ring(name) => Ok(name),
            #[cfg(feature = "nats")]
            Address::Stream(name) => {
                let line = format!("{:?} is a stream; expected a ring in shared memory", name.as_str());
                Err(Failure::new(code::USAGE, line))
            }
        }
    }

    /// The name of a stream.
    ///
    /// # Errors
    /// A usage error for a ring in shared memory.
    #[cfg(feature = "nats")]
    pub fn stream(&self) -> Result<&StreamName, Failure> {
        match self {
            Address::Stream(name) => Ok(name),
            Address::Ring(name) => {
                let line = format!(
                    "ring {:?} is in shared memory; expected a stream, nats://HOST:PORT/NAME",
                    name.as_str()
                );
                Err(Failure::new(code::USAGE, line))
            }
        }
    }

    /// Whether a text is the name of a stream, or is meant to be one.
    pub fn is_stream(given: &str) -> bool {
        SCHEMES.iter().any(|scheme| given.starts_with(scheme))
    }
}

/// A server, in the place of a ring, means all of its streams.
#[cfg(feature = "nats")]
pub type Server = ServerName;

/// A server: none, in a program without NATS.
#[cfg(not(feature = "nats"))]
#[derive(Debug, Clone)]
pub enum Server {}

#[cfg(not(feature = "nats"))]
impl fmt::Display for Server {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

#[cfg(not(feature = "nats"))]
impl FromStr for Server {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        Err(match Address::is_stream(given) {
            true => without_nats("no SERVER, or a program from cargo install --path . --features nats"),
            false => ArgError::new(
                "this is no server",
                "nats://HOST:PORT, or nothing for the rings of this machine",
            ),
        })
    }
}

/// The error for a name that needs the feature `nats`.
#[cfg(not(feature = "nats"))]
fn without_nats(expected: &'static str) -> ArgError {
    ArgError::new("this program was built without NATS", expected)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<RingName> for Address {
    fn from(name: RingName) -> Self {
        Address::Ring(name)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(given: &str) -> Result<Self, AddressError> {
        if !Address::is_stream(given) {
            return Ok(Address::Ring(given.parse()?));
        }
        #[cfg(feature = "nats")]
        return Ok(Address::Stream(given.parse()?));
        #[cfg(not(feature = "nats"))]
        Err(AddressError::Stream(without_nats(
            "NAME, /NAME or shm:NAME, or a program from cargo install --path . --features nats",
        )))
    }
}

/// Why a text is no address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not the name of a ring.
    #[error(transparent)]
    Ring(#[from] crate::Error),
    /// It is not the name of a stream.
    #[error(transparent)]
    Stream(#[from] ArgError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_than_those_of_streams_are_names_of_rings() {
        for given in ["jobs", "/jobs", "shm:jobs", "nats:", "nats", "tls:x"] {
            assert_eq!(given.parse::<Address>().unwrap().ring().unwrap(), &given.parse().unwrap());
        }
        for given in ["", "a/b", "http://host/jobs"] {
            assert!(matches!(given.parse::<Address>(), Err(AddressError::Ring(_))), "{given:?}");
        }
    }

    #[test]
    #[cfg(not(feature = "nats"))]
    fn a_program_without_nats_says_how_to_build_it() {
        for given in ["nats://localhost:4222/jobs", "tls://nats.example/jobs", "nats://"] {
            let error = given.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("built without NATS") && error.contains("--features nats"), "{error}");
        }
    }

    #[test]
    #[cfg(feature = "nats")]
    fn a_stream_is_no_ring_and_a_ring_no_stream() {
        let stream: Address = "nats://localhost/jobs".parse().unwrap();
        assert_eq!(stream.ring().unwrap_err().code, code::USAGE);
        assert_eq!(stream.stream().unwrap().as_str(), stream.as_str());
        let ring: Address = "jobs".parse().unwrap();
        assert_eq!(ring.stream().unwrap_err().code, code::USAGE);
    }
}
