//! A folder of small files, followed: what is in it at first, then what changes.
//!
//! Files may be written in place, renamed into the folder, or be symbolic links into a folder that is swapped as a
//! whole, as mounted volumes are (`..data`). Only files directly in the folder count, and only those whose name does not
//! start with a dot. The kernel tells of changes (inotify); a slow poll finds what it does not tell, such as a changed
//! target of a symbolic link elsewhere.
//!
//! A folder or file that cannot be read changes nothing: what it held last stays in force, and the reason is told.

mod scan;
#[cfg(test)]
mod tests;
mod watch;

use scan::Scanner;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use watch::FolderEvents;

/// How many pieces of news wait for their reader.
const QUEUE: usize = 4;
/// How often a folder is looked at although nothing was told.
const POLL: Duration = Duration::from_secs(30);
/// The same while there is no folder, or nothing that could tell.
const POLL_UNTOLD: Duration = Duration::from_secs(2);

/// Which files of a folder are read, and what its absence means.
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// The folder.
    pub path: PathBuf,
    /// Names end with this; empty: any does.
    pub suffix: &'static str,
    /// A folder that is not there yet is an empty one.
    pub may_be_missing: bool,
}

/// What is new in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderNews {
    /// These files are different, by name. The first time it is all of them, even if that is none. The folder can be
    /// read.
    Changed(Vec<FileChange>),
    /// The folder cannot be read: everything stays as it was.
    Unreadable {
        /// Why, with its path.
        reason: String,
    },
}

/// What is new about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Its name in the folder.
    pub name: String,
    /// What is in it.
    pub content: FileContent,
}

/// What is in a file. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum FileContent {
    /// There is no such file any more.
    Gone,
    /// This.
    Is(Vec<u8>),
    /// It cannot be read, or is too large.
    Unreadable(String),
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileContent::Gone => f.write_str("Gone"),
            FileContent::Is(bytes) => write!(f, "Is({} bytes)", bytes.len()),
            FileContent::Unreadable(reason) => write!(f, "Unreadable({reason})"),
        }
    }
}

/// Follows a folder. Dropping it ends that.
#[derive(Debug)]
pub struct FolderWatcher {
    path: PathBuf,
    news: mpsc::Receiver<FolderNews>,
    task: JoinHandle<()>,
}

impl FolderWatcher {
    /// Begins to follow a folder. Must be called inside a tokio runtime.
    pub fn start(options: FolderOptions) -> Self {
        let (sender, news) = mpsc::channel(QUEUE);
        let path = options.path.clone();
        Self { path, news, task: tokio::spawn(follow(options, sender)) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is new. Waits until there is something; dropping the future loses nothing.
    pub async fn next(&mut self) -> FolderNews {
        match self.news.recv().await {
            Some(news) => news,
            // The task ends only when this receiver is gone.
            None => std::future::pending().await,
        }
    }
}

impl Drop for FolderWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Which files are read although they look as they did.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reread {
    All,
    Some(BTreeSet<String>),
}

impl Reread {
    fn contains(&self, name: &str) -> bool {
        match self {
            Reread::All => true,
            Reread::Some(names) => names.contains(name),
        }
    }
}

async fn follow(options: FolderOptions, news: mpsc::Sender<FolderNews>) {
    let mut events = FolderEvents::new(&options.path);
    let mut scanner = Scanner::new(options);
    let mut reread = Reread::All;
    let mut told: Option<Result<(), String>> = None;
    loop {
        // What changes from here on is told; what changed before is seen now.
        let is_told = events.renew();
        let scanned = tokio::task::spawn_blocking(move || {
            let outcome = scanner.scan(&reread);
            (scanner, outcome)
        });
        let Ok((back, outcome)) = scanned.await else { return };
        scanner = back;
        let state = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        let is_as_before = told.as_ref() == Some(&state);
        let next = match outcome {
            Ok(changes) if is_as_before && changes.is_empty() => None,
            Ok(changes) => Some(FolderNews::Changed(changes)),
            Err(_) if is_as_before => None,
            Err(reason) => Some(FolderNews::Unreadable { reason }),
        };
        let can_be_told = is_told && state.is_ok();
        told = Some(state);
        if let Some(next) = next
            && news.send(next).await.is_err()
        {
            return;
        }
        let poll = if can_be_told { POLL } else { POLL_UNTOLD };
        reread = tokio::select! {
            () = news.closed() => return,
            reread = events.next() => reread,
            () = tokio::time::sleep(poll) => Reread::Some(BTreeSet::new()),
        };
    }
}
