//! An item in the hands of a shell script: `consumer --hold`, and `ringctl done`, `fail` and `release`.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::thread;
use std::time::Duration;

use crate::support::users::{OWNER, Place, SECOND};
use crate::support::*;
use crate::worker::deaths::without_close_range;
use ringpipe::{Activity, Role};

/// A script: `$T` is `ringctl`; after `take OPTIONS`, `$token` and `$item` are what it got.
fn script(ring: &TestName, script: &str) -> Run {
    const TAKE: &str = "take() { { read -r token; item=$(cat; echo .); } < <($C $R --hold --hold-for $$ \"$@\"); item=${item%.}; }";
    shell(ring, &format!("{TAKE}\n{script}"))
}

fn ring(label: &str, items: &[&str]) -> TestName {
    let ring = TestName::ring(label, &[]);
    ring.send(items);
    ring
}

/// The holders of items of this ring.
fn holders(ring: &TestName) -> Vec<i32> {
    let is_holder = |pid: &i32| {
        let read = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let arguments = read("cmdline");
        read("comm") == b"ringpipe-hold\n"
            && arguments.split(|&byte| byte == 0).any(|one| one == ring.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    processes.filter_map(|name| name.to_str()?.parse().ok()).filter(is_holder).collect()
}

#[track_caller]
fn no_holder_is_left(ring: &TestName) {
    wait_until("the end of the holder", || holders(ring).is_empty());
}

/// The next item, for another consumer.
#[track_caller]
fn next(ring: &TestName) -> serde_json::Value {
    consumer(ring, &["--json", "-n", "1", "--timeout", "60s"]).run().json()
}

fn kill(pid: i32) {
    // SAFETY: no pointers; it is a process of this test.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

#[test]
fn done_acknowledges_the_item_once() {
    let ring = ring("done", &["one", "two"]);
    let ended =
        script(&ring, "take; echo \"$item\"; $T done $token && echo done; $T done $token; echo $?").run();
    assert_eq!(ended.text(), "one\n\ndone\n3\n");
    assert!(ended.stderr.contains("has no holder: it was used before"), "{}", ended.stderr);
    assert_eq!((ring.acknowledged(), ring.ready()), (1, 1));
    no_holder_is_left(&ring);
    assert_eq!(next(&ring)["text"], "two");
}

#[test]
fn fail_counts_a_failure_and_release_does_not() {
    let ring = ring("fail", &["one"]);
    for (verb, failures) in [("fail", 1), ("release", 1), ("fail", 2), ("release", 2)] {
        script(&ring, &format!("take; [ \"$item\" = $'one\\n' ] && $T {verb} $token"))
            .run()
            .succeeds()
            .quiet();
        let peeked = ringctl(&["peek", &ring, "--json"]).json();
        assert_eq!((&peeked["text"], &peeked["failures"]), (&"one".into(), &failures.into()), "{verb}");
        no_holder_is_left(&ring);
    }
    assert_eq!(ring.acknowledged(), 0);
}

#[test]
fn a_failed_item_becomes_a_dead_letter_after_its_retries() {
    let ring = ring("letter", &["one"]);
    let dead = TestName::new("dead").stays();
    let fail = "take; $T fail $token --dead-letter $D --retries 1 --reason 'no answer'";
    let run = || script(&ring, fail).env("D", &dead.name).run().succeeds().quiet();
    run();
    assert!(!dead.exists());
    run();
    assert_eq!((ring.acknowledged(), ring.ready()), (1, 0));
    let letter = consumer(&dead, &["-n", "1"]).run().succeeds();
    let (facts, bytes) = letter.text().split_once('\n').unwrap();
    let facts: serde_json::Value = serde_json::from_str(facts).unwrap();
    assert_eq!(bytes, "one\n");
    assert_eq!(
        (&facts["failures"], &facts["reason"], &facts["ring"]),
        (&2.into(), &"no answer".into(), &ring.name.clone().into())
    );
    no_holder_is_left(&ring);
}

#[test]
fn an_item_that_cannot_become_a_dead_letter_stays_held() {
    let ring = ring("refused", &["one"]);
    let dead = TestName::ring("refusing", &[]);
    ringctl(&["close", &dead]).succeeds();
    let ended =
        script(&ring, "take; $T fail $token --dead-letter $D; echo $?; $T release $token && echo held");
    let ended = ended.env("D", &dead.name).run().succeeds().saying("closed");
    assert_eq!(ended.text(), "5\nheld\n");
    let peeked = ringctl(&["peek", &ring, "--json"]).json();
    assert_eq!(peeked["failures"], 0, "a failure that could not be handled is not counted");
}

#[test]
fn a_ring_for_dead_letters_is_made_with_room_for_the_item_and_is_not_the_ring_of_the_item() {
    let ring = TestName::ring("large", &["--slot-size", "1K"]);
    let item = "x".repeat(3_000_000);
    ring.send(&[&item]);
    let dead = TestName::new("dead").stays();
    let line = "take; $T fail $token --dead-letter $R --retries 9; echo $?; $T fail $token --dead-letter $D; echo $?";
    let ended = script(&ring, line).env("D", &dead.name).run().succeeds();
    assert_eq!(ended.text(), "2\n0\n");
    ended.saying("is the ring of the item");
    assert_eq!((ring.acknowledged(), ring.ready()), (1, 0));
    let letter = consumer(&dead, &["-n", "1"]).run().succeeds();
    let (_, bytes) = letter.text().split_once('\n').unwrap();
    assert!(bytes == format!("{item}\n"), "{} bytes", bytes.len());
}

#[test]
fn the_item_of_a_killed_script_goes_to_another_consumer() {
    // The default, and by name.
    for by in ["", "--hold-for $$"] {
        let ring = ring("killed", &["one"]);
        let line = format!("{{ read -r token; item=$(cat); }} < <($C $R --hold {by}); echo \"$item\"; cat");
        let mut running = script(&ring, &line).open_input().spawn();
        running.wait_for_stdout(b"one\n");
        assert_eq!((holders(&ring).len(), ring.ready()), (1, 0));
        running.signal(libc::SIGKILL);
        running.close_input();
        running.end().by_signal(libc::SIGKILL);
        let item = next(&ring);
        assert_eq!((&item["text"], &item["attempt"]), (&"one".into(), &2.into()), "{by}");
        no_holder_is_left(&ring);
    }
}

#[test]
fn the_item_of_a_killed_holder_goes_to_another_consumer_and_its_token_says_so() {
    let ring = ring("holder", &["one"]);
    let mut running =
        script(&ring, "take; echo \"$token\"; read -r; $T done $token; echo $?").open_input().spawn();
    wait_until("a token", || !running.output().is_empty());
    let [holder] = holders(&ring)[..] else { panic!("one holder") };
    kill(holder);
    assert_eq!(next(&ring)["attempt"], 2);
    running.close_input();
    let ended = running.end().saying("the holder ended and the item is delivered again");
    assert!(ended.text().ends_with("\n3\n"), "{}", ended.text());
}

#[test]
fn a_command_waits_for_a_stopped_holder_and_learns_of_its_death() {
    let ring = ring("stopped", &["one"]);
    let mut running =
        script(&ring, "take; echo \"$token\"; read -r; $T done $token; echo $?").open_input().spawn();
    wait_until("a token", || !running.output().is_empty());
    let [holder] = holders(&ring)[..] else { panic!("one holder") };
    // SAFETY: no pointers; it is a process of this test.
    assert_eq!(unsafe { libc::kill(holder, libc::SIGSTOP) }, 0);
    running.close_input();
    let asks = || {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        let token = String::from_utf8(running.output()).unwrap();
        sockets.matches(token.trim_end()).count() > 1
    };
    let mut asks = asks;
    wait_until("a command that has connected", &mut asks);
    kill(holder);
    assert_eq!(next(&ring)["attempt"], 2);
    assert!(running.end().text().ends_with("\n3\n"));
}

#[test]
fn a_holder_keeps_no_descriptor_of_the_script() {
    let test = || {
        let ring = ring("descriptors", &["one"]);
        let mut running = script(&ring, "exec 200</dev/null; take; echo $token; read -r; $T done $token")
            .open_input()
            .spawn();
        wait_until("a token", || !running.output().is_empty());
        let [holder] = holders(&ring)[..] else { panic!("one holder") };
        let is_open = |pid: i32| fs::symlink_metadata(format!("/proc/{pid}/fd/200")).is_ok();
        assert_eq!((is_open(running.pid()), is_open(holder)), (true, false));
        running.close_input();
        running.end().succeeds();
        assert_eq!(ring.acknowledged(), 1);
    };
    test();
    without_close_range(test);
}

#[test]
fn wrong_tokens_are_told_apart() {
    let unknown = format!("{}-{:032x}", nix::unistd::geteuid(), 1);
    for verb in ["done", "fail", "release"] {
        ringctl(&[verb, "1234"]).with_code(2).saying("expected a token as consumer --hold prints it");
        ringctl(&[verb, &unknown]).with_code(3).saying("has no holder");
    }
    ringctl(&["fail", &unknown, "--dead-letter", "ringpipe-no-such-ring"]).with_code(3);
    assert!(!fs::exists("/dev/shm/ringpipe-no-such-ring").unwrap());
}

#[test]
fn a_command_substitution_ends_although_its_output_has_a_holder() {
    let ring = ring("dollar", &["one"]);
    let line = "both=$($C $R --hold --hold-for $$ 2>&1); echo \"${both#*$'\\n'}\"; $T done ${both%%$'\\n'*}";
    assert_eq!(script(&ring, line).run().succeeds().quiet().text(), "one\n");
}

#[test]
fn an_item_is_held_for_the_named_process_and_not_for_a_subshell() {
    let ring = ring("subshell", &["one"]);
    let take = |by: &str| format!("token=$($C $R --hold {by} | head -n 1; true); ");
    // The subshell has ended.
    script(&ring, &take("")).run().succeeds();
    no_holder_is_left(&ring);
    assert_eq!((ring.acknowledged(), ring.ready()), (0, 1));
    script(&ring, &format!("{}$T done $token", take("--hold-for $$"))).run().succeeds().quiet();
    assert_eq!(ring.acknowledged(), 1);
}

#[test]
fn a_process_that_is_not_there_or_not_of_the_session_holds_nothing() {
    let ring = ring("nobody", &["one"]);
    let gone = "sleep 0 & p=$!; wait $p; $C $R --hold --hold-for $p";
    script(&ring, gone).run().with_code(1).saying("expected the id of a running process");
    // As after the death of the parent: another process has taken its place.
    let other = "exec setsid $C $R --hold";
    script(&ring, &format!("({other})")).run().with_code(1).saying("--hold-for $$");
    let named = format!("({other} --hold-for $$) > /dev/null");
    script(&ring, &named).run().succeeds().quiet();
    no_holder_is_left(&ring);
    assert_eq!((ring.acknowledged(), ring.ready()), (0, 1));
}

#[test]
fn a_script_holds_two_items_and_settles_them_in_any_order() {
    let ring = ring("two", &["one", "two", "three"]);
    let line = "take; a=$token; take; b=$token; $T done $b; $T fail $a; echo ok";
    assert_eq!(script(&ring, line).run().succeeds().quiet().text(), "ok\n");
    assert_eq!(ring.acknowledged(), 1);
    let item = next(&ring);
    assert_eq!((&item["text"], &item["attempt"]), (&"one".into(), &2.into()));
    assert_eq!(next(&ring)["text"], "three");
}

#[test]
fn the_place_in_an_exclusive_ring_is_free_when_a_command_has_settled_the_item() {
    let ring = TestName::ring("exclusive", &["--exclusive"]);
    ring.send_lines(&seq(20));
    let line =
        "for i in {1..20}; do take --no-wait; [ \"$item\" = $i$'\\n' ] && $T done $token || exit 9; done";
    script(&ring, line).run().succeeds().quiet();
    assert_eq!(ring.acknowledged(), 20);
}

#[test]
fn an_item_of_a_removed_ring_is_settled_as_any_other() {
    for verb in ["done", "fail", "release"] {
        let ring = ring("removed", &["one"]);
        let line = format!("take; $T rm $R; $T {verb} $token");
        script(&ring, &line).run().succeeds();
        assert!(!ring.exists());
        no_holder_is_left(&ring);
    }
}

#[test]
fn an_item_of_a_truncated_ring_is_not_said_to_be_acknowledged() {
    let ring = ring("truncated", &["one"]);
    let line = "take; truncate -s 0 /dev/shm/$R; $T done $token";
    let ended = script(&ring, line).run();
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    no_holder_is_left(&ring);
}

#[test]
fn without_an_item_the_exit_code_says_why_and_no_holder_is_left() {
    let empty = TestName::ring("empty", &[]);
    let missing = TestName::new("missing");
    for (ring, options, code) in [
        (&empty, &["--timeout", "10ms"][..], 4),
        (&empty, &["--no-wait"], 3),
        (&missing, &["--timeout", "10ms"], 4),
        (&missing, &["--no-wait"], 3),
        (&empty, &["-n", "2"], 2),
    ] {
        let ended = consumer(ring, &[&["--hold"], options].concat()).run();
        assert_eq!((ended.code, ended.text()), (Some(code), ""), "{options:?}");
        assert!(ended.stderr.starts_with("consumer: "), "{}", ended.stderr);
        assert!(holders(ring).is_empty(), "{options:?}");
    }
    ringctl(&["close", &empty]).succeeds();
    consumer(&empty, &["--hold"]).run().with_code(3).saying("it was closed after 0 of 1 items");
}

#[test]
fn a_signal_while_waiting_ends_both_processes() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = TestName::ring("signal", &[]);
        let running = consumer(&ring, &["--hold"]).spawn();
        ring.wait_for(Role::Consumer, Activity::WaitingForItems);
        running.signal(signal);
        running.end().by_signal(signal).quiet();
        assert!(holders(&ring).is_empty());
        let missing = TestName::new("absent");
        let running = consumer(&missing, &["--hold"]).spawn();
        running.wait_for_stderr("waiting for ring");
        running.signal(signal);
        running.end().by_signal(signal);
        assert!(holders(&missing).is_empty());
    }
}

#[test]
fn a_holder_whose_command_or_script_is_killed_while_it_waits_ends() {
    let ring = TestName::ring("waits", &[]);
    let running = consumer(&ring, &["--hold"]).spawn();
    wait_until("a holder", || holders(&ring).len() == 1);
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    no_holder_is_left(&ring);
    // The command has lost its holder, which ended with the script.
    let running = script(&ring, "$C $R --hold & wait").spawn();
    wait_until("a holder", || holders(&ring).len() == 1);
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    no_holder_is_left(&ring);
}

#[test]
fn what_could_not_be_written_is_given_back() {
    let ring = ring("full", &["one"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    consumer(&ring, &["--hold"]).stdout(full).run().with_code(1).saying("the item was given back");
    assert_eq!((holders(&ring).len(), ring.ready()), (0, 1));
    let (reader, writer) = std::io::pipe().unwrap();
    close_reader(reader);
    consumer(&ring, &["--hold"]).stdout(writer).run().with_code(1).saying("its reader has left");
    assert_eq!((holders(&ring).len(), ring.ready()), (0, 1));
}

#[test]
fn a_signal_in_the_middle_of_a_long_item_gives_it_back() {
    let ring = TestName::ring("long", &["--slot-size", "4K", "--capacity", "256"]);
    let long = "x".repeat(200_000);
    ring.send(&[&long]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = consumer(&ring, &["--hold"]).stdout(writer).spawn();
    reader.read_exact(&mut [0; 1000]).unwrap();
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert_eq!((holders(&ring).len(), ring.ready()), (0, 1));
}

#[test]
fn a_token_can_be_used_before_its_item_was_read() {
    let ring = TestName::ring("early", &["--slot-size", "4K", "--capacity", "256"]);
    let long = "x".repeat(200_000);
    ring.send(&[&long]);
    let line = "exec 5< <($C $R --hold --hold-for $$); read -r token <&5; $T done $token && cat <&5 | wc -c";
    assert_eq!(script(&ring, line).run().succeeds().quiet().text().trim(), "200001");
    assert_eq!(ring.acknowledged(), 1);
}

#[test]
fn the_item_follows_the_token_in_every_framing() {
    let token = format!("{}-0123456789abcdef0123456789abcdef\n", nix::unistd::geteuid());
    for item in ["", "one", "two\nlines", "7-00000000000000000000000000000000\n"] {
        let framed = [
            (&[][..], format!("{item}\n")),
            (&["-0"], format!("{item}\0")),
            (&["--raw"], item.to_string()),
            (&["--whole-file"], item.to_string()),
            (&["--frame", "len32"], format!("\0\0\0{}{item}", item.len() as u8 as char)),
        ];
        for (options, expected) in framed {
            let ring = ring("framing", &[item]);
            let ended = consumer(&ring, &[&["--hold"], options].concat()).run().succeeds().quiet();
            let (first, rest) = ended.text().split_at(token.len());
            assert!(first.ends_with('\n') && first.trim_end().len() + 1 == token.len(), "{first:?}");
            assert_eq!(rest, expected, "{options:?}");
        }
    }
    let ring = ring("object", &["one"]);
    let line =
        "o=$($C $R --hold --json --hold-for $$); echo \"$o\"; t=${o#*token\\\":\\\"}; $T done ${t%%\\\"*}";
    let object = script(&ring, line).run().json();
    assert_eq!((&object["text"], &object["schema"]), (&"one".into(), &"ringpipe.item/1".into()));
    assert_eq!(ring.acknowledged(), 1);
}

#[test]
fn a_holder_has_nothing_of_the_script() {
    let ring = ring("clean", &["one"]);
    let mut running =
        script(&ring, "exec 7</etc/passwd; take; echo held; read -r; true").open_input().spawn();
    running.wait_for_stdout(b"held\n");
    let [holder] = holders(&ring)[..] else { panic!("one holder") };
    let link = |path: String| fs::read_link(path).unwrap().into_os_string().into_string().unwrap();
    assert_eq!(link(format!("/proc/{holder}/cwd")), "/");
    for entry in fs::read_dir(format!("/proc/{holder}/fd")).unwrap() {
        let open = link(entry.unwrap().path().to_str().unwrap().into());
        let own = ["/dev/null", "socket:", "anon_inode:", &format!("/dev/shm/{}", ring.name)];
        assert!(own.iter().any(|one| open.starts_with(one)), "{open}");
    }
    let (session, group) = (nix::unistd::Pid::from_raw(holder), nix::unistd::Pid::from_raw(holder));
    assert_eq!(nix::unistd::getsid(Some(session)).unwrap(), group);
    running.close_input();
    running.end().succeeds();
    no_holder_is_left(&ring);
}

/// Three scripts at a time work on the items and are killed at random moments.
#[test]
fn killed_scripts_lose_no_item_and_leave_no_holder() {
    const ITEMS: u64 = 60;
    let ring = TestName::ring("storm", &[]);
    let lines = seq(ITEMS);
    ring.send_lines(&lines);
    let seed = seed();
    println!("RINGPIPE_STORM_SEED={seed}");
    let mut random = Random::new(seed);
    let line = "while take --no-wait 2>/dev/null && [ -n \"$token\" ]; do
                    printf %s \"$item\" && $T done $token && echo \"done $item\"; token=; done";
    let mut seen = Vec::new();
    for _ in 0..12 {
        let running: Vec<_> = (0..3).map(|_| script(&ring, line).spawn()).collect();
        thread::sleep(Duration::from_millis(random.below(60)));
        for one in running {
            // It may have ended.
            one.signal(libc::SIGKILL);
            seen.extend(one.end().lines().iter().map(|line| line.to_string()));
        }
    }
    no_holder_is_left(&ring);
    let rest = script(&ring, line).run();
    seen.extend(rest.lines().iter().map(|line| line.to_string()));
    let mut numbers: Vec<u64> = seen.iter().filter_map(|line| line.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, Vec::from_iter(1..=ITEMS), "each was in the hands of a script");
    let mut done: Vec<&str> = seen.iter().filter_map(|line| line.strip_prefix("done ")).collect();
    let all = done.len();
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), all, "none is done twice");
    assert_eq!((ring.acknowledged(), ring.ready()), (ITEMS, 0));
    no_holder_is_left(&ring);
}

/// Not a test: sends a request to the holder of a token, whatever user it is of. `KNOCK` has the two.
#[test]
fn knocks() {
    let Ok(text) = std::env::var("KNOCK") else { return };
    let (token, request) = text.split_once(' ').unwrap();
    let address = SocketAddr::from_abstract_name(format!("ringpipe-hold-{token}")).unwrap();
    let mut holder = UnixStream::connect_addr(&address).unwrap();
    let length = (request.len() as u32).to_be_bytes();
    let sent = holder.write_all(&[&length, request.as_bytes(), &[0; 8]].concat());
    let is_answered = sent.is_ok() && matches!(holder.read(&mut [0]), Ok(1));
    println!("{}", if is_answered { "an answer" } else { "no answer" });
}

#[test]
fn only_its_user_and_root_settle_an_item() {
    let Some(place) = Place::new("hold") else { return };
    place.says(
        OWNER,
        "producer -q --mode 600 R --item one --item two; consumer R --hold --timeout 20s > /dev/null",
    );
    let sleeper = place.says(OWNER, "sleep 1000 > /dev/null 2>&1 & echo $!");
    let take = format!("consumer R --hold --hold-for {} | head -n 1", sleeper.trim());
    let token = place.says(OWNER, &take);
    let token = token.trim();
    let other = place.run(SECOND, &format!("ringctl done {token}"));
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert!(String::from_utf8_lossy(&other.stderr).contains("belongs to user"), "{other:?}");
    // A process of another user that connects all the same gets no answer, and keeps nothing from working.
    copy_program(std::env::current_exe().unwrap(), place.commands.path().join("knock"));
    let knocks = |uid, request: &str| {
        let line = format!("KNOCK='{token} \"{request}\"' knock hold::knocks --exact --nocapture");
        let text = place.says(uid, &line);
        assert!(text.contains(" answer\n"), "{text}");
        text.contains("an answer\n")
    };
    assert!(!knocks(SECOND, "Show") && !knocks(SECOND, "Done"));
    assert!(knocks(OWNER, "Show"));
    place.says(OWNER, &format!("ringctl release {token}"));
    let token = place.says(OWNER, &take);
    ringctl(&["done", token.trim()]).succeeds().quiet();
    kill(sleeper.trim().parse().unwrap());
}
