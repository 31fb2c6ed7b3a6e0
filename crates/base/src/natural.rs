//! Natural numbers of any size, as little of them as exact conversion of floating point needs. It must never
//! decide how large they may become: callers bound their input first.

use std::cmp::Ordering;

/// Words of 32 bits, lowest first, the highest not 0; zero has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Natural {
    words: Vec<u32>,
}

impl Natural {
    pub fn new(value: u64) -> Natural {
        let mut natural = Natural { words: vec![value as u32, (value >> 32) as u32] };
        natural.trim();
        natural
    }

    /// From ASCII digits.
    pub fn from_decimal(digits: &[u8]) -> Natural {
        let mut natural = Natural::new(0);
        for chunk in digits.chunks(9) {
            let value = chunk.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
            natural.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        natural
    }

    pub fn bit_len(&self) -> u32 {
        let top = self.words.last().map_or(0, |word| word.leading_zeros());
        self.words.len() as u32 * 32 - top
    }

    /// Multiplies by `factor` and adds `addend`.
    pub fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for word in &mut self.words {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.words.push(carry as u32);
        }
    }

    /// Multiplies by 5 to the `power`.
    pub fn multiply_power_of_5(&mut self, power: u32) {
        for _ in 0..power / 13 {
            self.multiply_add(5u32.pow(13), 0);
        }
        self.multiply_add(5u32.pow(power % 13), 0);
    }

    pub fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        if !self.words.is_empty() {
            self.words.splice(0..0, std::iter::repeat_n(0, (bits / 32) as usize));
        }
    }

    /// Takes `other`, which must not be larger, away.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = 0i64;
        for (index, word) in self.words.iter_mut().enumerate() {
            borrow += i64::from(*word) - i64::from(other.words.get(index).copied().unwrap_or(0));
            *word = borrow as u32;
            borrow >>= 32;
        }
        assert_eq!(borrow, 0, "the smaller is taken from the larger");
        self.trim();
    }

    /// The highest 128 bits, how many bits are below them, and whether any of those is set.
    pub fn top_128(&self) -> (u128, u32, bool) {
        let below = self.bit_len().saturating_sub(128);
        let top = (0..5).rev().fold(0, |top: u128, index| {
            let word = u128::from(self.words.get((below / 32) as usize + index).copied().unwrap_or(0));
            // The fifth word only has bits where the first gives up as many.
            match index {
                0 => top | word >> (below % 32),
                _ => top | (word << (32 * (index as u32 - 1)) << (32 - below % 32)),
            }
        });
        let lost_words = &self.words[..(below / 32) as usize];
        let partial = self.words.get((below / 32) as usize).copied().unwrap_or(0);
        let sticky = lost_words.iter().any(|word| *word != 0) || partial & ((1 << (below % 32)) - 1) != 0;
        (top, below, sticky)
    }

    /// The quotient by `divisor`, which must be under 2^`bits`, and whether something remains.
    pub fn divide(mut self, mut divisor: Natural, bits: u32) -> (u128, bool) {
        divisor.shift_left(bits - 1);
        let mut quotient = 0;
        for _ in 0..bits {
            let fits = self.cmp(&divisor) != Ordering::Less;
            if fits {
                self.subtract(&divisor);
            }
            quotient = quotient << 1 | u128::from(fits);
            self.multiply_add(2, 0);
        }
        (quotient, !self.words.is_empty())
    }

    pub fn to_decimal(&self) -> String {
        let mut words = self.words.clone();
        let mut chunks = Vec::new();
        while !words.is_empty() {
            chunks.push(divide_by_billion(&mut words));
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }

    fn cmp(&self, other: &Natural) -> Ordering {
        let by_len = self.words.len().cmp(&other.words.len());
        by_len.then_with(|| self.words.iter().rev().cmp(other.words.iter().rev()))
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }
}

/// Divides in place and returns the remainder.
fn divide_by_billion(words: &mut Vec<u32>) -> u32 {
    let mut remainder = 0u64;
    for word in words.iter_mut().rev() {
        let value = remainder << 32 | u64::from(*word);
        *word = (value / 1_000_000_000) as u32;
        remainder = value % 1_000_000_000;
    }
    while words.last() == Some(&0) {
        words.pop();
    }
    remainder as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn natural(value: u128) -> Natural {
        Natural::from_decimal(value.to_string().as_bytes())
    }

    #[test]
    fn powers() {
        let mut number = Natural::new(3);
        number.multiply_power_of_5(30);
        number.shift_left(30);
        assert_eq!(number.to_decimal(), format!("3{}", "0".repeat(30)));
        assert_eq!(Natural::new(0).to_decimal(), "0");
        assert_eq!(Natural::from_decimal(b"000").bit_len(), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_u128(value: u128, divisor in 1u64.., shift in 0u32..300) {
            prop_assert_eq!(natural(value).to_decimal(), value.to_string());
            prop_assert_eq!(natural(value).bit_len(), 128 - value.leading_zeros());
            let (quotient, rest) = natural(value).divide(Natural::new(divisor), 128);
            let divisor = u128::from(divisor);
            prop_assert_eq!((quotient, rest), (value / divisor, value % divisor != 0));
            let mut shifted = natural(value | 1 << 127);
            shifted.shift_left(shift);
            prop_assert_eq!(shifted.top_128(), (value | 1 << 127, shift, false));
            shifted.multiply_add(1, u32::from(shift > 0));
            prop_assert_eq!(shifted.top_128(), (value | 1 << 127, shift, shift > 0));
        }
    }
}
