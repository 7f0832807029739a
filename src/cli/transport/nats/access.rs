//! Credentials for a server, as the tools of NATS take them: from a context of the `nats` tool, from environment
//! variables, and from files. Never from the command line, which other users can read.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;
use serde::Deserialize;

use crate::cli::common::exit::{Failure, code};
use crate::cli::common::stream_name::ServerName;

/// Where the `nats` tool keeps its contexts, below the folder for configuration.
const CONTEXTS: &str = "nats/context";

/// The parts of a context that have the credentials. The server is the one in the stream's name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Access {
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
}

impl Access {
    /// What the environment says. Each variable goes before the value in the context.
    fn with_environment(self) -> Self {
        let or = |name: &str, other: String| match env::var(name) {
            Ok(value) if !value.is_empty() => value,
            _ => other,
        };
        Access {
            user: or("NATS_USER", self.user),
            password: or("NATS_PASSWORD", self.password),
            token: or("NATS_TOKEN", self.token),
            creds: or("NATS_CREDS", self.creds),
            nkey: or("NATS_NKEY", self.nkey),
            cert: or("NATS_CERT", self.cert),
            key: or("NATS_KEY", self.key),
            ca: or("NATS_CA", self.ca),
        }
    }
}

/// How to connect to a server.
///
/// # Errors
/// A [`Failure`] without any secret.
pub fn options(server: &ServerName) -> Result<ConnectOptions, Failure> {
    check_name(server)?;
    let context = server.context.as_deref().map(str::to_string).or_else(|| env::var("NATS_CONTEXT").ok());
    let access = match context.filter(|context| !context.is_empty()) {
        Some(context) => read_context(&context)?,
        None => Access::default(),
    };
    apply(access.with_environment())
}

/// Fails for a name with a secret.
///
/// # Errors
/// A [`Failure`] without the secret.
pub fn check_name(server: &ServerName) -> Result<(), Failure> {
    if server.has_secret {
        let line = format!(
            "a user or password in the name of {} is seen by other users of this machine; expected none in it",
            server.as_str()
        );
        return Err(Failure::new(code::USAGE, line)
            .hint("NATS_USER and NATS_PASSWORD, NATS_CREDS or NATS_CONTEXT have them: docs/SCALING.md"));
    }
    Ok(())
}

fn apply(access: Access) -> Result<ConnectOptions, Failure> {
    let mut options = ConnectOptions::new();
    if !access.user.is_empty() {
        options = options.user_and_password(access.user, access.password);
    }
    if !access.token.is_empty() {
        options = options.token(access.token);
    }
    if !access.creds.is_empty() {
        let text = read(Path::new(&access.creds), "credentials")?;
        let bad = |_| refused(Path::new(&access.creds), "the form of a credentials file");
        options = options.credentials(&text).map_err(bad)?;
    }
    if !access.nkey.is_empty() {
        // The seed itself, or the file that has it.
        let seed = match access.nkey.starts_with("SU") {
            true => access.nkey,
            false => read(Path::new(&access.nkey), "nkey")?.trim().to_string(),
        };
        options = options.nkey(seed);
    }
    // The client would not name the file that it cannot read.
    for (path, what) in [
        (&access.ca, "root certificates"),
        (&access.cert, "client certificate"),
        (&access.key, "key of the client certificate"),
    ] {
        if !path.is_empty() {
            read(Path::new(path), what)?;
        }
    }
    if !access.ca.is_empty() {
        options = options.add_root_certificates(access.ca.into());
    }
    match (access.cert.is_empty(), access.key.is_empty()) {
        (false, false) => options = options.add_client_certificate(access.cert.into(), access.key.into()),
        (true, true) => {}
        _ => {
            let line = "one of NATS_CERT and NATS_KEY is missing; expected both, or none";
            return Err(Failure::new(code::USAGE, line));
        }
    }
    Ok(options)
}

/// Reads a context, by name or by the path of its file.
fn read_context(context: &str) -> Result<Access, Failure> {
    let path = match context.contains('/') {
        true => PathBuf::from(context),
        false => folder()?.join(CONTEXTS).join(format!("{context}.json")),
    };
    let text = read(&path, "context")?;
    serde_json::from_str(&text).map_err(|_| refused(&path, "a JSON object with user, creds, nkey and others"))
}

fn folder() -> Result<PathBuf, Failure> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config"))).ok_or_else(|| {
        Failure::new(
            code::RUNTIME,
            "neither XDG_CONFIG_HOME nor HOME is set: expected one, for the context of NATS",
        )
    })
}

fn read(path: &Path, what: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::io(format!("{what} {}", path.display()), &error))
}

/// The failure for a file whose content, a secret, is not repeated.
fn refused(path: &Path, expected: &str) -> Failure {
    Failure::new(code::RUNTIME, format!("{} has another form; expected {expected}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_form_is_refused_without_its_content() {
        let file = env::temp_dir().join(format!("ringpipe-nats-context-{}.json", std::process::id()));
        fs::write(&file, "{\"user\": 5, \"password\": \"hush\"}").unwrap();
        let name: ServerName = format!("nats://h?context={}", file.display()).parse().unwrap();
        let failure = options(&name).unwrap_err();
        fs::write(&file, "{\"user\": \"u\", \"password\": \"hush\", \"url\": \"nats://other\"}").unwrap();
        let fine = options(&name);
        fs::remove_file(&file).unwrap();
        assert!(failure.line.contains("; expected ") && !failure.line.contains("hush"), "{}", failure.line);
        assert!(fine.is_ok());
        assert!(options(&name).unwrap_err().line.contains("No such file"));
    }

    #[test]
    fn a_secret_in_the_name_is_refused_without_repeating_it() {
        let name: ServerName = "nats://me:hush@h".parse().unwrap();
        let failure = options(&name).unwrap_err();
        assert_eq!(failure.code, code::USAGE);
        assert!(!failure.line.contains("hush") && failure.line.contains("nats://h:4222"), "{}", failure.line);
    }
}
