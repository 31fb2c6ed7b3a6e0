//! The families of commands. A family is one file: its rows and, beside them, its functions.

pub mod bitmap;
pub mod client;
mod client_filter;
mod client_tracking;
pub mod command_log;
mod condition;
pub mod config;
pub mod connection;
pub mod debug;
pub mod dump;
pub mod expire;
pub mod function;
pub mod generic;
pub mod geo;
pub mod geo_search;
pub mod hash;
pub mod hash_ttl;
pub mod himport;
pub mod hyperloglog;
pub mod increx;
mod instant;
pub mod introspect;
pub mod keyspace;
pub mod latency;
mod lcs;
pub mod list;
pub mod list_blocking;
pub mod memory;
pub mod object;
pub mod pubsub;
pub mod replication;
pub mod save;
pub mod scan;
pub mod script;
pub mod server;
pub mod set;
pub mod set_algebra;
pub mod sort;
pub mod sorted_set;
pub mod sorted_set_algebra;
pub mod sorted_set_pop;
pub mod sorted_set_range;
pub mod stream;
mod stream_args;
pub mod stream_claim;
pub mod stream_group;
pub mod stream_info;
pub mod stream_read;
pub mod string;
pub mod string_conditional;
pub mod wait;

use crate::command::Command;

/// Every family, in the order in which COMMAND lists them.
pub static FAMILIES: &[&[Command]] = &[
    connection::TABLE,
    client::TABLE,
    introspect::TABLE,
    pubsub::TABLE,
    crate::multi::TABLE,
    string::TABLE,
    string_conditional::TABLE,
    increx::TABLE,
    bitmap::TABLE,
    hyperloglog::TABLE,
    hash::TABLE,
    hash_ttl::TABLE,
    himport::TABLE,
    list::TABLE,
    list_blocking::TABLE,
    set::TABLE,
    set_algebra::TABLE,
    sorted_set::TABLE,
    sorted_set_range::TABLE,
    sorted_set_algebra::TABLE,
    sorted_set_pop::TABLE,
    stream::TABLE,
    stream_read::TABLE,
    stream_group::TABLE,
    stream_claim::TABLE,
    stream_info::TABLE,
    geo::TABLE,
    geo_search::TABLE,
    generic::TABLE,
    expire::TABLE,
    keyspace::TABLE,
    scan::TABLE,
    object::TABLE,
    dump::TABLE,
    sort::TABLE,
    script::TABLE,
    function::TABLE,
    wait::TABLE,
    server::TABLE,
    config::TABLE,
    save::TABLE,
    replication::TABLE,
    command_log::TABLE,
    latency::TABLE,
    memory::TABLE,
    debug::TABLE,
];
