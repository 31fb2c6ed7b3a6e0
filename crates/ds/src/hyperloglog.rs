//! HyperLogLogs in Redis' binary form, which is a string's content: 16,384 registers, each with the longest
//! run of zeros seen among the hashes of its elements.
//!
//! ```text
//! magic     4   "HYLL"
//! encoding  1   0 dense, 1 sparse
//! unused    3
//! count     8   the count as last estimated, little endian; its highest bit: it is out of date
//! registers     dense: 6 bits each, from the low bits of a byte up
//!               sparse: runs, 00llllll l+1 zeros, 01llllll llllllll l+1 zeros, 1vvvvvll l+1 times v+1
//! ```
//! The bytes are those of Redis for the same additions in the same order. They may come from a client:
//! whatever they are, nothing here panics, and what is not sound is [`Corrupt`]. It knows no keys.

/// Registers of every HyperLogLog.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bytes of a dense one.
pub const DENSE_LEN: usize = HEAD_LEN + REGISTERS * 6 / 8;
/// A new one: sparse, one run of zeros.
pub const EMPTY: [u8; HEAD_LEN + 2] =
    [b'H', b'Y', b'L', b'L', SPARSE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff];

const INDEX_BITS: u32 = 14;
const HEAD_LEN: usize = 16;
/// Runs cover at least one register in two bytes, so a longer sparse form cannot be sound.
const SPARSE_LEN_MAX: usize = HEAD_LEN + 2 * REGISTERS;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Larger values have no place in a run.
const SPARSE_VALUE_MAX: u8 = 32;
/// A hash has so many bits beside the register's index; the longest run of zeros is one more.
const HASH_BITS: u32 = 64 - INDEX_BITS;

/// The bytes are no HyperLogLog although they begin as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// What an element adds: the least value of its register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub index: u16,
    pub value: u8,
}

impl Mark {
    pub fn of(element: &[u8]) -> Mark {
        let hash = hash(element);
        let rest = hash >> INDEX_BITS | 1 << HASH_BITS;
        Mark { index: (hash % REGISTERS as u64) as u16, value: rest.trailing_zeros() as u8 + 1 }
    }
}

/// MurmurHash2 in its form for 64 bits, with the seed that Redis has.
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xadc8_3b19;
    let mix = |word: u64| {
        let word = word.wrapping_mul(FACTOR);
        (word ^ word >> 47).wrapping_mul(FACTOR)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let start = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut hash =
        words.iter().fold(start, |hash, word| (hash ^ mix(u64::from_le_bytes(*word))).wrapping_mul(FACTOR));
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    let hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}

/// A HyperLogLog, borrowed. Its head is sound, its runs may be anything.
#[derive(Clone, Copy)]
pub struct Sketch<'a> {
    pub encoding: Encoding,
    bytes: &'a [u8],
}

impl<'a> Sketch<'a> {
    /// `None` if the head says that this is something else, or its length.
    pub fn of(bytes: &'a [u8]) -> Option<Sketch<'a>> {
        let encoding = match *bytes.strip_prefix(b"HYLL")?.first()? {
            DENSE if bytes.len() == DENSE_LEN => Encoding::Dense,
            SPARSE if bytes.len() >= HEAD_LEN => Encoding::Sparse,
            _ => return None,
        };
        Some(Sketch { encoding, bytes })
    }

    fn body(self) -> &'a [u8] {
        &self.bytes[HEAD_LEN..]
    }

    /// The count as it was last estimated, if nothing was added since.
    pub fn cached_count(self) -> Option<u64> {
        let count = u64::from_le_bytes(self.bytes[8..HEAD_LEN].try_into().expect("8 bytes"));
        (count >> 63 == 0).then_some(count)
    }

    /// About how many different elements were added.
    pub fn count(self) -> Result<u64, Corrupt> {
        let mut histogram = Histogram::default();
        match self.encoding {
            Encoding::Dense => histogram.add_dense(self.body()),
            Encoding::Sparse => {
                self.visit(|_, run| histogram.0[0][usize::from(run.value)] += run.count as u32)?
            }
        }
        Ok(histogram.estimate())
    }

    /// Whether adding this would change a register.
    pub fn is_raised_by(self, mark: Mark) -> Result<bool, Corrupt> {
        match self.encoding {
            Encoding::Dense => Ok(dense_value(self.body(), mark.index) < mark.value),
            Encoding::Sparse => Ok(find_run(self.sparse_body()?, mark.index)?.run.value < mark.value),
        }
    }

    /// The same in the dense form.
    pub fn to_dense(self) -> Result<Vec<u8>, Corrupt> {
        let mut dense = self.bytes[..HEAD_LEN].to_vec();
        dense[4] = DENSE;
        let mut registers = Registers::default();
        registers.merge(self)?;
        registers.append_dense(&mut dense);
        Ok(dense)
    }

    /// The runs of the sparse form as `z:count`, `Z:count` and `v:value,count`, as far as there are whole
    /// ones.
    pub fn runs_as_text(self) -> String {
        let mut text = String::new();
        let (body, mut at) = (self.body(), 0);
        while let Some(run) = Run::at(body, at) {
            let kind = if run.size == 2 { 'Z' } else { 'z' };
            let shown = match run.value {
                0 => format!("{kind}:{}", run.count),
                value => format!("v:{value},{}", run.count),
            };
            text += if text.is_empty() { "" } else { " " };
            text += &shown;
            at += run.size;
        }
        text
    }

    /// Calls `visit` with the first register of each run and the run, if all of them are sound up to there.
    fn visit(self, mut visit: impl FnMut(usize, Run)) -> Result<(), Corrupt> {
        let body = self.sparse_body()?;
        let (mut at, mut first) = (0, 0);
        while at < body.len() {
            let run = Run::at(body, at).filter(|run| first + run.count <= REGISTERS).ok_or(Corrupt)?;
            visit(first, run);
            at += run.size;
            first += run.count;
        }
        if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
    }

    fn sparse_body(self) -> Result<&'a [u8], Corrupt> {
        if self.bytes.len() <= SPARSE_LEN_MAX { Ok(self.body()) } else { Err(Corrupt) }
    }
}

/// Adds to a HyperLogLog whose head is sound; says whether a register changed. A sparse one becomes dense
/// when it would be longer than `sparse_len_max`, or cannot hold the value. Where it fails nothing has
/// changed.
pub fn raise(bytes: &mut Vec<u8>, mark: Mark, sparse_len_max: usize) -> Result<bool, Corrupt> {
    let sketch = Sketch::of(bytes).ok_or(Corrupt)?;
    let raised = match sketch.encoding {
        Encoding::Dense => raise_dense(bytes, mark),
        Encoding::Sparse => raise_sparse(bytes, mark, sparse_len_max)?,
    };
    if raised {
        invalidate_count(bytes);
    }
    Ok(raised)
}

/// As `raise`, for one that is dense; the count stays as it is.
pub fn raise_dense(bytes: &mut [u8], mark: Mark) -> bool {
    let registers = &mut bytes[HEAD_LEN..];
    let raised = dense_value(registers, mark.index) < mark.value;
    if raised {
        set_dense_value(registers, mark.index, mark.value);
    }
    raised
}

/// From now on the count must be estimated again.
pub fn invalidate_count(bytes: &mut [u8]) {
    bytes[HEAD_LEN - 1] |= 0x80;
}

pub fn set_cached_count(bytes: &mut [u8], count: u64) {
    bytes[8..HEAD_LEN].copy_from_slice(&count.to_le_bytes());
}

/// Six bits, in one byte or across two.
fn dense_value(registers: &[u8], index: u16) -> u8 {
    let (byte, shift) = (usize::from(index) * 6 / 8, usize::from(index) * 6 % 8);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    ((u16::from(registers[byte]) | u16::from(high) << 8) >> shift) as u8 & 63
}

fn set_dense_value(registers: &mut [u8], index: u16, value: u8) {
    let (byte, shift) = (usize::from(index) * 6 / 8, usize::from(index) * 6 % 8);
    let put = |byte: &mut u8, mask: u8, value: u8| *byte = *byte & !mask | value & mask;
    put(&mut registers[byte], 63 << shift, value << shift);
    if shift > 2 {
        put(&mut registers[byte + 1], 63 >> (8 - shift), value >> (8 - shift));
    }
}

/// Four values out of three bytes.
#[inline]
fn unpack(bytes: &[u8; 3]) -> [u8; 4] {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    [0, 6, 12, 18].map(|shift| (word >> shift) as u8 & 63)
}

#[inline]
fn pack(values: &[u8; 4]) -> [u8; 3] {
    let word = values.iter().rev().fold(0, |word, value| word << 6 | u32::from(*value));
    let [first, second, third, _] = word.to_le_bytes();
    [first, second, third]
}

/// Registers that have the same value, one behind the other.
#[derive(Clone, Copy)]
struct Run {
    value: u8,
    count: usize,
    /// Bytes it is written in.
    size: usize,
}

impl Run {
    const ZEROS_MAX: usize = 64;
    const VALUES_MAX: usize = 4;

    #[inline]
    fn at(body: &[u8], at: usize) -> Option<Run> {
        let byte = *body.get(at)?;
        Some(match byte >> 6 {
            0 => Run { value: 0, count: usize::from(byte) + 1, size: 1 },
            1 => {
                let count = usize::from(byte & 0x3f) << 8 | usize::from(*body.get(at + 1)?);
                Run { value: 0, count: count + 1, size: 2 }
            }
            _ => Run { value: (byte >> 2 & 0x1f) + 1, count: usize::from(byte & 3) + 1, size: 1 },
        })
    }

    fn value(value: u8, count: usize) -> u8 {
        0x80 | (value - 1) << 2 | (count - 1) as u8
    }
}

/// Up to three runs that take the place of one.
#[derive(Default)]
struct Runs {
    bytes: [u8; 5],
    len: usize,
}

impl Runs {
    fn push(&mut self, value: u8, count: usize) {
        match (value, count) {
            (_, 0) => {}
            (0, ..=Run::ZEROS_MAX) => self.push_byte((count - 1) as u8),
            (0, _) => {
                self.push_byte(0x40 | ((count - 1) >> 8) as u8);
                self.push_byte((count - 1) as u8);
            }
            _ => self.push_byte(Run::value(value, count)),
        }
    }

    fn push_byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A run among the others.
struct Found {
    run: Run,
    at: usize,
    /// Where the run before it begins.
    before: Option<usize>,
    /// Its first register.
    first: usize,
}

/// The run that covers a register.
fn find_run(body: &[u8], index: u16) -> Result<Found, Corrupt> {
    let index = usize::from(index);
    let (mut at, mut first) = skip_runs(body, index);
    let mut before = at.checked_sub(1);
    while let Some(run) = Run::at(body, at) {
        if index < first + run.count {
            return Ok(Found { run, at, before, first });
        }
        before = Some(at);
        at += run.size;
        first += run.count;
    }
    Err(Corrupt)
}

/// Runs at a time that `skip_runs` adds up: a vector's bytes.
const LANES: usize = 16;

/// Where to begin to look for a register: behind runs of one byte each, which are before it. The place, and
/// the registers that come before it.
fn skip_runs(body: &[u8], index: usize) -> (usize, usize) {
    let (mut at, mut first) = (0, 0);
    for lanes in body.as_chunks::<LANES>().0 {
        let has_long_run = lanes.iter().fold(false, |any, byte| any | (byte >> 6 == 1));
        let count = |byte: &u8| if byte & 0x80 == 0 { byte & 0x3f } else { byte & 3 };
        let registers = lanes.iter().map(|byte| u16::from(count(byte)) + 1).sum::<u16>();
        if has_long_run || first + usize::from(registers) > index {
            break;
        }
        at += LANES;
        first += usize::from(registers);
    }
    (at, first)
}

fn raise_sparse(bytes: &mut Vec<u8>, mark: Mark, len_max: usize) -> Result<bool, Corrupt> {
    let sketch = Sketch { encoding: Encoding::Sparse, bytes };
    let Found { run, at, before, first } = find_run(sketch.sparse_body()?, mark.index)?;
    if run.value >= mark.value {
        return Ok(false);
    }
    if mark.value > SPARSE_VALUE_MAX {
        return raise_as_dense(bytes, mark);
    }
    let ahead = usize::from(mark.index) - first;
    let mut runs = Runs::default();
    runs.push(run.value, ahead);
    runs.push(mark.value, 1);
    runs.push(run.value, run.count - ahead - 1);
    if runs.len > run.size && bytes.len() + runs.len - run.size > len_max {
        return raise_as_dense(bytes, mark);
    }
    let place = HEAD_LEN + at;
    bytes.splice(place..place + run.size, runs.bytes().iter().copied());
    join_runs(bytes, HEAD_LEN + before.unwrap_or(0));
    Ok(true)
}

fn raise_as_dense(bytes: &mut Vec<u8>, mark: Mark) -> Result<bool, Corrupt> {
    *bytes = Sketch { encoding: Encoding::Sparse, bytes }.to_dense()?;
    let raised = raise_dense(bytes, mark);
    debug_assert!(raised, "it becomes dense to be raised");
    Ok(raised)
}

/// Joins neighbouring runs of the same value from a place on: looks at five, as many as a change can have
/// made or touched.
fn join_runs(bytes: &mut Vec<u8>, from: usize) {
    let mut at = from;
    for _ in 0..5 {
        let Some(run) = Run::at(bytes, at) else { return };
        match Run::at(bytes, at + 1).filter(|next| run.value > 0 && next.value > 0) {
            Some(next) if next.value == run.value && next.count + run.count <= Run::VALUES_MAX => {
                bytes[at] = Run::value(run.value, next.count + run.count);
                bytes.remove(at + 1);
            }
            _ => at += run.size,
        }
    }
}

/// The largest values of several HyperLogLogs.
pub struct Registers([u8; REGISTERS]);

impl Default for Registers {
    fn default() -> Registers {
        Registers([0; REGISTERS])
    }
}

impl Registers {
    pub fn merge(&mut self, sketch: Sketch<'_>) -> Result<(), Corrupt> {
        let values = &mut self.0;
        match sketch.encoding {
            Encoding::Dense => {
                let packed = sketch.body().as_chunks::<3>().0;
                for (values, packed) in values.as_chunks_mut::<4>().0.iter_mut().zip(packed) {
                    let others = unpack(packed);
                    values.iter_mut().zip(others).for_each(|(value, other)| *value = (*value).max(other));
                }
                Ok(())
            }
            Encoding::Sparse => sketch.visit(|first, run| {
                if run.value > 0 {
                    let values = &mut values[first..first + run.count];
                    values.iter_mut().for_each(|value| *value = (*value).max(run.value));
                }
            }),
        }
    }

    pub fn values(&self) -> &[u8; REGISTERS] {
        &self.0
    }

    /// Those that are not zero, in ascending order.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        let values = self.0.iter().enumerate().filter(|(_, value)| **value > 0);
        values.map(|(index, value)| Mark { index: index as u16, value: *value })
    }

    pub fn count(&self) -> u64 {
        let mut histogram = Histogram::default();
        histogram.add_values(self.0.as_chunks::<4>().0.iter().copied());
        histogram.estimate()
    }

    /// Puts the values in the place of those of a dense HyperLogLog.
    pub fn overwrite(&self, dense: &mut Vec<u8>) {
        dense.truncate(HEAD_LEN);
        self.append_dense(dense);
    }

    fn append_dense(&self, head: &mut Vec<u8>) {
        head.reserve_exact(DENSE_LEN - HEAD_LEN);
        self.0.as_chunks::<4>().0.iter().for_each(|values| head.extend_from_slice(&pack(values)));
    }
}

/// How many registers have each value; in four parts, so that neighbours of one value do not wait for each
/// other.
struct Histogram([[u32; 64]; 4]);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram([[0; 64]; 4])
    }
}

impl Histogram {
    fn add_dense(&mut self, registers: &[u8]) {
        self.add_values(registers.as_chunks::<3>().0.iter().map(unpack));
    }

    fn add_values(&mut self, values: impl Iterator<Item = [u8; 4]>) {
        for values in values {
            for (part, value) in self.0.iter_mut().zip(values) {
                part[usize::from(value & 63)] += 1;
            }
        }
    }

    fn at(&self, value: usize) -> f64 {
        f64::from(self.0.iter().map(|part| part[value]).sum::<u32>())
    }

    /// Otmar Ertl, New cardinality estimation algorithms for HyperLogLog sketches (arXiv:1702.01284),
    /// algorithm 6.
    fn estimate(&self) -> u64 {
        const ALPHA: f64 = 0.721_347_520_444_481_7; // 1 / (2 ln 2)
        let registers = REGISTERS as f64;
        let longest = HASH_BITS as usize + 1;
        let mut z = registers * tau((registers - self.at(longest)) / registers);
        for value in (1..longest).rev() {
            z = (z + self.at(value)) * 0.5;
        }
        z += registers * sigma(self.at(0) / registers);
        (ALPHA * registers * registers / z).round() as u64
    }
}

/// x + x^2 + 2x^4 + 4x^8 + ...
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// A third of 1 - x - (1-x^(1/2))^2/2 - (1-x^(1/4))^2/4 - ...
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        weight *= 0.5;
        let before = sum;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}
