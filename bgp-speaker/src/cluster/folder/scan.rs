//! What is in a folder, compared with what was in it.

use super::{FileChange, FileContent, FolderOptions, Reread};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Larger files are refused, in bytes: several times the largest object that a datastore takes.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// All files of a folder together, in bytes.
const FOLDER_BYTES_MAX: u64 = 256 << 20;
/// Files in a folder.
const FILES_MAX: usize = 50_000;

/// A folder as it was when it was last read.
pub(super) struct Scanner {
    options: FolderOptions,
    known: BTreeMap<String, Known>,
    has_been_read: bool,
}

struct Known {
    looks: Looks,
    unreadable: Option<String>,
}

/// Changes whenever the content does, but for changes within one tick of the file system's clock.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Looks {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Looks {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Scanner {
    pub(super) fn new(options: FolderOptions) -> Self {
        Self { options, known: BTreeMap::new(), has_been_read: false }
    }

    /// What is different since the last time, by name.
    ///
    /// # Errors
    /// The folder is unreadable: why, with its path. Nothing is different then.
    pub(super) fn scan(&mut self, reread: &Reread) -> Result<Vec<FileChange>, String> {
        let names = match names(&self.options) {
            Ok(names) => names,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && self.options.may_be_missing
                    && !self.has_been_read =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(format!("{}: {error}", self.options.path.display())),
        };
        self.has_been_read = true;
        let mut changes = Vec::new();
        let mut folder_bytes = 0;
        let mut seen = BTreeMap::new();
        for name in names {
            // Gone since, or no file.
            let Some(looks) = looks(&self.options.path.join(&name)) else { continue };
            folder_bytes += looks.size;
            let before = self.known.remove(&name);
            let is_same = before.as_ref().is_some_and(|before| before.looks == looks);
            let unreadable = before.and_then(|before| before.unreadable);
            // What could not be read may be readable now, whatever it looks like.
            if is_same && unreadable.is_none() && !reread.contains(&name) {
                seen.insert(name, Known { looks, unreadable });
                continue;
            }
            let content = match folder_bytes {
                0..=FOLDER_BYTES_MAX => read(&self.options.path.join(&name)),
                _ => FileContent::Unreadable(format!(
                    "not read: the files of the folder have more than {FOLDER_BYTES_MAX} bytes together"
                )),
            };
            let why = match &content {
                FileContent::Unreadable(why) => Some(why.clone()),
                _ => None,
            };
            let is_news = why.is_none() || why != unreadable;
            seen.insert(name.clone(), Known { looks, unreadable: why });
            if is_news {
                changes.push(FileChange { name, content });
            }
        }
        let gone = std::mem::replace(&mut self.known, seen).into_keys();
        changes.extend(gone.map(|name| FileChange { name, content: FileContent::Gone }));
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(changes)
    }
}

/// Names that are text; others are nobody's that we know.
fn names(options: &FolderOptions) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(&options.path)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name.starts_with('.') || !name.ends_with(options.suffix) {
            continue;
        }
        names.insert(name);
        if names.len() > FILES_MAX {
            return Err(io::Error::other(format!("it holds more than {FILES_MAX} files")));
        }
    }
    Ok(names)
}

/// `None`: there is no file, or it is no regular one.
fn looks(path: &Path) -> Option<Looks> {
    let metadata = std::fs::metadata(path);
    match metadata {
        Ok(metadata) => metadata.is_file().then(|| Looks::of(&metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // Reading it will say the same.
        Err(_) => Some(Looks { inode: (0, 0), size: 0, modified: (0, 0), changed: (0, 0) }),
    }
}

fn read(path: &Path) -> FileContent {
    match read_bounded(path) {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => {
            FileContent::Unreadable(format!("it has more than {FILE_BYTES_MAX} bytes"))
        }
        Ok(bytes) => FileContent::Is(bytes),
        Err(error) => FileContent::Unreadable(error.to_string()),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Whatever has taken its place since: opening it does not wait.
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
