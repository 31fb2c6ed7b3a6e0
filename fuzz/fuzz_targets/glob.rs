//! Glob patterns: any pattern ends in time, and agrees with plain rules where they say something.
#![no_main]

use base::glob::{Case, matches};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let pattern = choices.bytes(200);
    let text = choices.rest();
    let found = matches(pattern, text, Case::Sensitive);
    let any_case = matches(pattern, text, Case::Insensitive);
    if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
        assert_eq!(found, pattern == text);
        assert_eq!(any_case, pattern.eq_ignore_ascii_case(text));
    }
    if !pattern.contains(&b'[') {
        assert!(any_case || !found, "what matches in its case matches in any");
    }
    let quoted: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(matches(&quoted, text, Case::Sensitive), "a text matches itself, quoted");
    let around = [b"*", &quoted[..], b"*"].concat();
    let longer = [pattern, text, pattern].concat();
    // As in Redis, a star does not match an empty text.
    assert!(longer.is_empty() || matches(&around, &longer, Case::Sensitive));
});
