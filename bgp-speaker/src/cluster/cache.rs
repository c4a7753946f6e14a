//! The last data of a datastore on disk, so that a node can start without it.
//!
//! One text file: a whole reading, replaced by rename, and behind it what changed since, appended. Each line carries a
//! checksum of its own; the first one that is wrong ends the file, for that is where a write was cut off. Readable by
//! its owner only. What is kept is what the datastore holds: passwords are not among it, for models refer to them by
//! name.

use super::{Entry, Update};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Of the file's form.
const VERSION: u32 = 1;
/// Hexadecimal digits of a line's checksum.
const CHECKSUM_LEN: usize = 16;
/// What was appended may grow to this many bytes beyond the size of the whole reading before the file is written anew.
const APPENDED_MIN: u64 = 1 << 20;
/// Larger files are not ours.
const FILE_SIZE_MAX: u64 = 1 << 30;

/// A file, and how much of it is what.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    /// Says whose data it is; another owner's file is not read.
    owner: String,
    /// Open for appending once there is a whole reading.
    file: Option<File>,
    whole_bytes: u64,
    appended_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    owner: String,
    revision: i64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    revision: i64,
}

/// A cache that cannot be used. Whoever administers the node is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The file system says no.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not begin as a cache of this node does.
    #[error("{}: {reason}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
}

impl Cache {
    /// A cache in this file, which may not exist yet. `owner` says whose data it holds: the node and the model.
    pub fn new(path: impl Into<PathBuf>, owner: impl Into<String>) -> Self {
        Self { path: path.into(), owner: owner.into(), file: None, whole_bytes: 0, appended_bytes: 0 }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last data, as a list; `None` if there are none yet.
    ///
    /// # Errors
    /// The file is unreadable, or not ours.
    pub fn load(&self) -> Result<Option<Update>, CacheError> {
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
            Ok(metadata) if metadata.len() > FILE_SIZE_MAX => {
                return Err(self.foreign(format!("it has {} bytes", metadata.len())));
            }
            Ok(_) => {}
        }
        let text = std::fs::read(&self.path).map_err(|error| self.io(error))?;
        let mut lines = text.split_inclusive(|byte| *byte == b'\n').map_while(checked);
        let header = lines.next().and_then(|line| serde_json::from_str::<Header>(line).ok());
        let Some(header) = header else { return Err(self.foreign("it is damaged, or no cache".to_owned())) };
        if (header.version, &header.owner) != (VERSION, &self.owner) {
            let Header { version, owner, .. } = header;
            return Err(
                self.foreign(format!("it is of {owner:?} in version {version}, not of {:?}", self.owner))
            );
        }
        let mut revision = header.revision;
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for line in lines.map_while(|line| serde_json::from_str::<Line>(line).ok()) {
            revision = revision.max(line.revision);
            match line.value {
                Some(value) => {
                    let value = Some(value.into_bytes());
                    entries.insert(line.key.clone(), Entry { key: line.key, value, revision: line.revision });
                }
                None => _ = entries.remove(&line.key),
            }
        }
        Ok(Some(Update::Listed { entries: entries.into_values().collect(), revision }))
    }

    /// Keeps news.
    ///
    /// # Errors
    /// They could not be written; the file is as it was, or ends with a line that will not be read.
    pub fn keep(&mut self, update: &Update) -> Result<(), CacheError> {
        match update {
            Update::Listed { entries, revision } => self.replace(entries, *revision),
            Update::Changed { changes, .. } => self.append(changes),
            Update::Down { .. } => Ok(()),
        }
    }

    fn replace(&mut self, entries: &[Entry], revision: i64) -> Result<(), CacheError> {
        let header = Header { version: VERSION, owner: self.owner.clone(), revision };
        let mut text = String::new();
        put(&mut text, &header);
        entries.iter().for_each(|entry| put(&mut text, &Line::from(entry)));
        let written = self.write_anew(&text);
        written.map_err(|error| self.io(error))
    }

    fn write_anew(&mut self, text: &str) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&temporary, &self.path)?;
        (self.file, self.whole_bytes, self.appended_bytes) = (Some(file), text.len() as u64, 0);
        Ok(())
    }

    fn append(&mut self, changes: &[Entry]) -> Result<(), CacheError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut text = String::new();
        changes.iter().for_each(|entry| put(&mut text, &Line::from(entry)));
        let written = file.write_all(text.as_bytes());
        self.appended_bytes += text.len() as u64;
        if let Err(error) = written {
            // Whatever follows a cut line would not be read.
            self.file = None;
            return Err(self.io(error));
        }
        if self.appended_bytes > self.whole_bytes.max(APPENDED_MIN)
            && let Some(Update::Listed { entries, revision }) = self.load()?
        {
            self.replace(&entries, revision)?;
        }
        Ok(())
    }

    fn io(&self, source: io::Error) -> CacheError {
        CacheError::Io { path: self.path.clone(), source }
    }

    fn foreign(&self, reason: String) -> CacheError {
        CacheError::Foreign { path: self.path.clone(), reason }
    }
}

impl From<&Entry> for Line {
    fn from(entry: &Entry) -> Self {
        let value = entry.value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        Self { key: entry.key.clone(), value, revision: entry.revision }
    }
}

fn put(text: &mut String, line: &impl Serialize) {
    let json = serde_json::to_string(line).unwrap_or_default();
    _ = writeln!(text, "{} {json}", checksum(json.as_bytes()));
}

/// The text of a line, if its checksum is right.
fn checked(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, json) = line.split_once(' ')?;
    (sum == checksum(json.as_bytes())).then_some(json)
}

fn checksum(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(CHECKSUM_LEN);
    for byte in &Sha256::digest(bytes)[..CHECKSUM_LEN / 2] {
        _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
