//! onefold-check-rdb: whatever the file, a verdict in bounded memory; and what is whole of it is a sound file
//! with the same keys.
#![no_main]

use std::io::Cursor;

use base::crc::crc64;
use fuzz::bounded;
use libfuzzer_sys::fuzz_target;
use rdb::write_eof;
use tools::check_rdb::json::Gathered;
use tools::check_rdb::{AtFault, Checked, Event, check, report};

fuzz_target!(|data: &[u8]| {
    let (checked, kept) = bounded(data.len(), 3 << 20, 4000, || run(data, AtFault::GoOn));
    let first = run(data, AtFault::Stop).0;
    assert_eq!(first.is_sound(), checked.is_sound());
    if checked.version.is_some() {
        let mut repaired = data[..9].to_vec();
        repaired.extend_from_slice(&kept);
        let crc = crc64(0, &repaired);
        write_eof(&mut repaired, Some(crc));
        let (again, _) = run(&repaired, AtFault::Stop);
        assert!(again.is_sound(), "what is whole makes a sound file");
        // An expiry that stands before something else than a key may come to another key: no writer does
        // that.
        assert_eq!(again.statistics.keys(), checked.statistics.keys());
    }
});

/// The verdict, and the bytes that are whole.
fn run(data: &[u8], at_fault: AtFault) -> (Checked, Vec<u8>) {
    let (mut kept, mut end, mut gathered) = (Vec::new(), 9, Gathered::default());
    let checked = check(Cursor::new(data), 0, at_fault, &mut |offset, event| {
        gathered.note(&event);
        report::event(offset, &event);
        if let Event::Whole { from } = event {
            kept.extend_from_slice(&data[end.max(from as usize)..offset as usize]);
            end = offset as usize;
        }
    });
    report::end(&checked, 0);
    gathered.finish("file", data.len() as u64, &checked, None);
    (checked, kept)
}
