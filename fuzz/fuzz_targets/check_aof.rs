//! The append-only file: a manifest that is read again as it was written; of requests a verdict in bounded
//! memory, and what is whole of them is whole by itself, with the same requests.
#![no_main]

use aof::Manifest;
use fuzz::bounded;
use libfuzzer_sys::fuzz_target;
use tools::check_aof::{Checked, End, check};

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data) {
        let again = Manifest::parse(&manifest.text());
        assert!(manifest.is_empty() && manifest.history.is_empty() || again.as_ref() == Ok(&manifest));
    }
    let checked = bounded(data.len(), 3 << 20, 64, || run(data, None));
    assert!(checked.whole <= data.len() as u64);
    assert_eq!(matches!(checked.end, End::Sound), checked.whole == data.len() as u64);
    if let End::Fault { offset, .. } = checked.end {
        assert!((checked.whole..=data.len() as u64).contains(&offset));
    }
    let again = run(&data[..checked.whole as usize], None);
    assert!(matches!(again.end, End::Sound));
    let figures = |checked: &Checked| (checked.whole, checked.line, checked.transactions);
    assert_eq!(figures(&again), figures(&checked));
    if let Some((first, last)) = checked.stamps {
        let before = run(data, Some(first.min(last).saturating_sub(1)));
        assert!(before.whole <= checked.whole);
    }
});

fn run(data: &[u8], until: Option<i64>) -> Checked {
    check(data, (0, data.len() as u64), until)
}
