//! Named shared memory for the carriers that are written here.

use shared_memory::{Shmem, ShmemConf};

/// A mapping of zeroed bytes, at the start of a page. Its creator removes the name when dropping it.
pub struct Mapping(Shmem);

impl Mapping {
    pub fn create(name: &str, len: usize) -> Self {
        Mapping(ShmemConf::new().os_id(name).size(len).create().expect("shared memory"))
    }

    pub fn open(name: &str) -> Self {
        let mapping = ShmemConf::new().os_id(name).open().expect("shared memory");
        // SAFETY: the mapping is this long. Where the kernel cannot touch its pages in advance, the warm-up does.
        unsafe { libc::madvise(mapping.as_ptr().cast(), mapping.len(), libc::MADV_POPULATE_WRITE) };
        Mapping(mapping)
    }

    /// The bytes from `offset` on, as something else.
    pub fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.0.len() && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: within the mapping.
        unsafe { self.0.as_ptr().add(offset).cast() }
    }
}
