//! Names that leave nothing behind.

use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ringpipe::internal::layout::head;
use ringpipe::{Activity, Liveness, ParticipantInfo, Ring, RingName, RingOptions, Role};

use super::actor::RemoteActor;
use super::wait_until;

/// How long a process may take to remove a ring that others have left.
const REMOVAL: Duration = Duration::from_secs(10);

/// A name in /dev/shm that no other test uses. When the test ends the name must be free, or the test fails; what is
/// there is removed in any case.
pub struct TestName {
    pub name: String,
    /// What the file is called: a semaphore's is not called as the semaphore is.
    file: String,
    may_stay: bool,
}

impl TestName {
    pub fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::named(format!("ringpipe-{label}-{}-{count}", std::process::id()))
    }

    /// The name `name`, which begins or ends with one that no other test uses.
    pub fn named(name: String) -> Self {
        TestName { file: name.clone(), name, may_stay: false }
    }

    /// The same for a POSIX semaphore.
    pub fn semaphore(name: String) -> Self {
        let prefix = if cfg!(target_env = "gnu") { "sem." } else { "" };
        TestName { file: format!("{prefix}{name}"), name, may_stay: false }
    }

    /// The test may end with the ring still there; it is removed.
    pub fn stays(mut self) -> Self {
        self.may_stay = true;
        self
    }

    /// Makes the ring; it stays until the test ends.
    pub fn made(label: &str, options: &RingOptions) -> Self {
        let ring = Self::new(label).stays();
        options.create(&ring.name).unwrap();
        ring
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.file)
    }

    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// A word of the segment.
    pub fn word(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        File::open(self.path()).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Overwrites a word of the segment.
    pub fn forge(&self, offset: u64, value: u64) {
        let file = File::options().write(true).open(self.path()).unwrap();
        file.write_all_at(&value.to_le_bytes(), offset).unwrap();
    }

    pub fn open(&self) -> Ring {
        Ring::open(&self.name).unwrap()
    }

    pub fn ready(&self) -> u64 {
        self.open().snapshot().unwrap().ready
    }

    pub fn acknowledged(&self) -> u64 {
        self.open().snapshot().unwrap().totals.acknowledged
    }

    /// Sends from this process.
    pub fn send(&self, items: &[&str]) {
        let mut producer = self.open().producer().unwrap();
        items.iter().for_each(|item| producer.send(item.as_bytes()).unwrap());
    }

    /// Waits until a live participant of this role does this.
    pub fn wait_for(&self, role: Role, activity: Activity) -> ParticipantInfo {
        // Of whatever user the ring is.
        let name = RingName::parse(&format!("/{}", self.name)).unwrap();
        let mut found = None;
        wait_until(&format!("a {role} that is {activity:?}"), || {
            let participants = Ring::observe(&name).map(|ring| ring.participants()).unwrap_or_default();
            let mut live = participants.into_iter().filter(|one| one.liveness != Liveness::Dead);
            found = live.find(|one| one.role == role && one.activity == activity);
            found.is_some()
        });
        found.unwrap()
    }

    /// Kills the actor, and writes into the ring that its participants have looked for the dead since: participants that
    /// take turns look again only after 15 ms.
    pub fn killed_unnoticed(&self, ring: &Ring, victim: RemoteActor) {
        drop(victim);
        wait_until("it is dead", || ring.participants().iter().any(|one| one.liveness == Liveness::Dead));
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
        let now = Duration::new(now.tv_sec() as u64, now.tv_nsec() as u32);
        self.forge(head::SWEPT_AT, now.as_nanos() as u64);
    }
}

impl Deref for TestName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.name
    }
}

impl Drop for TestName {
    fn drop(&mut self) {
        let must_be_gone = !self.may_stay && !std::thread::panicking();
        // The process that removes it may be one whose end the test did not wait for.
        let asked = Instant::now();
        while must_be_gone && self.exists() && asked.elapsed() < REMOVAL {
            std::thread::sleep(Duration::from_millis(1));
        }
        let left = std::fs::remove_file(self.path()).is_ok();
        assert!(!left || !must_be_gone, "{} was left in /dev/shm", self.file);
    }
}
