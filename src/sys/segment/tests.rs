use super::{create::*, *};
use crate::sys::owners::Owners;
use crate::{
    ErrorKind,
    sys::testing::{Child, TestName},
};
use nix::{
    sys::stat,
    unistd::{geteuid, mkfifo},
};
use std::{io::Write, os::unix::fs::symlink, process::Command, sync::Barrier};

const LEN: u64 = 3 * 4096;
const MAGIC: u64 = u64::from_ne_bytes(*b"testing!");

fn init(base: NonNull<u8>, len: usize) -> Result<u64> {
    // SAFETY: inside the new segment, which only this closure touches yet.
    unsafe {
        assert_eq!(base.add(len - 1).read(), 0);
        base.add(len - 1).write(7);
    }
    Ok(MAGIC)
}

fn create(name: &RingName) -> Result<Segment> {
    Segment::create(name, LEN, 0o600, init)
}

fn create_named(name: &RingName) -> Result<Segment> {
    adopt(name, publish_named(name, LEN, 0o600, &init)?)
}

fn create_unnamed(name: &RingName) -> Result<Segment> {
    let file = publish_unnamed(name, LEN, 0o600, &init)?.expect("this system has unnamed files");
    adopt(name, file)
}

fn assert_incompatible(name: &RingName, why: &str) {
    match Segment::open(name, Owners::Own) {
        Err(Error::Incompatible { why: found, .. }) => assert!(found.contains(why), "{found}"),
        other => panic!("{other:?} instead of: {why}"),
    }
}

#[test]
fn both_ways_make_the_same_segment_and_dropping_it_keeps_the_name() {
    for create in [create_named, create_unnamed] {
        let name = TestName::new();
        let made = create(&name.0).unwrap();
        let opened = Segment::open(&name.0, Owners::Own).unwrap();
        assert_eq!((opened.len() as u64, opened.inode()), (LEN, made.inode()));
        assert_eq!(opened.identity(), made.identity());
        assert_ne!(opened.identity(), [0; 16]);
        assert_ne!(opened.base(), made.base());
        // SAFETY: inside the mapping; no process writes there any more.
        unsafe {
            assert_eq!(opened.base().cast::<u64>().read(), MAGIC);
            assert_eq!(opened.base().add(LEN as usize - 1).read(), 7);
        }
        drop((made, opened));
        assert!(name.path().exists());
        assert_eq!(create(&name.0).unwrap_err().kind(), ErrorKind::Exists);
    }
}

#[test]
fn of_a_hundred_creators_exactly_one_succeeds() {
    for create in [create, create_named, create_unnamed] {
        let (name, barrier) = (TestName::new(), Barrier::new(100));
        let results: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                create(&name.0)
            };
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let made = results.iter().filter(|result| result.is_ok()).count();
        let exist = results.iter().filter(|result| matches!(result, Err(Error::Exists(_)))).count();
        assert_eq!((made, exist), (1, 99));
    }
}

#[test]
fn openers_of_a_segment_in_the_making_wait_for_the_whole() {
    for create in [create_named, create_unnamed] {
        let name = TestName::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let patience = Deadline::after(Duration::from_secs(30));
                    let segment = loop {
                        match Segment::open(&name.0, Owners::Own) {
                            Err(Error::NotFound(_)) if !patience.passed() => std::thread::yield_now(),
                            result => break result.unwrap(),
                        }
                    };
                    // SAFETY: inside the mapping; written before the segment appeared.
                    assert_eq!(unsafe { segment.base().add(segment.len() - 1).read() }, 7);
                });
            }
            scope.spawn(|| create(&name.0).unwrap());
        });
    }
}

#[test]
fn the_mode_is_exact_whatever_the_umask() {
    // The usual umask of 022 would cut both.
    for (mode, create) in [(0o666, true), (0o620, false)] {
        let name = TestName::new();
        let segment = if create {
            Segment::create(&name.0, LEN, mode, init).unwrap()
        } else {
            adopt(&name.0, publish_named(&name.0, LEN, mode, &init).unwrap()).unwrap()
        };
        let attributes = segment.attributes().unwrap();
        assert_eq!((attributes.mode, attributes.uid), (mode, geteuid().as_raw()));
    }
}

#[test]
fn a_segment_that_cannot_fit_is_refused_and_leaves_nothing() {
    let name = TestName::new();
    for len in [1 << 45, u64::MAX, isize::MAX as u64] {
        match Segment::create(&name.0, len, 0o600, init) {
            Err(Error::NoSpace { required, available }) => assert!(required == len && available < len),
            other => panic!("{other:?}"),
        }
        assert!(!name.path().exists());
    }
    assert_eq!(Segment::create(&name.0, 4095, 0o600, init).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn a_creation_that_fails_halfway_leaves_nothing() {
    let fail: Init<'_> = &|_, _| Err(Error::Full);
    let name = TestName::new();
    assert!(matches!(publish_named(&name.0, LEN, 0o600, fail), Err(Error::Full)));
    assert!(!name.path().exists());
    assert!(matches!(publish_unnamed(&name.0, LEN, 0o600, fail), Err(Error::Full)));
    let panicking: Init<'_> = &|_, _| panic!("on purpose");
    let panicked = std::panic::AssertUnwindSafe(|| publish_named(&name.0, LEN, 0o600, panicking));
    assert!(std::panic::catch_unwind(panicked).is_err());
    assert!(!name.path().exists());
}

/// Runs one ignored test of this file in a mount namespace of its own, with `/dev/shm` of 100 MiB.
#[test]
fn a_full_file_system_is_an_error_and_gives_everything_back() {
    let script =
        "mount -t tmpfs -o size=100m none /dev/shm && exec \"$0\" --ignored --exact \"$1\" || exit 99";
    let test = "sys::segment::tests::in_a_hundred_mebibytes";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .output();
    match output {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        }
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("FAILED") => panic!("{output:?}"),
        // User namespaces are not available here.
        // Past the test harness, which keeps what passing tests print to itself.
        other => drop(writeln!(std::io::stderr(), "not tested: {other:?}")),
    }
}

#[test]
#[ignore = "needs a small /dev/shm; the test above runs it there"]
fn in_a_hundred_mebibytes() {
    let (size, too_much) = (100 << 20, 120 << 20);
    let system = nix::sys::statvfs::statvfs(DIRECTORY).unwrap();
    let page = system.fragment_size();
    assert_eq!(system.blocks() * page, size);
    let name = TestName::new();
    let no_space = |error: Error| match error {
        Error::NoSpace { required, available } => assert_eq!((required, available), (too_much, size)),
        other => panic!("{other:?}"),
    };
    no_space(Segment::create(&name.0, too_much, 0o600, init).unwrap_err());
    // Goes past the first check, as if other programs took the memory meanwhile: the second chunk does not fit.
    no_space(publish_unnamed(&name.0, too_much, 0o600, &init).unwrap_err());
    no_space(publish_named(&name.0, too_much, 0o600, &init).unwrap_err());
    assert!(list_names().unwrap().is_empty());
    drop(Segment::create(&name.0, size - page, 0o600, init).unwrap());
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_no_signal() {
    use nix::sys::resource::{Resource, setrlimit};
    let name = TestName::new();
    let child = Child::pausing(|| {
        // The limit must not affect this process's other tests. The refusal comes before any memory is reserved.
        setrlimit(Resource::RLIMIT_FSIZE, 8192, 8192).is_ok()
            && matches!(create(&name.0), Err(Error::Io { .. }))
    });
    drop(child);
    assert!(!name.path().exists());
}

#[test]
fn an_object_that_is_not_a_segment_is_refused_with_an_explanation() {
    let name = TestName::new();
    assert_eq!(Segment::open(&name.0, Owners::Own).unwrap_err().kind(), ErrorKind::NotFound);
    let put = |content: &[u8], why: &str| {
        fs::write(name.path(), content).unwrap();
        assert_incompatible(&name.0, why);
        fs::remove_file(name.path()).unwrap();
    };
    put(b"", "it is empty");
    put(b"short", "it is too short");
    put(&[0; 8192], "it begins with zeros");
    mkfifo(&name.path(), stat::Mode::S_IRWXU).unwrap();
    assert_incompatible(&name.0, "it is a FIFO");
    assert_eq!(create(&name.0).unwrap_err().kind(), ErrorKind::Exists);
    fs::remove_file(name.path()).unwrap();
    symlink("/etc/passwd", name.path()).unwrap();
    assert_incompatible(&name.0, "it is a symbolic link");
    assert_eq!(create_named(&name.0).unwrap_err().kind(), ErrorKind::Exists);
    fs::remove_file(name.path()).unwrap();
    fs::create_dir(name.path()).unwrap();
    assert_incompatible(&name.0, "it is not a regular file");
    assert_eq!(create_unnamed(&name.0).unwrap_err().kind(), ErrorKind::Exists);
}

#[test]
fn a_file_with_holes_is_refused() {
    let name = TestName::new();
    fs::write(name.path(), [1; 4096]).unwrap();
    Segment::open(&name.0, Owners::Own).unwrap();
    fs::OpenOptions::new().write(true).open(name.path()).unwrap().set_len(1 << 30).unwrap();
    assert_incompatible(&name.0, "its memory is not reserved");
}

#[test]
fn a_creator_that_died_halfway_is_recognised_at_once() {
    let name = TestName::new();
    let file = File::create(name.path()).unwrap();
    assert!(liveness::try_lock(file.as_fd(), liveness::CREATION).unwrap());
    reserve(&file, LEN).unwrap();
    std::thread::scope(|scope| {
        let opener = scope.spawn(|| Segment::open(&name.0, Owners::Own));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!opener.is_finished());
        drop(file);
        let error = opener.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("begins with zeros"), "{error}");
    });
}

#[test]
fn the_file_of_a_dead_creator_can_be_removed_and_other_files_stay() {
    let name = TestName::new();
    assert_eq!(remove_leftover(&name.0, MAGIC).unwrap_err().kind(), ErrorKind::NotFound);
    let stays = || {
        assert_eq!(remove_leftover(&name.0, MAGIC).unwrap_err().kind(), ErrorKind::Incompatible);
        assert!(name.path().exists());
    };
    for foreign in [&b""[..], b"short", &[0; 32], &[0; 8192], &[1; 8192]] {
        fs::write(name.path(), foreign).unwrap();
        stays();
        fs::remove_file(name.path()).unwrap();
    }
    mkfifo(&name.path(), stat::Mode::S_IRWXU).unwrap();
    stays();
    fs::remove_file(name.path()).unwrap();

    let file = File::create(name.path()).unwrap();
    assert!(liveness::try_lock(file.as_fd(), liveness::CREATION).unwrap());
    mark(&file, LEN).unwrap();
    stays(); // Its creator is alive.
    drop(file);
    assert!(remove_leftover(&name.0, MAGIC).unwrap());
    assert!(!name.path().exists());

    drop(create_named(&name.0).unwrap());
    assert!(remove_leftover(&name.0, MAGIC).unwrap());
}

#[test]
fn the_first_word_of_any_object_is_read_without_waiting() {
    let name = TestName::new();
    assert_eq!(first_word(&name.0).unwrap(), None);
    for (content, expected) in [(&b""[..], None), (b"seven b", None), (&[0; 8], Some(0))] {
        fs::write(name.path(), content).unwrap();
        assert_eq!(first_word(&name.0).unwrap(), expected);
        fs::remove_file(name.path()).unwrap();
    }
    mkfifo(&name.path(), stat::Mode::S_IRWXU).unwrap();
    assert_eq!(first_word(&name.0).unwrap(), None);
    fs::remove_file(name.path()).unwrap();
    create(&name.0).unwrap();
    assert_eq!(first_word(&name.0).unwrap(), Some(MAGIC));
}

#[test]
fn the_name_is_known_current_removed_and_replaced() {
    let name = TestName::new();
    let first = create(&name.0).unwrap();
    assert_eq!(first.name_state().unwrap(), NameState::Current);
    let alike = Segment::open(&name.0, Owners::Own).unwrap();
    assert!(alike.unlink().unwrap());
    assert!(!first.unlink().unwrap());
    assert_eq!(first.name_state().unwrap(), NameState::Unlinked);
    let second = create(&name.0).unwrap();
    assert_eq!(first.name_state().unwrap(), NameState::Replaced);
    assert!(!first.unlink().unwrap());
    assert_eq!(second.name_state().unwrap(), NameState::Current);
    assert!(second.unlink().unwrap());
    assert_eq!(Segment::open(&name.0, Owners::Own).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn removers_and_creators_at_once_never_remove_a_newer_segment() {
    let name = TestName::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    if let Ok(made) = create(&name.0) {
                        // No other thread removes this one, so this removal must succeed.
                        assert_eq!(made.name_state().unwrap(), NameState::Current);
                        assert!(made.unlink().unwrap());
                        assert!(!made.unlink().unwrap());
                    }
                }
            });
        }
    });
    assert!(!name.path().exists());
}

#[test]
fn reopening_gives_a_new_description_of_the_same_object_even_without_a_name() {
    let name = TestName::new();
    let segment = create(&name.0).unwrap();
    let named = segment.reopen().unwrap();
    segment.unlink().unwrap();
    let unnamed = segment.reopen().unwrap();
    let other = create(&name.0).unwrap();
    let replaced = segment.reopen().unwrap();
    for fd in [named, unnamed, replaced] {
        let file = File::from(fd);
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.dev(), metadata.ino()), segment.inode());
        assert!(liveness::try_lock(file.as_fd(), REMOVAL).unwrap(), "each has locks of its own");
        assert!(liveness::is_locked(segment.file.as_fd(), REMOVAL).unwrap());
    }
    assert_ne!(other.inode(), segment.inode());
}

#[test]
fn a_file_cut_short_is_noticed() {
    let name = TestName::new();
    let segment = create(&name.0).unwrap();
    assert!(!segment.truncated().unwrap());
    segment.file.set_len(4096).unwrap();
    assert!(segment.truncated().unwrap());
}

#[test]
fn prefaulting_changes_no_byte() {
    let name = TestName::new();
    let segment = create(&name.0).unwrap();
    assert!(segment.prefault());
    // SAFETY: inside the mapping; no process writes there.
    assert_eq!(unsafe { segment.base().add(LEN as usize - 1).read() }, 7);
}

#[test]
fn names_are_listed_sorted_and_only_of_regular_files() {
    let (a, b, directory) = (TestName::new(), TestName::new(), TestName::new());
    let (_a, _b) = (create(&a.0).unwrap(), create(&b.0).unwrap());
    fs::create_dir(directory.path()).unwrap();
    let names = list_names().unwrap();
    assert!(names.is_sorted() && names.contains(&a.0) && names.contains(&b.0));
    assert!(!names.contains(&directory.0));
}
