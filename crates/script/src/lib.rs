//! The Lua machine: it compiles scripts, runs them in a sandbox within bounds of memory and time, and turns
//! replies into Lua values and Lua values into replies. What a script's commands do is its `Host`'s business:
//! this crate knows no keys, clients or clock.

mod api;
mod bits;
mod chance;
mod debugger;
mod from_lua;
mod json;
mod library;
mod lua;
mod machine;
mod memory;
mod msgpack;
mod patterns;
mod sandbox;
mod structs;
mod to_lua;

pub use library::{Registered, is_name};
pub use machine::{Failure, Function, Machine, Passing, Run};
pub use memory::Pool;

use resp::reply::Reply;
use resp::request::Span;

/// What a script may ask of the server that runs it.
pub trait Host {
    /// Runs a command and writes its reply, or why it may not run, in `reply`'s protocol. True if it is time
    /// to ask `must_end`: commands may take long, and the script have few instructions between them.
    fn call(&mut self, command: Words<'_>, reply: &mut Reply) -> bool;
    /// Whether there is such a command.
    fn knows(&mut self, command: Words<'_>) -> bool;
    /// `redis.set_repl`: whether what follows is logged.
    fn set_logged(&mut self, logged: bool);
    /// `redis.log`, with Redis' levels 0 to 3.
    fn log(&mut self, level: u8, message: &[u8]);
    /// The script returns an error; statistics know it already if a command of the script has met it.
    fn count_error(&mut self, text: &[u8], known: bool);
    /// Asked every now and then: whether the script must end, and with which error.
    fn must_end(&mut self) -> Option<&'static str>;
    /// Seconds, of any clock that only goes forward.
    fn clock_s(&mut self) -> f64;
    /// Debugging: shows this to the client whose script it is.
    fn say(&mut self, shown: &[u8]);
    /// Debugging: waits for more bytes of that client, and adds them; false: there will be none.
    fn hear(&mut self, input: &mut Vec<u8>) -> bool;
}

/// The words of a command, as slices of one buffer.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    pub input: &'a [u8],
    pub spans: &'a [Span],
}

/// The 40 hexadecimal digits by which a script is known.
pub fn sha1_hex(text: &[u8]) -> [u8; 40] {
    let digest = sha1_smol::Sha1::from(text).digest().bytes();
    let digit = |nibble: u8| b"0123456789abcdef"[nibble as usize];
    std::array::from_fn(|at| digit(if at % 2 == 0 { digest[at / 2] >> 4 } else { digest[at / 2] & 15 }))
}
