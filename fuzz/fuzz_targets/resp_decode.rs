//! Replies: the decoder neither panics nor allocates without reason, and where the input is cut makes no
//! difference.
#![no_main]

use fuzz::bounded;
use libfuzzer_sys::fuzz_target;
use resp::{DecodeError, DecodeLimits, Decoder, Value, decode};

fuzz_target!(|data: &[u8]| {
    let Some((&first, input)) = data.split_first() else { return };
    let whole = bounded(input.len(), 64 << 10, 1000, || decode(input, &DecodeLimits::default()));
    let pieces = in_pieces(input, usize::from(first) % 17 + 1);
    // Text compares NaN with itself.
    assert_eq!(format!("{pieces:?}"), format!("{whole:?}"));
});

fn in_pieces(input: &[u8], step: usize) -> Result<Option<(Value, usize)>, DecodeError> {
    let mut decoder = Decoder::default();
    for end in (step..input.len()).step_by(step) {
        let found = decoder.next(&input[..end]);
        if !matches!(found, Ok(None)) {
            return found;
        }
    }
    decoder.next(input)
}
