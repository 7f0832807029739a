//! What the programs of a run have left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::stage::{Stage, segments};
use crate::sys::command::DIRECTORY;

/// How long processes may take to end, and those in the background to close the descriptors of clients that have just
/// ended.
const CLOSING: Duration = Duration::from_millis(500);

/// The processes in the background that keep more descriptors open than when they were ready, as the file says; a line
/// each.
pub fn descriptors(stage: &Stage<'_>) -> Vec<String> {
    let (start, mut left) = (Instant::now(), Vec::new());
    for one in stage.instances.iter().filter(|one| stage.program(one).background && one.ended.is_none()) {
        let Some(before) = one.descriptors.filter(|_| !stage.program(one).is_ready_at_once()) else {
            continue;
        };
        let more = loop {
            match one.process.descriptors().filter(|now| *now > before) {
                Some(_) if start.elapsed() < CLOSING => thread::sleep(Duration::from_millis(5)),
                more => break more,
            }
        };
        if let Some(now) = more {
            let name = one.process.name();
            left.push(format!("{name} has {now} descriptors open, {before} when it was ready"));
        }
    }
    left
}

/// What is left after all processes were asked to end, a line each: processes, files in the working directory but for
/// `except`, and segments that a process of the run was seen to have mapped.
pub fn find(stage: &Stage<'_>, except: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    // A process that was suspended for good, or has not ended when it was asked to, is reported elsewhere.
    let known = |pid: u32| stage.instances.iter().any(|one| one.process.id() == pid && one.ended.is_none());
    let start = Instant::now();
    let processes = loop {
        let all = stage.session.observe().into_iter().filter(|one| !known(one.id)).collect::<Vec<_>>();
        // Some may be ending, or have just been killed.
        if all.is_empty() || start.elapsed() > CLOSING {
            break all;
        }
        thread::sleep(Duration::from_millis(5));
    };
    left.extend(processes.iter().map(|one| format!("process {} is left: {}", one.id, one.command)));
    let folder = stage.names.folder();
    let except: Vec<PathBuf> = except.iter().map(|name| named(stage, name)).collect();
    left.extend(files(folder, Path::new(""), &except));
    let exist = segments();
    let stays = |name: &&String| !stage.segments_before.contains(*name) && exist.contains(*name);
    let own = |name: &String| stage.rings.keys().any(|ring| stage.names.ring(ring) == name);
    let new = stage.segments.iter().filter(stays).filter(|name| !own(name));
    left.extend(new.map(|name| format!("segment {name:?} is left in {DIRECTORY}")));
    left
}

/// The path of an excepted file below the working directory.
fn named(stage: &Stage<'_>, name: &str) -> PathBuf {
    // Without a free port, no file has the name of one.
    let path = PathBuf::from(stage.names.fill(name, 1).unwrap_or_default());
    path.strip_prefix(stage.names.folder()).map(Path::to_owned).unwrap_or(path)
}

/// The files below a folder that are not excepted.
fn files(root: &Path, below: &Path, except: &[PathBuf]) -> Vec<String> {
    let entries = fs::read_dir(root.join(below)).into_iter().flatten().flatten();
    let mut left = Vec::new();
    for entry in entries {
        let path = below.join(entry.file_name());
        if except.contains(&path) {
            continue;
        }
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => left.extend(match files(root, &path, except) {
                inside if inside.is_empty() && !holds(except, &path) => {
                    vec![format!("folder {path:?} is left")]
                }
                inside => inside,
            }),
            false => left.push(format!("file {path:?} is left")),
        }
    }
    left.sort();
    left
}

/// Whether an excepted file is below this folder.
fn holds(except: &[PathBuf], folder: &Path) -> bool {
    except.iter().any(|path| path.starts_with(folder))
}
