//! The sharded keyspace: shards behind locks, entries, expiry, and the point-in-time walk of a snapshot.
//!
//! Four nouns: a [`Store`] is shards; a [`Plan`] says which of them a command needs; a [`Guard`] holds
//! their locks; a [`Db`] is one logical database's part of one shard. Nothing here reads a clock, opens a
//! file or starts a thread: time comes in as an argument, work for other threads goes out as a value.
#![deny(unsafe_code)]

pub mod db;
pub mod defrag;
pub mod entry;
pub mod expire;
pub mod hash;
pub mod keyspace;
pub mod list;
pub mod object;
mod paged;
pub mod plan;
pub mod reading;
pub mod set;
pub mod snapshot;
pub mod sorted_set;
pub mod stream;
pub mod sync;
pub mod text;
pub mod value;

pub use db::{Db, DbIndex, Garbage, Key};
pub use entry::{Entry, EntryRef, Payload, Type};
pub use keyspace::{Guard, Shard, Store, Wanted, WantedPart};
pub use plan::{Plan, ShardId};
pub use value::{Hash, Kind, List, Set, SortedSet, Stream, Text, Thresholds};
