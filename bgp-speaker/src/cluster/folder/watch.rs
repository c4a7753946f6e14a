//! The kernel's word that something in a folder has changed.

use super::Reread;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Changes that follow each other closer than this belong together.
const QUIET: Duration = Duration::from_millis(5);
/// But none waits longer than this for the next.
const BURST: Duration = Duration::from_millis(50);
/// Room for some hundred events.
const BUFFER_BYTES: usize = 16 << 10;
/// Names in a burst beyond which all files are read.
const NAMES_MAX: usize = 4096;

/// One per folder. Without inotify (a limit of the system) it never tells anything.
pub(super) struct FolderEvents {
    path: PathBuf,
    inotify: Option<AsyncFd<Inotify>>,
    folder: Option<WatchDescriptor>,
    /// Tells when the folder appears, or another one takes its place.
    parent: Option<WatchDescriptor>,
}

impl FolderEvents {
    pub(super) fn new(path: &Path) -> Self {
        let inotify = Inotify::init().and_then(register);
        if let Err(error) = &inotify {
            let folder = path.display();
            tracing::warn!(%folder, %error, "inotify is not available: changes are found by looking now and then");
        }
        Self { path: path.to_owned(), inotify: inotify.ok(), folder: None, parent: None }
    }

    /// Watches what is at the path now. Answers whether changes of the folder will be told.
    pub(super) fn renew(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut watches = inotify.get_ref().watches();
        let inside = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        // The same folder keeps its watch.
        let folder = watches.add(&self.path, inside).ok();
        if let Some(old) = self.folder.take().filter(|old| Some(old) != folder.as_ref()) {
            // It is gone already if its folder is.
            _ = watches.remove(old);
        }
        self.folder = folder;
        if let Some(parent) = self.path.parent().filter(|_| self.parent.is_none()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            self.parent =
                watches.add(parent, WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR).ok();
        }
        self.folder.is_some()
    }

    /// Waits for changes of files, as far as they come together.
    #[allow(clippy::disallowed_methods, reason = "deadlines of tokio's")]
    pub(super) async fn next(&mut self) -> Reread {
        let mut changed = Changed::default();
        while changed.is_nothing() {
            self.read(&mut changed).await;
        }
        let latest = Instant::now() + BURST;
        loop {
            let quiet = latest.min(Instant::now() + QUIET);
            if tokio::time::timeout_at(quiet, self.read(&mut changed)).await.is_err() {
                return changed.into_reread();
            }
        }
    }

    async fn read(&mut self, changed: &mut Changed) {
        let Self { path, inotify, parent, .. } = self;
        let Some(fd) = inotify else { return std::future::pending().await };
        let Ok(mut ready) = fd.readable_mut().await else { return std::future::pending().await };
        let mut buffer = [0; BUFFER_BYTES];
        let events = ready.try_io(|fd| fd.get_mut().read_events(&mut buffer));
        match events {
            Ok(Ok(events)) => {
                for event in events {
                    if Some(&event.wd) != parent.as_ref() {
                        changed.note(event.mask, event.name);
                        continue;
                    }
                    changed.is_any |= event.name == path.file_name();
                    if event.mask.contains(EventMask::IGNORED) {
                        *parent = None;
                    }
                }
            }
            Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => changed.is_all = true,
            // Nothing there after all.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

#[allow(unsafe_code)]
fn register(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    // SAFETY: `Inotify` owns its descriptor and closes it only when dropped, which `AsyncFd` does after deregistering;
    // nothing here replaces or closes it before.
    unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }.map_err(io::Error::from)
}

/// What has been told since the last look.
#[derive(Default)]
struct Changed {
    /// Some of it may be lost.
    is_all: bool,
    /// What is different is to be seen from what the files look like.
    is_any: bool,
    names: BTreeSet<OsString>,
}

impl Changed {
    fn is_nothing(&self) -> bool {
        !self.is_all && !self.is_any && self.names.is_empty()
    }

    fn note(&mut self, mask: EventMask, name: Option<&OsStr>) {
        match name {
            // A hidden name may be a link through which others lead; without a name it is the folder itself.
            Some(name) if !name.as_encoded_bytes().starts_with(b".") => {
                self.names.insert(name.to_owned());
            }
            _ => self.is_any = true,
        }
        self.is_all |= mask.contains(EventMask::Q_OVERFLOW) || self.names.len() > NAMES_MAX;
    }

    fn into_reread(self) -> Reread {
        if self.is_all {
            return Reread::All;
        }
        Reread::Some(self.names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}
