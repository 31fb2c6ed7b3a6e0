//! The RDB format: values, snapshot files and DUMP payloads as bytes, both ways. It knows formats and
//! versions; it opens no file, keeps no keyspace, reads no clock and never trusts a byte it reads.
#![forbid(unsafe_code)]

mod batch;
pub mod dump;
mod error;
pub mod format;
mod hash;
mod legacy;
pub mod length;
mod list;
mod parts;
pub mod pieces;
pub mod reader;
mod record;
mod set;
mod skip;
mod sorted_set;
mod source;
mod stream;
pub mod values;
pub mod writer;

pub use batch::{Batch, BatchReader, RawValue, RecordRef};
pub use dump::{FunctionsError, RestoreError, dump, dump_functions, restore, restore_functions};
pub use error::{Error, ErrorKind, Stage};
pub use format::{Dialect, VersionCheck};
pub use length::WriteOptions;
pub use list::ListObject;
pub use parts::{Long, Part, TakePart};
pub use reader::{Item, ReadOptions, Reader};
pub use record::Record;
pub use set::{PACKED_SET_LEN_MAX, SetBuilder, SetObject, int_count_max};
pub use sorted_set::{PACKED_SORTED_SET_LEN_MAX, SortedSetBuilder, SortedSetObject};
pub use values::{HashObject, Object, Thresholds, ValueRef, version_needed};
pub use writer::{
    Attributes, PADDING_LEAST, write_aux, write_eof, write_function, write_header, write_padding,
    write_record, write_record_with, write_resize_db, write_select_db, write_string_head,
};
