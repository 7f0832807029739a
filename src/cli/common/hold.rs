//! Tokens of held items, and how a command talks to the process that holds an item.
//!
//! A message is a JSON object and bytes, each behind its length.

use std::fmt::{self, Display};
use std::io::{self, Read, Write};
use std::str::FromStr;

use nix::unistd::geteuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::exit::{Failure, code};
use super::users;
use crate::sys::command::{hold, random};

/// The longest JSON object of a message.
const MAX_HEADER: u32 = 1 << 16;

/// Names a held item: the user of its holder, and random bits.
///
/// Other users can list the names of sockets, so the random bits are not a secret: they keep tokens apart. A
/// command checks the user in the token, since another user may listen under the same name after the holder's
/// end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    user: u32,
    random: u128,
}

impl Token {
    /// A token that was never used before.
    ///
    /// # Errors
    /// A [`Failure`] if the system gives no random bytes.
    pub fn new() -> Result<Self, Failure> {
        let id = random::id().map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?;
        Ok(Token { user: geteuid().as_raw(), random: u128::from_be_bytes(id) })
    }

    /// The name of the holder's socket.
    pub fn socket(&self) -> String {
        format!("ringpipe-hold-{self}")
    }
}

impl Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.user, self.random)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('-').and_then(|(user, random)| {
            let token = Token { user: user.parse().ok()?, random: u128::from_str_radix(random, 16).ok()? };
            // In one form only: no sign, no capital letters, no zeros left out.
            (token.to_string() == text).then_some(token)
        });
        parsed.ok_or_else(|| "expected a token as consumer --hold prints it: USER-32 HEX DIGITS".into())
    }
}

/// What a command asks of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Acknowledge the item.
    Done,
    /// Count a failure, and give the item back.
    Fail,
    /// Give the item back.
    Release,
    /// Report the held item, and continue to hold it.
    Show,
}

/// The facts about a held item; its bytes follow.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The ring.
    pub ring: String,
    /// The number of its producer.
    pub producer: u32,
    /// The producer's count of its items.
    pub sequence: u64,
    /// Deliveries, this one included.
    pub attempt: u8,
    /// Attempts that failed.
    pub failures: u8,
    /// When it was sent, where that is recorded.
    pub sent_at: Option<u64>,
}

/// What a holder answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is done, and the holder has left the ring. To [`Request::Show`]: the facts.
    Ok(Facts),
    /// It failed.
    Failed(Told),
}

/// A [`Failure`] of another process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    line: String,
    hint: Option<String>,
    code: u8,
}

impl From<Failure> for Told {
    fn from(Failure { line, hint, code }: Failure) -> Self {
        Told { line, hint, code }
    }
}

impl From<Told> for Failure {
    fn from(Told { line, hint, code }: Told) -> Self {
        Failure { line, hint, code }
    }
}

/// Writes a message.
///
/// # Errors
/// The error of the system.
pub fn send(mut to: impl Write, header: &impl Serialize, bytes: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let mut start = (header.len() as u32).to_be_bytes().to_vec();
    start.extend_from_slice(&header);
    start.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    to.write_all(&start)?;
    to.write_all(bytes)
}

/// Reads a message.
///
/// # Errors
/// The error of the system; `UnexpectedEof` if the other end has ended, `InvalidData` if it is not such a message.
pub fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<(T, Vec<u8>)> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > MAX_HEADER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut header = vec![0; len as usize];
    from.read_exact(&mut header)?;
    let header = serde_json::from_slice(&header)?;
    let mut len = [0; 8];
    from.read_exact(&mut len)?;
    let len = u64::from_be_bytes(len);
    let mut bytes = Vec::new();
    // Grows with what comes, so a wrong length costs no memory.
    if from.take(len).read_to_end(&mut bytes)? as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((header, bytes))
}

/// Asks the holder of `token`, and waits until it has answered and, unless it continues to hold the item,
/// ended.
///
/// # Errors
/// The [`Failure`] of the holder; not found if there is no holder.
pub fn ask(token: &Token, request: Request) -> Result<(Facts, Vec<u8>), Failure> {
    let own = geteuid();
    if token.user != own.as_raw() && !own.is_root() {
        let user = users::user(token.user);
        let line = format!("token {token} belongs to {user}; expected one of your own");
        return Err(Failure::new(code::RUNTIME, line));
    }
    let failed = |error: io::Error| Failure::io("the holder's socket", &error);
    let Some(stream) = hold::connect(&token.socket()).map_err(failed)? else { return Err(unknown(token)) };
    if hold::peer_user(&stream).map_err(failed)? != token.user {
        return Err(unknown(token));
    }
    let answer = send(&stream, &request, &[]).and_then(|()| receive::<Answer>(&stream));
    let (answer, bytes) = match answer {
        Ok(answer) => answer,
        // The holder may also have settled the item for another command at that moment.
        Err(error) if is_end(&error) => return Err(unknown(token)),
        Err(error) => return Err(failed(error)),
    };
    match answer {
        Answer::Ok(facts) => {
            // Wait for the holder's end. An error does not matter: the holder has answered.
            let _ = (&stream).read(&mut [0]);
            Ok((facts, bytes))
        }
        Answer::Failed(told) => Err(told.into()),
    }
}

/// Whether the other end has ended.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

fn unknown(token: &Token) -> Failure {
    let line = format!(
        "token {token} has no holder: it was used before, or the holder ended and the item is delivered again"
    );
    Failure::new(code::EMPTY, line)
        .hint("consumer --hold --hold-for $$ holds an item as long as the whole script runs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_in_the_form_in_which_it_is_written_and_in_no_other() {
        let token = Token::new().unwrap();
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        let text = Token { user: 7, random: 0xa }.to_string();
        assert_eq!(text, "7-0000000000000000000000000000000a");
        for wrong in ["", "-", "7", "7-", "7-a", "+7-0000000000000000000000000000000a", &text.to_uppercase()]
        {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
        assert_ne!(Token::new().unwrap(), token);
    }

    #[test]
    fn a_message_comes_whole_or_not_at_all() {
        let mut sent = Vec::new();
        send(&mut sent, &Request::Fail, b"bytes\n").unwrap();
        assert_eq!(receive::<Request>(&*sent).unwrap(), (Request::Fail, b"bytes\n".to_vec()));
        for end in 0..sent.len() {
            assert!(is_end(&receive::<Request>(&sent[..end]).unwrap_err()), "{end}");
        }
        assert_eq!(
            receive::<Request>(&b"GET / HTTP/1.0"[..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
