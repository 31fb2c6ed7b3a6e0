//! HyperLogLogs: both forms against an array of registers, sound and damaged.

use base::random::Rng;
use ds::hyperloglog::{
    Corrupt, DENSE_LEN, EMPTY, Encoding, Mark, REGISTERS, Registers, Sketch, invalidate_count, raise,
    set_cached_count,
};

const LEN_MAX: usize = 3000;

fn sketch(bytes: &[u8]) -> Sketch<'_> {
    Sketch::of(bytes).expect("a sound head")
}

fn values(bytes: &[u8]) -> Vec<u8> {
    let mut registers = Registers::default();
    registers.merge(sketch(bytes)).expect("sound runs");
    registers.values().to_vec()
}

fn dense(bytes: &[u8]) -> Vec<u8> {
    sketch(bytes).to_dense().expect("sound runs")
}

fn runs(text: &str) -> Vec<u8> {
    let mut bytes = EMPTY[..16].to_vec();
    for run in text.split(' ') {
        let (kind, numbers) = run.split_once(':').expect("a kind");
        let numbers: Vec<usize> =
            numbers.split(',').map(|number| number.parse().expect("a number")).collect();
        match kind {
            "z" => bytes.push(numbers[0] as u8 - 1),
            "Z" => bytes.extend([0x40 | ((numbers[0] - 1) >> 8) as u8, (numbers[0] - 1) as u8]),
            _ => bytes.push(0x80 | (numbers[0] as u8 - 1) << 2 | (numbers[1] as u8 - 1)),
        }
    }
    bytes
}

#[test]
fn elements_hash_as_in_redis() {
    // What PFDEBUG DECODE of Redis shows after PFADD of each.
    let check = |element: &str, index, value| {
        assert_eq!(Mark::of(element.as_bytes()), Mark { index, value }, "{element:?}");
    };
    check("", 5938, 2);
    check("a", 12711, 2);
    check("hello world", 9399, 4);
    check("12345678", 10579, 3);
}

#[test]
fn runs_are_split_and_joined() {
    let check = |before: &str, index, value, after: &str| {
        let mut bytes = runs(before);
        let was_lower = values(&bytes)[usize::from(index)] < value;
        assert_eq!(sketch(&bytes).is_raised_by(Mark { index, value }), Ok(was_lower));
        assert_eq!(raise(&mut bytes, Mark { index, value }, LEN_MAX), Ok(was_lower), "{before}");
        assert_eq!(sketch(&bytes).runs_as_text(), after, "{before} with {index}={value}");
    };
    check("Z:16384", 0, 1, "v:1,1 Z:16383");
    check("Z:16384", 16383, 5, "Z:16383 v:5,1");
    check("Z:16384", 100, 32, "Z:100 v:32,1 Z:16283");
    check("Z:16384", 64, 2, "z:64 v:2,1 Z:16319");
    check("Z:16384", 16319, 2, "Z:16319 v:2,1 z:64");
    check("v:1,1 Z:16383", 1, 1, "v:1,2 Z:16382");
    check("v:1,4 Z:16380", 4, 1, "v:1,4 v:1,1 Z:16379");
    check("v:1,4 Z:16380", 1, 2, "v:1,1 v:2,1 v:1,2 Z:16380");
    check("v:1,1 v:2,1 v:1,1 Z:16381", 1, 1, "v:1,1 v:2,1 v:1,1 Z:16381");
    check("v:2,1 v:1,1 v:2,1 Z:16381", 1, 2, "v:2,3 Z:16381");
    check("v:2,2 z:1 v:2,2 Z:16379", 2, 2, "v:2,3 v:2,2 Z:16379");
    check("z:1 Z:16383", 0, 7, "v:7,1 Z:16383");
    check("Z:1 Z:16383", 0, 7, "v:7,1 Z:16383");
}

#[test]
fn both_forms_agree_with_plain_registers() {
    for seed in 0..30 {
        let mut rng = Rng::from_seed(seed);
        let mut model = vec![0u8; REGISTERS];
        let (mut sparse, mut other) = (EMPTY.to_vec(), dense(&EMPTY));
        // Few registers in some rounds, so that runs join.
        let span = [REGISTERS as u64, 40, 600][seed as usize % 3];
        for step in 0..3000 {
            let highest = 1 + rng.below(33);
            let (index, value) = (rng.below(span) as u16, 1 + rng.below(highest) as u8);
            let mark = Mark { index, value };
            let expected = model[usize::from(index)] < value;
            model[usize::from(index)] = model[usize::from(index)].max(value);
            assert_eq!(raise(&mut sparse, mark, LEN_MAX), Ok(expected));
            assert_eq!(raise(&mut other, mark, LEN_MAX), Ok(expected));
            if step % 100 == 0 {
                assert_eq!(values(&sparse), model);
                assert_eq!(dense(&sparse)[16..], other[16..]);
                assert_eq!(sketch(&sparse).count(), sketch(&other).count());
                let is_dense = sketch(&sparse).encoding == Encoding::Dense;
                assert!(is_dense || sparse.len() <= LEN_MAX);
            }
        }
        assert_eq!(values(&other), model);
    }
}

#[test]
fn it_becomes_dense_in_time() {
    let mut bytes = EMPTY.to_vec();
    assert_eq!(raise(&mut bytes, Mark { index: 5, value: 33 }, LEN_MAX), Ok(true));
    assert_eq!((sketch(&bytes).encoding, bytes.len()), (Encoding::Dense, DENSE_LEN));
    assert_eq!(values(&bytes)[5], 33);
    let mut bytes = EMPTY.to_vec();
    assert_eq!(raise(&mut bytes, Mark { index: 100, value: 1 }, 20), Ok(true));
    assert_eq!(sketch(&bytes).encoding, Encoding::Dense, "three bytes more than 18 is more than 20");
    let mut bytes = EMPTY.to_vec();
    assert_eq!(raise(&mut bytes, Mark { index: 0, value: 1 }, 19), Ok(true));
    assert_eq!((sketch(&bytes).encoding, bytes.len()), (Encoding::Sparse, 19));
}

#[test]
fn the_estimate_is_close() {
    let mut bytes = EMPTY.to_vec();
    let mut registers = Registers::default();
    assert_eq!(registers.count(), 0);
    for number in 1..=200_000u64 {
        raise(&mut bytes, Mark::of(&(number * 7919).to_le_bytes()), LEN_MAX).expect("it is sound");
        if [1, 10, 100, 1000, 10_000, 200_000].contains(&number) {
            let count = sketch(&bytes).count().expect("it is sound");
            let error = count.abs_diff(number) as f64 / number as f64;
            assert!(error < 0.03, "{count} for {number}");
        }
    }
    registers.merge(sketch(&bytes)).expect("it is sound");
    assert_eq!(Ok(registers.count()), sketch(&bytes).count());
}

#[test]
fn counts_are_cached() {
    let mut bytes = EMPTY.to_vec();
    assert_eq!(sketch(&bytes).cached_count(), Some(0));
    invalidate_count(&mut bytes);
    assert_eq!(sketch(&bytes).cached_count(), None);
    set_cached_count(&mut bytes, 77);
    assert_eq!(sketch(&bytes).cached_count(), Some(77));
    assert_eq!(raise(&mut bytes, Mark { index: 1, value: 1 }, LEN_MAX), Ok(true));
    assert_eq!(sketch(&bytes).cached_count(), None);
}

#[test]
fn merging_takes_the_largest() {
    let (mut left, mut right) = (EMPTY.to_vec(), dense(&EMPTY));
    for (index, value) in [(0, 3), (5, 1), (16383, 9)] {
        raise(&mut left, Mark { index, value }, LEN_MAX).expect("it is sound");
        raise(&mut right, Mark { index: index / 2, value: 4 }, LEN_MAX).expect("it is sound");
    }
    let mut registers = Registers::default();
    registers.merge(sketch(&left)).expect("it is sound");
    registers.merge(sketch(&right)).expect("it is sound");
    let marks: Vec<_> = registers.marks().map(|mark| (mark.index, mark.value)).collect();
    assert_eq!(marks, [(0, 4), (2, 4), (5, 1), (8191, 4), (16383, 9)]);
    registers.overwrite(&mut right);
    assert_eq!(right.len(), DENSE_LEN);
    assert_eq!(values(&right), registers.values());
}

#[test]
fn damage_is_found() {
    let head = |bytes: &[u8]| assert!(Sketch::of(bytes).is_none(), "{bytes:?}");
    head(b"");
    head(b"HYLL");
    head(b"HYLM\x01\0\0\0\0\0\0\0\0\0\0\0");
    head(b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0");
    head(b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\0");
    head(&EMPTY[..15]);
    let check = |bytes: Vec<u8>| {
        assert_eq!(sketch(&bytes).count(), Err(Corrupt));
        assert_eq!(sketch(&bytes).to_dense(), Err(Corrupt));
        assert_eq!(Registers::default().merge(sketch(&bytes)), Err(Corrupt));
        let mut raised = bytes.clone();
        let mark = Mark { index: 16383, value: 33 };
        assert_eq!(raise(&mut raised, mark, LEN_MAX), Err(Corrupt));
        assert_eq!(raised, bytes, "a failure changes nothing");
    };
    check(EMPTY[..16].to_vec());
    check(EMPTY[..17].to_vec());
    check(runs("Z:16383"));
    check(runs("Z:16384 z:1"));
    check(runs("Z:16384 v:1,1"));
    check(runs("Z:16383 v:1,2"));
    check([&runs("Z:16383")[..], &[0x40]].concat());
    check([&EMPTY[..], &vec![0; 40_000]].concat());
}

#[test]
fn random_damage_does_no_harm() {
    let mut rng = Rng::from_seed(9);
    for _ in 0..3000 {
        let mut bytes = EMPTY.to_vec();
        for _ in 0..rng.below(60) {
            let mark = Mark { index: rng.below(16384) as u16, value: 1 + rng.below(20) as u8 };
            raise(&mut bytes, mark, LEN_MAX).expect("it is sound");
        }
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.below(256) as u8;
        }
        if rng.below(3) == 0 {
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        }
        let Some(sketch) = Sketch::of(&bytes) else { continue };
        let _ = (sketch.count(), sketch.runs_as_text(), sketch.to_dense());
        let mark = Mark { index: rng.below(16384) as u16, value: 1 + rng.below(51) as u8 };
        let _ = raise(&mut bytes, mark, LEN_MAX);
    }
}
