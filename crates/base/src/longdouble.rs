//! The 80-bit floating point numbers of x86 processors, in software: INCRBYFLOAT and HINCRBYFLOAT add them in
//! Redis and print what comes out, so their results depend on the format to the last bit. It must never
//! depend on the processor's own.

use crate::bytes::eq_ignore_case;
use crate::hexfloat::{self, Binary};
use crate::limits::LONG_DOUBLE_LEN;
use crate::natural::Natural;
use crate::num::split_sign;

/// A number of 64 bits of mantissa and 15 of exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    /// `mantissa * 2^exponent`; the top bit is set unless the exponent is the lowest.
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
    NotANumber,
}

impl LongDouble {
    /// The largest finite number.
    pub const MAX: LongDouble = LongDouble::largest(false);
    pub const MIN: LongDouble = LongDouble::largest(true);

    const fn largest(negative: bool) -> LongDouble {
        let magnitude = Magnitude::Finite { mantissa: u64::MAX, exponent: HIGHEST_EXPONENT };
        LongDouble { negative, magnitude }
    }

    /// A whole decimal or hexadecimal number, or an infinity, rounded to the nearest; `None` where Redis says
    /// "value is not a valid float".
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= LONG_DOUBLE_LEN {
            return None;
        }
        let (negative, magnitude) = split_sign(text);
        if eq_ignore_case(magnitude, b"inf") || eq_ignore_case(magnitude, b"infinity") {
            return Some(LongDouble { negative, magnitude: Magnitude::Infinite });
        }
        let exact = if hexfloat::has_prefix(magnitude) {
            Binary::parse(text)?
        } else {
            Decimal::parse(magnitude)?.to_binary(negative)?
        };
        let value = LongDouble::round(&exact);
        let underflowed = value.is_zero() && exact.mantissa != 0;
        (value.is_finite() && !underflowed).then_some(value)
    }

    pub fn from_i64(value: i64) -> LongDouble {
        let mantissa = u128::from(value.unsigned_abs());
        LongDouble::round(&Binary { negative: value < 0, mantissa, exponent: 0, sticky: false })
    }

    /// The sum, rounded to nearest, ties to even; infinite when it is too large, neither finite nor infinite
    /// when opposite infinities meet.
    #[expect(
        clippy::should_implement_trait,
        reason = "an operator would hide that this addition is not the usual one"
    )]
    pub fn add(self, other: LongDouble) -> LongDouble {
        use Magnitude::{Finite, Infinite, NotANumber};
        let (a, b) = match (self.magnitude, other.magnitude) {
            (Finite { mantissa: m, exponent: e }, Finite { mantissa: n, exponent: f }) => ((m, e), (n, f)),
            (Infinite, Infinite) if self.negative != other.negative => {
                return LongDouble { negative: false, magnitude: NotANumber };
            }
            (Finite { .. }, _) | (_, NotANumber) => return other,
            _ => return self,
        };
        // An exponent decides before a mantissa does: only the lowest exponent has mantissas without their
        // top bit.
        if (a.1, a.0) >= (b.1, b.0) {
            add_ordered(self.negative, a, other.negative, b)
        } else {
            add_ordered(other.negative, b, self.negative, a)
        }
    }

    /// As `add`, of the other with its sign changed.
    pub fn subtract(self, other: LongDouble) -> LongDouble {
        self.add(LongDouble { negative: !other.negative, ..other })
    }

    /// Whether it is the smaller one; false of anything that is no number.
    pub fn is_less_than(self, other: LongDouble) -> bool {
        let difference = self.subtract(other);
        let is_number = difference.magnitude != Magnitude::NotANumber;
        is_number && difference.negative && !difference.is_zero()
    }

    pub fn is_finite(self) -> bool {
        matches!(self.magnitude, Magnitude::Finite { .. })
    }

    /// C's `%.17Lf` without zeros at the end, as Redis stores and replies it; no "-0".
    pub fn print_human(&self) -> String {
        let text = match self.magnitude {
            Magnitude::Infinite => "inf".to_owned(),
            Magnitude::NotANumber => "nan".to_owned(),
            Magnitude::Finite { mantissa, exponent } => print_finite(mantissa, exponent),
        };
        if self.negative && text != "0" { format!("-{text}") } else { text }
    }

    fn is_zero(self) -> bool {
        matches!(self.magnitude, Magnitude::Finite { mantissa: 0, .. })
    }

    fn round(exact: &Binary) -> LongDouble {
        let (mantissa, exponent) = exact.round(64, LOWEST_EXPONENT);
        let magnitude = if exponent > HIGHEST_EXPONENT {
            Magnitude::Infinite
        } else {
            Magnitude::Finite { mantissa, exponent }
        };
        LongDouble { negative: exact.negative, magnitude }
    }
}

/// Adds two finite numbers (mantissa and exponent), of which the first is not the smaller in magnitude.
fn add_ordered(negative: bool, large: (u64, i64), small_negative: bool, small: (u64, i64)) -> LongDouble {
    // 63 bits below the larger mantissa: a smaller one that reaches below them only matters as "a little
    // more".
    let shift = (large.1 - small.1).min(128) as u32;
    let wide = u128::from(small.0) << 63;
    let aligned = wide.checked_shr(shift).unwrap_or(0);
    let sticky = aligned.checked_shl(shift).unwrap_or(0) != wide;
    let large_wide = u128::from(large.0) << 63;
    let mantissa = if negative == small_negative {
        large_wide + aligned
    } else {
        // A little more taken away is one less, and a little more.
        large_wide - aligned - u128::from(sticky)
    };
    let negative = if mantissa == 0 { negative && small_negative } else { negative };
    LongDouble::round(&Binary { negative, mantissa, exponent: large.1 - 63, sticky })
}

fn print_finite(mantissa: u64, exponent: i64) -> String {
    if exponent >= 0 {
        let mut whole = Natural::new(mantissa);
        whole.shift_left(exponent as u32);
        return whole.to_decimal();
    }
    let places = rounded_places(mantissa, -exponent);
    let (whole, fraction) = (places / PLACES_SCALE, places % PLACES_SCALE);
    let text = format!("{whole}.{fraction:017}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `mantissa / 2^shift` in units of the 17th decimal place, ties to even.
fn rounded_places(mantissa: u64, shift: i64) -> u128 {
    let scaled = u128::from(mantissa) * PLACES_SCALE;
    // Under 2^121, so from here on less than half a unit is left.
    if shift > 122 {
        return 0;
    }
    let half = 1u128 << (shift - 1);
    let (kept, dropped) = (scaled >> shift, scaled & (half | (half - 1)));
    kept + u128::from(dropped > half || (dropped == half && kept & 1 == 1))
}

/// Digits without zeros before them, times a power of ten.
struct Decimal {
    digits: Vec<u8>,
    power: i64,
}

impl Decimal {
    /// Digits with at most one point, at least one digit, perhaps an exponent.
    fn parse(text: &[u8]) -> Option<Decimal> {
        let (mantissa, power) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], hexfloat::parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
        let (whole, fraction) = (&mantissa[..point], mantissa.get(point + 1..).unwrap_or(&[]));
        let mut digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        Some(Decimal { digits, power: power - fraction.len() as i64 })
    }

    /// The number with at least 65 bits and a sticky one; `None` far outside the format's range.
    fn to_binary(&self, negative: bool) -> Option<Binary> {
        let magnitude = self.digits.len() as i64 + self.power;
        if self.digits.is_empty() {
            return Some(Binary { negative, mantissa: 0, exponent: 0, sticky: false });
        }
        if !(-4951..=4933).contains(&magnitude) {
            return None;
        }
        let (mantissa, exponent, sticky) = self.small().unwrap_or_else(|| self.large());
        Some(Binary { negative, mantissa, exponent: exponent + self.power, sticky })
    }

    /// The digits times 5^power where 128 bits are enough, as for nearly all numbers people write: mantissa,
    /// exponent, sticky.
    fn small(&self) -> Option<(u128, i64, bool)> {
        if self.digits.len() > 19 || self.power.abs() > 27 {
            return None;
        }
        let digits = self.digits.iter().fold(0, |value, digit| value * 10 + u128::from(digit - b'0'));
        let factor = 5u128.pow(self.power.unsigned_abs() as u32);
        if self.power >= 0 {
            return Some((digits * factor, 0, false));
        }
        // 128 bits by at most 63 leave at least 65.
        let shift = digits.leading_zeros();
        let shifted = digits << shift;
        Some((shifted / factor, -i64::from(shift), shifted % factor != 0))
    }

    /// As `small`, for any number.
    fn large(&self) -> (u128, i64, bool) {
        let mut digits = Natural::from_decimal(&self.digits);
        if self.power >= 0 {
            digits.multiply_power_of_5(self.power as u32);
            let (mantissa, exponent, sticky) = digits.top_128();
            return (mantissa, i64::from(exponent), sticky);
        }
        let mut divisor = Natural::new(1);
        divisor.multiply_power_of_5(self.power.unsigned_abs() as u32);
        // Shifted so that the quotient has 71 or 72 bits.
        let shift = i64::from(divisor.bit_len()) + 71 - i64::from(digits.bit_len());
        if shift >= 0 {
            digits.shift_left(shift as u32)
        } else {
            divisor.shift_left(-shift as u32)
        }
        let (mantissa, sticky) = digits.divide(divisor, 72);
        (mantissa, -shift, sticky)
    }
}

/// Exponents of a mantissa's lowest bit.
const LOWEST_EXPONENT: i64 = -16_445;
const HIGHEST_EXPONENT: i64 = 16_320;

/// 17 places.
const PLACES_SCALE: u128 = 100_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> LongDouble {
        LongDouble::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn sums() {
        let check = |a: &str, b: &str, expected: &str| {
            assert_eq!(parse(a).add(parse(b)).print_human(), expected, "{a} + {b}");
            assert_eq!(parse(b).add(parse(a)).print_human(), expected, "{b} + {a}");
        };
        check("10.5", "0.1", "10.6");
        check("5.0e3", "2.0e2", "5200");
        check("3.0", "-3", "0");
        check("-0", "-0", "0");
        check("0.1", "-0.1", "0");
        check("1e-18", "0", "0");
        check("-1e-18", "0", "0");
        check("17179869184", "1.5", "17179869185.5");
        check("3", "1.1", "4.1");
        check("9223372036854775807", "1", "9223372036854775808");
        check("18446744073709551615", "1", "18446744073709551616");
        check("18446744073709551615", "0.5", "18446744073709551616");
        check("18446744073709551614", "0.5", "18446744073709551614");
        check("18446744073709551616", "-0.25", "18446744073709551616");
        check("18446744073709551616", "-0.75", "18446744073709551615");
        check("1e20", "1e-4000", "100000000000000000000");
        check("1e20", "-1e-4000", "100000000000000000000");
        check("0x1p10", "0x.8", "1024.5");
        check("inf", "1", "inf");
        check("-inf", "1e4000", "-inf");
        check("1e4932", "1e4932", "inf");
        assert!(!parse("inf").add(parse("-inf")).is_finite());
    }

    #[test]
    fn spellings() {
        for text in [
            "", " 1", "1 ", "+", "-", ".", "1e", "e1", "nan", "0x", "1.2.3", "1_0", "infi", "1e5000",
            "1e-5000", "--1",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in [
            "1e4933",
            "0x1p16384",
            "0x1p-16446",
            "1e-4951",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in ["1", "+1", "1.", "01", "1e0", "0x1", "0X1P0", "10e-1", ".1e1", "0.1e+1"] {
            assert_eq!(parse(text), LongDouble::from_i64(1), "{text:?}");
        }
        for text in ["0x1p-16445", "3.7e-4951", "1.18973149535723176502e4932", "0e99999", "-INFINITY"] {
            parse(text);
        }
        let longest = format!("0.{}1", "0".repeat(LONG_DOUBLE_LEN - 200));
        assert_eq!(parse(&longest).print_human(), "0");
        assert_eq!(LongDouble::parse("1".repeat(LONG_DOUBLE_LEN).as_bytes()), None);
    }

    #[test]
    fn extremes_print_in_full() {
        let largest = parse("1.18973149535723176502e4932").print_human();
        assert_eq!((largest.len(), &largest[..20]), (4933, "11897314953572317650"));
        assert_eq!(LongDouble::from_i64(i64::MIN).print_human(), "-9223372036854775808");
        assert_eq!(
            parse("1267650600228229401496703205376.0").print_human(),
            "1267650600228229401496703205376"
        );
    }

    proptest! {
        /// The short way and the long way of reading must be the same way.
        #[test]
        fn small_and_large_agree(digits in 1u64.., power in -27i64..28) {
            let decimal = Decimal { digits: digits.to_string().into_bytes(), power };
            prop_assume!(decimal.digits.len() <= 19);
            let round = |(mantissa, exponent, sticky)| {
                LongDouble::round(&Binary { negative: false, mantissa, exponent, sticky })
            };
            prop_assert_eq!(round(decimal.small().expect("19 digits are few")), round(decimal.large()));
        }

        /// Hexadecimal needs no conversion, so it gives the sum of any two mantissas to compare with.
        #[test]
        fn sums_of_neighbours_are_exact(a in 0u64..1 << 62, b in 0u64..1 << 62, shift in -60i64..0) {
            let read = |mantissa: u64| parse(&format!("0x{mantissa:x}p{shift}"));
            prop_assert_eq!(read(a).add(read(b)), read(a + b));
            let difference = LongDouble { negative: b > a, ..read(a.abs_diff(b)) };
            let negated = LongDouble { negative: true, ..read(b) };
            prop_assert_eq!(read(a).add(negated), difference);
        }

        #[test]
        fn no_bytes_panic(text: Vec<u8>, number in "[-+]?[0-9.]{1,30}(e[-+]?[0-9]{1,5})?") {
            LongDouble::parse(&text);
            LongDouble::parse(number.as_bytes());
        }
    }
}
