//! LibLZF's format, in which RDB files and quicklists keep long strings. It must never trust a compressed
//! text, nor reserve more than it can expand to.

/// The compressed text is damaged, or not of the promised length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Appends the compressed `input`; false, with `out` as it was, if that does not save at least 4 bytes.
pub fn compress(input: &[u8], out: &mut Vec<u8>) -> bool {
    if input.len() <= SAVING || u32::try_from(input.len()).is_err() {
        return false;
    }
    let start = out.len();
    let mut encoder = Encoder { input, out, limit: start + input.len() - SAVING, literals_from: 0 };
    let saved = encoder.run();
    if !saved {
        out.truncate(start);
    }
    saved
}

/// The `expected_len` bytes that `input` stands for.
pub fn decompress(input: &[u8], expected_len: usize) -> Result<Vec<u8>, Corrupt> {
    if expected_len > input.len().saturating_mul(EXPANSION) {
        return Err(Corrupt);
    }
    let mut out = Vec::with_capacity(expected_len);
    let mut rest = input;
    while let [control, tail @ ..] = rest {
        rest = match control >> 5 {
            0 => copy_literals(tail, usize::from(*control) + 1, expected_len, &mut out)?,
            _ => copy_reference(*control, tail, expected_len, &mut out)?,
        };
    }
    if out.len() == expected_len { Ok(out) } else { Err(Corrupt) }
}

fn copy_literals<'a>(
    input: &'a [u8],
    count: usize,
    expected_len: usize,
    out: &mut Vec<u8>,
) -> Result<&'a [u8], Corrupt> {
    let (literals, rest) = input.split_at_checked(count).ok_or(Corrupt)?;
    if out.len() + count > expected_len {
        return Err(Corrupt);
    }
    out.extend_from_slice(literals);
    Ok(rest)
}

fn copy_reference<'a>(
    control: u8,
    input: &'a [u8],
    expected_len: usize,
    out: &mut Vec<u8>,
) -> Result<&'a [u8], Corrupt> {
    let (more, low, rest) = match (control >> 5, input) {
        (7, [more, low, rest @ ..]) => (*more, *low, rest),
        (0..7, [low, rest @ ..]) => (0, *low, rest),
        _ => return Err(Corrupt),
    };
    let len = usize::from(control >> 5) + usize::from(more) + 2;
    let distance = (usize::from(control & 31) << 8 | usize::from(low)) + 1;
    let from = out.len().checked_sub(distance).ok_or(Corrupt)?;
    if out.len() + len > expected_len {
        return Err(Corrupt);
    }
    // A reference may reach into what it produces: copy what is there, which doubles each time.
    let mut missing = len;
    while missing > 0 {
        let count = missing.min(out.len() - from);
        out.extend_from_within(from..from + count);
        missing -= count;
    }
    Ok(rest)
}

struct Encoder<'a> {
    input: &'a [u8],
    out: &'a mut Vec<u8>,
    /// The length `out` must not exceed.
    limit: usize,
    /// Where the bytes not yet written begin.
    literals_from: usize,
}

impl Encoder<'_> {
    /// True if everything fitted.
    fn run(&mut self) -> bool {
        let mut table = Table::for_len(self.input.len());
        let mut at = 0;
        while at + MIN_MATCH <= self.input.len() {
            let candidate = table.replace(self.input, at);
            let len = candidate.map_or(0, |from| match_len(self.input, from, at));
            if let (Some(from), MIN_MATCH..) = (candidate, len) {
                if !self.write_literals(at) || !self.write_reference(at - from, len) {
                    return false;
                }
                table.replace(self.input, at + len - 2);
                at += len;
                self.literals_from = at;
            } else {
                // Where nothing repeats, look less and less closely.
                at += 1 + ((at - self.literals_from) >> 6);
            }
        }
        self.write_literals(self.input.len())
    }

    /// Writes the bytes up to `end`, in runs of at most 32.
    fn write_literals(&mut self, end: usize) -> bool {
        let literals = &self.input[self.literals_from..end];
        let len = literals.len() + literals.len().div_ceil(MAX_LITERALS);
        if self.out.len() + len > self.limit {
            return false;
        }
        for run in literals.chunks(MAX_LITERALS) {
            self.out.push((run.len() - 1) as u8);
            self.out.extend_from_slice(run);
        }
        true
    }

    fn write_reference(&mut self, distance: usize, len: usize) -> bool {
        let (offset, len) = (distance - 1, len - 2);
        let (high, low) = ((offset >> 8) as u8, offset as u8);
        if len < 7 {
            self.out.extend_from_slice(&[(len as u8) << 5 | high, low]);
        } else {
            self.out.extend_from_slice(&[7 << 5 | high, (len - 7) as u8, low]);
        }
        self.out.len() <= self.limit
    }
}

/// How many bytes from `at` repeat those from `from`; 0 if they are too far apart.
fn match_len(input: &[u8], from: usize, at: usize) -> usize {
    if at - from > MAX_DISTANCE {
        return 0;
    }
    let longest = MAX_MATCH.min(input.len() - at);
    equal_len(&input[from..from + longest], &input[at..at + longest])
}

/// How many bytes two texts of one length begin with in common.
#[inline]
fn equal_len(one: &[u8], other: &[u8]) -> usize {
    let (ones, ones_rest) = one.as_chunks();
    let (others, others_rest) = other.as_chunks();
    for (index, (a, b)) in ones.iter().zip(others).enumerate() {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return index * size_of::<u64>() + differing.trailing_zeros() as usize / 8;
        }
    }
    let rest = ones_rest.iter().zip(others_rest).take_while(|(a, b)| a == b).count();
    ones.len() * size_of::<u64>() + rest
}

/// Where three bytes were last seen, by their hash.
struct Table {
    positions: Vec<u32>,
    shift: u32,
}

impl Table {
    /// Small for small inputs: clearing the table would cost more than compressing them.
    fn for_len(len: usize) -> Table {
        let bits = (usize::BITS - len.leading_zeros()).clamp(8, 14);
        Table { positions: vec![NEVER; 1 << bits], shift: 32 - bits }
    }

    /// Notes `at` and returns the earlier place of (perhaps) the same three bytes.
    #[inline]
    fn replace(&mut self, input: &[u8], at: usize) -> Option<usize> {
        let three = input.get(at..at + MIN_MATCH)?;
        let key = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        // The golden ratio spreads the 24 bits over the high ones.
        let slot = (key.wrapping_mul(0x9e37_79b1) >> self.shift) as usize;
        let before = std::mem::replace(&mut self.positions[slot], at as u32);
        (before != NEVER).then_some(before as usize)
    }
}

const NEVER: u32 = u32::MAX;

/// What a compressed string must save, as Redis demands.
const SAVING: usize = 4;

const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 264;
const MAX_DISTANCE: usize = 8192;
const MAX_LITERALS: usize = 32;

/// Three bytes stand for at most 264.
const EXPANSION: usize = 88;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_round_trip(input: &[u8]) -> usize {
        let mut out = b"kept".to_vec();
        if !compress(input, &mut out) {
            assert_eq!(out, b"kept");
            return input.len();
        }
        assert!(out.len() - 4 + SAVING <= input.len());
        assert_eq!(decompress(&out[4..], input.len()).as_deref(), Ok(input));
        out.len() - 4
    }

    #[test]
    fn round_trips() {
        for (input, most) in [
            (b"a".repeat(100_000), 1_200),
            (b"abc".repeat(10_000), 400),
            (b"the quick brown fox ".repeat(50), 60),
            ((0..=255u8).collect(), 256),
            (b"aaaa".to_vec(), 4),
            (b"a".repeat(10), 6),
            (vec![], 0),
            ([vec![7; 9000], (0..255).collect(), vec![7; 9000]].concat(), 700),
        ] {
            let len = check_round_trip(&input);
            assert!(len <= most, "{} bytes became {len}", input.len());
        }
    }

    #[test]
    fn damaged_texts() {
        let check = |input: &[u8], len| assert_eq!(decompress(input, len), Err(Corrupt), "{input:?}");
        check(b"", 1);
        check(&[0], 1);
        check(&[0, b'a'], 2);
        check(&[1, b'a', b'b'], 1);
        check(&[0, b'a', 0x20], 4);
        check(&[0, b'a', 0x20, 1], 4);
        check(&[0, b'a', 0xe0, 0], 10);
        check(&[0, b'a', 0xe0, 255, 0], 100);
        check(&[0x20, 0], 3);
        check(&[0, b'a'], usize::MAX);
        assert_eq!(decompress(&[0, b'a', 0xe0, 255, 0], 265), Ok(vec![b'a'; 265]));
        assert_eq!(decompress(b"", 0), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_text_returns(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let input: Vec<u8> = order.iter().flat_map(|index| index.get(&pieces).clone()).collect();
            check_round_trip(&input);
        }

        #[test]
        fn no_text_panics(input: Vec<u8>, len in 0usize..5000) {
            decompress(&input, len).ok();
        }
    }
}
