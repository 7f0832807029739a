//! A client that sends single requests to a server, to do what other tools can do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(port: u16, patience: Duration) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n")?;
    Ok(BufReader::new(stream))
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line)
}

/// Publishes bytes, and waits until the server has them.
pub fn publish(port: u16, subject: &str, bytes: &str) {
    let mut reader = connect(port, PATIENCE).unwrap();
    let message = format!("PUB {subject} {}\r\n{bytes}\r\nPING\r\n", bytes.len());
    reader.get_mut().write_all(message.as_bytes()).unwrap();
    while line(&mut reader).unwrap().trim() != "PONG" {}
}

/// Sends a request of JetStream's interface, and returns the answer.
pub fn request(port: u16, subject: &str, body: &Value) -> Value {
    request_within(PATIENCE, port, subject, body).unwrap()
}

/// The same with a limit of time.
fn request_within(patience: Duration, port: u16, subject: &str, body: &Value) -> io::Result<Value> {
    let (mut reader, body) = (connect(port, patience)?, body.to_string());
    let message = format!("SUB answer 1\r\nPUB $JS.API.{subject} answer {}\r\n{body}\r\n", body.len());
    reader.get_mut().write_all(message.as_bytes())?;
    loop {
        let line = line(&mut reader)?;
        if let Some(facts) = line.strip_prefix("MSG ") {
            let length = facts.trim().rsplit(' ').next().unwrap().parse().unwrap();
            let mut answer = vec![0; length];
            reader.read_exact(&mut answer)?;
            return Ok(serde_json::from_slice(&answer)?);
        }
        assert!(
            !line.is_empty() && !line.starts_with("HMSG") && !line.starts_with("-ERR"),
            "{subject}: {line}"
        );
    }
}

/// The same, which must succeed.
pub fn ask(port: u16, subject: &str, body: &Value) -> Value {
    let answer = request(port, subject, body);
    assert!(answer["error"].is_null(), "{subject} {body}: {answer}");
    answer
}

/// Makes a stream of its own.
pub fn make(port: u16, config: &Value) {
    let name = config["name"].as_str().unwrap();
    ask(port, &format!("STREAM.CREATE.{name}"), config);
}

/// The name of the server that leads a stream of a cluster. `None`: no server says so now.
pub fn leader(port: u16, stream: &str) -> Option<String> {
    let subject = format!("STREAM.INFO.{stream}");
    let answer = request_within(Duration::from_secs(2), port, &subject, &json!({})).ok()?;
    answer["cluster"]["leader"].as_str().filter(|name| !name.is_empty()).map(str::to_string)
}

/// The settings of a stream and of its consumer.
pub fn configs(port: u16, stream: &str) -> [Value; 2] {
    [format!("STREAM.INFO.{stream}"), format!("CONSUMER.INFO.{stream}.workers")]
        .map(|subject| ask(port, &subject, &json!({}))["config"].clone())
}

/// Makes the stream and its consumer anew, with these settings.
pub fn make_again(port: u16, stream: &str, config: &Value, consumer: &Value) {
    ask(port, &format!("STREAM.DELETE.{stream}"), &json!({}));
    ask(port, &format!("STREAM.CREATE.{stream}"), config);
    let wanted = json!({"stream_name": stream, "config": consumer});
    ask(port, &format!("CONSUMER.DURABLE.CREATE.{stream}.workers"), &wanted);
}

/// Settings with these changes.
pub fn changed(config: &Value, changes: &Value) -> Value {
    let mut config = config.clone();
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}
