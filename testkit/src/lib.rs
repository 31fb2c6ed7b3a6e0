//! What integration tests share: a blocking client, and servers as child processes. Never part of a product.
#![forbid(unsafe_code)]

pub mod caches;
pub mod client;
pub mod group;
pub mod memory;
pub mod mistakes;
pub mod server;

pub use client::Client;
pub use group::Group;
pub use resp::Value;
pub use server::{Server, onefold, redis, unprivileged};
