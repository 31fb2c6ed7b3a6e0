//! `cargo xtask ci`: the same as `test` with the settings of a machine that nobody watches. Must never test
//! less.

use crate::{Outcome, test};

pub fn run(_: &[String]) -> Outcome {
    test::everything(&test::Settings { strict: true, environment: ENVIRONMENT })
}

const ENVIRONMENT: &[(&str, &str)] = &[
    ("CARGO_TERM_COLOR", "never"),
    ("CARGO_INCREMENTAL", "0"), // a clean build gains nothing from it and writes gigabytes
    ("CARGO_NET_RETRY", "5"),
    ("RUST_BACKTRACE", "1"),
];
