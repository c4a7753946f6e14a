//! # How it is built
//!
//! ```text
//! config  <-  engine  <-  io  <-  daemon
//! ```
//!
//! **One owner, no locks.** [`Engine`](crate::engine::Engine) is a plain struct that one task drives. Time and bytes
//! are arguments, actions and bytes are results; the same seed and the same inputs give the same run. Everything
//! around it exchanges bounded messages with that task.
//!
//! **Desired state is one value.** A file, an agent and the API all make a
//! [`SpeakerConfig`](crate::SpeakerConfig). [`diff`](fn@crate::config::diff) turns two of them into steps, each field is
//! classed as hitless, refresh or reset in one table, and applying a configuration is carrying out these steps. What a
//! dry run prints is the same value.
//!
//! **A route's way in.** A frame is cut out of the received bytes; the attribute block of an UPDATE is looked up as
//! bytes among all that have been seen, and parsed only if it is new. Prefixes get dense ids, paths are 16 bytes
//! (source, attribute id, path id, link), and what changed is noted in a dirty list.
//!
//! **The batch.** Route selection runs once per dirty prefix when no more input is queued, or after a megabyte of it.
//! There are no settle timers: an idle speaker passes a change on at once, a busy one does less work per change.
//!
//! **The way out.** Sessions whose UPDATE bytes would be equal share an update group: one bit per prefix as
//! Adj-RIB-Out, one encoder, one log of immutable chunks of at most 64 KiB (a last message may exceed it). A session is
//! a cursor into that log, and a write is one vectored write of shared chunks. What would split groups is kept beside
//! them: a member skips what came from itself, is told a withdrawal of its own when its route displaces another's,
//! and shares one walk of the table with all who join at about the same time.
//!
//! **Several paths of one prefix** (ADD-PATH). Sessions that are sent path identifiers have groups of their own, whose
//! Adj-RIB-Out is a map from prefix to the paths told, with their identifiers and attributes: what is told next is what
//! differs from it. Identifiers are small numbers, given by each group. Log, encoder, walks and slow readers are the same,
//! and a group without them has nothing to keep.
//!
//! **Slow readers.** A member that holds back more than 16 MiB of the log leaves it, keeps one bit per prefix, and gets
//! the latest state when it reads again. Nobody waits for it.
//!
//! **Back-pressure.** Every channel has a bound; whoever finds it full waits. Sockets are read only as fast as the
//! engine takes their bytes, so that the TCP window reaches the sender. A route subscriber that does not fetch costs a
//! set of prefixes, and is told their latest state.
//!
//! # What is kept per what
//!
//! | what | how many | kept |
//! |---|---|---|
//! | prefix | once | 5 or 17 bytes, a hash slot, 4 bytes, one bit per group |
//! | path | one per source and prefix; with ADD-PATH, per identifier too | 16 bytes |
//! | path told by an ADD-PATH group | one per path and group | 16 bytes, and about 32 per prefix |
//! | attribute set | once per distinct set | its bytes and a record of about 60 |
//! | session | one per neighbour | state machine, cursor per family, up to 256 KiB of references to chunks |
