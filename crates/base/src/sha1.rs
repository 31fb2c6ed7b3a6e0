//! SHA-1 (FIPS 180-4): the names of scripts and the digests of DEBUG DIGEST. For naming only: it must never
//! guard anything, since collisions can be made.

/// The digest of `bytes`.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state = INITIAL;
    let (blocks, rest) = bytes.as_chunks::<BLOCK_LEN>();
    blocks.iter().for_each(|block| compress(&mut state, block));
    let (last, count) = pad(rest, bytes.len());
    last[..count].iter().for_each(|block| compress(&mut state, block));
    let mut digest = [0; 20];
    for (out, word) in digest.chunks_exact_mut(4).zip(state) {
        out.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// Forty lower-case hexadecimal digits.
pub fn hex(digest: &[u8; 20]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BLOCK_LEN: usize = 64;
/// The length in bits that ends the last block.
const LENGTH_LEN: usize = 8;

/// The one or two blocks that end the message: its rest, a 1 bit, zeros, its length in bits.
fn pad(rest: &[u8], len: usize) -> ([[u8; BLOCK_LEN]; 2], usize) {
    let mut blocks = [[0; BLOCK_LEN]; 2];
    let count = if rest.len() + 1 + LENGTH_LEN <= BLOCK_LEN { 1 } else { 2 };
    blocks[0][..rest.len()].copy_from_slice(rest);
    blocks[0][rest.len()] = 0x80;
    blocks[count - 1][BLOCK_LEN - LENGTH_LEN..].copy_from_slice(&(len as u64 * 8).to_be_bytes());
    (blocks, count)
}

fn compress(state: &mut [u32; 5], block: &[u8; BLOCK_LEN]) {
    let words = schedule(block);
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (round, word) in words.iter().enumerate() {
        let (mixed, constant) = match round {
            0..20 => (b & c | !b & d, 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let sum =
            a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
        (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
    }
    for (word, change) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(change);
    }
}

fn schedule(block: &[u8; BLOCK_LEN]) -> [u32; 80] {
    let mut words = [0; 80];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for at in 16..80 {
        words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
    }
    words
}

const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_digests() {
        let check =
            |text: &[u8], expected: &str| assert_eq!(hex(&sha1(text)), expected, "{} bytes", text.len());
        check(b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        check(b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
        check(
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        );
        check(&vec![b'a'; 1_000_000], "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn every_length_of_the_last_block_is_padded() {
        // Digests of 0 to 199 bytes of 0x5a, chained: one wrong padding changes the end.
        let chained = (0..200).fold(Vec::new(), |mut all, len| {
            all.extend_from_slice(&sha1(&vec![0x5a; len]));
            all
        });
        assert_eq!(hex(&sha1(&chained)), CHAINED);
    }

    /// By another implementation.
    const CHAINED: &str = "894cd6c7fbd02dd30ce5906b938c9896feb4ca15";
}
