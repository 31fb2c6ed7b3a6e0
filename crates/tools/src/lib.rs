//! What the programs beside the server do: look at its files and tell what is in them. They start no server
//! and need none.
#![forbid(unsafe_code)]

pub mod check_aof;
pub mod check_rdb;
pub mod command_line;
pub mod printer;
