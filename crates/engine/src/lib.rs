//! The engine: every command, and the one pipeline that runs them. It has no sockets, files, threads or
//! clock: requests and time come in, replies and work for others go out.
//!
//! ```text
//! request -> registry.lookup -> admit -> plan -> lock -> run(ctx) -> log.append -> wake -> unlock -> observe
//! ```
#![forbid(unsafe_code)]

pub mod access;
pub mod acl_categories;
pub mod admit;
pub mod ahead;
pub mod args;
pub mod blocking;
pub mod clients;
pub mod command;
pub mod command_log;
pub mod commands;
pub mod config;
pub mod config_file;
pub mod config_rewrite;
pub mod consumers;
pub mod ctx;
pub mod cycle;
pub mod defrag;
pub mod digest;
pub mod directives;
pub mod docs;
pub mod effects;
pub mod error;
pub mod evict;
pub mod fieldsets;
pub mod functions;
pub mod host;
pub mod info;
pub mod keys;
pub mod keyspec;
pub mod log;
pub mod long_reply;
pub mod memory;
mod messages;
pub mod multi;
pub mod notify;
pub mod observe;
pub mod pipeline;
pub mod pubsub;
pub mod registry;
pub mod replay;
pub mod running;
pub mod scripting;
pub mod scripts;
pub mod session;
pub mod shebang;
pub mod stats;
#[doc(hidden)]
pub mod testing;
pub mod tracking;
pub mod watch;
pub mod weights;

mod elements;
pub mod engine;

pub use args::Argv;
pub use command::{CmdResult, Command};
pub use ctx::Ctx;
pub use engine::{Engine, Worker, WorkerSeat};
pub use error::CmdError;
pub use pipeline::{Outcome, Prepared};
pub use session::Session;

/// The version of Redis whose behaviour is served; clients test it.
pub const REDIS_VERSION: &str = "7.2.4";
pub const ONEFOLD_VERSION: &str = env!("CARGO_PKG_VERSION");
