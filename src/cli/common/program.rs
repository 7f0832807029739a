//! Finds the program of a command, and says why a command was not started.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use super::escape;
use super::exit::{Failure, code, plain};

/// Where execvp looks without PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why the system did not start the command, although its program was found.
pub fn not_started(name: &OsStr, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => code::NOT_FOUND,
        io::ErrorKind::PermissionDenied => code::NOT_EXECUTABLE,
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => code::NOT_EXECUTABLE,
        _ => code::RUNTIME,
    };
    let failure = Failure::io(format!("starting command {:?}", name), error);
    match error.raw_os_error() {
        Some(nix::libc::EAGAIN) => failure.hint("ulimit -u limits the processes and threads of this user"),
        _ => Failure { code: exit, ..failure },
    }
}

/// Finds the executable file of a program as execvp does: a name with a slash is a path; any other is looked for in the
/// folders of `path`. If there is none, the hint says that `shell` runs commands of the shell.
///
/// # Errors
/// A [`Failure`] with the exit code 127 if there is no such file, or 126 if it cannot be executed.
pub fn find(name: &OsStr, path: Option<&OsStr>, shell: &str) -> Result<PathBuf, Failure> {
    if name.as_bytes().contains(&b'/') {
        let file = PathBuf::from(name);
        return match obstacle(&file) {
            None => Ok(file),
            Some(obstacle) => Err(refusal(name, &file, &obstacle)),
        };
    }
    let mut refused = None;
    for folder in env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH))) {
        // An empty name of a folder stands for the current one.
        let file = Path::new(".").join(folder).join(name);
        match obstacle(&file) {
            None if !name.is_empty() => return Ok(file),
            Some(Obstacle::Other(why)) => {
                refused.get_or_insert((file, Obstacle::Other(why)));
            }
            _ => {}
        }
    }
    Err(match refused.filter(|_| !name.is_empty()) {
        Some((file, obstacle)) => refusal(name, &file, &obstacle),
        None => {
            let line = format!("command {name:?} was not found; expected a program in PATH, or its path");
            let hint =
                format!("a command of the shell, or a line with pipes, needs {shell}; {}", which(name));
            Failure::new(code::NOT_FOUND, line).hint(hint)
        }
    })
}

/// Why a file cannot be executed.
#[derive(Debug)]
enum Obstacle {
    Missing,
    Other(String),
}

fn obstacle(file: &Path) -> Option<Obstacle> {
    match fs::metadata(file) {
        Ok(facts) if facts.is_dir() => Some(Obstacle::Other("is a directory".into())),
        Ok(_) => faccessat(AT_FDCWD, file, AccessFlags::X_OK, AtFlags::AT_EACCESS)
            .err()
            .map(|_| Obstacle::Other("is not executable".into())),
        Err(error) if is_missing(&error) => Some(Obstacle::Missing),
        Err(error) => Some(Obstacle::Other(format!("cannot be executed: {}", plain(&error)))),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn refusal(name: &OsStr, file: &Path, obstacle: &Obstacle) -> Failure {
    let ls = format!("ls -l {} shows it", escape::word(file.as_os_str().as_bytes()));
    match obstacle {
        Obstacle::Missing => {
            let line = format!("command {name:?} does not exist; expected the path of a program");
            Failure::new(code::NOT_FOUND, line).hint(which(name))
        }
        Obstacle::Other(why) => {
            let line = format!("command {name:?}: {} {why}; expected an executable file", file.display());
            Failure::new(code::NOT_EXECUTABLE, line).hint(ls)
        }
    }
}

fn which(name: &OsStr) -> String {
    let last = Path::new(name).file_name().unwrap_or(name);
    format!("command -v {} shows where it is", escape::word(last.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_is_found_in_the_folders_of_path_as_execvp_does() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [first, second] = folders.each_ref().map(|folder| folder.path());
        let path = env::join_paths([Path::new("/nowhere"), first, second]).unwrap();
        let find = |name: &str| find(OsStr::new(name), Some(&path), "sh -c");
        let make = |file: &Path, mode| {
            fs::write(file, "#!/bin/sh\n").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        };
        let missing = find("tool").unwrap_err();
        assert_eq!(missing.code, code::NOT_FOUND);
        assert!(missing.line.contains("\"tool\" was not found; expected") && missing.hint.is_some());

        make(&first.join("tool"), 0o644);
        let refused = find("tool").unwrap_err();
        assert_eq!(refused.code, code::NOT_EXECUTABLE);
        assert!(
            refused.line.contains("is not executable; expected") && refused.hint.is_some(),
            "{}",
            refused.line
        );

        // One that cannot be executed does not hide the next one.
        make(&second.join("tool"), 0o755);
        assert_eq!(find("tool").unwrap(), second.join("tool"));

        fs::create_dir(first.join("folder")).unwrap();
        assert!(find("folder").unwrap_err().line.contains("is a directory"));
        assert_eq!(find("").unwrap_err().code, code::NOT_FOUND);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        for (name, code, text) in [
            ("/nowhere/tool", code::NOT_FOUND, "does not exist; expected"),
            ("/etc/passwd/tool", code::NOT_FOUND, "does not exist; expected"),
            ("/", code::NOT_EXECUTABLE, "is a directory; expected"),
            ("/etc/passwd", code::NOT_EXECUTABLE, "is not executable; expected"),
        ] {
            let failure = find(OsStr::new(name), None, "sh -c").unwrap_err();
            assert_eq!(failure.code, code, "{name}");
            assert!(failure.line.contains(text) && failure.hint.is_some(), "{name}: {}", failure.line);
        }
        assert_eq!(find(OsStr::new("/bin/sh"), None, "sh -c").unwrap(), Path::new("/bin/sh"));
    }
}
