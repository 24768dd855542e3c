//! Stands between a process and its files, and writes down what it does to them.
//!
//! Preloaded (`LD_PRELOAD`) into the server under test. Every call does what it always did; of
//! those to files and folders below one place it also appends a record (`record.rs`) to a log, in
//! the order in which they took effect. From that the test makes what a power cut leaves. It
//! stands in for the functions through which Rust's library writes on Linux with glibc; that
//! nothing goes past them is a test of its own, which compares log and files.
//!
//! Names are not recorded as they change: a sync of a folder writes down what stands in it, and
//! what stood there in the end the test sees for itself.
//!
//! | variable | what |
//! |---|---|
//! | `POWER_BELOW` | the place, with all links resolved; without it nothing happens |
//! | `POWER_LOG` | the file that records are appended to |
//! | `POWER_CUT` | after how many records the process kills itself |
//! | `POWER_ROOM` | how many bytes may be written before the disk is full |

mod record;

use std::collections::HashSet;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use libc::{off64_t, size_t, ssize_t};
use record::{Act, Record};

static LAYER: LazyLock<Option<Layer>> = LazyLock::new(Layer::new);

struct Layer {
    below: PathBuf,
    log: c_int,
    cut: u64,
    /// Held while a call takes effect and is recorded, so that the log has the order of effects.
    state: Mutex<State>,
}

struct State {
    /// How many there are.
    records: u64,
    /// How many bytes the disk still has.
    room: u64,
    /// Device and inode of all that was opened below the place. Each is kept open by one more
    /// descriptor, so that its inode number does not come to mean another file.
    known: HashSet<(u64, u64)>,
}

impl Layer {
    fn new() -> Option<Self> {
        let below = std::env::var_os("POWER_BELOW")?.into();
        let log = CString::new(std::env::var_os("POWER_LOG")?.into_vec()).ok()?;
        let number = |name| std::env::var(name).ok()?.parse().ok();
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
        // Safety: the path ends with a zero.
        let log =
            unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, log.as_ptr(), flags, 0o600) };
        let room = number("POWER_ROOM").unwrap_or(u64::MAX);
        let state = Mutex::new(State { records: 0, room, known: HashSet::new() });
        let cut = number("POWER_CUT").unwrap_or(u64::MAX);
        (log >= 0).then_some(Self { below, log: log as c_int, cut, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets to know a file or folder that was opened.
    fn opened(&self, fd: c_int) {
        let Some(status) = status(fd) else { return };
        let path = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        let ours = path.is_ok_and(|path| path.starts_with(&self.below));
        if ours && self.state().known.insert((status.st_dev, status.st_ino)) {
            // Safety: a descriptor that nobody closes harms nobody.
            unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        }
    }

    /// Gives the inode behind a descriptor, if that is below the place.
    fn inode(&self, fd: c_int) -> Option<u64> {
        let status = status(fd)?;
        let known = self.state().known.contains(&(status.st_dev, status.st_ino));
        known.then_some(status.st_ino)
    }

    fn record(&self, state: &mut State, inode: u64, act: Act) {
        let bytes = Record { inode, act }.encode();
        // Safety: as many bytes as there are.
        unsafe { libc::syscall(libc::SYS_write, self.log, bytes.as_ptr(), bytes.len()) };
        state.records += 1;
        if state.records == self.cut {
            // Safety: the power goes here.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }

    /// Writes as much as there is room for, and records what was written.
    fn write(
        &self,
        (fd, inode): (c_int, u64),
        (bytes, len): (*const c_void, size_t),
        at: Option<off64_t>,
    ) -> ssize_t {
        let mut state = self.state();
        let len = len.min(usize::try_from(state.room).unwrap_or(usize::MAX));
        if len == 0 && state.room == 0 {
            // Safety: every thread has its own.
            unsafe { *libc::__errno_location() = libc::ENOSPC };
            return -1;
        }
        // Safety: no more bytes than the caller gave.
        let written = unsafe {
            match at {
                Some(at) => libc::syscall(libc::SYS_pwrite64, fd, bytes, len, at),
                None => libc::syscall(libc::SYS_write, fd, bytes, len),
            }
        };
        if written > 0 {
            // Safety: so many bytes were just read from there.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.cast(), written as usize) };
            // Safety: it only tells where the file stands.
            let end = || unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) };
            let at = at.unwrap_or_else(|| end() - written);
            state.room -= written as u64;
            self.record(&mut state, inode, Act::Write { at: at as u64, bytes: bytes.to_vec() });
        }
        written as ssize_t
    }

    /// Syncs, and records what that covers: what was there when it began.
    fn sync(&self, (fd, inode): (c_int, u64), call: libc::c_long) -> c_int {
        let began = self.state().records;
        let path = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        let mut entries = String::new();
        let folder = path.and_then(std::fs::read_dir).map(|all| {
            for entry in all.flatten() {
                let name = entry.file_name();
                let _ = writeln!(entries, "{} {}", entry.ino(), name.display());
            }
        });
        // Safety: it takes a descriptor, and gives whether it did.
        let synced = unsafe { libc::syscall(call, fd) };
        if synced == 0 {
            let act = match folder {
                Ok(()) => Act::Listed { began, entries },
                Err(_) => Act::Synced(began),
            };
            self.record(&mut self.state(), inode, act);
        }
        synced as c_int
    }
}

/// Tells about a descriptor of a file or a folder; of others, nothing.
fn status(fd: c_int) -> Option<libc::stat64> {
    let mut status = MaybeUninit::uninit();
    // Safety: it fills the whole, or fails.
    let status = unsafe {
        match libc::fstat64(fd, status.as_mut_ptr()) {
            0 => status.assume_init(),
            _ => return None,
        }
    };
    matches!(status.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR).then_some(status)
}

/// Finds the layer and the inode behind a descriptor, if that is one of ours.
fn ours(fd: c_int) -> Option<(&'static Layer, u64)> {
    let layer = LAYER.as_ref()?;
    Some((layer, layer.inode(fd)?))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    // Safety: passed on as they came.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) } as c_int;
    if let (Some(layer), true) = (LAYER.as_ref(), fd >= 0) {
        layer.opened(fd);
    }
    fd
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    match ours(fd) {
        Some((layer, inode)) => layer.write((fd, inode), (bytes, len), None),
        // Safety: passed on as they came.
        None => unsafe { libc::syscall(libc::SYS_write, fd, bytes, len) as ssize_t },
    }
}

/// Writes the first part alone, as a system may, where the file is one of ours.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> ssize_t {
    // Safety: passed on as they came; and so many parts there are.
    match ours(fd) {
        Some((layer, inode)) => {
            let parts = unsafe { std::slice::from_raw_parts(parts, count as usize) };
            let first = parts.iter().find(|part| part.iov_len > 0);
            let (bytes, len) =
                first.map_or((std::ptr::null(), 0), |one| (one.iov_base.cast_const(), one.iov_len));
            layer.write((fd, inode), (bytes, len), None)
        }
        None => unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as ssize_t },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    len: size_t,
    at: off64_t,
) -> ssize_t {
    match ours(fd) {
        Some((layer, inode)) => layer.write((fd, inode), (bytes, len), Some(at)),
        // Safety: passed on as they came.
        None => unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, len, at) as ssize_t },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, len: off64_t) -> c_int {
    let ours = ours(fd);
    let mut state = ours.map(|(layer, _)| layer.state());
    // Safety: passed on as they came.
    let resized = unsafe { libc::syscall(libc::SYS_ftruncate, fd, len) } as c_int;
    if let (Some((layer, inode)), Some(state), 0) = (ours, &mut state, resized) {
        layer.record(state, inode, Act::Resize(len as u64));
    }
    resized
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    match ours(fd) {
        Some((layer, inode)) => layer.sync((fd, inode), libc::SYS_fsync),
        // Safety: passed on as it came.
        None => unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    match ours(fd) {
        Some((layer, inode)) => layer.sync((fd, inode), libc::SYS_fdatasync),
        // Safety: passed on as it came.
        None => unsafe { libc::syscall(libc::SYS_fdatasync, fd) as c_int },
    }
}
