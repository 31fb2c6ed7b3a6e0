//! LZF: what is compressed comes back; any bytes decompress to the length asked for, or to an error.
#![no_main]

use base::lzf::{compress, decompress};
use fuzz::{Choices, bounded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut packed = Vec::new();
    if compress(data, &mut packed) {
        assert!(packed.len() < data.len());
        assert_eq!(decompress(&packed, data.len()).expect("our own output"), data);
        assert!(decompress(&packed, data.len() + 1).is_err());
    }
    let mut choices = Choices::new(data);
    let len = if choices.is_true() { choices.below(4096) } else { choices.below(64) << 26 };
    let rest = choices.rest();
    // Three bytes can stand for 264.
    let found = bounded(rest.len(), 4096, 200, || decompress(rest, len));
    assert!(found.is_err() || found.is_ok_and(|plain| plain.len() == len));
});
