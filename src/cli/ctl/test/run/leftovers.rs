//! What the programs of a run have left behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::stage::Stage;
use crate::sys::command::DIRECTORY;

/// The segments of shared memory that exist, by their names.
pub fn segments() -> BTreeSet<String> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// The processes in the background that have more descriptors open than when they were ready, a line each.
pub fn descriptors(stage: &Stage<'_>, _except: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    for one in stage.instances.iter().filter(|one| stage.program(one).background && one.ended.is_none()) {
        let (before, now) = (one.descriptors, one.process.descriptors());
        if let (Some(before), Some(now)) = (before, now)
            && now > before
        {
            left.push(format!("{} has {now} descriptors open, {before} when it was ready", one.process.name()));
        }
    }
    left
}

/// What is left after all processes were asked to end, a line each: processes, files in the working directory but for
/// `except`, and segments that a process of the run was seen to have mapped.
pub fn find(stage: &Stage<'_>, except: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    let stopped = |pid: u32| {
        stage
            .instances
            .iter()
            .any(|one| one.stopped_for_good && one.process.id() == pid && one.ended.is_none())
    };
    for observed in stage.session.observe() {
        if !stopped(observed.id) {
            left.push(format!("process {} is left: {}", observed.id, observed.command));
        }
    }
    left.extend(files(stage.names.folder(), Path::new(""), except));
    let exist = segments();
    let stays = |name: &&String| !stage.segments_before.contains(*name) && exist.contains(*name);
    let own = |name: &String| stage.rings.keys().any(|ring| stage.names.ring(ring) == name);
    let new = stage.segments.iter().filter(stays).filter(|name| !own(name));
    left.extend(new.map(|name| format!("segment {name:?} is left in {DIRECTORY}")));
    left
}

/// The files below a folder that are not excepted.
fn files(root: &Path, below: &Path, except: &[String]) -> Vec<String> {
    let entries = fs::read_dir(root.join(below)).into_iter().flatten().flatten();
    let mut left = Vec::new();
    for entry in entries {
        let path = below.join(entry.file_name());
        if except.iter().any(|name| Path::new(name) == path) {
            continue;
        }
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => left.extend(files(root, &path, except)),
            false => left.push(format!("file {path:?} is left")),
        }
    }
    left.sort();
    left
}
