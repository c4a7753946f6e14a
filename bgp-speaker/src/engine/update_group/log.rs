//! A group's log: immutable chunks of whole messages, read by all members.

use crate::engine::rib::Source;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A chunk is published when it has grown to this; the last one of a batch as it is.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Whole messages for one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What is to be written.
    pub bytes: Bytes,
    /// How many messages that is.
    pub messages: u32,
}

/// A place between two messages of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Bytes before it.
    offset: u32,
    /// Messages before it.
    messages: u32,
}

/// One source's routes within a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnRange {
    source: Source,
    start: Place,
    end: Place,
}

/// Whole messages, encoded once.
#[derive(Clone, Debug)]
pub struct Chunk {
    bytes: Bytes,
    messages: u32,
    own: Box<[OwnRange]>,
}

impl Chunk {
    /// Length.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All bytes, whoever reads them.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// All of it.
    pub fn whole(&self) -> Part {
        Part { bytes: self.bytes.clone(), messages: self.messages }
    }

    /// The parts for a member: all but what came from itself.
    pub fn parts_for(&self, reader: Source) -> impl Iterator<Item = Part> + '_ {
        let mut start = Place::default();
        let last = Place { offset: self.bytes.len() as u32, messages: self.messages };
        let own = self.own.iter().filter(move |range| range.source == reader);
        let ends = own.map(|range| (range.start, range.end)).chain([(last, last)]);
        ends.filter_map(move |(end, next)| {
            let begin = std::mem::replace(&mut start, next);
            (end.offset > begin.offset).then(|| Part {
                bytes: self.bytes.slice(begin.offset as usize..end.offset as usize),
                messages: end.messages - begin.messages,
            })
        })
    }

    /// Does it hold bytes that this source's member would skip?
    pub fn mentions(&self, source: Source) -> bool {
        self.own.iter().any(|range| range.source == source)
    }
}

/// Collects messages into chunks.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    bytes: BytesMut,
    messages: u32,
    own: Vec<OwnRange>,
    done: Vec<Chunk>,
}

impl ChunkBuilder {
    /// Where the encoder appends one whole message at a time, followed by [`ChunkBuilder::finish_message`].
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// A message that began at `start` is complete; `source` is the member whose own routes it holds, if any.
    pub fn finish_message(&mut self, start: usize, source: Option<Source>) {
        let start = Place { offset: start as u32, messages: self.messages };
        self.messages += 1;
        if let Some(source) = source {
            let end = Place { offset: self.bytes.len() as u32, messages: self.messages };
            match self.own.last_mut() {
                Some(last) if last.source == source && last.end == start => last.end = end,
                _ => self.own.push(OwnRange { source, start, end }),
            }
        }
        if self.bytes.len() >= CHUNK_BYTES {
            self.cut();
        }
    }

    /// All chunks.
    pub fn finish(mut self) -> Vec<Chunk> {
        self.cut();
        self.done
    }

    fn cut(&mut self) {
        if !self.bytes.is_empty() {
            let own = std::mem::take(&mut self.own).into_boxed_slice();
            let messages = std::mem::take(&mut self.messages);
            self.done.push(Chunk { bytes: self.bytes.split().freeze(), messages, own });
        }
    }
}

/// The chunks that some reader has not passed yet.
#[derive(Debug, Default)]
pub struct Log {
    /// Position of the first chunk kept.
    first: u64,
    chunks: VecDeque<Entry>,
    bytes: usize,
    readers: u32,
}

#[derive(Debug)]
struct Entry {
    chunk: Chunk,
    /// Readers that have not passed it.
    unread: u32,
}

impl Log {
    /// Position after the newest chunk.
    pub fn end(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// Position of the oldest chunk kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes from a position on; `None` if some of them are gone.
    pub fn bytes_from(&self, position: u64) -> Option<usize> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.chunks.iter().skip(skip).map(|entry| entry.chunk.len()).sum())
    }

    /// Appends a chunk, which is dropped at once if nobody reads.
    pub fn publish(&mut self, chunk: Chunk) {
        if self.readers == 0 {
            debug_assert!(self.chunks.is_empty(), "without readers there is nothing unread");
            self.first += 1;
            return;
        }
        self.bytes += chunk.len();
        self.chunks.push_back(Entry { chunk, unread: self.readers });
    }

    /// One more reader, from a position that is still kept.
    pub fn add_reader(&mut self, position: u64) {
        self.readers += 1;
        for entry in self.from(position) {
            entry.unread += 1;
        }
    }

    /// One reader less, which stood at this position.
    pub fn remove_reader(&mut self, position: u64) {
        self.readers -= 1;
        for entry in self.from(position) {
            entry.unread -= 1;
        }
        self.trim();
    }

    /// Gives the chunk at a position to the reader that passes it now; `false` if there is none yet.
    pub fn pass(&mut self, position: u64, reader: Source, out: &mut impl Extend<Part>) -> bool {
        let index = position.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(entry) = index.and_then(|index| self.chunks.get_mut(index)) else { return false };
        entry.unread -= 1;
        out.extend(entry.chunk.parts_for(reader));
        if entry.unread == 0 {
            self.trim();
        }
        true
    }

    /// The chunk at a position, if there is one yet.
    pub fn chunk(&self, position: u64) -> Option<&Chunk> {
        self.chunks_from(position).next()
    }

    /// A reader passes the chunk at a position without taking it. Call [`Log::trim`] when all who do have.
    pub fn skip(&mut self, position: u64) {
        if let Some(entry) = self.from(position).next() {
            entry.unread -= 1;
        }
    }

    /// The chunks from a position on.
    pub fn chunks_from(&self, position: u64) -> impl Iterator<Item = &Chunk> {
        let skip = position.saturating_sub(self.first) as usize;
        self.chunks.iter().skip(skip).map(|entry| &entry.chunk)
    }

    /// Readers, and how many have yet to pass each chunk.
    #[cfg(any(test, feature = "test-util"))]
    pub fn reader_count(&self) -> usize {
        self.readers as usize
    }

    #[cfg(any(test, feature = "test-util"))]
    pub fn unread_counts(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().map(|entry| entry.unread)
    }

    fn from(&mut self, position: u64) -> impl Iterator<Item = &mut Entry> {
        let skip = position.saturating_sub(self.first) as usize;
        self.chunks.iter_mut().skip(skip)
    }

    /// Frees what nobody has to read any more.
    pub fn trim(&mut self) {
        while let Some(entry) = self.chunks.front().filter(|entry| entry.unread == 0) {
            self.bytes -= entry.chunk.len();
            self.first += 1;
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(messages: &[(&[u8], Option<u32>)]) -> Chunk {
        let mut builder = ChunkBuilder::default();
        for (bytes, source) in messages {
            let start = builder.buffer().len();
            builder.buffer().extend_from_slice(bytes);
            builder.finish_message(start, source.map(Source));
        }
        builder.finish().remove(0)
    }

    fn parts(chunk: &Chunk, reader: u32) -> Vec<(Bytes, u32)> {
        chunk.parts_for(Source(reader)).map(|part| (part.bytes, part.messages)).collect()
    }

    #[test]
    fn a_member_skips_what_came_from_itself() {
        let chunk = chunk(&[(b"aa", Some(1)), (b"b", Some(2)), (b"c", Some(2)), (b"dd", None)]);
        assert_eq!(parts(&chunk, 1), [("bcdd".into(), 3)]);
        assert_eq!(parts(&chunk, 2), [("aa".into(), 1), ("dd".into(), 1)]);
        assert_eq!(parts(&chunk, 3), [("aabcdd".into(), 4)]);
        assert!(chunk.mentions(Source(2)) && !chunk.mentions(Source(3)));
        let only_own = self::chunk(&[(b"aa", Some(1))]);
        assert!(parts(&only_own, 1).is_empty());
    }

    #[test]
    fn a_chunk_is_freed_when_the_last_reader_passed_it() {
        let mut log = Log::default();
        log.publish(chunk(&[(b"nobody", None)]));
        assert_eq!((log.bytes(), log.end()), (0, 1));
        log.add_reader(1);
        log.add_reader(1);
        log.publish(chunk(&[(b"one", None)]));
        log.publish(chunk(&[(b"two", None)]));
        assert_eq!(log.bytes_from(1), Some(6));
        let pass = |log: &mut Log, position| {
            let mut parts: Vec<Part> = Vec::new();
            let bytes = |part: Part| part.bytes;
            log.pass(position, Source(9), &mut parts)
                .then(|| parts.into_iter().map(bytes).collect::<Vec<_>>())
        };
        assert_eq!(pass(&mut log, 1).unwrap(), ["one"]);
        assert_eq!(log.bytes(), 6);
        assert_eq!(pass(&mut log, 1).unwrap(), ["one"]);
        assert_eq!((log.bytes(), log.first()), (3, 2));
        assert_eq!(log.bytes_from(1), None);
        log.remove_reader(2);
        assert_eq!(pass(&mut log, 2).unwrap(), ["two"]);
        assert_eq!(log.bytes(), 0);
        assert_eq!(pass(&mut log, 3), None);
    }

    #[test]
    fn chunks_are_cut_at_message_boundaries() {
        let mut builder = ChunkBuilder::default();
        for _ in 0..40 {
            let start = builder.buffer().len();
            builder.buffer().extend_from_slice(&[0; 4096]);
            builder.finish_message(start, None);
        }
        let lengths: Vec<_> = builder.finish().iter().map(Chunk::len).collect();
        assert_eq!(lengths, [CHUNK_BYTES, CHUNK_BYTES, 8 * 4096]);
    }
}
