//! A copy of the sources with mutants in it, its test binaries, and what they say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the sources of the copy ask whether they are to be wrong.
const SWITCH: &str = r#"
/// Whether this process runs this mutant.
#[doc(hidden)]
pub fn mutant(name: &str) -> bool {
    static WHICH: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    WHICH.get_or_init(|| std::env::var("RINGPIPE_MUTANT").ok()).as_deref() == Some(name)
}
"#;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// It did not end.
    Stuck,
}

/// A copy, built.
pub struct Scratch {
    path: PathBuf,
    binaries: BTreeMap<String, PathBuf>,
}

impl Scratch {
    /// Copies the sources below `root` to `path`, with `changed` files, and builds `tests` there.
    pub fn build(root: &Path, path: PathBuf, changed: &[(String, String)], tests: &[String]) -> Scratch {
        let manifest = ("Cargo.toml".to_string(), manifest(root, &path));
        let changed = [changed, &[manifest]].concat();
        for part in ["src", "tests", "bin", "benches", "examples", "docs", "peers", "fuzz"] {
            copy(root, &path, Path::new(part), &changed).expect("the copy can be made");
        }
        for file in ["Cargo.toml", "Cargo.lock", "README.md", "CHANGELOG.md"] {
            copy(root, &path, Path::new(file), &changed).expect("the copy can be made");
        }
        let begin = Instant::now();
        let binaries = build(root, &path, tests);
        println!("built {} in {:.0} s", path.display(), begin.elapsed().as_secs_f32());
        Scratch { path, binaries }
    }

    /// Runs a check with a mutant, or with none, in a /dev/shm of its own.
    pub fn run(&self, check: &str, mutant: Option<&str>, patience: Duration) -> Verdict {
        let (settings, binary, arguments) = parts(check);
        let binary = self.binaries.get(binary).unwrap_or_else(|| panic!("{check}: no such test: {binary}"));
        let log = File::create(self.path.with_extension("log")).expect("a file for what it says");
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command.args(["sh", "-c", "mount -t tmpfs none /dev/shm && exec \"$@\"", "sh"]);
        command.arg(binary).args(arguments).envs(settings).current_dir(&self.path);
        command.env("RINGPIPE_MUTANT", mutant.unwrap_or_default());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a copy")).stderr(log);
        let mut child = command.spawn().expect("unshare, of util-linux");
        let begin = Instant::now();
        loop {
            match child.try_wait().expect("it is a child") {
                Some(status) if status.success() => return Verdict::Passed,
                Some(_) => return Verdict::Failed,
                None if begin.elapsed() > patience => {
                    // All that it started goes with it.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Verdict::Stuck;
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// What the last check said.
    pub fn said(&self) -> String {
        let said = fs::read(self.path.with_extension("log")).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// Settings, test binary, arguments.
pub fn parts(check: &str) -> (Vec<(&str, &str)>, &str, Vec<&str>) {
    let mut words = check.split_whitespace().peekable();
    let mut settings = Vec::new();
    while let Some(setting) = words.peek().and_then(|word| word.split_once('=')) {
        settings.push(setting);
        words.next();
    }
    (settings, words.next().unwrap_or_default(), words.collect())
}

/// Copies what differs: what stays as it was is not built again.
fn copy(root: &Path, to: &Path, part: &Path, changed: &[(String, String)]) -> io::Result<()> {
    let from = root.join(part);
    if from.is_dir() {
        fs::create_dir_all(to.join(part))?;
        for entry in fs::read_dir(from)? {
            copy(root, to, &part.join(entry?.file_name()), changed)?;
        }
        return Ok(());
    }
    let new =
        changed.iter().find(|(name, _)| Path::new(name) == part).map(|(_, text)| text.clone().into_bytes());
    let mut new = new.map_or_else(|| fs::read(&from), Ok)?;
    if part == Path::new("src/lib.rs") {
        new.extend_from_slice(SWITCH.as_bytes());
    }
    if fs::read(to.join(part)).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to.join(part), new)
}

/// The manifest of a copy, with a version of its own: by what else cargo looks at, all copies are one package, and what
/// was built of another would be taken for built.
fn manifest(root: &Path, copy: &Path) -> String {
    let text = fs::read_to_string(root.join("Cargo.toml")).expect("the manifest");
    let copy = copy.file_name().expect("a folder").to_string_lossy();
    let version = format!("version = \"{}", env!("CARGO_PKG_VERSION"));
    text.replacen(&version, &format!("{version}+{copy}"), 1)
}

fn build(root: &Path, path: &Path, tests: &[String]) -> BTreeMap<String, PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--no-run", "--offline", "--config", "profile.dev.package.ringpipe.debug=0"])
        .current_dir(path);
    for test in tests {
        match test.as_str() {
            "lib" => command.arg("--lib"),
            test => command.args(["--test", test]),
        };
    }
    let target = std::env::var_os("RINGPIPE_MUTANTS_TARGET")
        .map_or_else(|| root.join("target/mutants"), PathBuf::from);
    command.env("CARGO_TARGET_DIR", target);
    let output = command.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the mutants do not build:\n{said}");
    let mut found = BTreeMap::new();
    // As in `Executable tests/deaths/main.rs (target/mutants/debug/deps/deaths-0b7b74721e60b0e4)`.
    for line in said.lines().filter(|line| line.trim_start().starts_with("Executable ")) {
        let Some((what, binary)) = line.trim_end().trim_end_matches(')').split_once(" (") else { continue };
        let what = what.trim().trim_end_matches("/main.rs").trim_end_matches(".rs");
        let name = what.rsplit('/').next().unwrap_or_default().to_string();
        found.insert(name, path.join(binary));
    }
    found
}
