//! HyperLogLogs of any bytes: nothing panics, failures change nothing, and what is sound counts the same in
//! both forms and as plain registers.
#![no_main]

use ds::hyperloglog::{EMPTY, Encoding, Mark, REGISTERS, Registers, Sketch, raise};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut bytes = EMPTY.to_vec();
    if choices.is_true() {
        bytes.truncate(16 - choices.below(2) * 12);
        bytes.extend_from_slice(choices.bytes(4000));
    }
    while !choices.is_empty() {
        let Some(sketch) = Sketch::of(&bytes) else { return };
        let sound = check(sketch);
        let mark = Mark { index: choices.below(REGISTERS) as u16, value: 1 + choices.byte() % 51 };
        let before = bytes.clone();
        let raised = raise(&mut bytes, mark, 20 + choices.below(4000));
        match (raised, sound) {
            (Ok(raised), Some(values)) => {
                assert_eq!(raised, values[usize::from(mark.index)] < mark.value);
                let mut expected = values;
                expected[usize::from(mark.index)] = mark.value.max(expected[usize::from(mark.index)]);
                let after = check(Sketch::of(&bytes).expect("its head stays"));
                assert_eq!(after.as_deref(), Some(&*expected));
            }
            (Err(_), Some(_)) => panic!("a sound one cannot fail"),
            (Ok(true), None) => {}
            (Ok(false) | Err(_), None) => assert_eq!(bytes, before),
        }
    }
});

/// The registers, if the runs are sound.
fn check(sketch: Sketch<'_>) -> Option<Box<[u8; REGISTERS]>> {
    let mut registers = Box::new(Registers::default());
    let (merged, count, dense) = (registers.merge(sketch), sketch.count(), sketch.to_dense());
    sketch.runs_as_text();
    assert_eq!(merged.is_ok(), count.is_ok());
    assert_eq!(merged.is_ok(), dense.is_ok());
    let (count, dense) = (count.ok()?, dense.ok()?);
    let dense = Sketch::of(&dense).expect("a dense one is sound");
    assert_eq!(dense.encoding, Encoding::Dense);
    assert_eq!(dense.count(), Ok(count));
    assert_eq!(registers.count(), count);
    Some(Box::new(*registers.values()))
}
