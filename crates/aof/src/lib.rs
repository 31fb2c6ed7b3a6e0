//! The append-only file as bytes, both ways: its manifest and its records. Bytes go in and come out; no file
//! is opened here, and what a request means is not known.
#![forbid(unsafe_code)]

pub mod manifest;
pub mod records;

pub use manifest::{BaseForm, Kind, Manifest, ManifestError, Part};
pub use records::{Malformed, Record, Scan, scan};
