//! Kept ids of other PID namespaces, as `ringctl inspect` shows them.

use std::process::{Command, Stdio};

use crate::support::*;
use serde_json::Value;

/// Runs a program as process 1 of a PID namespace.
fn apart(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", program]);
    command.args(arguments);
    command
}

/// What is said of the process ids, the one of this namespace first.
fn namespaces(inspected: &Value, this: u32) -> (Value, Value) {
    let participants = inspected["participants"].as_array().unwrap();
    let (first, second) = match participants[0]["pid"] == this {
        true => (&participants[0], &participants[1]),
        false => (&participants[1], &participants[0]),
    };
    assert_eq!((&first["state"], &second["state"]), (&"alive".into(), &"alive".into()));
    assert_eq!((&first["pid"], &second["pid"]), (&this.into(), &1.into()));
    (first["pid_namespace"].clone(), second["pid_namespace"].clone())
}

#[test]
fn a_process_id_of_another_namespace_is_marked_so() {
    if !apart("true", &[]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return not_tested("no PID namespaces here");
    }
    let name = TestName::ring("namespaces", &[]);
    let mut here = idle_producer(&name);
    let mut there = apart(env!("CARGO_BIN_EXE_producer"), &["--no-create", &name.name]);
    let mut there = Kept(there.stdin(Stdio::piped()).spawn().unwrap());
    wait_until("both take part", || name.inspect()["participants"].as_array().unwrap().len() == 2);

    assert_eq!(namespaces(&name.inspect(), here.0.id()), ("this".into(), "other".into()));
    let text = ringctl(&["inspect", &name.name]).succeeds().into_text();
    assert!(text.contains("alive, in another PID namespace"), "{text}");

    let watched = ringctl(&["watch", "--once", &name.name]).succeeds().into_text();
    assert!(watched.contains(", in another PID namespace"), "{watched}");

    let inspect = |more: &[&str]| {
        let arguments = [&["inspect", &name.name], more].concat();
        run_with(apart(env!("CARGO_BIN_EXE_ringctl"), &arguments), b"").succeeds()
    };
    assert_eq!(namespaces(&inspect(&["--json"]).json(), here.0.id()), ("unseen".into(), "other".into()));
    let text = inspect(&[]).into_text();
    assert!(text.contains("alive, no such process here"), "{text}");

    // The dead have no process, and nothing to be said of it.
    here.kill();
    there.kill();
    wait_until("both count as dead", || {
        let inspected = name.inspect();
        let participants = inspected["participants"].as_array().unwrap();
        participants.iter().all(|one| one["state"] == "dead" && one["pid_namespace"].is_null())
    });
}
