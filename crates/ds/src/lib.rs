//! Data structures: the segmented table, the listpack format and the hash value built on both.
//!
//! Nothing here knows the keyspace, clients, files, threads or the clock: times and random numbers are
//! arguments.
#![deny(unsafe_code)]

mod field;
pub mod hash;
pub mod listpack;
mod marks;
mod segment;
pub mod table;

pub use table::{DuePosition, Item, ScanPosition, SlotId, Table, WalkPosition};
