//! Bits of strings: any type and offset of a bit field, and any number in it, against single bits; operations
//! on several strings against single bits.
#![no_main]

use ds::bits::{Field, Operation, Overflow, bit, combine, count, find};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut bytes = choices.bytes(200).to_vec();
    while !choices.is_empty() {
        match choices.byte() % 3 {
            0 => write_field(&mut choices, &mut bytes),
            1 => look(&mut choices, &bytes),
            _ => operate(&mut choices, &bytes),
        }
    }
});

fn write_field(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    let (kind, offset) = (choices.bytes(4), choices.bytes(20));
    let Some(field) = Field::parse(kind) else { return };
    let Some(offset) = field.parse_offset(offset) else { return };
    let value = i64::from_le_bytes([0; 8].map(|_: u8| choices.byte()));
    let overflow = [Overflow::Wrap, Overflow::Saturate, Overflow::Fail][choices.below(3)];
    let old = field.get(bytes, offset);
    let sum = field.add(old, value, overflow);
    assert!(sum.is_some() || overflow == Overflow::Fail);
    let Some(new) = sum else { return };
    let end = field.end_byte(offset);
    if end > 400 {
        assert_eq!(old, 0, "behind the end are zeros");
        return;
    }
    bytes.resize(bytes.len().max(end as usize), 0);
    let before = bytes.clone();
    field.put(bytes, offset, new);
    assert_eq!(field.get(bytes, offset), new);
    let width: u64 = std::str::from_utf8(&kind[1..]).expect("it was parsed").parse().expect("a number");
    for at in (0..bytes.len() as u64 * 8).filter(|at| !(offset..offset + width).contains(at)) {
        assert_eq!(bit(bytes, at as usize), bit(&before, at as usize), "a neighbour changed");
    }
}

fn look(choices: &mut Choices<'_>, bytes: &[u8]) {
    let end = choices.below(bytes.len() * 8 + 1);
    let start = choices.below(end + 1);
    let wanted = choices.is_true();
    assert_eq!(count(bytes, start..end), (start..end).filter(|at| bit(bytes, *at)).count());
    assert_eq!(find(bytes, wanted, start..end), (start..end).find(|at| bit(bytes, *at) == wanted));
}

fn operate(choices: &mut Choices<'_>, bytes: &[u8]) {
    use Operation::{And, AndOr, Diff, Diff1, Not, One, Or, Xor};
    let operation = [And, Or, Xor, Not, Diff, Diff1, AndOr, One][choices.below(8)];
    let others = if operation == Not { 0 } else { choices.below(4) };
    let mut strings = vec![bytes];
    strings.extend((0..others).map(|_| choices.bytes(300)));
    let result = combine(operation, &strings);
    for at in 0..result.len() * 8 + 8 {
        let set = strings.iter().filter(|bytes| bit(bytes, at)).count();
        let (first, any) = (bit(bytes, at), strings[1..].iter().any(|bytes| bit(bytes, at)));
        let expected = match operation {
            And => set == strings.len(),
            Or => set > 0,
            Xor => set % 2 == 1,
            Not => !first && at < result.len() * 8,
            Diff => first && !any,
            Diff1 => any && !first,
            AndOr => first && any,
            One => set == 1,
        };
        assert_eq!(bit(&result, at), expected, "{operation:?} at {at}");
    }
}
