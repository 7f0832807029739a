//! `ringctl test --over`: the same scenario files over a server.

use crate::server::{Server, ringctl};
use crate::support::file;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

#[test]
fn the_scenarios_of_rings_pass_over_a_server() {
    let Some(server) = Server::start() else { return };
    let address = server.address();
    // Not killed-at-instructions, whose numbers are those of rings in shared memory.
    let names = ["many-producers", "no-memory", "producers-consumers", "restart-all", "workers"];
    let only = names.iter().flat_map(|name| ["--only", name]);
    let args: Vec<&str> =
        ["test", "--over", &address, "--report", "json", SCENARIOS].into_iter().chain(only).collect();
    let ended = ringctl(&args).run();
    assert_eq!(ended.code, Some(0), "{}{}", ended.text(), ended.stderr);
    let runs = ended.json_lines();
    let verdicts = |name: &str| -> Vec<&str> {
        let of_name = runs.iter().filter(|run| run["scenario"] == name);
        of_name.map(|run| run["verdict"].as_str().unwrap()).collect()
    };
    for name in names {
        let expected = if name == "no-memory" { "skipped" } else { "passed" };
        let verdicts = verdicts(name);
        assert!(!verdicts.is_empty() && verdicts.iter().all(|one| *one == expected), "{name}: {verdicts:?}");
    }
    // Nothing is left on the server.
    assert_eq!(ringctl(&["list", &address]).run().succeeds().text(), "");
}

#[test]
fn a_failed_run_says_how_to_repeat_it_over_the_server() {
    let Some(server) = Server::start() else { return };
    let address = server.address();
    let folder = tempfile::tempdir().unwrap();
    let scenario =
        "[ring.jobs]\ncapacity = 8\n[producer.one]\nitems = 3\n[consumer.two]\n[expect]\nreceived = 4\n";
    let failing = file(&folder, "failing.toml", scenario.as_bytes());
    let kept = folder.path().join("runs").to_str().unwrap().to_string();
    let ended = ringctl(&["test", "--over", &address, "--keep", &kept, &failing]).run().with_code(10);
    assert!(ended.text().contains(&format!("--over {address}\n")), "{}", ended.text());
    assert!(ended.text().contains("items received: 3, expected at least 4"), "{}", ended.text());
}

#[test]
fn what_only_shared_memory_has_leaves_a_scenario_out() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rest = "[producer.one]\nitems = 3\n[consumer.two]\n";
    let held = "[[fault]]\ndo = \"kill\"\non = \"two\"\nat = { held = \"jobs\" }\n";
    for (text, words) in [
        (format!("[ring.jobs]\nexclusive = true\n{rest}"), "ring jobs has --exclusive, which no stream has"),
        (
            format!("[ring.jobs]\n{rest}").replace("items = 3", "items = 3\non-full = \"drop-oldest\""),
            "one has --on-full=drop-oldest",
        ),
        (format!("[ring.jobs]\n{rest}") + "shared = true\n", "two has --shared, which no stream has"),
        (format!("[ring.jobs]\n{rest}{held}"), "a server does not tell which process holds an item"),
    ] {
        let scenario = file(&folder, "one.toml", text.as_bytes());
        let ended = ringctl(&["test", "--over", &server.address(), &scenario]).run().succeeds();
        assert!(ended.text().contains(words), "{words}: {}", ended.text());
    }
}

#[test]
fn programs_of_a_run_find_credentials_that_are_given_by_relative_paths() {
    let Some(server) = Server::start_with(&["--user", "me", "--pass", "hush"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "me.json", b"{\"user\": \"me\", \"password\": \"hush\"}");
    let scenario = "[ring.jobs]\n[producer.one]\nitems = 3\n[consumer.two]\n[expect]\nreceived = 3\n";
    file(&folder, "one.toml", scenario.as_bytes());
    let over = format!("{}?context=./me.json", server.address());
    let in_name = ringctl(&["test", "--over", &over, "one.toml"]).current_dir(folder.path());
    in_name.run().succeeds();
    let in_variable = ringctl(&["test", "--over", &server.address(), "one.toml"]).current_dir(folder.path());
    in_variable.env("NATS_CONTEXT", "./me.json").run().succeeds();
}
