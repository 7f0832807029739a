//! What the programs of a run have left behind.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::stage::Stage;
use crate::sys::command::DIRECTORY;

/// The segments of shared memory that exist, by their names.
pub fn segments() -> Vec<OsString> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect()
}

/// What is left, a line each: processes, descriptors of processes in the background, files in the working directory but
/// for `except`, and, if no other run makes them meanwhile, segments.
pub fn find(stage: &Stage<'_>, before: &[OsString], except: &[String]) -> Vec<String> {
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
    if stage.plan.alone {
        let own =
            |name: &OsString| stage.rings.keys().any(|ring| name.to_str() == Some(stage.names.ring(ring)));
        let new = segments().into_iter().filter(|name| !before.contains(name) && !own(name));
        left.extend(new.map(|name| format!("segment {name:?} is left in {DIRECTORY}")));
    }
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
