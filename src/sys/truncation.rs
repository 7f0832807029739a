//! Survives the truncation of a mapped segment. Without it the process dies by SIGBUS. A process that has asked to
//! survive gets private zeros in place of the mapping, and its handles know that the mapping is lost.
//!
//! The handler replaces the whole mapping, not only the page, as wayland-server does with its clients' buffers.
//! From that moment on this process can neither read from the segment nor write into what is left of it.
#![allow(unsafe_code)]

use std::{
    io, mem,
    ptr::{self, NonNull},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
    },
};

use crate::{Error, Result, sys::process};

/// A mapping that the handler knows. Entries are never freed, because the handler may read them at any time; those
/// of unmapped mappings are reused.
struct Entry {
    /// The first byte of the mapping; 0 while the entry has no mapping and the handler must skip it.
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
    taken: AtomicBool,
    /// Set before other threads can find the entry, and never changed.
    next: *const Entry,
}

// SAFETY: `next` points to an entry that is never freed nor moved, and is not written once other threads see it.
unsafe impl Sync for Entry {}

/// The newest entry.
static NEWEST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// The entry of one mapping, from before it is used until before it is unmapped.
pub(super) struct Watched(&'static Entry);

impl Watched {
    /// Registers a mapping with the handler.
    pub fn new(base: NonNull<u8>, len: usize) -> Self {
        let entry = vacant().unwrap_or_else(added);
        entry.lost.store(false, Ordering::Relaxed); // Relaxed: read by the holders of this value and by the handler.
        entry.len.store(len, Ordering::Relaxed); // Relaxed: ordered by the next store.
        // Release: a thread that sees the start sees the length.
        entry.start.store(base.as_ptr().addr(), Ordering::Release);
        Watched(entry)
    }

    /// Whether the mapping was replaced by zeros. After a copy, this tells whether the bytes came from the
    /// segment.
    pub fn is_lost(&self) -> bool {
        // Acquire: all earlier reads come before the read of the mark. The handler sets the mark before it
        // replaces anything, and the replacement is a system call that stops all threads' accesses.
        fence(Ordering::Acquire);
        self.0.lost.load(Ordering::Relaxed) // Relaxed: the fence orders it.
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Relaxed); // Relaxed: this process no longer accesses the mapping.
        // Release: the next owner of the entry finds it without a mapping.
        self.0.taken.store(false, Ordering::Release);
    }
}

/// All entries.
fn entries() -> impl Iterator<Item = &'static Entry> {
    // Acquire: a thread that finds an entry sees its contents.
    let mut at = NEWEST.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or an entry that `added` leaked.
        let entry = unsafe { at.as_ref() }?;
        at = entry.next;
        Some(entry)
    })
}

fn vacant() -> Option<&'static Entry> {
    // Acquire: pairs with the release in `drop`. Relaxed: another thread has taken it.
    let take = |entry: &&Entry| {
        entry.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    entries().find(take)
}

fn added() -> &'static Entry {
    let entry = Box::leak(Box::new(Entry {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
        taken: AtomicBool::new(true),
        next: ptr::null(),
    }));
    loop {
        // Relaxed: only compared and linked to; the exchange orders it.
        let newest = NEWEST.load(Ordering::Relaxed);
        entry.next = newest;
        // AcqRel: publishes this entry, and the ones that it links to.
        if NEWEST.compare_exchange(newest, entry, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return entry;
        }
    }
}

impl Entry {
    /// The mapping, if `address` lies in it.
    fn mapping(&self, address: usize) -> Option<(usize, usize)> {
        // Acquire, both: the length belongs to this start, or else the second load sees another start. Mappings
        // that are known at one moment do not overlap, and the mapping of `address` stays, since a thread waits
        // there for this handler.
        let start = self.start.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        let same = self.start.load(Ordering::Relaxed) == start; // Relaxed: the loads above are ordered before it.
        (same && start != 0 && address.wrapping_sub(start) < len).then_some((start, len))
    }
}

/// The action of SIGBUS before this handler.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Lets this process survive when another program truncates the shared memory that it uses: operations then fail
/// with [`Error::Truncated`], and the handle no longer receives, acknowledges or sends. Without this call, access
/// to the missing memory ends the process by SIGBUS, which processes with intact memory see as an ordinary death.
///
/// A process that shares memory with programs it does not trust calls this once, at its start: it installs a
/// handler for SIGBUS in the whole process. The handler passes on every SIGBUS outside this library's mappings to
/// the handler that was there before; a handler that is installed later must do the same. The call cannot be
/// undone. A thread that blocks SIGBUS still ends the process.
///
/// An item whose memory is lost while it is read must not be used: see
/// [`Item::check`](crate::Item::check). The commands `producer`, `consumer` and `ringctl` call this.
///
/// ```
/// # let name = format!("doc-truncated-{}", std::process::id());
/// ringpipe::survive_truncation()?;
/// let ring = ringpipe::RingOptions::new().create(&name)?;
/// let mut producer = ring.producer()?;
/// # let path = std::path::Path::new("/dev/shm").join(&name);
/// std::fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
/// assert!(matches!(producer.send(b"lost"), Err(ringpipe::Error::Truncated)));
/// # ring.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] when the system refuses.
pub fn survive_truncation() -> Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let refused = || Error::io("catching SIGBUS", io::Error::last_os_error());
    // SAFETY: all zeros is a valid `sigaction`; both are locals. The handler has the signature that
    // SA_SIGINFO asks for, and does only what is allowed in a handler.
    unsafe {
        let mut before: libc::sigaction = mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &mut before) != 0 {
            return Err(refused());
        }
        // Set before the handler can run, because the handler needs it.
        let _ = BEFORE.set(before);
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_fault as Handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) != 0 {
            return Err(refused());
        }
    }
    Ok(())
}

/// Whether this process has lost a mapping.
#[cfg(feature = "cli")]
pub fn has_happened() -> bool {
    process::losses() > 0
}

type Handler = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Handles an access to missing memory.
unsafe extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid `info`, which has an address if its code reports an access. errno is this
    // thread's own, and is restored for the code that was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        let ours = (*info).si_code == libc::BUS_ADRERR && replace((*info).si_addr().addr());
        *libc::__errno_location() = errno;
        if !ours {
            pass_on(signal, info, context);
        }
    }
}

/// Puts zeros in place of the mapping that contains `address`, and marks it as lost. False: the address is in no
/// mapping of this library, or the system refuses.
///
/// Uses only atomics and a system call, because it runs in a signal handler.
fn replace(address: usize) -> bool {
    let found = entries().find_map(|entry| Some((entry, entry.mapping(address)?)));
    let Some((entry, (start, len))) = found else { return false };
    // Release: stored before the zeros, so that a thread that reads one of them sees the mark.
    entry.lost.store(true, Ordering::Release);
    process::next_epoch();
    if map_zeros(start, len) {
        return true;
    }
    // If the system has too little memory for the whole mapping, replaces one page at a time.
    let page = page_size();
    map_zeros(address & !(page - 1), page)
}

/// The size of a memory page here: 4096, 16384 or 65536 bytes.
pub fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).unwrap_or(4096)
}

fn map_zeros(start: usize, len: usize) -> bool {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the range is a mapping of this library, or a page of it, which stays mapped as long as its entry
    // says so. Its bytes are shared and may change at any time, so zeros are valid too.
    let place = unsafe { libc::mmap(ptr::with_exposed_provenance_mut(start), len, access, flags, -1, 0) };
    place != libc::MAP_FAILED
}

/// Passes a signal that does not concern this library to the earlier handler.
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the earlier handler is called as the kernel would have called it, by the flags that it was installed
    // with. The other calls are allowed in a handler, and the sets are locals.
    unsafe {
        let Some(before) = BEFORE.get() else { return };
        let sent = (*info).si_code <= 0;
        match before.sa_sigaction {
            libc::SIG_IGN if sent => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut default: libc::sigaction = mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &default, ptr::null_mut());
                if sent {
                    libc::raise(signal);
                }
                // The access is repeated when this returns, and ends the process.
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                mem::transmute::<usize, Handler>(handler)(signal, info, context);
            }
            handler => mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{
        segment::Segment,
        testing::{self, TestName},
    };
    use nix::sys::{signal::Signal, wait::WaitStatus};
    use std::fs::File;

    fn segment() -> (TestName, Segment, File) {
        let name = TestName::new();
        let segment = Segment::create(&name.0, 3 * page_size() as u64, 0o600, |_, _| Ok(1)).unwrap();
        let file = File::options().write(true).open(format!("/dev/shm/{}", name.0.as_str())).unwrap();
        (name, segment, file)
    }

    fn read(segment: &Segment, at: usize) -> u8 {
        assert!(at < segment.len());
        // SAFETY: within the mapping.
        unsafe { segment.base().add(at).read_volatile() }
    }

    #[test]
    fn a_lost_mapping_reads_as_zeros_and_reports_it_and_others_stay() {
        survive_truncation().unwrap();
        let ((_a, lost, file), (_b, whole, _)) = (segment(), segment());
        assert!(!lost.is_lost());
        file.set_len(page_size() as u64).unwrap();
        assert_eq!(read(&lost, 0), 1);
        assert!(!lost.is_lost(), "the first page is there still");
        assert_eq!(read(&lost, page_size() + 900), 0);
        assert!(lost.is_lost());
        assert_eq!(read(&lost, 0), 0, "the whole mapping is another one");
        assert_eq!(read(&whole, 0), 1);
        assert!(!whole.is_lost());
        drop(lost);
        let (_c, next, _) = segment();
        assert!(!next.is_lost(), "an entry that serves again");
    }

    #[test]
    fn a_fault_outside_our_mappings_ends_the_process_as_before() {
        survive_truncation().unwrap();
        let (_name, segment, file) = segment();
        let foreign = segment.base();
        file.set_len(0).unwrap();
        // In a child, so that this process survives. In the child no entry knows the mapping.
        let touched = testing::ended(move || {
            entries().for_each(|entry| entry.start.store(0, Ordering::Relaxed));
            // SAFETY: a mapping, whose page is missing.
            unsafe { foreign.read_volatile() };
        });
        assert!(matches!(touched, WaitStatus::Signaled(_, Signal::SIGBUS, _)), "{touched:?}");
        // Rust's own handler, which was there before, ignores the first one that is sent.
        let sent = testing::ended(|| {
            // SAFETY: no pointers.
            (0..2).for_each(|_| _ = unsafe { libc::raise(libc::SIGBUS) });
        });
        assert!(matches!(sent, WaitStatus::Signaled(_, Signal::SIGBUS, _)), "{sent:?}");
    }
}
