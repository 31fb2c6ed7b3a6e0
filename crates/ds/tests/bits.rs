//! Bits of strings against looking at each bit alone.

use base::random::Rng;
use ds::bits::{Field, Operation, Overflow, bit, combine, count, find, set_bit};

#[test]
fn counting_and_finding_agree_with_single_bits() {
    let strings: [&[u8]; 4] =
        [&[0; 19], &[0xff; 19], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0x80], b"\x01\xfe"];
    for bytes in strings {
        let total = bytes.len() * 8;
        for (start, end) in (0..=total).flat_map(|start| (start..=total).map(move |end| (start, end))) {
            let ones = (start..end).filter(|&at| bit(bytes, at)).count();
            assert_eq!(count(bytes, start..end), ones);
            for wanted in [false, true] {
                let first = (start..end).find(|&at| bit(bytes, at) == wanted);
                assert_eq!(find(bytes, wanted, start..end), first, "{start}..{end}");
            }
        }
    }
}

#[test]
fn long_strings_are_counted() {
    let mut rng = Rng::from_seed(1);
    let bytes: Vec<u8> = (0..10_000).map(|_| rng.below(256) as u8).collect();
    for _ in 0..100 {
        let end = rng.below(80_001) as usize;
        let start = rng.below(end as u64 + 1) as usize;
        assert_eq!(count(&bytes, start..end), (start..end).filter(|&at| bit(&bytes, at)).count());
    }
}

/// What an operation does to the bits of all strings at one place.
fn expected(operation: Operation, bits: &[bool]) -> bool {
    let (first, others) = (bits[0], &bits[1..]);
    let any = others.contains(&true);
    match operation {
        Operation::And => !bits.contains(&false),
        Operation::Or => first || any,
        Operation::Xor => bits.iter().filter(|bit| **bit).count() % 2 == 1,
        Operation::Not => !first,
        Operation::Diff => first && !any,
        Operation::Diff1 => any && !first,
        Operation::AndOr => first && any,
        Operation::One => bits.iter().filter(|bit| **bit).count() == 1,
    }
}

const OPERATIONS: [Operation; 8] = [
    Operation::And,
    Operation::Or,
    Operation::Xor,
    Operation::Not,
    Operation::Diff,
    Operation::Diff1,
    Operation::AndOr,
    Operation::One,
];

fn check_combine(operation: Operation, strings: &[Vec<u8>]) {
    let views: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
    let result = combine(operation, &views);
    let len = views.iter().map(|bytes| bytes.len()).max().unwrap_or(0);
    assert_eq!(result.len(), len, "{operation:?}");
    for at in 0..len * 8 {
        let bits: Vec<bool> = views.iter().map(|bytes| bit(bytes, at)).collect();
        assert_eq!(bit(&result, at), expected(operation, &bits), "{operation:?} at {at}");
    }
}

#[test]
fn operations_agree_with_single_bits() {
    let mut rng = Rng::from_seed(2);
    let lens = [0, 1, 7, 8, 33, 100, 4095, 4096, 4097, 9000];
    for round in 0..120 {
        let operation = OPERATIONS[round % OPERATIONS.len()];
        let strings = if operation == Operation::Not { 1 } else { 1 + rng.below(5) };
        let strings: Vec<Vec<u8>> = (0..strings)
            .map(|_| {
                let len = lens[rng.below(lens.len() as u64) as usize];
                (0..len).map(|_| (rng.below(256) & rng.below(256)) as u8).collect()
            })
            .collect();
        check_combine(operation, &strings);
    }
}

fn field(text: &str) -> Field {
    Field::parse(text.as_bytes()).expect("a field's type")
}

#[test]
fn types_and_offsets() {
    for good in ["i1", "i64", "u1", "u63"] {
        assert!(Field::parse(good.as_bytes()).is_some(), "{good}");
    }
    for bad in
        ["", "i", "u", "i0", "i65", "u64", "u-1", "u08", "8", "x8", "I8", "u8 ", "u99999999999999999999"]
    {
        assert_eq!(Field::parse(bad.as_bytes()), None, "{bad}");
    }
    let check = |kind, offset: &str, expected| {
        assert_eq!(field(kind).parse_offset(offset.as_bytes()), expected, "{kind} {offset}");
    };
    check("u8", "0", Some(0));
    check("u8", "100", Some(100));
    check("u8", "#3", Some(24));
    check("i5", "#0", Some(0));
    check("u8", "-1", None);
    check("u8", "#-1", None);
    check("u8", "#", None);
    check("u8", "##1", None);
    check("u8", "#1152921504606846975", Some(9_223_372_036_854_775_800));
    check("u8", "#1152921504606846976", None);
    check("u1", "9223372036854775807", Some(9_223_372_036_854_775_807));
    check("u1", "9223372036854775808", None);
}

#[test]
fn numbers_are_their_bits() {
    let mut rng = Rng::from_seed(3);
    for _ in 0..20_000 {
        let (signed, mut bytes) = (rng.below(2) == 0, [0; 24]);
        bytes.iter_mut().for_each(|byte| *byte = rng.below(256) as u8);
        let width = 1 + rng.below(if signed { 64 } else { 63 });
        let field = field(&format!("{}{width}", if signed { 'i' } else { 'u' }));
        let offset = rng.below(24 * 8 - width + 1);
        let naive = |bytes: &[u8]| {
            let first = signed && bit(bytes, offset as usize);
            let start = if first { -1i128 } else { 0 };
            let bits = (offset..offset + width).map(|at| i128::from(bit(bytes, at as usize)));
            bits.fold(start, |number, bit| number << 1 | bit) as i64
        };
        assert_eq!(field.get(&bytes, offset), naive(&bytes));
        let before = bytes;
        let value = field.fit(rng.below(u64::MAX) as i64, Overflow::Wrap).expect("what wraps fits");
        field.put(&mut bytes, offset, value);
        assert_eq!(field.get(&bytes, offset), value);
        assert_eq!(naive(&bytes), value);
        let outside = |at: &u64| !(offset..offset + width).contains(at);
        assert!((0..24 * 8).filter(outside).all(|at| bit(&bytes, at as usize) == bit(&before, at as usize)));
    }
}

#[test]
fn behind_the_end_are_zeros() {
    let field = field("u16");
    assert_eq!(field.get(b"\xff", 0), 0xff00);
    assert_eq!(field.get(b"\xff", 4), 0xf000);
    assert_eq!(field.get(b"\xff", 8), 0);
    assert_eq!(field.get(b"", u64::MAX / 4), 0);
    assert_eq!(field.end_byte(0), 2);
    assert_eq!(field.end_byte(1), 3);
}

#[test]
fn overflow() {
    use Overflow::{Fail, Saturate, Wrap};
    let add = |kind, value, increment, overflow, expected| {
        let sum = field(kind).add(value, increment, overflow);
        assert_eq!(sum, expected, "{kind}: {value} + {increment} {overflow:?}");
    };
    add("u8", 255, 1, Wrap, Some(0));
    add("u8", 255, 257, Wrap, Some(0));
    add("u8", 0, -1, Wrap, Some(255));
    add("u8", 250, 10, Saturate, Some(255));
    add("u8", 5, -10, Saturate, Some(0));
    add("u8", 250, 10, Fail, None);
    add("u8", 5, -10, Fail, None);
    add("i8", 127, 1, Wrap, Some(-128));
    add("i8", -128, -1, Wrap, Some(127));
    add("i8", 100, 100, Saturate, Some(127));
    add("i8", -100, -100, Saturate, Some(-128));
    add("i8", -100, -100, Fail, None);
    add("i64", i64::MAX, 1, Wrap, Some(i64::MIN));
    add("i64", i64::MAX, i64::MAX, Saturate, Some(i64::MAX));
    add("i64", i64::MIN, -1, Fail, None);
    add("u63", i64::MAX, i64::MAX, Wrap, Some(i64::MAX - 1));
    add("u63", 0, i64::MIN, Saturate, Some(0));
    let fit = |kind, value, overflow, expected| {
        assert_eq!(field(kind).fit(value, overflow), expected, "{kind}: {value} {overflow:?}");
    };
    fit("u8", 256, Wrap, Some(0));
    fit("u8", -1, Wrap, Some(255));
    fit("u8", -1, Saturate, Some(255));
    fit("u8", -1, Fail, None);
    fit("i8", 128, Wrap, Some(-128));
    fit("i8", -129, Saturate, Some(-128));
    fit("i1", 0, Wrap, Some(0));
    fit("i1", 1, Wrap, Some(-1));
    fit("i64", i64::MIN, Fail, Some(i64::MIN));
    fit("i45", i64::MIN, Saturate, Some(-(1 << 44)));
}

#[test]
fn single_bits() {
    let mut bytes = [0, 0b1010_0000];
    set_bit(&mut bytes, 0, true);
    set_bit(&mut bytes, 8, false);
    set_bit(&mut bytes, 15, true);
    assert_eq!(bytes, [0x80, 0b0010_0001]);
    assert!(bit(&bytes, 0) && !bit(&bytes, 1) && !bit(&bytes, 16));
}
