//! Random command lines, in a /dev/shm of their own: what they make can be counted, and what they remove or
//! fill up is not shared with other processes.

use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use crate::inputs::commands::{Leaf, good_values, leaves, listed_values, spelled, value_name, with_value};
use crate::inputs::verdict::{CODES, is_orderly};
use crate::support::{Run, late, namespace, scale, wait_until};

/// How many are tried, unless RINGPIPE_INPUTS says.
const SHARE: u64 = 120;
/// The same at the scale of the gate.
const SHARE_CI: u64 = 250;
/// What runs longer is asked to end.
const PATIENCE: Duration = Duration::from_millis(300);

#[test]
fn random_command_lines_end_in_a_documented_way() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs -o size=64m none /dev/shm");
        return;
    }
    let usual = if scale::is_ci() { SHARE_CI } else { SHARE };
    let lines: u64 = std::env::var("RINGPIPE_INPUTS").map_or(usual, |lines| lines.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let leaves: Vec<Leaf> = leaves()
        .into_iter()
        .filter(|leaf| !leaf.name().ends_with("bench") && !leaf.name().ends_with(" run"))
        .collect();
    let seed = std::env::var("RINGPIPE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(8);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut codes = std::collections::BTreeMap::<i32, u64>::new();
    let mut asked = 0;
    for _ in 0..lines {
        let leaf = &leaves[random.usize(..leaves.len())];
        let arguments = random_arguments(leaf, &mut random);
        let call = format!("seed {seed}: {} {arguments:?}", leaf.name());
        let mut process = leaf.run(&arguments).current_dir(folder.path()).spawn();
        let start = Instant::now();
        while process.is_running() && start.elapsed() < PATIENCE + late::allowance() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if process.is_running() {
            asked += 1;
            process.signal(libc::SIGTERM);
            let ended = process.end();
            let by_signal = ended.signal == Some(libc::SIGTERM);
            assert!(by_signal || ended.code.is_some_and(|code| CODES.contains(&code)), "{call}: {ended:?}");
            continue;
        }
        let ended = process.end();
        is_orderly(&ended, &call);
        *codes.entry(ended.code.unwrap()).or_default() += 1;
        if random.u8(..) < 16 {
            empty_shared_memory();
        }
    }
    println!("{lines} command lines with seed {seed}: codes {codes:?}, {asked} were asked to end");
    assert!(codes.len() >= 4, "they come to nothing: {codes:?}");
    // No command waits for ever for a removed ring, and every ring that is left is complete.
    let ended = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["list", "--json"]).run().with_code(0);
    assert!(!ended.text().contains("unusable"), "{}", ended.text());
}

fn empty_shared_memory() {
    for entry in std::fs::read_dir("/dev/shm").unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

/// Two names only, so that what one line makes the next one finds.
fn random_arguments(leaf: &Leaf, random: &mut fastrand::Rng) -> Vec<OsString> {
    let ring = ["inputs-a", "inputs-b", "a/b"][random.usize(..100) / 49];
    let mut arguments = leaf.required(ring);
    let options: Vec<&clap::Arg> =
        leaf.command.get_arguments().filter(|arg| !arg.is_required_set()).collect();
    for _ in 0..random.usize(..5) {
        if options.is_empty() {
            break;
        }
        let arg = options[random.usize(..options.len())];
        if matches!(arg.get_id().as_str(), "help" | "version") {
            continue;
        }
        arguments.push(match arg.get_action().takes_values() {
            true => with_value(arg, &random_value(arg, random)),
            false => spelled(arg),
        });
    }
    if random.u8(..) < 8 {
        let at = random.usize(..=arguments.len());
        arguments.insert(at, ["", "-", "--", "x", "\u{feff}", "--item=y"][random.usize(..6)].into());
    }
    arguments
}

fn random_value(arg: &clap::Arg, random: &mut fastrand::Rng) -> OsString {
    let odd = ["0", "1", "65536", "1T", "18446744073709551615", "10ms", "", "1s..2s", "777", "\\x00"];
    if random.u8(..) < 64 {
        return odd[random.usize(..odd.len())].into();
    }
    match listed_values(arg) {
        Some(values) => values[random.usize(..values.len())].clone().into(),
        None => {
            let values = good_values(&value_name(arg));
            OsStr::new(values[random.usize(..values.len())]).into()
        }
    }
}

#[test]
fn the_watchdog_ends_a_command_that_hangs() {
    // What the other tests rest on: a process that does not end is noticed.
    let mut sleeper = Run::new("sleep").arg("60").spawn();
    assert!(sleeper.is_running());
    sleeper.signal(libc::SIGKILL);
    wait_until("end of a killed process", || !sleeper.is_running());
}
