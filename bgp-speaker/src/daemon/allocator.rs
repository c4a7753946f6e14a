//! How the process gets its memory.

/// From this size on, the kernel is asked for each allocation by itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: libc::c_int = 1024 * 1024;

/// Tables grow by moving their pages instead of copying them, and give them back when they shrink. glibc does so on its
/// own only until the first large table is freed; from then on it keeps what such tables leave behind as holes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt has no safe wrapper")]
pub(super) fn keep_tables_apart() {
    // SAFETY: mallopt may be called at any time; it changes only where later allocations come from.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD) } != 1 {
        tracing::debug!("the allocator's threshold could not be set");
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn keep_tables_apart() {}
