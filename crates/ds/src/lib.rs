//! Data structures: the segmented table, the packed formats, and the values built on them.
//!
//! Nothing here knows the keyspace, clients, files, threads or the clock: times and random numbers are
//! arguments.
#![deny(unsafe_code)]

pub mod bits;
pub mod field;
pub mod geo;
mod gone;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
pub mod list;
pub mod listpack;
mod marks;
mod member;
pub mod moving;
mod reading;
pub mod saving;
mod segment;
pub mod set;
pub mod set_algebra;
pub mod sorted_set;
pub mod stream;
pub mod table;

pub use table::{DuePosition, Item, ReadPosition, ScanPosition, SlotId, Table, WalkPosition};
