//! Hexadecimal floating point as C's strtod and strtold take it ("0x1.8p3"), and the rounding of a binary
//! number to a given precision. It must never round twice.

use crate::num::split_sign;

/// Whether what follows the sign begins like a hexadecimal number.
pub(crate) fn has_prefix(magnitude: &[u8]) -> bool {
    matches!(magnitude, [b'0', b'x' | b'X', ..])
}

/// A number `mantissa * 2^exponent`, plus less than 2^exponent if `sticky`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binary {
    pub negative: bool,
    pub mantissa: u128,
    pub exponent: i64,
    pub sticky: bool,
}

impl Binary {
    /// A whole hexadecimal number with its sign; `None` if it is not spelled as C allows.
    pub fn parse(text: &[u8]) -> Option<Binary> {
        let (negative, magnitude) = split_sign(text);
        let digits = magnitude.get(2..).filter(|_| has_prefix(magnitude))?;
        let (digits, exponent) = match digits.iter().position(|byte| matches!(byte, b'p' | b'P')) {
            Some(at) => (&digits[..at], parse_exponent(&digits[at + 1..])?),
            None => (digits, 0),
        };
        let mut binary = Binary { negative, mantissa: 0, exponent, sticky: false };
        binary.take_digits(digits)?;
        Some(binary)
    }

    fn take_digits(&mut self, digits: &[u8]) -> Option<()> {
        let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
        if digits.len() - usize::from(point < digits.len()) == 0 {
            return None;
        }
        for (index, byte) in digits.iter().enumerate().filter(|(index, _)| *index != point) {
            let digit = char::from(*byte).to_digit(16)?;
            let full = self.mantissa >> 124 != 0;
            if full {
                self.sticky |= digit != 0;
            } else {
                self.mantissa = self.mantissa << 4 | u128::from(digit);
            }
            self.exponent += 4 * (i64::from(full) - i64::from(index > point));
        }
        Some(())
    }

    /// Rounds to nearest, ties to even, to `precision` bits (at most 64) whose lowest is worth at least
    /// 2^`lowest`: the new mantissa and its exponent.
    pub fn round(&self, precision: u32, lowest: i64) -> (u64, i64) {
        if self.mantissa == 0 {
            return (0, lowest);
        }
        let bits = i64::from(128 - self.mantissa.leading_zeros());
        let exponent = (self.exponent + bits - i64::from(precision)).max(lowest);
        let drop = exponent - self.exponent;
        if drop <= 0 {
            return ((self.mantissa << -drop) as u64, exponent);
        }
        let kept = self.mantissa.checked_shr(drop.min(128) as u32).unwrap_or(0);
        let kept = kept + u128::from(self.rounds_up(kept, drop));
        if kept >> precision == 0 { (kept as u64, exponent) } else { ((kept >> 1) as u64, exponent + 1) }
    }

    /// Whether dropping the low `drop` bits (at least 1) of the mantissa leaves more than half, or half
    /// beside an odd `kept`.
    fn rounds_up(&self, kept: u128, drop: i64) -> bool {
        if drop > 128 {
            return false;
        }
        let half = 1u128 << (drop - 1);
        let dropped = self.mantissa & (half | (half - 1));
        dropped > half || (dropped == half && (self.sticky || kept & 1 == 1))
    }
}

/// A hexadecimal double; `None` if misspelled, too large, or rounded to 0 without being 0.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    let binary = Binary::parse(text)?;
    let (mantissa, exponent) = binary.round(53, -1074);
    if mantissa == 0 {
        return (binary.mantissa == 0).then_some(if binary.negative { -0.0 } else { 0.0 });
    }
    if exponent > 971 {
        return None;
    }
    // A mantissa without its top bit is subnormal: its exponent field is 0.
    let field = if mantissa >> 52 == 0 { 0 } else { (exponent + 1075) as u64 };
    let bits = u64::from(binary.negative) << 63 | field << 52 | mantissa & ((1 << 52) - 1);
    Some(f64::from_bits(bits))
}

/// What follows the `p` or `e`; clamped far beyond any format's range, yet far from overflow.
pub(crate) fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = char::from(*byte).to_digit(10)?;
        value = (value * 10 + i64::from(digit)).min(EXPONENT_CLAMP);
    }
    Some(if negative { -value } else { value })
}

const EXPONENT_CLAMP: i64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles() {
        let check =
            |text: &str, expected: Option<f64>| assert_eq!(parse_f64(text.as_bytes()), expected, "{text}");
        check("0x1p3", Some(8.0));
        check("-0x1.8P+1", Some(-3.0));
        check("0x.8", Some(0.5));
        check("0xff.", Some(255.0));
        check("0x0p99999999999999999999", Some(0.0));
        check("0x1p-1074", Some(5e-324));
        check("0x1p-1075", None);
        check("0x1.8p-1075", Some(5e-324));
        check("0x1.fffffffffffffp1023", Some(f64::MAX));
        check("0x1.fffffffffffff8p1023", None);
        check("0x1.fffffffffffff7p1023", Some(f64::MAX));
        check("0x1.00000000000008p0", Some(1.0));
        check("0x1.000000000000080000000000000000000000000000000000001p0", Some(1.0 + f64::EPSILON));
        check("0x1.0000000000000fp-1022", Some(f64::MIN_POSITIVE + 5e-324));
        for text in ["0x", "0x.", "0xp1", "0x1p", "0x1p+", "0x1g", "0x1.1.1", "1x1", "0x1p1p1", "0x 1"] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn doubles_return(bits in 1u64..(2047 << 52)) {
            let value = f64::from_bits(bits);
            let (mantissa, exponent) = (bits & ((1 << 52) - 1), (bits >> 52) as i64);
            let text = match exponent {
                0 => format!("0x0.{mantissa:013x}p-1022"),
                _ => format!("0x1.{mantissa:013x}p{}", exponent - 1023),
            };
            prop_assert_eq!(parse_f64(text.as_bytes()), Some(value));
        }
    }
}
