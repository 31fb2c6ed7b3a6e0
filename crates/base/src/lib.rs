//! What every layer above may lean on: numbers as Redis prints them, byte strings, patterns, checksums,
//! limits, the allocator, and the seams for time and randomness. It must never know keys, clients, sockets or
//! files.
#![deny(unsafe_code)]

pub mod alloc;
pub mod bytes;
pub mod crc;
pub mod defrag;
pub mod glob;
pub mod hash;
mod hexfloat;
pub mod limits;
pub mod longdouble;
pub mod lzf;
mod natural;
pub mod num;
pub mod quoting;
pub mod random;
pub mod recall;
pub mod sha1;
pub mod sparse;
pub mod time;
pub mod units;
