//! Wire grammar of RESP2 and RESP3: requests in, replies out, and replies in again for tools and tests.
//! Knows bytes only: no sockets, no commands, no data structures.
#![deny(unsafe_code)]

pub mod decode;
pub mod reply;
pub mod request;

pub use decode::{DecodeError, DecodeLimits, Decoder, Value, decode};
pub use reply::{Mark, Protocol, Reply, SharedPart};
pub use request::{Limits, Parser, Progress, ProtocolError, Span};
