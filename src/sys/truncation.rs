//! What becomes of a mapping whose file was cut shorter: the process dies by SIGBUS, or, if it asked to
//! survive, has private zeros in the mapping's place and knows that it is lost.
//!
//! As wayland-server does with the buffers of its clients: the whole mapping is replaced, not only the page. From
//! that moment on this process can neither read from the segment what is no longer there, nor write anything
//! into what is left of it.
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

/// A mapping that the handler knows. Entries are never freed, because it may look at them at any time; those of
/// mappings that are gone serve again.
struct Entry {
    /// Its first byte; 0 while it has none, and is nobody's to look at.
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
    taken: AtomicBool,
    /// Set before the entry can be found, and never changed.
    next: *const Entry,
}

// SAFETY: `next` leads to an entry that is never freed nor moved, and is not written once others see it.
unsafe impl Sync for Entry {}

/// The entry that was made last.
static NEWEST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// The entry of one mapping, from before it is used until before it is unmapped.
pub(super) struct Watched(&'static Entry);

impl Watched {
    /// Has the handler know a mapping.
    pub fn new(base: NonNull<u8>, len: usize) -> Self {
        let entry = vacant().unwrap_or_else(added);
        entry.lost.store(false, Ordering::Relaxed); // Relaxed: read by those who have this value, and by the handler.
        entry.len.store(len, Ordering::Relaxed); // Relaxed: handed over by the next.
        // Release: who finds the start finds the length.
        entry.start.store(base.as_ptr().addr(), Ordering::Release);
        Watched(entry)
    }

    /// Whether the mapping was replaced by zeros. Asked after a copy, it tells whether that was of the segment.
    pub fn is_lost(&self) -> bool {
        // Acquire: what was read before this, was read before the mark was looked at. The handler sets the mark
        // before it replaces anything, and to replace it is a system call that stops all threads' accesses.
        fence(Ordering::Acquire);
        self.0.lost.load(Ordering::Relaxed) // Relaxed: the fence orders it.
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Relaxed); // Relaxed: nobody of this process touches the mapping any more.
        // Release: the next to take the entry finds it without a mapping.
        self.0.taken.store(false, Ordering::Release);
    }
}

/// All entries.
fn entries() -> impl Iterator<Item = &'static Entry> {
    // Acquire: who finds an entry finds what it leads to.
    let mut at = NEWEST.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or an entry that `added` leaked.
        let entry = unsafe { at.as_ref() }?;
        at = entry.next;
        Some(entry)
    })
}

fn vacant() -> Option<&'static Entry> {
    // Acquire: pairs with the release in `drop`. Relaxed: somebody else has it.
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
        // Relaxed: only compared, and led to; the exchange orders it.
        let newest = NEWEST.load(Ordering::Relaxed);
        entry.next = newest;
        // AcqRel: hands this entry over, with those that it leads to.
        if NEWEST.compare_exchange(newest, entry, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return entry;
        }
    }
}

impl Entry {
    /// The mapping, if `address` lies in it.
    fn mapping(&self, address: usize) -> Option<(usize, usize)> {
        // Acquire, both: the length is that of this start, or the second look finds another one. Mappings that
        // are known at one moment do not overlap, and that of `address` stays, since somebody waits for us there.
        let start = self.start.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        let same = self.start.load(Ordering::Relaxed) == start; // Relaxed: the loads above come first.
        (same && start != 0 && address.wrapping_sub(start) < len).then_some((start, len))
    }
}

/// What SIGBUS did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Lets this process survive that somebody truncates the shared memory that it uses: operations then end with
/// [`Error::Truncated`], and nothing more is received, acknowledged or sent. Without this call, touching what is
/// missing ends the process by SIGBUS: a death like any other, for those who still have their memory.
///
/// A process that shares memory with programs it does not trust calls this once, at its start: it installs a handler
/// for SIGBUS in the whole process. What does not concern a mapping of this library goes on to the handler that
/// was there before; whoever installs one later does the same. There is no way back. A thread that blocks SIGBUS
/// ends the process all the same.
///
/// An item whose memory is lost while it is read is not handed out as good: see
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
        // Before the handler can run, which needs it.
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

/// An access to what is not there.
unsafe extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid `info`, which has an address where the code says that there was an access;
    // errno is this thread's own, and is put back for whom we interrupt.
    unsafe {
        let errno = *libc::__errno_location();
        let ours = (*info).si_code == libc::BUS_ADRERR && replace((*info).si_addr().addr());
        *libc::__errno_location() = errno;
        if !ours {
            pass_on(signal, info, context);
        }
    }
}

/// Puts zeros in the place of the mapping in which `address` lies, and marks it as lost. False: it is none of
/// ours, or the system refuses.
///
/// Only atomics and a system call: it runs in a signal handler.
fn replace(address: usize) -> bool {
    let found = entries().find_map(|entry| Some((entry, entry.mapping(address)?)));
    let Some((entry, (start, len))) = found else { return false };
    // Release: before the zeros, so that who reads one of them finds the mark.
    entry.lost.store(true, Ordering::Release);
    process::next_epoch();
    if map_zeros(start, len) {
        return true;
    }
    // Where the system has no memory for so much, a page at a time.
    // SAFETY: sysconf has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).unwrap_or(4096);
    map_zeros(address & !(page - 1), page)
}

fn map_zeros(start: usize, len: usize) -> bool {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the range is a mapping of this library, or a page of it, which stays mapped as long as its entry
    // says so. Its bytes are shared ones that change at any time, so that zeros are as good as any.
    let place = unsafe { libc::mmap(ptr::with_exposed_provenance_mut(start), len, access, flags, -1, 0) };
    place != libc::MAP_FAILED
}

/// Hands a signal that is not ours to whoever had it before.
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the earlier handler is called as the kernel would have called it, by the flags that it was
    // installed with. Otherwise these calls are allowed in a handler, and the sets are locals.
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
                // An access is made again when this returns, and ends the process.
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
        let segment = Segment::create(&name.0, 3 * 4096, 0o600, |_, _| Ok(1)).unwrap();
        let file = File::options().write(true).open(format!("/dev/shm/{}", name.0.as_str())).unwrap();
        (name, segment, file)
    }

    fn read(segment: &Segment, at: usize) -> u8 {
        assert!(at < segment.len());
        // SAFETY: within the mapping.
        unsafe { segment.base().add(at).read_volatile() }
    }

    #[test]
    fn a_lost_mapping_reads_as_zeros_and_says_so_and_others_stay() {
        survive_truncation().unwrap();
        let ((_a, lost, file), (_b, whole, _)) = (segment(), segment());
        assert!(!lost.is_lost());
        file.set_len(4096).unwrap();
        assert_eq!(read(&lost, 0), 1);
        assert!(!lost.is_lost(), "the first page is there still");
        assert_eq!(read(&lost, 5000), 0);
        assert!(lost.is_lost());
        assert_eq!(read(&lost, 0), 0, "the whole mapping is another one");
        assert_eq!(read(&whole, 0), 1);
        assert!(!whole.is_lost());
        drop(lost);
        let (_c, next, _) = segment();
        assert!(!next.is_lost(), "an entry that serves again");
    }

    #[test]
    fn what_is_not_ours_ends_the_process_as_before() {
        survive_truncation().unwrap();
        let (_name, segment, file) = segment();
        let foreign = segment.base();
        file.set_len(0).unwrap();
        // In a child, so that this process lives on. There, the mapping is nobody's.
        let touched = testing::ended(move || {
            entries().for_each(|entry| entry.start.store(0, Ordering::Relaxed));
            // SAFETY: a mapping, whose page is missing.
            unsafe { foreign.read_volatile() };
        });
        assert!(matches!(touched, WaitStatus::Signaled(_, Signal::SIGBUS, _)), "{touched:?}");
        // Rust's own handler, which was there before, is content with the first one that is sent.
        let sent = testing::ended(|| {
            // SAFETY: no pointers.
            (0..2).for_each(|_| _ = unsafe { libc::raise(libc::SIGBUS) });
        });
        assert!(matches!(sent, WaitStatus::Signaled(_, Signal::SIGBUS, _)), "{sent:?}");
    }
}
