//! Every row of the command table: that it is whole, and that it says what Redis and Valkey say of the same
//! command. A departure from them stands in `differences.rs`, with its reason.

mod differences;
mod keys;
mod peers;
mod rows;
