//! The checksums of Redis' formats: CRC-64 (Jones) of RDB files and DUMP, CRC-16 (XMODEM) of cluster slots.
//! It must never be used against forgers: anyone can make a matching text.

use crc_fast::{CrcAlgorithm, Digest};

use crate::limits::CLUSTER_SLOTS;

/// Continues `state` (0 at the start) over `bytes`: the checksum of all bytes so far, and the state for the
/// next.
pub fn crc64(state: u64, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, state);
    digest.update(bytes);
    digest.finalize()
}

/// The checksum of two texts one behind the other, of which the second has `second_len` bytes: as if the
/// first were followed by so many zeros, each of which multiplies by x^8. A microsecond or two, however long.
pub fn crc64_combine(first: u64, second: u64, second_len: u64) -> u64 {
    let bits = (0..u64::BITS as usize).filter(|bit| second_len >> bit & 1 == 1);
    bits.fold(first, |crc, bit| crc64_product(crc, CRC64_ZEROS[bit])) ^ second
}

/// Of two polynomials modulo that of the checksum. The highest bit is the coefficient of 1.
const fn crc64_product(a: u64, mut b: u64) -> u64 {
    let (mut sum, mut power) = (0, 0);
    while power < u64::BITS {
        sum ^= b & (a << power >> 63).wrapping_neg();
        b = b >> 1 ^ (CRC64_POLYNOMIAL & (b & 1).wrapping_neg());
        power += 1;
    }
    sum
}

/// 0xad93d23594c935a9, reflected.
const CRC64_POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// What 2^n bytes of zero multiply by, by n.
const CRC64_ZEROS: [u64; 64] = {
    let mut table = [1 << (63 - 8); 64];
    let mut index = 1;
    while index < table.len() {
        table[index] = crc64_product(table[index - 1], table[index - 1]);
        index += 1;
    }
    table
};

/// CRC-16/XMODEM: polynomial 0x1021, start 0.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ CRC16_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The cluster slot of a key: of what its first `{` and the next `}` enclose, if that is not empty.
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % CLUSTER_SLOTS
}

/// What decides a key's slot instead of the whole key, if anything does.
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b'{', key)? + 1;
    let len = memchr::memchr(b'}', &key[start..])?;
    (len > 0).then(|| &key[start..start + len])
}

const CRC16_TABLE: [u16; 256] = crc16_table();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bit at a time.
    fn bitwise(state: u64, bytes: &[u8]) -> u64 {
        bytes.iter().fold(state, |crc, byte| {
            (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ CRC64_POLYNOMIAL }
            })
        })
    }

    #[test]
    fn published_values() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!((crc64(0, b""), crc64(7, b""), crc16(b"")), (0, 7, 0));
    }

    #[test]
    fn any_lengths_are_combined() {
        for len in [0, 1, 2, 3, 255, 8192, 1 << 20, (1 << 40) + 12345, u64::MAX >> 8] {
            let expected = crc_fast::checksum_combine(CrcAlgorithm::Crc64Redis, 0x1234_5678, 0x9abc, len);
            assert_eq!(crc64_combine(0x1234_5678, 0x9abc, len), expected, "{len}");
        }
    }

    #[test]
    fn slots() {
        let check = |key: &[u8], slot: u16| assert_eq!(key_slot(key), slot, "{key:?}");
        check(b"", 0);
        check(b"foo", 12182);
        check(b"{foo}bar", 12182);
        check(b"a{foo}{bar}", 12182);
        check(b"123456789", 12739);
        let whole = |key: &[u8]| check(key, crc16(key) % 16384);
        whole(b"{}foo");
        whole(b"{foo");
        whole(b"foo}");
        whole(b"}foo{");
        check(b"x{{y}}", crc16(b"{y") % 16384);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
            at: prop::sample::Index,
        ) {
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            let whole = bitwise(0, &bytes);
            prop_assert_eq!(crc64(0, &bytes), whole);
            prop_assert_eq!(crc64(crc64(0, first), second), whole);
            prop_assert_eq!(crc64_combine(crc64(0, first), crc64(0, second), second.len() as u64), whole);
        }
    }
}
