//! Encrypted connections, and keys in place of passwords.

use std::process::{Command, Stdio};

use crate::server::{Server, consumer, producer};
use crate::support::{file, report};

/// A root certificate, and certificates for a server on loopback and for a client that it signed.
fn certificates(folder: &tempfile::TempDir) -> Option<()> {
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-root
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            printf 'subjectAltName=IP:127.0.0.1\n' > ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $name.pem
        done";
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder).stdin(Stdio::null());
    if command.output().is_ok_and(|made| made.status.success()) {
        return Some(());
    }
    report("skipped: encrypted connections: openssl made no certificates");
    None
}

#[test]
fn encrypted_connections_check_the_certificates_of_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let Some(()) = certificates(&folder) else { return };
    let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let of_server = ["--tls", "--tlscert", &cert, "--tlskey", &key, "--tlsverify", "--tlscacert", &ca];
    let Some(server) = Server::start_with(&of_server) else { return };
    let jobs = server.name("jobs").replace("nats://", "tls://");
    let trusting = |run: crate::support::Run| {
        run.env("NATS_CA", &ca).env("NATS_CERT", path("client.pem")).env("NATS_KEY", path("client.key"))
    };
    trusting(producer(&jobs, &[])).input("1\n2\n").run().succeeds().quiet();
    assert_eq!(trusting(consumer(&jobs, &[])).run().succeeds().text(), "1\n2\n");
    // A server that no known root has signed; a client without a certificate; half of one.
    producer(&jobs, &["--item", "x"]).run().with_code(1).saying("cannot connect to tls://");
    let half = producer(&jobs, &["--item", "x"]).env("NATS_CA", &ca);
    half.run().with_code(1).saying("cannot connect to tls://");
    let half = producer(&jobs, &["--item", "x"]).env("NATS_CA", &ca).env("NATS_CERT", path("client.pem"));
    half.run().with_code(2).saying("one of NATS_CERT and NATS_KEY is missing");
    let gone = producer(&jobs, &["--item", "x"]).env("NATS_CA", path("none.pem")).run();
    assert!(gone.code == Some(1) && gone.stderr.contains("none.pem"), "{}", gone.stderr);
}

#[test]
fn a_token_and_a_key_are_credentials() {
    let Some(server) = Server::start_with(&["--auth", "hush"]) else { return };
    let jobs = server.name("jobs");
    producer(&jobs, &["--item", "x"]).env("NATS_TOKEN", "hush").run().succeeds().quiet();
    let wrong = producer(&jobs, &["--item", "x"]).env("NATS_TOKEN", "shush").run().with_code(1);
    assert!(!wrong.stderr.contains("shush"), "{}", wrong.stderr);
    // A pair of keys that the documents of NATS give as an example.
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let folder = tempfile::tempdir().unwrap();
    let config = file(
        &folder,
        "server.conf",
        format!("authorization {{ users = [ {{ nkey: {public} }} ] }}").as_bytes(),
    );
    let Some(server) = Server::start_with(&["-c", &config]) else { return };
    let jobs = server.name("jobs");
    let kept = file(&folder, "seed", format!("{seed}\n").as_bytes());
    producer(&jobs, &["--item", "x"]).env("NATS_NKEY", kept).run().succeeds().quiet();
    producer(&jobs, &["--item", "x"]).run().with_code(1);
    // A context names the same file.
    let context =
        file(&folder, "prod.json", format!("{{\"nkey\": \"{}/seed\"}}", folder.path().display()).as_bytes());
    assert_eq!(consumer(&format!("{jobs}?context={context}"), &["-n", "1"]).run().succeeds().text(), "x\n");
}
